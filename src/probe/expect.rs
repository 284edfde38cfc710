//! Whether an answer is the one that was asked for.

use std::fmt::Write;

use http::{header, response::Parts};
use serde_json::Value;

use super::failure::{Failure, Reason};
use crate::{config::plan::HttpProbe, telemetry::Escaped};

/// Of a body no more is read and looked at.
pub const BODY_LIMIT: usize = 64 * 1024;
/// Of what an endpoint says no more is repeated.
const QUOTE_LIMIT: usize = 120;

pub fn status(probe: &HttpProbe, head: &Parts) -> Result<(), Failure> {
    let status = head.status.as_u16();
    if probe
        .status
        .iter()
        .any(|(from, to)| (*from..=*to).contains(&status))
    {
        return Ok(());
    }
    let mut detail = format!("status {status}");
    if let Some(location) = head.headers.get(header::LOCATION) {
        let _ = write!(
            detail,
            " (Location: {})",
            Escaped::new(location.as_bytes(), QUOTE_LIMIT)
        );
    }
    let _ = write!(detail, ", expected {}", ranges(&probe.status));
    if head.status.is_redirection() {
        detail.push_str("; redirects are not followed");
    }
    Err(Failure::new(Reason::Status, detail))
}

/// `2xx`, `200-204 or 301`.
fn ranges(ranges: &[(u16, u16)]) -> String {
    let one = |(from, to): &(u16, u16)| match (from, to) {
        (from, to) if from == to => from.to_string(),
        (from, to) if from % 100 == 0 && *to == from + 99 => format!("{}xx", from / 100),
        (from, to) => format!("{from}-{to}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(" or ")
}

/// Whether the body has to be read to tell.
pub fn wants_body(probe: &HttpProbe) -> bool {
    probe.body.is_some() || !probe.json.is_empty()
}

/// `body` holds the first [`BODY_LIMIT`] bytes; `whole` says whether that was all.
pub fn body(probe: &HttpProbe, body: &[u8], whole: bool) -> Result<(), Failure> {
    let wrong = |detail: String| Failure::new(Reason::Body, detail);
    if let Some(text) = &probe.body
        && !contains(body, text.as_bytes())
    {
        let place = if whole {
            "body"
        } else {
            "first 64 KiB of the body"
        };
        let text = Escaped::new(text, QUOTE_LIMIT);
        return Err(wrong(format!("\"{text}\" is not in the {place}")));
    }
    if probe.json.is_empty() {
        return Ok(());
    }
    if !whole {
        return Err(wrong("the body is longer than 64 KiB".into()));
    }
    let found: Value = serde_json::from_slice(body).map_err(|error| {
        let error = error.to_string();
        wrong(format!(
            "the body is not JSON: {}",
            Escaped::new(&error, QUOTE_LIMIT)
        ))
    })?;
    probe
        .json
        .iter()
        .try_for_each(|(pointer, expected)| match found.pointer(pointer) {
            Some(value) if same(value, expected) => Ok(()),
            Some(value) => Err(wrong(format!(
                "{pointer} is {}, expected {}",
                quoted(value),
                quoted(expected)
            ))),
            None => Err(wrong(format!(
                "{pointer} is missing, expected {}",
                quoted(expected)
            ))),
        })
}

/// A JSON value as text. JSON has escaped its own quotes and controls; what is not ASCII is escaped here.
fn quoted(value: &Value) -> String {
    let text = value.to_string();
    let mut shown = String::new();
    for letter in text.chars().take(QUOTE_LIMIT) {
        if letter.is_ascii_graphic() || letter == ' ' {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_unicode());
        }
    }
    if text.chars().nth(QUOTE_LIMIT).is_some() {
        shown.push('…');
    }
    shown
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty()
        || haystack
            .windows(needle.len())
            .any(|window| window == needle)
}

/// Numbers are the same by value: JSON does not tell 1 from 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> HttpProbe {
        HttpProbe {
            method: http::Method::GET,
            path: "/".into(),
            host: None,
            headers: Vec::new(),
            status: vec![(200, 299)],
            body: None,
            json: Vec::new(),
        }
    }

    fn head(status: u16, location: Option<&str>) -> Parts {
        let mut answer = http::Response::builder().status(status);
        if let Some(location) = location {
            answer = answer.header(header::LOCATION, location);
        }
        answer.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_redirect_fails_and_shows_where_it_points() {
        let failure = status(&probe(), &head(301, Some("https://x/login"))).unwrap_err();
        assert_eq!(
            (failure.reason, failure.detail.as_str()),
            (
                Reason::Status,
                "status 301 (Location: https://x/login), expected 2xx; redirects are not followed"
            )
        );
        assert!(status(&probe(), &head(204, None)).is_ok());
    }

    #[test]
    fn expected_statuses_may_be_several_ranges() {
        let mut probe = probe();
        probe.status = vec![(200, 204), (401, 401)];
        assert!(status(&probe, &head(401, None)).is_ok());
        let failure = status(&probe, &head(503, None)).unwrap_err();
        assert_eq!(failure.detail, "status 503, expected 200-204 or 401");
    }

    #[test]
    fn a_body_must_contain_the_text() {
        let mut probe = probe();
        probe.body = Some("all good".into());
        assert!(body(&probe, b"{all good}", true).is_ok());
        let detail = |text: &[u8], whole| body(&probe, text, whole).unwrap_err().detail;
        assert_eq!(detail(b"all", true), r#""all good" is not in the body"#);
        assert_eq!(
            detail(&vec![0; BODY_LIMIT], false),
            r#""all good" is not in the first 64 KiB of the body"#
        );
    }

    #[test]
    fn json_values_are_looked_up_by_pointer() {
        let mut probe = probe();
        probe.json = vec![
            ("/status".into(), "healthy".into()),
            ("/db/0/lag".into(), 1.into()),
        ];
        let told =
            |text: &str| body(&probe, text.as_bytes(), true).map_err(|failure| failure.detail);
        assert_eq!(
            told(r#"{"status": "healthy", "db": [{"lag": 1.0}]}"#),
            Ok(())
        );
        assert_eq!(
            told(r#"{"status": "start\u001bing"}"#),
            Err(r#"/status is "start\u001bing", expected "healthy""#.into())
        );
        assert_eq!(
            told(r#"{"status": "healthy", "db": []}"#),
            Err("/db/0/lag is missing, expected 1".into())
        );
        assert!(
            told("<html>")
                .unwrap_err()
                .starts_with("the body is not JSON: ")
        );
        assert!(
            told(&"[".repeat(10_000)).is_err(),
            "deep nesting is refused"
        );
        assert_eq!(
            body(&probe, b"{}", false).unwrap_err().detail,
            "the body is longer than 64 KiB"
        );
    }
}
