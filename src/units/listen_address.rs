use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc};

use super::{Address, Malformed};

/// Where clients are waited for: `0.0.0.0:8080`, `[::]:0` (any free port), or `unix:/run/cutover/web.sock`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenAddress {
    Ip(SocketAddr),
    /// An absolute path.
    Unix(Arc<PathBuf>),
}

impl ListenAddress {
    pub const EXPECTED: &str = "IP:PORT, such as 0.0.0.0:8080 or [::]:8080, or unix:/absolute/path";

    /// `None` for a Unix socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.starts_with("unix:") {
            return match text.parse()? {
                Address::Unix(path) => Ok(Self::Unix(path)),
                Address::Ip(_) | Address::Named(..) => Err(Malformed(Self::EXPECTED.into())),
            };
        }
        let address = text.parse().map(Self::Ip);
        address.map_err(|_| Malformed(format!("expected {}", Self::EXPECTED)))
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// As it is written: logs show it so.
impl fmt::Debug for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_clients_are_waited_for_prints_as_it_is_written() {
        for text in ["0.0.0.0:8080", "[::]:0", "unix:/run/cutover/web.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "localhost:80", "8080", "unix:web.sock", "unix:"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
