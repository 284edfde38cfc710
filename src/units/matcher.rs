use regex::{Regex, RegexBuilder};

use super::Malformed;

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

impl PathPattern {
    /// An expression that must fit the whole path, however it is written.
    pub fn regex(text: &str) -> Result<Self, Malformed> {
        let compile = |text: &str| RegexBuilder::new(text).size_limit(1 << 20).build();
        // By itself first: `a)|(b` is wrong, though not between parentheses.
        compile(text)
            .and_then(|_| compile(&format!("^(?:{text})$")))
            .map(Self::Regex)
            .map_err(|error| Malformed(error.to_string()))
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
