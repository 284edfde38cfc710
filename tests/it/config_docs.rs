//! `docs/config.md` has every key, as the program knows it.

use std::{fs, path::Path};

use cutover::{
    config::file::{Fallback, Key, Section, Shape, described, keys, keys_of},
    control::Kind,
};

/// The tables of the page: the path under which a section's keys stand, and the section.
const SECTIONS: &[(&str, Section)] = &[
    ("", keys::ROOT),
    ("startup.", keys::STARTUP),
    ("shutdown.", keys::SHUTDOWN),
    ("admin.", keys::ADMIN),
    ("admin.tokens[].", keys::TOKEN),
    ("telemetry.", keys::TELEMETRY),
    ("telemetry.access_log.", keys::ACCESS_LOG),
    ("telemetry.otlp.", keys::OTLP),
    ("telemetry.otlp.headers[].", keys::OTLP_HEADER),
    ("listeners[].", keys::LISTENER),
    ("listeners[].timeouts.", keys::LISTENER_TIMEOUTS),
    ("listeners[].limits.", keys::LISTENER_LIMITS),
    ("listeners[].redirect_https.", keys::REDIRECT_HTTPS),
    ("listeners[].tls.", keys::LISTENER_TLS),
    ("listeners[].tls.certificates[].", keys::PAIR),
    ("listeners[].tls.acme.", keys::ACME),
    ("listeners[].tls.client_auth.", keys::CLIENT_AUTH),
    ("listeners[].tls.hsts.", keys::HSTS),
    ("routes[].", keys::ROUTE),
    ("routes[].request_headers.", keys::HEADER_EDITS),
    ("routes[].response_headers.", keys::HEADER_EDITS),
    ("routes[].rate_limit.", keys::RATE_LIMIT),
    ("routes[].redirect.", keys::REDIRECT),
    ("routes[].respond.", keys::RESPOND),
    ("services.NAME.", keys::SERVICE),
    ("services.NAME.hold.", keys::HOLD),
    ("services.NAME.maintenance.", keys::MAINTENANCE),
    ("services.NAME.faults[].", keys::FAULT),
    ("services.NAME.slow_start.", keys::SLOW_START),
    ("services.NAME.mirror.", keys::MIRROR),
    ("services.NAME.errors.STATUS.", keys::ERROR_PAGE),
    ("services.NAME.sticky.", keys::STICKY),
    ("services.NAME.preview.", keys::PREVIEW),
    ("services.NAME.preview.secret.", keys::SECRET),
    ("services.NAME.timeouts.", keys::TIMEOUTS),
    ("services.NAME.retry.", keys::RETRY),
    ("services.NAME.outlier.", keys::OUTLIER),
    ("services.NAME.limits.", keys::LIMITS),
    ("services.NAME.queue.", keys::QUEUE),
    ("services.NAME.drain.", keys::DRAIN),
    ("services.NAME.rollout.", keys::ROLLOUT),
    ("services.NAME.rollout.steps[].", keys::STEP),
    ("services.NAME.rollout.guard.", keys::GUARD),
    ("services.NAME.rollout.judge.", keys::JUDGE),
    ("services.NAME.rollout.judge.latency.", keys::LATENCY),
    ("services.NAME.rollout.rescue.", keys::RESCUE),
    ("services.NAME.rollout.absolute.", keys::ABSOLUTE),
    ("services.NAME.rollout.metrics[].", keys::METRIC),
    (
        "services.NAME.rollout.metrics[].prometheus.",
        keys::PROMETHEUS,
    ),
    ("services.NAME.rollout.metrics[].http.", keys::DOCUMENT),
    ("services.NAME.rollout.hooks[].", keys::HOOK),
    ("services.NAME.probe.", keys::PROBE),
    ("services.NAME.probe.expect.", keys::EXPECT),
    ("services.NAME.tls.", keys::UPSTREAM_TLS),
    ("services.NAME.pools.NAME.", keys::POOL),
    ("services.NAME.pools.NAME.endpoints[].", keys::ENDPOINT),
    ("services.NAME.pools.NAME.discover.", keys::DISCOVER),
    ("notify[].", keys::NOTIFY),
];

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Table(_) => "a table".into(),
        Shape::Array(Shape::Table(_)) => "tables".into(),
        Shape::Array(Shape::Either([Shape::Text(syntax), Shape::Table(_)])) => {
            format!("an array, each item {}, or a table", syntax.what)
        }
        Shape::Map(name, Shape::Table(_)) => format!("tables, each under {}", name.what),
        Shape::Either([Shape::Table(_), Shape::Off]) => "a table, or `false`".into(),
        Shape::Either([Shape::Table(_), Shape::Bool]) => "a table, or true or false".into(),
        other => described(other),
    }
}

fn row(path: &str, key: &Key) -> String {
    let default = match key.fallback {
        _ if key.required => "must be given".to_owned(),
        Fallback::None => String::new(),
        Fallback::Text(text) => format!("`\"{text}\"`"),
        Fallback::Integer(number) => format!("`{number}`"),
        Fallback::Real(number) => format!("`{number}`"),
        Fallback::Bool(flag) => format!("`{flag}`"),
        Fallback::Texts(texts) => format!("`{texts:?}`"),
    };
    let kind = kind(&key.shape);
    format!(
        "| `{path}{}` | {kind} | {default} | {} |",
        key.name, key.doc
    )
}

#[test]
fn the_page_has_every_key_with_its_default_and_bounds() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    let page = fs::read_to_string(page).unwrap_or_default();
    let mut missing = Vec::new();
    for (path, section) in SECTIONS {
        let written = keys_of(section).filter(|key| !matches!(key.shape, Shape::Later));
        let rows = written.map(|key| row(path, key));
        missing.extend(rows.filter(|row| !page.lines().any(|line| line == row)));
    }
    assert!(
        missing.is_empty(),
        "docs/config.md lacks these rows:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_type_of_event_may_be_notified_of() {
    let kinds: Vec<_> = Kind::ALL.into_iter().map(Kind::as_str).collect();
    assert_eq!(keys::EVENTS, kinds, "src/config/file/keys/events.rs");
}
