use std::{cmp::Reverse, fmt};

use super::{Head, conditions};
use crate::units::{HostPattern, Matcher, PathPattern};

/// Why a request takes the route it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The routes whose host and path fit, the most specific first.
    pub considered: Vec<Considered>,
    /// How many routes are for other hosts or paths.
    pub elsewhere: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// Its place in the file's order.
    pub route: usize,
    pub verdict: Verdict,
}

/// What became of a route whose host and path fit. Its text completes "this route ...".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// It would take the request, but a more specific one does.
    LessSpecific,
    OtherMethod,
    /// Asks for another value of the header of this name; likewise the next two.
    OtherHeader(String),
    OtherCookie(String),
    OtherQuery(String),
}

/// Looks at every route, unlike [`super::Router::find`], which finds the same one.
pub fn explain<'a>(routes: impl IntoIterator<Item = &'a Matcher>, head: &Head) -> Explanation {
    let mut fitting = Vec::new();
    let mut elsewhere = 0;
    for (route, matcher) in routes.into_iter().enumerate() {
        match host_rank(matcher, head).zip(path_rank(matcher, head)) {
            Some((host, path)) => {
                let rank = (host, path, Reverse(conditions::count(matcher)), route);
                fitting.push((rank, matcher));
            }
            None => elsewhere += 1,
        }
    }
    fitting.sort_by_key(|(rank, _)| *rank);
    let mut taken = false;
    let considered = fitting
        .into_iter()
        .map(|((.., route), matcher)| Considered {
            route,
            verdict: obstacle(matcher, head).unwrap_or_else(|| {
                if std::mem::replace(&mut taken, true) {
                    Verdict::LessSpecific
                } else {
                    Verdict::Taken
                }
            }),
        });
    Explanation {
        considered: considered.collect(),
        elsewhere,
    }
}

/// A kind, the best first, and within it the longer first.
type Rank = (u8, Reverse<usize>);

fn host_rank(matcher: &Matcher, head: &Head) -> Option<Rank> {
    if matcher.hosts.is_empty() {
        return Some((2, Reverse(0)));
    }
    let ranks = matcher.hosts.iter().filter_map(|pattern| match pattern {
        HostPattern::Exact(host) => (host == head.host).then_some((0, Reverse(0))),
        HostPattern::Wildcard(parent) => {
            let label = head.host.strip_suffix(parent.as_str())?.strip_suffix('.')?;
            (!label.is_empty()).then_some((1, Reverse(parent.len())))
        }
    });
    ranks.min()
}

fn path_rank(matcher: &Matcher, head: &Head) -> Option<Rank> {
    let (fits, rank) = match &matcher.path {
        PathPattern::Exact(path) => (path == head.path, (0, Reverse(0))),
        PathPattern::Any => (true, (3, Reverse(0))),
        PathPattern::Prefix(prefix) if prefix == "/" => (true, (3, Reverse(0))),
        PathPattern::Prefix(prefix) => {
            let rest = head.path.strip_prefix(prefix.as_str());
            let fits = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            (fits, (1, Reverse(prefix.len())))
        }
        PathPattern::Regex(regex) => (regex.is_match(head.path), (2, Reverse(0))),
    };
    fits.then_some(rank)
}

/// The first thing asked for that the request does not have.
fn obstacle(matcher: &Matcher, head: &Head) -> Option<Verdict> {
    if !conditions::method_holds(&matcher.methods, head.method) {
        return Some(Verdict::OtherMethod);
    }
    let header = matcher
        .headers
        .iter()
        .find(|(name, value)| !conditions::header_holds(name, value, head));
    let cookie = || {
        matcher
            .cookies
            .iter()
            .find(|(name, value)| !conditions::cookie_holds(name, value, head))
    };
    let query = || {
        matcher
            .query
            .iter()
            .find(|(name, value)| !conditions::query_holds(name, value, head))
    };
    header
        .map(|(name, _)| Verdict::OtherHeader(name.to_string()))
        .or_else(|| cookie().map(|(name, _)| Verdict::OtherCookie(name.clone())))
        .or_else(|| query().map(|(name, _)| Verdict::OtherQuery(name.clone())))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("takes the request"),
            Self::LessSpecific => f.write_str("fits too, but is less specific"),
            Self::OtherMethod => f.write_str("is for other methods"),
            Self::OtherHeader(name) => write!(f, "wants another value of the header {name}"),
            Self::OtherCookie(name) => write!(f, "wants another value of the cookie {name}"),
            Self::OtherQuery(name) => write!(f, "wants another value of the query's {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, header::COOKIE};
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::routing::Router;

    fn host(pattern: &str) -> HostPattern {
        match pattern.strip_prefix("*.") {
            Some(parent) => HostPattern::Wildcard(parent.to_owned()),
            None => HostPattern::Exact(pattern.to_owned()),
        }
    }

    /// `=/exact`, `~regex`, `/prefix` or nothing.
    fn pattern(path: &str) -> PathPattern {
        match path.split_at_checked(1) {
            Some(("=", exact)) => PathPattern::Exact(exact.to_owned()),
            Some(("~", regex)) => PathPattern::regex(regex).unwrap(),
            Some(_) => PathPattern::Prefix(path.to_owned()),
            None => PathPattern::Any,
        }
    }

    const PATHS: [&str; 11] = [
        "",
        "/",
        "/x",
        "/x/y",
        "=/x/y",
        "=/x/",
        "=/",
        "/x/y/z",
        "~/x.*",
        "~(?i)/X/y",
        "~/.*z",
    ];

    fn matcher() -> impl Strategy<Value = Matcher> {
        let hosts = vec(
            select(&["a.b.c", "b.c", "*.b.c", "*.c", "c", "[::1]"][..]),
            0..3,
        );
        let methods = vec(select(&[Method::GET, Method::POST, Method::HEAD][..]), 0..2);
        (
            hosts,
            select(&PATHS[..]),
            methods,
            any_of("h"),
            any_of("c"),
            any_of("q"),
        )
            .prop_map(|(hosts, path, methods, headers, cookies, query)| Matcher {
                methods,
                headers: headers
                    .into_iter()
                    .map(|(name, value)| (name.parse().unwrap(), value))
                    .collect(),
                cookies,
                query,
                hosts: hosts.into_iter().map(host).collect(),
                path: pattern(path),
            })
    }

    fn any_of(name: &'static str) -> impl Strategy<Value = Vec<(String, String)>> {
        let pair =
            select(&["1", "2"][..]).prop_map(move |value| (name.to_owned(), value.to_owned()));
        vec(pair, 0..2)
    }

    proptest! {
        #[test]
        fn finding_by_tables_is_finding_by_looking_at_every_route(
            routes in vec(matcher(), 0..24),
            host in select(&["a.b.c", "b.c", "x.b.c", "x.c", "c", "", "[::1]", "d", ".c"][..]),
            path in select(&["/", "/x", "/x/", "/x/y", "/x/y/z", "/xy", "/X/y", "//", "*", ""][..]),
            method in select(&[Method::GET, Method::POST, Method::HEAD, Method::PUT][..]),
            given in (any_of("h"), any_of("c"), any_of("q")),
        ) {
            let mut headers = HeaderMap::new();
            for (_, value) in &given.0 {
                headers.append("h", value.parse().unwrap());
            }
            for (name, value) in &given.1 {
                headers.append(COOKIE, format!("{name}={value}").parse().unwrap());
            }
            let query = given.2.first().map(|(name, value)| format!("{name}={value}"));
            let head = Head { method: &method, host, path, query: query.as_deref(), headers: &headers };
            let explained = explain(&routes, &head);
            let taken: Vec<_> = explained
                .considered
                .iter()
                .filter(|considered| considered.verdict == Verdict::Taken)
                .map(|considered| considered.route)
                .collect();
            let services = routes.iter().cloned().enumerate().map(|(index, matcher)| (matcher, index + 7));
            let found = Router::new(services).find(&head);
            prop_assert_eq!(found.map(|found| found.route).into_iter().collect::<Vec<_>>(), taken);
            prop_assert!(found.is_none_or(|found| found.service == found.route + 7));
            prop_assert_eq!(explained.considered.len() + explained.elsewhere, routes.len());
        }
    }
}
