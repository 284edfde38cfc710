use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Malformed;

/// Where a socket listens or an endpoint is reached: `10.0.0.1:3000`, `[::1]:3000`, `app1.internal:3000` (resolved when
/// dialled), or `unix:/run/app.sock`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    Ip(SocketAddr),
    /// A host name (lower case) and a port.
    Named(Arc<str>, u16),
    /// An absolute path.
    Unix(Arc<PathBuf>),
}

const EXPECTED: &str = "expected HOST:PORT or unix:/absolute/path";

impl FromStr for Address {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            // sun_path holds 108 bytes with its closing NUL (unix(7)).
            return if path.is_absolute() && path.as_os_str().len() <= 107 && !text.contains('\0') {
                Ok(Self::Unix(Arc::new(path)))
            } else {
                Err(Malformed(
                    "expected unix: and an absolute path of at most 107 bytes".into(),
                ))
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 {
                Err(Malformed("expected a port from 1 to 65535".into()))
            } else {
                Ok(Self::Ip(address))
            };
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| Malformed(EXPECTED.into()))?;
        let port: u16 = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| Malformed("expected a port from 1 to 65535".into()))?;
        if is_host_name(host) {
            Ok(Self::Named(host.to_ascii_lowercase().into(), port))
        } else {
            Err(Malformed(EXPECTED.into()))
        }
    }
}

/// RFC 1123 §2.1: dot-separated labels of letters, digits and hyphens (and `_`, which service names use), 253 in all.
/// A last label of digits only is a mistyped IPv4 address.
pub(super) fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let numeric = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= 253 && !numeric && host.split('.').all(label)
}

impl TryFrom<String> for Address {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Named(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_are_written() {
        for text in [
            "10.0.0.1:3000",
            "[::1]:80",
            "app-1.internal:65535",
            "localhost:1",
            "unix:/run/app.sock",
        ] {
            assert_eq!(
                text.parse::<Address>().map(|a| a.to_string()).as_deref(),
                Ok(text)
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "1.2.3:80",
            "256.1.1.1:80",
            "a b:80",
            "-a:80",
            "unix:run",
            "::1:80:",
            "1.2.3.4:0",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
