use std::{cmp::Reverse, collections::HashMap};

use regex::Regex;

use super::{Head, conditions};
use crate::units::{HostPattern, Matcher, PathPattern};

/// A route that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What the route was given to stand for.
    pub service: usize,
    /// Its place in the file's order.
    pub route: usize,
}

/// Finds the most specific route that takes a request, in time that does not grow with the number of routes.
///
/// Exact host before wildcard (the longer first) before any; within a host exact path before prefix (the longer first)
/// before expression before any; then the route that asks for more of methods, headers, cookies and query; then the file's
/// order. A route of one host that does not take the request leaves it to those of a less specific host.
#[derive(Default)]
pub struct Router {
    exact: Map<Paths>,
    /// By what follows `*.`.
    wildcard: Map<Paths>,
    wildcard_lengths: Lengths,
    any: Paths,
}

type Map<T> = HashMap<Box<str>, T, foldhash::fast::RandomState>;

/// The different lengths of a map's keys, longest first: only these parts of a text can be in the map, so that neither a
/// long nor a deep text of a client makes many look-ups.
#[derive(Default)]
struct Lengths(Vec<usize>);

/// The routes of one host.
#[derive(Default)]
struct Paths {
    exact: Map<Rivals>,
    prefix: Map<Rivals>,
    prefix_lengths: Lengths,
    /// In the order of their ranks.
    regex: Vec<(Regex, Entry)>,
    any: Rivals,
}

/// Routes of the same host and path, the more demanding first.
#[derive(Default)]
struct Rivals(Vec<Entry>);

#[derive(Clone)]
struct Entry {
    found: Found,
    /// Besides host and path; `None` asks nothing.
    conditions: Option<std::sync::Arc<Matcher>>,
    rank: (Reverse<usize>, usize),
}

impl Router {
    /// `routes` in file order, each with what it stands for.
    pub fn new(routes: impl IntoIterator<Item = (Matcher, usize)>) -> Self {
        let mut table = Self::default();
        for (route, (matcher, service)) in routes.into_iter().enumerate() {
            table.add(matcher, Found { service, route });
        }
        table.finish();
        table
    }

    pub fn find(&self, head: &Head) -> Option<Found> {
        if let Some(found) = self.exact.get(head.host).and_then(|paths| paths.find(head)) {
            return Some(found);
        }
        for &length in &self.wildcard_lengths.0 {
            let parent = ending(head.host, length).and_then(|parent| self.wildcard.get(parent));
            if let Some(found) = parent.and_then(|paths| paths.find(head)) {
                return Some(found);
            }
        }
        self.any.find(head)
    }

    fn add(&mut self, matcher: Matcher, found: Found) {
        let count = conditions::count(&matcher);
        let hosts = matcher.hosts.clone();
        let path = matcher.path.clone();
        let entry = Entry {
            found,
            conditions: (count > 0).then(|| std::sync::Arc::new(matcher)),
            rank: (Reverse(count), found.route),
        };
        if hosts.is_empty() {
            self.any.add(&path, entry);
            return;
        }
        for host in hosts {
            let paths = match host {
                HostPattern::Exact(host) => self.exact.entry(host.into()).or_default(),
                HostPattern::Wildcard(parent) => self.wildcard.entry(parent.into()).or_default(),
            };
            paths.add(&path, entry.clone());
        }
    }

    fn finish(&mut self) {
        self.wildcard_lengths = Lengths::of(&self.wildcard);
        let hosts = self.exact.values_mut().chain(self.wildcard.values_mut());
        hosts.chain([&mut self.any]).for_each(Paths::finish);
    }
}

impl Paths {
    fn add(&mut self, path: &PathPattern, entry: Entry) {
        match path {
            PathPattern::Any => self.any.0.push(entry),
            PathPattern::Exact(path) => self
                .exact
                .entry(path.as_str().into())
                .or_default()
                .0
                .push(entry),
            // Takes all there is, so an expression is more specific.
            PathPattern::Prefix(path) if path == "/" => self.any.0.push(entry),
            PathPattern::Prefix(path) => self
                .prefix
                .entry(path.as_str().into())
                .or_default()
                .0
                .push(entry),
            PathPattern::Regex(regex) => self.regex.push((regex.clone(), entry)),
        }
    }

    fn finish(&mut self) {
        self.prefix_lengths = Lengths::of(&self.prefix);
        self.regex.sort_by_key(|(_, entry)| entry.rank);
        let rivals = self.exact.values_mut().chain(self.prefix.values_mut());
        for rivals in rivals.chain([&mut self.any]) {
            rivals.0.sort_by_key(|entry| entry.rank);
        }
    }

    fn find(&self, head: &Head) -> Option<Found> {
        self.exact
            .get(head.path)
            .and_then(|rivals| rivals.find(head))
            .or_else(|| self.find_prefix(head))
            .or_else(|| self.find_regex(head))
            .or_else(|| self.any.find(head))
    }

    fn find_prefix(&self, head: &Head) -> Option<Found> {
        let prefixes = self.prefix_lengths.0.iter();
        prefixes
            .filter_map(|&length| self.prefix.get(beginning(head.path, length)?))
            .find_map(|rivals| rivals.find(head))
    }

    fn find_regex(&self, head: &Head) -> Option<Found> {
        let mut entries = self.regex.iter();
        entries
            .find(|(regex, entry)| entry.takes(head) && regex.is_match(head.path))
            .map(|(_, entry)| entry.found)
    }
}

impl Rivals {
    fn find(&self, head: &Head) -> Option<Found> {
        let mut entries = self.0.iter();
        entries
            .find(|entry| entry.takes(head))
            .map(|entry| entry.found)
    }
}

impl Entry {
    fn takes(&self, head: &Head) -> bool {
        self.conditions
            .as_ref()
            .is_none_or(|matcher| conditions::hold(matcher, head))
    }
}

impl Lengths {
    fn of<T>(map: &Map<T>) -> Self {
        let mut lengths: Vec<usize> = map.keys().map(|key| key.len()).collect();
        lengths.sort_unstable_by_key(|length| Reverse(*length));
        lengths.dedup();
        Self(lengths)
    }
}

/// The last `length` bytes of a host, if a label or more and a dot stand before them.
fn ending(host: &str, length: usize) -> Option<&str> {
    let dot = host.len().checked_sub(length + 1).filter(|dot| *dot > 0)?;
    (host.as_bytes()[dot] == b'.').then(|| &host[dot + 1..])
}

/// The first `length` bytes of a path, if a segment ends there.
fn beginning(path: &str, length: usize) -> Option<&str> {
    match path.as_bytes().get(length) {
        None => (path.len() == length).then_some(path),
        Some(b'/') => Some(&path[..length]),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn any() -> Matcher {
        Matcher {
            hosts: Vec::new(),
            path: PathPattern::Any,
            methods: Vec::new(),
            headers: Vec::new(),
            cookies: Vec::new(),
            query: Vec::new(),
        }
    }

    fn host(pattern: &str) -> HostPattern {
        match pattern.strip_prefix("*.") {
            Some(parent) => HostPattern::Wildcard(parent.to_owned()),
            None => HostPattern::Exact(pattern.to_owned()),
        }
    }

    /// `=/exact`, `~regex`, `/prefix` or nothing.
    fn path(pattern: &str) -> PathPattern {
        match pattern.split_at_checked(1) {
            Some(("=", exact)) => PathPattern::Exact(exact.to_owned()),
            Some(("~", regex)) => PathPattern::regex(regex).unwrap(),
            Some(_) => PathPattern::Prefix(pattern.to_owned()),
            None => PathPattern::Any,
        }
    }

    fn on(hosts: &[&str], pattern: &str) -> Matcher {
        Matcher {
            hosts: hosts.iter().map(|pattern| host(pattern)).collect(),
            path: path(pattern),
            ..any()
        }
    }

    /// The place of the route that `GET http://host/path` takes.
    fn taken(routes: &[Matcher], host: &str, path: &str) -> Option<usize> {
        let routes = routes.iter().cloned();
        let found = Router::new(routes.map(|matcher| (matcher, 0))).find(&Head {
            method: &Method::GET,
            host,
            path,
            query: None,
            headers: &HeaderMap::new(),
        });
        found.map(|found| found.route)
    }

    #[test]
    fn the_most_specific_host_wins_wherever_it_stands() {
        let routes = [
            on(&[], ""),
            on(&["*.com"], ""),
            on(&["*.example.com"], ""),
            on(&["a.example.com", "b.example.com"], ""),
        ];
        for (host, route) in [
            ("a.example.com", 3),
            ("b.example.com", 3),
            ("c.example.com", 2),
            ("c.d.example.com", 2),
            ("example.com", 1),
            (".example.com", 1),
            ("notexample.com", 1),
            ("com", 0),
            (".com", 0),
            ("", 0),
        ] {
            assert_eq!(taken(&routes, host, "/"), Some(route), "{host}");
        }
        assert_eq!(taken(&routes[2..], "example.org", "/"), None);
    }

    #[test]
    fn the_most_specific_path_wins_wherever_it_stands() {
        let routes = [
            on(&[], ""),
            on(&[], "~/api/.*"),
            on(&[], "/api"),
            on(&[], "/api/v1"),
            on(&[], "=/api/v1/users"),
            on(&[], "~/a.*|/b"),
        ];
        for (path, route) in [
            ("/api/v1/users", 4),
            ("/api/v1/users/7", 3),
            ("/api/v1", 3),
            ("/api/v1/", 3),
            ("/api/v10", 2),
            ("/api", 2),
            ("/apis", 5),
            ("/b", 5),
            ("/bc", 0),
            ("/", 0),
            ("*", 0),
        ] {
            assert_eq!(taken(&routes, "", path), Some(route), "{path}");
        }
    }

    #[test]
    fn an_exact_host_without_a_fitting_path_leaves_the_request_to_the_others() {
        let routes = [on(&["a.b"], "/x"), on(&["*.b"], "/y"), on(&[], "/")];
        assert_eq!(taken(&routes, "a.b", "/x"), Some(0));
        assert_eq!(taken(&routes, "a.b", "/y"), Some(1));
        assert_eq!(taken(&routes, "a.b", "/z"), Some(2));
    }

    #[test]
    fn a_prefix_of_everything_is_as_good_as_none() {
        let routes = [on(&[], "/"), on(&[], ""), on(&[], "~/x")];
        assert_eq!(taken(&routes, "", "/x"), Some(2));
        assert_eq!(taken(&routes, "", "/y"), Some(0));
        assert_eq!(taken(&routes[1..], "", "/y"), Some(0));
    }

    #[test]
    fn who_asks_for_more_comes_first_and_then_the_files_order() {
        let header = |value: &str| ("x-region".parse().unwrap(), value.to_owned());
        let routes = [
            any(),
            Matcher {
                headers: vec![header("eu")],
                ..any()
            },
            Matcher {
                methods: vec![Method::GET],
                headers: vec![header("eu")],
                ..any()
            },
            Matcher {
                methods: vec![Method::GET],
                cookies: vec![("beta".into(), "1".into())],
                ..any()
            },
            Matcher {
                query: vec![("v".into(), "2".into())],
                methods: vec![Method::POST],
                ..any()
            },
        ];
        let find = |method: Method, query, headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (
                    (*name).parse::<http::HeaderName>().unwrap(),
                    value.parse::<http::HeaderValue>().unwrap(),
                )
            });
            let table = Router::new(routes.iter().cloned().map(|matcher| (matcher, 0)));
            let head = Head {
                method: &method,
                host: "",
                path: "/",
                query,
                headers: &headers.collect(),
            };
            table.find(&head).unwrap().route
        };
        assert_eq!(find(Method::GET, None, &[]), 0);
        assert_eq!(find(Method::PUT, None, &[("x-region", "eu")]), 1);
        assert_eq!(
            find(
                Method::GET,
                None,
                &[("x-region", "eu"), ("cookie", "beta=1")]
            ),
            2
        );
        assert_eq!(find(Method::HEAD, None, &[("cookie", "a=b; beta=1")]), 3);
        assert_eq!(find(Method::POST, Some("a&v=2"), &[]), 4);
        assert_eq!(find(Method::POST, Some("v=3"), &[("x-region", "us")]), 0);
    }

    #[test]
    fn a_client_cannot_make_a_lookup_long() {
        let routes = [on(&["*.example.com"], "/a/b"), on(&[], "")];
        let long = "/a".repeat(30_000);
        let name = "a.".repeat(30_000);
        // Two lengths in the table: two look-ups, whatever is asked for. Run a thousand times to be seen if it were not so.
        let table = Router::new(routes.into_iter().map(|matcher| (matcher, 0)));
        assert_eq!(
            (
                table.any.prefix_lengths.0.len(),
                table.wildcard_lengths.0.len()
            ),
            (0, 1)
        );
        let headers = HeaderMap::new();
        let head = Head {
            method: &Method::GET,
            host: &name,
            path: &long,
            query: None,
            headers: &headers,
        };
        assert_eq!(table.find(&head).unwrap().route, 1);
    }
}
