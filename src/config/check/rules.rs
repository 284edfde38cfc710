use std::collections::HashMap;

use http::{HeaderName, HeaderValue, StatusCode, header, uri::PathAndQuery};

use super::{Check, listeners::networks, twice};
use crate::{
    config::{
        file::{Place, View},
        problem::{Code, Problem},
    },
    units::{
        Access, Constant, HeaderEdits, OwnAnswer, PathPattern, PrefixRewrite, RateKey, RateLimit,
        Redirect, RouteRules, Target,
    },
};

/// Fields that say where a message ends, or mean one connection: whoever changes them breaks the connection. `Host` has a
/// key of its own.
const FRAMING: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Check<'_> {
    pub(super) fn rules(&mut self, view: &View<'_>, path: &PathPattern) -> RouteRules {
        RouteRules {
            request: self.edits(&view.within("request_headers")),
            response: self.edits(&view.within("response_headers")),
            prefix: self.prefix(view, path),
            host: view.parsed("rewrite_host"),
            access: self.access(view),
            rate: self.rate(&view.within("rate_limit"), view.has("rate_limit")),
        }
    }

    /// `allow` and `deny` of a route or a listener.
    pub(super) fn access(&mut self, view: &View<'_>) -> Access {
        for key in ["allow", "deny"] {
            self.not_empty(view, key);
        }
        Access {
            allow: view.has("allow").then(|| networks(view, "allow")),
            deny: networks(view, "deny"),
        }
    }

    fn rate(&mut self, view: &View<'_>, given: bool) -> Option<RateLimit> {
        if !given {
            return None;
        }
        view.require("requests", self.problems);
        let requests = view.integer("requests");
        Some(RateLimit {
            requests,
            per: view.span("per"),
            burst: if view.has("burst") {
                view.integer("burst")
            } else {
                requests
            },
            by: match view.text("by")?.strip_prefix("header:") {
                Some(name) => RateKey::Header(name.parse().ok()?),
                None => RateKey::Ip,
            },
        })
    }

    /// What goes to an app means nothing where no app is asked.
    pub(super) fn only_for_apps(&mut self, view: &View<'_>, own: &str) {
        let mut keys = vec!["request_headers", "rewrite_host"];
        if own == "respond" {
            keys.extend(["strip_prefix", "replace_prefix"]);
        }
        for key in keys.into_iter().filter(|key| view.has(key)) {
            self.tell(conflict(
                view,
                key,
                own,
                format!("`{key}` changes nothing: this route asks no app"),
            ));
        }
    }

    fn edits(&mut self, view: &View<'_>) -> HeaderEdits {
        let mut seen: HashMap<HeaderName, Place> = HashMap::new();
        let mut edits = HeaderEdits::default();
        for key in ["set", "add"] {
            for (text, place, node) in view.entries(key) {
                let value = node
                    .text()
                    .and_then(|text| HeaderValue::from_str(text).ok());
                let name = self.field(view, key, (text, place), &mut seen);
                if let Some(pair) = name.zip(value) {
                    match key {
                        "set" => edits.set.push(pair),
                        _ => edits.add.push(pair),
                    }
                }
            }
        }
        for (text, place) in view.texts("remove") {
            let name = self.field(view, "remove", (text, place), &mut seen);
            edits.remove.extend(name);
        }
        edits
    }

    fn field(
        &mut self,
        view: &View<'_>,
        key: &str,
        (text, place): (&str, Place),
        seen: &mut HashMap<HeaderName, Place>,
    ) -> Option<HeaderName> {
        let name: HeaderName = text.parse().ok()?;
        let path = view.path_of(key);
        if FRAMING.contains(&name.as_str()) {
            let message = format!("the header `{name}` can't be changed");
            let problem = Problem::new(Code::InvalidValue, place, message).key(path);
            self.tell(if name == header::HOST {
                problem.hint("`rewrite_host` says which Host the app is sent")
            } else {
                problem
                    .expected("a header that is not about the connection or the message's length")
            });
            return None;
        }
        if let Some(first) = seen.insert(name.clone(), place) {
            self.tell(twice(&format!("the header `{name}`"), &path, first, place));
            return None;
        }
        Some(name)
    }

    fn prefix(&mut self, view: &View<'_>, path: &PathPattern) -> Option<PrefixRewrite> {
        let whole = view.flag("strip_prefix");
        let written = view.text("strip_prefix");
        let to = view.text("replace_prefix");
        if written.is_none() && !whole && to.is_none() {
            return None;
        }
        let key = if view.has("strip_prefix") {
            "strip_prefix"
        } else {
            "replace_prefix"
        };
        let from = match (written, path) {
            (Some(written), _) => written,
            (None, PathPattern::Prefix(path) | PathPattern::Exact(path)) => path,
            (None, PathPattern::Any) if !whole => "/",
            (None, PathPattern::Any | PathPattern::Regex(_)) => {
                let message = "this route has no `path` to take off";
                self.tell(
                    Problem::new(Code::Conflict, view.place_of(key), message)
                        .key(view.path_of(key))
                        .expected("`path`, or strip_prefix = \"/prefix\""),
                );
                return None;
            }
        };
        let rewrite = PrefixRewrite::new(from, to.unwrap_or("/"));
        let wrong = match path {
            PathPattern::Prefix(path) | PathPattern::Exact(path) if never_meet(from, path) => {
                Some(format!("no path of this route begins with `{from}`"))
            }
            _ if rewrite.is_idle() => Some(format!("`{from}` in place of itself changes nothing")),
            _ if rewrite.to().parse::<PathAndQuery>().is_err() => {
                Some(format!("`{}` is no path of a request", rewrite.to()))
            }
            _ => None,
        };
        if let Some(message) = wrong {
            self.tell(
                Problem::new(Code::InvalidValue, view.place_of(key), message)
                    .key(view.path_of(key))
                    .expected("a change of the paths that this route takes"),
            );
            return None;
        }
        Some(rewrite)
    }

    pub(super) fn redirect(&mut self, view: &View<'_>) -> Option<OwnAnswer> {
        let parts: Vec<_> = ["scheme", "host", "path"]
            .into_iter()
            .filter(|key| view.has(key))
            .collect();
        let to = match (view.has("to"), parts.first()) {
            (true, Some(part)) => {
                self.tell(conflict(
                    view,
                    part,
                    "to",
                    format!("`to` says all, so `{part}` says nothing"),
                ));
                return None;
            }
            (true, None) => Target::Template(view.parsed("to")?),
            (false, Some(_)) => Target::Parts {
                scheme: view.text("scheme").map(str::to_owned),
                host: view.text("host").map(str::to_owned),
                path: view.text("path").map(str::to_owned),
            },
            (false, None) => {
                let message = format!("`{}` is missing", view.path_of("to"));
                self.tell(
                    Problem::new(Code::MissingKey, view.place, message)
                        .key(view.path_of("to"))
                        .expected("`to`, or some of scheme, host and path")
                        .hint("such as to = \"https://www.example.com{path}{query}\""),
                );
                return None;
            }
        };
        let status = StatusCode::from_u16(view.integer("status")).ok()?;
        Some(OwnAnswer::Redirect(Redirect { status, to }))
    }

    pub(super) fn constant(&mut self, view: &View<'_>) -> Option<OwnAnswer> {
        view.require("status", self.problems);
        let status = StatusCode::from_u16(view.integer("status")).ok()?;
        if matches!(status.as_u16(), 204 | 205 | 304) && view.has("body") {
            self.tell(conflict(
                view,
                "body",
                "status",
                format!("an answer of status {} has no body", status.as_u16()),
            ));
        }
        Some(OwnAnswer::Constant(Constant {
            status,
            content_type: view.parsed("content_type")?,
            body: view.text("body").unwrap_or("").to_owned().into(),
        }))
    }
}

/// Whether no path can begin with both.
fn never_meet(one: &str, other: &str) -> bool {
    let within = |path: &str, prefix: &str| {
        let rest = path.strip_prefix(prefix.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !within(one, other) && !within(other, one)
}

/// `key` can't stand beside `other`.
fn conflict(view: &View<'_>, key: &str, other: &str, message: String) -> Problem {
    Problem::new(Code::Conflict, view.place_of(key), message)
        .key(view.path_of(key))
        .also(view.place_of(other), "because of this")
}
