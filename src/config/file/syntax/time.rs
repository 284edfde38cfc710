use super::{Syntax, malformed};
use crate::units::{Span, Timestamp};

pub const SPAN_OR_NONE: Syntax = Syntax {
    what: "a duration above zero such as 500ms, 30s or 2m, or \"none\"",
    pattern: Some("^(none|([0-9]+(ms|s|m|h|d))+)$"),
    check: |text| match text {
        "none" => Ok(()),
        text => match text.parse::<Span>() {
            Ok(span) if !span.0.is_zero() => Ok(()),
            _ => Err(malformed(SPAN_OR_NONE.what)),
        },
    },
};

pub const MOMENT: Syntax = Syntax {
    what: "a date and a time with its zone (RFC 3339), such as 2026-12-01T12:00:00Z",
    pattern: Some(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
    ),
    check: |text| {
        // The library takes more of ISO 8601 than the standard does.
        let bytes = text.as_bytes();
        let places = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
        let right = places.iter().all(|(at, what)| bytes.get(*at) == Some(what));
        let zone = text.strip_suffix(['Z', 'z']).is_some()
            || text.len() > 6
                && bytes[text.len() - 3] == b':'
                && b"+-".contains(&bytes[text.len() - 6]);
        match text.parse::<Timestamp>() {
            Ok(_) if right && zone && !text.contains(['[', ',']) => Ok(()),
            _ => Err(malformed(MOMENT.what)),
        }
    },
};
