use std::{fmt, str::FromStr, time::Duration};

use super::{LoadFactor, Malformed};

/// How a pool chooses among its eligible endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    /// The less loaded of two drawn at random.
    LeastRequests,
    /// The one of two drawn at random that is expected to answer sooner.
    PeakEwma,
    Random,
    /// The same key goes to the same endpoint while it is eligible, and has no more than the factor allows, where there is one.
    Hash(HashKey, Option<LoadFactor>),
}

/// What is spoken to endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2: with TLS by agreement, in clear because it is known.
    H2,
    /// What the endpoint chooses in the handshake of TLS.
    Auto,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::Auto => "auto",
        }
    }
}

/// What of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    Header(http::HeaderName),
    Cookie(String),
    /// The client's address.
    Ip,
    Path,
}

/// What keeps a client on one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyBy {
    /// Our own authenticated cookie `cutover_<service>`.
    Cookie {
        max_age: Duration,
    },
    Header(http::HeaderName),
    /// The client's address.
    Ip,
}

/// How long each part of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the request's last byte to the head of the answer.
    pub response: Duration,
    /// No byte either way while a body is on its way.
    pub idle: Duration,
    /// From the request's head to the answer's last byte.
    pub request: Option<Duration>,
    /// How long an idle connection to an endpoint is parked; below the app's own limit, or the app closes first.
    pub keep_alive: Duration,
    /// No byte either way in a tunnel, such as a WebSocket's.
    pub tunnel: Duration,
}

/// How `WebSocket`s end that a drain finds open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebsocketDrain {
    /// They may end by themselves until the drain's deadline.
    CloseAtDeadline,
    /// They may stay as long as they like.
    Keep,
    CloseNow,
}

impl Balance {
    /// With this bound of the loads, where it hashes.
    #[must_use]
    pub fn bounded(self, factor: Option<LoadFactor>) -> Self {
        match self {
            Self::Hash(key, _) => Self::Hash(key, factor),
            other => other,
        }
    }

    pub fn load_factor(&self) -> Option<LoadFactor> {
        match self {
            Self::Hash(_, factor) => *factor,
            Self::RoundRobin | Self::LeastRequests | Self::PeakEwma | Self::Random => None,
        }
    }
}

impl FromStr for Balance {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || {
            Malformed(
                "expected round-robin, least-requests, peak-ewma, random, or hash:ip, hash:path, hash:header:NAME, hash:cookie:NAME"
                    .into(),
            )
        };
        match text {
            "round-robin" => return Ok(Self::RoundRobin),
            "least-requests" => return Ok(Self::LeastRequests),
            "peak-ewma" => return Ok(Self::PeakEwma),
            "random" => return Ok(Self::Random),
            _ => {}
        }
        let key = text.strip_prefix("hash:").ok_or_else(wrong)?;
        let key = match key.split_once(':') {
            None if key == "ip" => HashKey::Ip,
            None if key == "path" => HashKey::Path,
            Some(("header", name)) => HashKey::Header(name.parse().map_err(|_| wrong())?),
            // A cookie's name is a token as a header's is (RFC 6265 §4.1.1), but its case counts.
            Some(("cookie", name)) if name.parse::<http::HeaderName>().is_ok() => {
                HashKey::Cookie(name.to_owned())
            }
            _ => return Err(wrong()),
        };
        Ok(Self::Hash(key, None))
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoundRobin => f.write_str("round-robin"),
            Self::LeastRequests => f.write_str("least-requests"),
            Self::PeakEwma => f.write_str("peak-ewma"),
            Self::Random => f.write_str("random"),
            // The factor is a key of its own.
            Self::Hash(key, _) => write!(f, "hash:{key}"),
        }
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Ip => f.write_str("ip"),
            Self::Path => f.write_str("path"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_print_as_they_are_written() {
        for text in [
            "round-robin",
            "least-requests",
            "peak-ewma",
            "random",
            "hash:ip",
            "hash:path",
            "hash:header:x-user",
            "hash:cookie:Session",
        ] {
            assert_eq!(
                text.parse::<Balance>().map(|b| b.to_string()).as_deref(),
                Ok(text)
            );
        }
        for bad in [
            "",
            "roundrobin",
            "hash",
            "hash:",
            "hash:header:",
            "hash:cookie:a b",
            "hash:x",
        ] {
            assert!(bad.parse::<Balance>().is_err(), "{bad}");
        }
    }
}
