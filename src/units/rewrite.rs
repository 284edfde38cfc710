//! What a route changes of the requests that take it and of their answers.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Access, RateLimit};

/// All that a route does to a request besides finding out who gets it. Nothing, for most routes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouteRules {
    pub request: HeaderEdits,
    pub response: HeaderEdits,
    pub prefix: Option<PrefixRewrite>,
    /// The `Host` that the app is sent.
    pub host: Option<HeaderValue>,
    /// Judged on the client's own address.
    pub access: Access,
    pub rate: Option<RateLimit>,
}

/// Fields that are set, added and removed. No name stands in two of the lists, so that their order says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// In place of all that were there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// After those that were there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    pub remove: Vec<HeaderName>,
}

/// One beginning of a path put in another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixRewrite {
    /// Without a slash at its end, so empty for the root; likewise `to`.
    from: String,
    to: String,
}

impl RouteRules {
    /// Whether every request goes on as it came.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The fields of a request that may be other ones afterwards.
    pub fn touched(&self) -> impl Iterator<Item = &HeaderName> {
        let host = self.host.as_ref().map(|_| &http::header::HOST);
        self.request.names().chain(host)
    }
}

impl HeaderEdits {
    pub fn is_empty(&self) -> bool {
        self.names().next().is_none()
    }

    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let put = self.set.iter().chain(&self.add).map(|(name, _)| name);
        put.chain(&self.remove)
    }

    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

impl PrefixRewrite {
    pub fn new(from: &str, to: &str) -> Self {
        let trimmed = |path: &str| path.trim_end_matches('/').to_owned();
        Self {
            from: trimmed(from),
            to: trimmed(to),
        }
    }

    /// What is taken away; `/` where something is put before every path.
    pub fn from(&self) -> &str {
        or_root(&self.from)
    }

    /// What stands there instead.
    pub fn to(&self) -> &str {
        or_root(&self.to)
    }

    /// Whether no path would be another one.
    pub fn is_idle(&self) -> bool {
        self.from == self.to
    }

    /// The path afterwards, which begins with a slash; `None` where the prefix does not end at a segment's boundary of
    /// this one.
    pub fn apply(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(self.from.as_str())?;
        if rest.is_empty() {
            return Some(self.to().to_owned());
        }
        rest.starts_with('/').then(|| format!("{}{rest}", self.to))
    }
}

fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_is_replaced_at_a_segments_boundary() {
        for (from, to, path, after) in [
            ("/api", "/", "/api", Some("/")),
            ("/api", "/", "/api/", Some("/")),
            ("/api", "/", "/api/x/", Some("/x/")),
            ("/api", "/", "/apix", None),
            ("/api", "/", "/ap", None),
            ("/api", "/", "/x/api", None),
            ("/api/", "/", "/api/x", Some("/x")),
            ("/api", "/v2", "/api", Some("/v2")),
            ("/api", "/v2/", "/api/x", Some("/v2/x")),
            ("/", "/v2", "/x", Some("/v2/x")),
            ("/", "/v2", "/", Some("/v2/")),
            ("/", "/v2", "*", None),
        ] {
            let rewrite = PrefixRewrite::new(from, to);
            assert_eq!(rewrite.apply(path).as_deref(), after, "{from} {to} {path}");
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_is_a_path_and_what_follows_the_prefix_is_kept(
            from in "(/[ab]{0,2}){1,2}",
            to in "(/[ab]{0,2}){1,2}",
            path in "(/[ab]{0,2}){1,4}",
        ) {
            let rewrite = PrefixRewrite::new(&from, &to);
            if let Some(after) = rewrite.apply(&path) {
                prop_assert!(after.starts_with('/'));
                let rest = path.strip_prefix(from.trim_end_matches('/')).unwrap();
                prop_assert!(after.ends_with(rest));
                if path != from.trim_end_matches('/') {
                    let back = PrefixRewrite::new(&to, &from).apply(&after);
                    prop_assert_eq!(back, Some(path));
                }
            } else {
                let bare = from.trim_end_matches('/');
                let inside = path == bare || path.starts_with(&format!("{bare}/"));
                prop_assert!(!inside);
            }
        }
    }

    #[test]
    fn fields_are_set_added_and_removed() {
        let pair = |name: &'static str, value: &'static str| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let mut headers: HeaderMap = [pair("a", "1"), pair("b", "1"), pair("c", "1")]
            .into_iter()
            .collect();
        headers.append("a", HeaderValue::from_static("2"));
        let edits = HeaderEdits {
            set: vec![pair("a", "3")],
            add: vec![pair("b", "2"), pair("d", "1")],
            remove: vec![HeaderName::from_static("c"), HeaderName::from_static("e")],
        };
        edits.apply(&mut headers);
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        left.sort();
        assert_eq!(left, ["a=3", "b=1", "b=2", "d=1"]);
    }
}
