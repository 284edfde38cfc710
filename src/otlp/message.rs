//! Spans as OTLP has them, with the names of OpenTelemetry's semantic conventions.

use std::net::IpAddr;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span as Said, Status, span::SpanKind, status::StatusCode,
    },
};

use crate::{
    telemetry::span::{Attempt, Span},
    units::{Address, EndpointKey},
};

/// Bits of `flags` beside those of the trace: it is known whether the parent is another program's span, and it is.
const KNOWS_PARENT: u32 = 0x100;
const REMOTE_PARENT: u32 = 0x200;

/// The methods that have a name of their own there.
const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];

/// All of a batch.
pub(super) fn request(service: &str, spans: &[Span]) -> ExportTraceServiceRequest {
    let said = spans.iter().flat_map(|span| {
        let attempts = span.attempts.iter().enumerate();
        let attempts = attempts.map(|(place, attempt)| of_attempt(span, place, attempt));
        std::iter::once(of_request(span)).chain(attempts)
    });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", service)],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: said.collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// What the client asked for, and what came of it.
fn of_request(span: &Span) -> Said {
    let (host, port) = host_and_port(&span.host);
    let mut attributes = vec![
        text("url.scheme", span.scheme),
        text("url.path", &span.path),
        text("network.protocol.version", version(span.protocol)),
    ];
    attributes.extend(
        span.client
            .map(|client| text("client.address", &client.to_string())),
    );
    attributes.extend(method(&span.method));
    if !host.is_empty() {
        attributes.push(text("server.address", host));
    }
    attributes.extend(port.map(|port| number("server.port", port.into())));
    if let Some(service) = &span.service {
        attributes.push(text("cutover.service", service.as_str()));
    }
    if let Some(attempt) = span.attempts.last() {
        attributes.extend(reached(&attempt.endpoint).into_iter().skip(1));
    }
    let fails = span.status.is_none_or(|status| status >= 500);
    let begun = nanos(span.began.as_nanosecond());
    let parent = span.parent.map(|id| id.to_be_bytes().to_vec());
    let remote = if span.parent.is_some() {
        REMOTE_PARENT
    } else {
        0
    };
    Said {
        trace_id: span.trace.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        trace_state: span.state.clone(),
        parent_span_id: parent.unwrap_or_default(),
        flags: u32::from(span.flags) | KNOWS_PARENT | remote,
        name: name(&span.method).to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: begun,
        end_time_unix_nano: begun.saturating_add(nanos(span.duration.as_nanos())),
        status: Some(outcome(&mut attributes, span.status, span.error, fails)),
        attributes,
        ..Said::default()
    }
}

/// What an endpoint was asked for, and what came of it.
fn of_attempt(span: &Span, place: usize, attempt: &Attempt) -> Said {
    let mut attributes = reached(&attempt.endpoint);
    attributes.extend(method(&span.method));
    match &attempt.endpoint.address {
        Address::Ip(address) => {
            attributes.push(text("server.address", &address.ip().to_string()));
            attributes.push(number("server.port", address.port().into()));
        }
        Address::Named(host, port) => {
            attributes.push(text("server.address", host));
            attributes.push(number("server.port", (*port).into()));
        }
        Address::Unix(path) => {
            attributes.push(text("server.address", &path.display().to_string()));
        }
    }
    if place > 0 {
        let again = i64::try_from(place).unwrap_or(i64::MAX);
        attributes.push(number("http.request.resend_count", again));
    }
    let fails = attempt.status.is_none_or(|status| status >= 400);
    let begun = nanos(span.began.as_nanosecond());
    let begun = begun.saturating_add(nanos(attempt.began.as_nanos()));
    Said {
        trace_id: span.trace.to_be_bytes().to_vec(),
        span_id: attempt.id.to_be_bytes().to_vec(),
        trace_state: span.state.clone(),
        parent_span_id: span.id.to_be_bytes().to_vec(),
        flags: u32::from(span.flags) | KNOWS_PARENT,
        name: name(&span.method).to_owned(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: begun,
        end_time_unix_nano: begun.saturating_add(nanos(attempt.duration.as_nanos())),
        status: Some(outcome(
            &mut attributes,
            attempt.status,
            attempt.error,
            fails,
        )),
        attributes,
        ..Said::default()
    }
}

/// Adds how it ended; says whether that was an error.
fn outcome(
    attributes: &mut Vec<KeyValue>,
    status: Option<u16>,
    error: Option<&str>,
    fails: bool,
) -> Status {
    attributes.extend(status.map(|status| number("http.response.status_code", status.into())));
    let by_status = || status.filter(|_| fails).map(|status| status.to_string());
    let why = error.map(str::to_owned).or_else(by_status);
    attributes.extend(why.map(|why| text("error.type", &why)));
    let code = if fails {
        StatusCode::Error
    } else {
        StatusCode::Unset
    };
    Status {
        code: code.into(),
        ..Status::default()
    }
}

fn reached(endpoint: &EndpointKey) -> Vec<KeyValue> {
    vec![
        text("cutover.service", endpoint.service.as_str()),
        text("cutover.pool", endpoint.pool.as_str()),
        text("cutover.endpoint", &endpoint.address.to_string()),
    ]
}

/// A method that nobody knows has a place of its own, so that clients cannot make up names.
fn method(method: &str) -> Vec<KeyValue> {
    if METHODS.contains(&method) {
        return vec![text("http.request.method", method)];
    }
    vec![
        text("http.request.method", "_OTHER"),
        text("http.request.method_original", method),
    ]
}

fn name(method: &str) -> &str {
    METHODS
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("HTTP")
}

fn version(protocol: &str) -> &str {
    protocol.strip_prefix("HTTP/").unwrap_or(protocol)
}

/// Of a `Host` that was checked.
fn host_and_port(host: &str) -> (&str, Option<u16>) {
    if host.parse::<IpAddr>().is_ok() {
        return (host, None);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (host, None),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn nanos(nanos: impl TryInto<u64>) -> u64 {
    nanos.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_their_ports() {
        for (host, expected) in [
            ("a.test", ("a.test", None)),
            ("a.test:81", ("a.test", Some(81))),
            ("[::1]", ("[::1]", None)),
            ("[::1]:81", ("[::1]", Some(81))),
            ("", ("", None)),
        ] {
            assert_eq!(host_and_port(host), expected);
        }
    }

    #[test]
    fn clients_make_up_no_names() {
        assert_eq!(
            (name("GET"), name("get"), name("X")),
            ("GET", "HTTP", "HTTP")
        );
        assert_eq!(method("X")[0], text("http.request.method", "_OTHER"));
        assert_eq!((version("HTTP/2"), version("HTTP/1.1")), ("2", "1.1"));
    }
}
