//! What is printed: plain text where it goes to a file, colours on a terminal only (`NO_COLOR` honoured).

use std::{
    fmt::{self, Display, Write as _},
    io::Write as _,
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::telemetry::Escaped;

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const ODD: Style = AnsiColor::Yellow.on_default();
pub const FAINT: Style = Style::new().dimmed();
pub const STRONG: Style = Style::new().bold();

/// A text in a style.
pub struct Styled<T>(pub Style, pub T);

impl<T: Display> Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.0, self.1, self.0.render_reset())
    }
}

/// Text that came over the wire, fit for a terminal.
pub fn clean(text: &str) -> Escaped<'_> {
    Escaped::new(text, 4096)
}

/// A value as a person writes it: `blue=90 green=10`, `1.42`, `none`.
pub fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => joined(items.iter().map(self::value), ", "),
        Value::Object(map) => joined(
            map.iter().map(|(key, value)| match value {
                Value::Object(_) => format!("{key} {}", self::value(value)),
                _ => format!("{key}={}", self::value(value)),
            }),
            " ",
        ),
    };
    // What is longer is for `--json`.
    Escaped::new(&text, 160).to_string()
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

/// To standard output. Whoever reads it may stop reading.
pub fn say(text: impl Display) {
    let _ = write!(anstream::stdout(), "{text}");
}

pub fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    say(format_args!("{text}\n"));
    Ok(())
}

/// To standard error.
pub fn complain(failure: &Failure) {
    let _ = write!(anstream::stderr(), "{}", told(failure));
}

fn told(failure: &Failure) -> String {
    let mut text = format!("{} {}\n", Styled(BAD, "error:"), lines(&failure.message));
    for seen in failure.problem.iter().flat_map(|problem| &problem.evidence) {
        let _ = write!(
            text,
            "  {}/{}/{} is {}",
            seen.service,
            seen.pool,
            clean(&seen.endpoint),
            clean(&seen.state)
        );
        if let Some(probe) = &seen.probe {
            let outcome = match (&probe.error, probe.status) {
                (Some(error), _) => clean(error).to_string(),
                (None, Some(status)) => format!("status {status}"),
                (None, None) => "passed".to_owned(),
            };
            let _ = write!(
                text,
                "; last probe {} at {}: {outcome}",
                clean(&probe.url),
                probe.at.strftime("%H:%M:%S")
            );
        }
        text.push('\n');
    }
    if let Some(hint) = &failure.hint {
        let _ = writeln!(text, "{} {}", Styled(ODD, "hint:"), lines(hint));
    }
    text
}

/// Of several lines, each fit for a terminal.
pub fn lines(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| Escaped::new(line, 4096).to_string())
        .collect();
    lines.join("\n")
}

/// `3 s`, `2 min`, `5 h`, `3 d`
pub fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_told_as_a_person_writes_them() {
        for (given, told) in [
            (json!(null), "none"),
            (json!("1.42"), "1.42"),
            (json!({"blue": 90, "green": 10}), "blue=90 green=10"),
            (json!({"weights": {"blue": 1}}), "weights blue=1"),
            (json!(["a", 2]), "a, 2"),
            (json!("\u{1b}[2J"), "\\u001b[2J"),
        ] {
            assert_eq!(value(&given), told);
        }
    }
}
