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
