//! How the texts of the file are written. What a text must be is told by the type that it becomes.

mod balance;
mod dns;
mod rollout;
mod time;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    str::FromStr,
};

use super::Syntax;
use crate::units::{
    Address, ByteSize, HostPattern, ListenAddress, Malformed, Name, Network, Percent, Template,
};

pub use balance::*;
pub use dns::*;
pub use rollout::*;
pub use time::*;

fn reads<T: FromStr<Err = Malformed>>(text: &str) -> Result<(), Malformed> {
    text.parse::<T>().map(drop)
}

fn malformed(what: &str) -> Malformed {
    Malformed(format!("expected {what}"))
}

pub const NAME: Syntax = Syntax {
    what: "a name: a-z, 0-9, _ and -, at most 63, not starting with _ or -",
    pattern: Some("^[a-z0-9][a-z0-9_-]{0,62}$"),
    check: reads::<Name>,
};

pub const SIZE: Syntax = Syntax {
    what: "a size such as 512B, 64KiB or 10MiB",
    pattern: Some("^[0-9]+(GiB|MiB|KiB|GB|MB|kB|B)?$"),
    check: reads::<ByteSize>,
};

pub const SIZE_OR_NONE: Syntax = Syntax {
    what: "a size such as 64KiB or 10MiB, or \"none\"",
    pattern: Some("^(none|[0-9]+(GiB|MiB|KiB|GB|MB|kB|B)?)$"),
    check: |text| match text {
        "none" => Ok(()),
        text => reads::<ByteSize>(text).map_err(|_| malformed(SIZE_OR_NONE.what)),
    },
};

pub const UPGRADE: Syntax = Syntax {
    what: "the name of a protocol such as websocket, but not h2c",
    pattern: Some("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$"),
    check: |text| {
        let part = |part: &str| part.parse::<http::HeaderName>().is_ok();
        let right = match text.split_once('/') {
            Some((name, version)) => part(name) && part(version),
            None => part(text),
        };
        if right && !text.eq_ignore_ascii_case("h2c") {
            Ok(())
        } else {
            Err(malformed(UPGRADE.what))
        }
    },
};

pub const PERCENT: Syntax = Syntax {
    what: "a percentage from 0% to 100%, such as 2.5%",
    pattern: Some(r"^(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?|0[0-9]{1,2}(\.[0-9]{1,4})?)%$"),
    check: reads::<Percent>,
};

pub const ENDPOINT: Syntax = Syntax {
    what: "HOST:PORT or unix:/absolute/path",
    pattern: Some("^(unix:/.+|.+:[0-9]+)$"),
    check: reads::<Address>,
};

pub const SOCKET: Syntax = Syntax {
    what: "IP:PORT, such as 0.0.0.0:8080 or [::]:8080",
    pattern: Some(r"^([0-9.]+|\[[0-9a-fA-F:.%]+\]):[0-9]+$"),
    check: |text| {
        text.parse::<SocketAddr>()
            .map(drop)
            .map_err(|_| malformed(SOCKET.what))
    },
};

pub const LISTEN: Syntax = Syntax {
    what: ListenAddress::EXPECTED,
    pattern: Some(r"^(unix:/.+|([0-9.]+|\[[0-9a-fA-F:.%]+\]):[0-9]+)$"),
    check: reads::<ListenAddress>,
};

pub const ADMIN: Syntax = Syntax {
    what: "unix:/absolute/path, or IP:PORT on loopback such as 127.0.0.1:9900",
    pattern: Some(r"^(unix:/.+|([0-9.]+|\[[0-9a-fA-F:.%]+\]):[0-9]+)$"),
    check: |text| match text.parse::<Address>() {
        Ok(Address::Unix(_) | Address::Ip(_)) => Ok(()),
        Ok(Address::Named(..)) => Err(malformed(ADMIN.what)),
        Err(malformed) => Err(malformed),
    },
};

pub const NETWORK: Syntax = Syntax {
    what: Network::EXPECTED,
    pattern: Some("^([0-9a-fA-F:.]+(/[0-9]{1,3})?|unix)$"),
    check: reads::<Network>,
};

pub const HOST: Syntax = Syntax {
    what: "a host such as shop.example.com or *.example.com, without a port",
    pattern: Some(r"^(\*\.)?[^*/:\s]+$|^\[[0-9a-fA-F:.]+\]$"),
    check: reads::<HostPattern>,
};

pub const PATH: Syntax = Syntax {
    what: "a path that begins with / and has no query, blanks percent-encoded",
    pattern: Some("^/[!-\"$->@-~]*$"),
    check: |text| {
        let right = text.starts_with('/')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
        if right && text.len() <= 4096 {
            Ok(())
        } else {
            Err(malformed(PATH.what))
        }
    },
};

pub const PROBE_PATH: Syntax = Syntax {
    what: "a path that begins with /, with its query if it has one, blanks percent-encoded",
    pattern: Some("^/[!-\"$-~]*$"),
    check: |text| {
        let right = text.starts_with('/')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if right && text.len() <= 4096 && text.parse::<http::uri::PathAndQuery>().is_ok() {
            Ok(())
        } else {
            Err(malformed(PROBE_PATH.what))
        }
    },
};

/// Compiled by the check, which bounds how many there are.
pub const REGEX: Syntax = Syntax {
    what: "a regular expression that the whole path must match, at most 1000 bytes",
    pattern: None,
    check: |text| {
        if text.is_empty() || text.len() > 1000 {
            Err(malformed(REGEX.what))
        } else {
            Ok(())
        }
    },
};

pub const METHOD: Syntax = Syntax {
    what: "a method in capitals such as GET",
    pattern: Some("^[A-Z][A-Z0-9_-]{0,31}$"),
    check: |text| {
        let right = text.len() <= 32
            && text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.bytes().all(|byte| {
                byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_-".contains(&byte)
            });
        if right {
            Ok(())
        } else {
            Err(malformed(METHOD.what))
        }
    },
};

pub const HEADER: Syntax = Syntax {
    what: "the name of a header",
    pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
    check: |text| {
        text.parse::<http::HeaderName>()
            .map(drop)
            .map_err(|_| malformed(HEADER.what))
    },
};

pub const HEADER_VALUE: Syntax = Syntax {
    what: "a header's value: visible ASCII and blanks within",
    pattern: Some("^([!-~]([ \\t!-~]*[!-~])?)?$"),
    check: |text| {
        let visible = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t');
        if visible && text.trim() == text && text.len() <= 8192 {
            Ok(())
        } else {
            Err(malformed(HEADER_VALUE.what))
        }
    },
};

pub const AUTHORITY: Syntax = Syntax {
    what: "a host, with a port if it needs one, such as app.internal or app.internal:8080",
    pattern: Some(r"^([0-9A-Za-z._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$"),
    check: |text| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:[]".contains(&byte);
        let authority = text.parse::<http::uri::Authority>().ok().filter(|parsed| {
            let port = parsed.port().is_some() == text[parsed.host().len()..].starts_with(':');
            let fits = parsed
                .port()
                .is_none_or(|port| port.as_str().parse::<u16>().is_ok());
            !parsed.host().is_empty() && port && fits && text.bytes().all(plain)
        });
        authority.map(drop).ok_or_else(|| malformed(AUTHORITY.what))
    },
};

pub const LOCATION: Syntax = Syntax {
    what: "an absolute URL, in which {scheme}, {host}, {path} and {query} stand for the request's",
    pattern: Some(r"^(https?|\{scheme\})://[!-~]+$"),
    check: reads::<Template>,
};

pub const BODY: Syntax = Syntax {
    what: "a text of at most 64KiB",
    pattern: None,
    check: |text| {
        if text.len() > 64 * 1024 {
            Err(malformed(BODY.what))
        } else {
            Ok(())
        }
    },
};

pub const COOKIE: Syntax = Syntax {
    what: "the name of a cookie",
    pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
    check: |text| {
        let right = !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte));
        if right {
            Ok(())
        } else {
            Err(malformed(COOKIE.what))
        }
    },
};

pub const ANY: Syntax = Syntax {
    what: "a text",
    pattern: None,
    check: |_| Ok(()),
};

pub const FULL: Syntax = Syntax {
    what: "a text that is not empty",
    pattern: Some("."),
    check: |text| {
        if text.is_empty() {
            Err(malformed(FULL.what))
        } else {
            Ok(())
        }
    },
};

pub const FILE: Syntax = Syntax {
    what: "the path of a file, absolute or relative to this one",
    pattern: Some("^[^\\x00]+$"),
    check: |text| {
        if text.is_empty() || text.contains('\0') || text.len() > 4096 {
            Err(malformed(FILE.what))
        } else {
            Ok(())
        }
    },
};

pub const SERVER_NAME: Syntax = Syntax {
    what: "a host name or an IP address, without a port",
    pattern: Some("^[A-Za-z0-9_.:-]+$"),
    check: |text| {
        let named = || format!("{text}:1").parse::<Address>().is_ok();
        if text.parse::<IpAddr>().is_ok() || (!text.contains([':', '/']) && named()) {
            Ok(())
        } else {
            Err(malformed(SERVER_NAME.what))
        }
    },
};

pub const GRPC_SERVICE: Syntax = Syntax {
    what: "the name of a gRPC service such as shop.v1.Orders",
    pattern: Some("^[!-~]+$"),
    check: |text| {
        if text.is_empty() || text.len() > 1024 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            Err(malformed(GRPC_SERVICE.what))
        } else {
            Ok(())
        }
    },
};

pub const DIRECTORY: Syntax = Syntax {
    what: "the URL of an ACME directory, which begins with https://",
    pattern: Some(r"^https://[^\s]+$"),
    check: |text| url(text, &["https://"]).ok_or_else(|| malformed(DIRECTORY.what)),
};

pub const COLLECTOR: Syntax = Syntax {
    what: "a URL such as http://127.0.0.1:4318",
    pattern: Some(r"^https?://[^\s]+$"),
    check: |text| url(text, &["http://", "https://"]).ok_or_else(|| malformed(COLLECTOR.what)),
};

/// One that begins like this, and names a host and nobody's password.
fn url(text: &str, begins: &[&str]) -> Option<()> {
    let url = text.parse::<http::Uri>().ok()?;
    let named = !url.host()?.is_empty() && !url.authority()?.as_str().contains('@');
    (named && begins.iter().any(|begin| text.starts_with(begin))).then_some(())
}

pub const GLOB: Syntax = Syntax {
    what: "a file or a pattern such as services.d/*.toml",
    pattern: Some("^[^\\x00]+$"),
    check: |text| {
        if text.is_empty() || text.contains('\0') || text.len() > 4096 {
            return Err(malformed(GLOB.what));
        }
        if text.contains("**") {
            return Err(malformed("a pattern without **"));
        }
        let read = glob::Pattern::new(text).map(drop);
        read.map_err(|error| Malformed(format!("expected {}: {}", GLOB.what, error.msg)))
    },
};

pub const MODE: Syntax = Syntax {
    what: "a mode in octal digits such as \"0660\"",
    pattern: Some("^0?[0-7]{3}$"),
    check: |text| {
        let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3);
        let digits = digits.unwrap_or(text);
        if digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
            Ok(())
        } else {
            Err(malformed(MODE.what))
        }
    },
};

pub const DIGEST: Syntax = Syntax {
    what: "the SHA-256 of a token as 64 hexadecimal digits; `cutover token new` prints it",
    pattern: Some("^[0-9a-fA-F]{64}$"),
    check: |text| {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(())
        } else {
            Err(malformed(DIGEST.what))
        }
    },
};

pub const ROLE: &[&str] = &["viewer", "operator", "admin"];

pub const STICKY: Syntax = Syntax {
    what: "cookie, header:NAME, ip or none",
    pattern: Some("^(cookie|header:.+|ip|none)$"),
    check: |text| match text {
        "cookie" | "ip" | "none" => Ok(()),
        text => text
            .strip_prefix("header:")
            .and_then(|name| name.parse::<http::HeaderName>().ok())
            .map(drop)
            .ok_or_else(|| malformed(STICKY.what)),
    },
};

pub const RATE_KEY: Syntax = Syntax {
    what: "ip or header:NAME",
    pattern: Some("^(ip|header:.+)$"),
    check: |text| match text.strip_prefix("header:") {
        Some(name) if name.parse::<http::HeaderName>().is_ok() => Ok(()),
        None if text == "ip" => Ok(()),
        _ => Err(malformed(RATE_KEY.what)),
    },
};

/// What the proxy itself answers to requests that it could read.
const OWN_STATUSES: [&str; 14] = [
    "4xx", "5xx", "400", "403", "404", "405", "408", "413", "429", "431", "501", "502", "503",
    "504",
];

pub const ERROR_STATUS: Syntax = Syntax {
    what: "4xx, 5xx or a status that the proxy answers itself: 400, 403, 404, 405, 408, 413, 429, 431, 501, 502, 503 or 504",
    pattern: Some("^(4xx|5xx|400|403|404|405|408|413|429|431|501|502|503|504)$"),
    check: |text| {
        if OWN_STATUSES.contains(&text) {
            Ok(())
        } else {
            Err(malformed(ERROR_STATUS.what))
        }
    },
};

pub const STATUS: Syntax = Syntax {
    what: "a status or a range of them: 200, 2xx or 200-299",
    pattern: Some("^([1-5]xx|[1-5][0-9]{2}(-[1-5][0-9]{2})?)$"),
    check: |text| statuses(text).map(drop),
};

pub const TROUBLE: Syntax = Syntax {
    what: "a status from 400 to 599 or a range of them: 503, 5xx or 502-504",
    pattern: Some("^([45]xx|[45][0-9]{2}(-[45][0-9]{2})?)$"),
    check: |text| match statuses(text) {
        Ok((400.., _)) => Ok(()),
        _ => Err(malformed(TROUBLE.what)),
    },
};

/// First and last status of `200`, `2xx` or `200-299`.
pub fn statuses(text: &str) -> Result<(u16, u16), Malformed> {
    let status = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|status| text.len() == 3 && (100..=599).contains(status))
    };
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) => status(&format!("{class}00")).map(|first| (first, first + 99)),
        (_, Some((first, last))) => status(first).zip(status(last)),
        _ => status(text).map(|status| (status, status)),
    };
    range
        .filter(|(first, last)| first <= last)
        .ok_or_else(|| malformed(STATUS.what))
}

pub const POINTER: Syntax = Syntax {
    what: "a JSON pointer such as /status",
    pattern: Some("^(/.*)?$"),
    check: |text| {
        if text.is_empty() || text.starts_with('/') {
            Ok(())
        } else {
            Err(malformed(POINTER.what))
        }
    },
};

pub const VARIABLE: Syntax = Syntax {
    what: "the name of an environment variable",
    pattern: Some("^[A-Za-z_][A-Za-z0-9_]*$"),
    check: |text| {
        let first = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if first
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            Ok(())
        } else {
            Err(malformed(VARIABLE.what))
        }
    },
};

pub const CREDENTIAL: Syntax = Syntax {
    what: "the name of a systemd credential",
    pattern: Some("^[A-Za-z0-9._-]+$"),
    check: |text| {
        let plain = Path::new(text).components().count() == 1 && !text.starts_with("..");
        if plain
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        {
            Ok(())
        } else {
            Err(malformed(CREDENTIAL.what))
        }
    },
};
