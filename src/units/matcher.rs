use std::{fmt, str::FromStr};

use regex::{Regex, RegexBuilder};

use super::{Malformed, address::is_host_name};

/// What a request must be like to take a route. Everything named must hold; a list that is empty asks nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Matcher {
    /// Any of these.
    pub hosts: Vec<HostPattern>,
    pub path: PathPattern,
    /// Any of these.
    pub methods: Vec<http::Method>,
    /// All of these, by exact value.
    pub headers: Vec<(http::HeaderName, String)>,
    pub cookies: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// Lower case, no port, no trailing dot.
    Exact(String),
    /// `*.example.com`, kept as `example.com`: one label or more before it.
    Wildcard(String),
}

#[derive(Debug, Clone)]
pub enum PathPattern {
    Any,
    Exact(String),
    /// At a segment boundary: `/api` takes `/api` and `/api/x`, not `/apix`. No slash at its end unless it is `/`.
    Prefix(String),
    /// The whole path; see [`PathPattern::regex`].
    Regex(Regex),
}

/// Of one compiled expression, in bytes: a larger one is a mistake or an attack.
const LARGEST_REGEX: usize = 256 * 1024;

impl PathPattern {
    /// An expression that must fit the whole path, however it is written.
    pub fn regex(text: &str) -> Result<Self, Malformed> {
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(LARGEST_REGEX)
                .dfa_size_limit(LARGEST_REGEX)
                .build()
        };
        // By itself first: `a)|(b` is wrong, though not between parentheses.
        compile(text)
            .and_then(|_| compile(&format!("^(?:{text})$")))
            .map(Self::Regex)
            .map_err(|error| Malformed(why(&error)))
    }
}

/// The last line of what the crate says: those before it draw the expression.
fn why(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(limit) = error {
        return format!("expected an expression that compiles to at most {limit} bytes");
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!(
        "expected a regular expression: {}",
        last.trim_start_matches("error: ")
    )
}

/// As the file says it: for an expression without the anchors.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Exact(path) | Self::Prefix(path) => f.write_str(path),
            Self::Regex(regex) => {
                let whole = regex.as_str();
                let inner = whole
                    .strip_prefix("^(?:")
                    .and_then(|rest| rest.strip_suffix(")$"));
                f.write_str(inner.unwrap_or(whole))
            }
        }
    }
}

/// Expressions are equal where their texts are.
impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Exact(a), Self::Exact(b)) | (Self::Prefix(a), Self::Prefix(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// A name as DNS has them, an IPv4 address, or an IPv6 address in brackets.
impl FromStr for HostPattern {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let (wildcard, host) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, lower.as_str()),
        };
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
        let literal = bracketed || host.parse::<std::net::Ipv4Addr>().is_ok();
        if is_host_name(host) || literal && !wildcard {
            Ok(if wildcard {
                Self::Wildcard(host.to_owned())
            } else {
                Self::Exact(host.to_owned())
            })
        } else {
            Err(Malformed(
                "expected a host such as shop.example.com or *.example.com, without a port".into(),
            ))
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(domain) => write!(f, "*.{domain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_kept_lower_case_and_without_a_trailing_dot() {
        for (text, kept) in [
            ("Shop.Example.com.", "shop.example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(
                text.parse::<HostPattern>().map(|host| host.to_string()),
                Ok(kept.to_owned())
            );
        }
        for bad in [
            "",
            "*",
            "*.",
            "a:80",
            "a..b",
            "*.*.a",
            "a.*.b",
            "http://a",
            "a/b",
            "*.10.0.0.1",
            "::1",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }
}
