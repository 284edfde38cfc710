use http::{HeaderName, HeaderValue};

use super::{
    Block, Entry, Field, access,
    value::{array, map, quoted, table},
};
use crate::{
    config::{
        file::keys,
        plan::{Route, Target},
    },
    units::{
        Constant, HeaderEdits, OwnAnswer, PathPattern, RateKey, Redirect, RouteRules, Span,
        Target as To,
    },
};

pub fn describe(route: &Route) -> Block {
    let matcher = &route.matcher;
    let mut block = Block::item("routes", "", keys::ROUTE);
    if !matcher.hosts.is_empty() {
        block.put("host", array(&matcher.hosts));
    }
    match &matcher.path {
        PathPattern::Any => {}
        path @ PathPattern::Exact(_) => block.text("path_exact", path),
        path @ PathPattern::Prefix(_) => block.text("path", path),
        path @ PathPattern::Regex(_) => block.text("path_regex", path),
    }
    if !matcher.methods.is_empty() {
        block.put("methods", array(&matcher.methods));
    }
    let headers = matcher
        .headers
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()));
    let cookies = matcher
        .cookies
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()));
    let query = matcher.query.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    for (key, pairs) in [
        ("headers", map(headers)),
        ("cookies", map(cookies)),
        ("query", map(query)),
    ] {
        block.entries.extend(pairs.map(|pairs| Entry {
            key,
            field: Field::Text(pairs),
            usual: false,
        }));
    }
    // Routes have no names: what they match is what they are.
    let conditions: Vec<_> = block
        .entries
        .iter()
        .map(|entry| format!("{} = {}", entry.key, entry.field))
        .collect();
    block.name = if conditions.is_empty() {
        "routes { }".into()
    } else {
        format!("routes {{ {} }}", conditions.join(", "))
    };
    match &route.target {
        Target::Service(service) => block.text("service", service),
        Target::Own(OwnAnswer::Redirect(redirect)) => block.put("redirect", of_redirect(redirect)),
        Target::Own(OwnAnswer::Constant(constant)) => block.put("respond", of_constant(constant)),
    }
    rules(&route.rules, &mut block);
    block
}

fn rules(rules: &RouteRules, block: &mut Block) {
    access(&rules.access, block);
    if let Some(rate) = &rules.rate {
        let by = match &rate.by {
            RateKey::Ip => "ip".to_owned(),
            RateKey::Header(name) => format!("header:{name}"),
        };
        let parts = [
            ("requests", rate.requests.to_string()),
            ("per", quoted(&Span(rate.per).to_string())),
            ("burst", rate.burst.to_string()),
            ("by", quoted(&by)),
        ];
        block.put("rate_limit", table(parts.into_iter()).unwrap_or_default());
    }
    if let Some(prefix) = &rules.prefix {
        block.text("strip_prefix", prefix.from());
        if prefix.to() != "/" {
            block.text("replace_prefix", prefix.to());
        }
    }
    if let Some(host) = &rules.host {
        block.text("rewrite_host", shown(host));
    }
    for (key, edits) in [
        ("request_headers", &rules.request),
        ("response_headers", &rules.response),
    ] {
        if let Some(edits) = of_edits(edits) {
            block.put(key, edits);
        }
    }
}

fn shown(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

fn of_edits(edits: &HeaderEdits) -> Option<String> {
    let pairs = |pairs: &[(HeaderName, HeaderValue)]| {
        map(pairs
            .iter()
            .map(|(name, value)| (name.as_str(), shown(value))))
    };
    let remove = (!edits.remove.is_empty()).then(|| array(&edits.remove));
    let parts = [
        ("set", pairs(&edits.set)),
        ("add", pairs(&edits.add)),
        ("remove", remove),
    ];
    table(
        parts
            .into_iter()
            .filter_map(|(key, part)| Some((key, part?))),
    )
}

fn of_redirect(redirect: &Redirect) -> String {
    let mut parts = match &redirect.to {
        To::Template(template) => vec![("to", quoted(&template.to_string()))],
        To::Parts { scheme, host, path } => {
            let parts = [("scheme", scheme), ("host", host), ("path", path)];
            let parts = parts.into_iter();
            parts
                .filter_map(|(key, part)| Some((key, quoted(part.as_ref()?))))
                .collect()
        }
    };
    parts.push(("status", redirect.status.as_u16().to_string()));
    table(parts.into_iter()).unwrap_or_default()
}

fn of_constant(constant: &Constant) -> String {
    let mut parts = vec![
        ("status", constant.status.as_u16().to_string()),
        ("content_type", quoted(shown(&constant.content_type))),
    ];
    if !constant.body.is_empty() {
        parts.push(("body", quoted(&String::from_utf8_lossy(&constant.body))));
    }
    table(parts.into_iter()).unwrap_or_default()
}
