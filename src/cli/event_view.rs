//! An event as one line.

use std::fmt::Write;

use super::output::{FAINT, STRONG, Styled, clean};
use crate::admin::wire::Event;

pub fn line(event: &Event) -> String {
    let time = event.at.strftime("%Y-%m-%d %H:%M:%S");
    let mut text = format!(
        "  {} {} {}",
        Styled(FAINT, time),
        Styled(FAINT, event.id),
        Styled(STRONG, clean(&event.kind))
    );
    let place = [
        event.service.as_ref().map(ToString::to_string),
        event.pool.as_ref().map(ToString::to_string),
        event.endpoint.as_ref().map(ToString::to_string),
    ];
    let place: Vec<_> = place.into_iter().flatten().collect();
    if !place.is_empty() {
        let _ = write!(text, " {}", place.join("/"));
    }
    match (event.before.is_null(), event.after.is_null()) {
        (true, true) => {}
        (true, false) => {
            let _ = write!(text, " {}", short(&event.after));
        }
        _ => {
            let _ = write!(text, " {} → {}", short(&event.before), short(&event.after));
        }
    }
    let _ = write!(text, " by {}", clean(&event.actor.name));
    if let Some(reason) = &event.reason {
        let _ = write!(text, ": {}", clean(reason));
    }
    text.push('\n');
    text
}

/// Long values are for `--json`.
fn short(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(map) if map.values().all(serde_json::Value::is_number) => map
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" "),
        serde_json::Value::Object(map) if map.contains_key("weights") => {
            return short(&map["weights"]);
        }
        other => other.to_string(),
    };
    crate::telemetry::Escaped::new(&text, 120).to_string()
}
