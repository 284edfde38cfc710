use super::malformed;
use crate::{config::file::Syntax, units::Address};

pub const DNS: Syntax = Syntax {
    what: "a name in DNS such as _http._tcp.app.internal",
    pattern: Some("^[A-Za-z0-9_.-]+$"),
    check: |text| {
        if !text.contains(':') && is_named(&format!("{}:1", text.trim_end_matches('.'))) {
            Ok(())
        } else {
            Err(malformed(DNS.what))
        }
    },
};

pub const DNS_PORT: Syntax = Syntax {
    what: "a name in DNS and a port, such as app.internal:8080",
    pattern: Some("^[A-Za-z0-9_.-]+:[0-9]+$"),
    check: |text| {
        if is_named(text) {
            Ok(())
        } else {
            Err(malformed(DNS_PORT.what))
        }
    },
};

fn is_named(text: &str) -> bool {
    matches!(text.parse::<Address>(), Ok(Address::Named(..)))
}
