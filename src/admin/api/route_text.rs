//! Routes, and what they change, in words.

use http::{HeaderName, HeaderValue, Method};

use crate::{
    snapshot::Rules,
    units::{HeaderEdits, HostPattern, Matcher, Networks, OwnAnswer, PathPattern, Span},
};

/// What the route does to the request and its answer.
pub(super) fn changes(rules: &Rules) -> Vec<String> {
    let typed = &rules.typed;
    let mut told = Vec::new();
    let list = |networks: &Networks| {
        let texts = networks.written().iter().map(ToString::to_string);
        texts.collect::<Vec<_>>().join(", ")
    };
    if let Some(allow) = &typed.access.allow {
        told.push(format!("for clients of {} only", list(allow)));
    }
    if !typed.access.deny.written().is_empty() {
        told.push(format!("not for clients of {}", list(&typed.access.deny)));
    }
    if let Some(rate) = &typed.rate {
        told.push(format!(
            "{} requests in {} of each client, {} at once",
            rate.requests,
            Span(rate.per),
            rate.burst
        ));
    }
    if let Some(prefix) = &typed.prefix {
        told.push(format!("{} becomes {}", prefix.from(), prefix.to()));
    }
    if let Some(host) = &typed.host {
        told.push(format!(
            "the app is sent Host {}",
            host.to_str().unwrap_or_default()
        ));
    }
    told.extend(edits("the request", &typed.request));
    match &rules.own {
        Some(OwnAnswer::Redirect(redirect)) => told.push(format!("redirects to {}", redirect.to)),
        Some(OwnAnswer::Constant(_)) => told.push("answers the same to everybody".to_owned()),
        None => {}
    }
    told.extend(edits("the answer", &typed.response));
    told
}

fn edits(of: &str, edits: &HeaderEdits) -> Option<String> {
    let put = |what, pairs: &[(HeaderName, HeaderValue)]| {
        let names = pairs.iter().map(move |(name, _)| format!("{what} {name}"));
        names.collect::<Vec<_>>()
    };
    let mut all = put("sets", &edits.set);
    all.extend(put("adds", &edits.add));
    all.extend(edits.remove.iter().map(|name| format!("removes {name}")));
    (!all.is_empty()).then(|| format!("{of}: {}", all.join(", ")))
}

/// A route as a person would say it.
pub(super) fn describe(matcher: &Matcher) -> String {
    let mut parts = Vec::new();
    let hosts = matcher.hosts.iter().map(|host| match host {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(parent) => format!("*.{parent}"),
    });
    let hosts: Vec<_> = hosts.collect();
    parts.push(if hosts.is_empty() {
        "any host".to_owned()
    } else {
        hosts.join(" or ")
    });
    parts.push(match &matcher.path {
        PathPattern::Any => "any path".to_owned(),
        PathPattern::Exact(path) => format!("path {path}"),
        PathPattern::Prefix(path) => format!("below {path}"),
        PathPattern::Regex(regex) => format!("path like {}", regex.as_str()),
    });
    if !matcher.methods.is_empty() {
        let methods: Vec<_> = matcher.methods.iter().map(Method::as_str).collect();
        parts.push(methods.join(" or "));
    }
    let names = matcher
        .headers
        .iter()
        .map(|(name, _)| format!("header {name}"));
    let cookies = matcher
        .cookies
        .iter()
        .map(|(name, _)| format!("cookie {name}"));
    let queries = matcher
        .query
        .iter()
        .map(|(name, _)| format!("query {name}"));
    parts.extend(names.chain(cookies).chain(queries));
    parts.join(", ")
}
