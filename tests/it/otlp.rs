//! Spans of requests whose traces are sampled reach a collector, and nobody waits for it.
#![cfg(feature = "otlp")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use cutover::{
    otlp::{self, Exporter},
    telemetry::{SpanCounts, Spans},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message;

use crate::support::{App, Proxy, answer, endpoint, proxy, until, within};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const SECOND: Duration = Duration::from_secs(1);

/// What a collector got.
#[derive(Clone, Default)]
struct Got {
    heads: Arc<Mutex<Vec<String>>>,
    batches: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Got {
    fn spans(&self) -> Vec<Span> {
        let batches = self.batches.lock().unwrap();
        let resources = batches.iter().flat_map(|batch| &batch.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The spans, once there are so many.
    async fn spans_of(&self, count: usize) -> Vec<Span> {
        until("spans to arrive", || self.spans().len() >= count).await;
        self.spans()
    }
}

/// Answers with these statuses, and then with 200.
async fn collector(statuses: &'static [u16]) -> (App, Got) {
    let got = Got::default();
    let seen = got.clone();
    let app = endpoint("collector")
        .serve(move |mut peer| {
            let got = seen.clone();
            async move {
                while let Ok(head) = peer.head().await {
                    let length = header(&head, "content-length").parse().unwrap();
                    let body = peer.bytes(length).await;
                    let batch = ExportTraceServiceRequest::decode(&*body).unwrap();
                    let status = {
                        let mut heads = got.heads.lock().unwrap();
                        heads.push(head);
                        statuses.get(heads.len() - 1).copied().unwrap_or(200)
                    };
                    if status == 200 {
                        got.batches.lock().unwrap().push(batch);
                    }
                    peer.write(&answer(status, &[], b"")).await;
                }
            }
        })
        .start()
        .await;
    (app, got)
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(field, _)| field.eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("no {name} in {head}")).1
}

/// A proxy whose spans go to a collector.
struct World {
    proxy: Proxy,
    exporter: Exporter,
    counts: Arc<SpanCounts>,
    collector: App,
    got: Got,
}

/// `sampled`: of the traces that begin here.
async fn world(statuses: &'static [u16], sampled: &str, endpoints: &[&str]) -> World {
    let (collector, got) = collector(statuses).await;
    let (spans, exporter, counts) = export_to(&collector.address.to_string(), SECOND * 5);
    let proxy = proxy_to(&spans, sampled, endpoints);
    World {
        proxy,
        exporter,
        counts,
        collector,
        got,
    }
}

fn proxy_to(spans: &Spans, sampled: &str, endpoints: &[&str]) -> Proxy {
    proxy()
        .listener(&format!("traceparent = \"{sampled}\""))
        .pool_at("blue", 1, endpoints)
        .spans_to(spans)
        .start()
}

impl World {
    /// Sends what waits.
    async fn end(self) -> Got {
        within("the exporter", self.exporter.end()).await;
        self.got
    }
}

fn export_to(address: &str, timeout: Duration) -> (Spans, Exporter, Arc<SpanCounts>) {
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", http::HeaderValue::from_static("Bearer x"));
    let (spans, exporter) = otlp::start(otlp::Settings {
        endpoint: format!("http://{address}").parse().unwrap(),
        headers,
        timeout,
        service_name: "edge".to_owned(),
    })
    .unwrap();
    let counts = spans.counts();
    (spans, exporter, counts)
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let attribute = |held: &'_ opentelemetry_proto::tonic::common::v1::KeyValue| match held
        .value
        .clone()
        .unwrap()
        .value
        .unwrap()
    {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let held = span.attributes.iter();
    held.map(|held| (held.key.as_str(), attribute(held)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<Vec<_>>().concat()
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

fn get(path: &str, flags: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: shop.test:81\r\ntraceparent: 00-{TRACE}-{PARENT}-{flags}\r\ntracestate: a=b,c=d\r\n\r\n"
    )
}

#[tokio::test]
async fn a_request_and_each_attempt_at_it_are_spans_of_the_clients_trace() {
    let app = endpoint("blue").start().await;
    let gone = endpoint("gone").start().await.stop().await;
    let endpoints = [gone.to_string(), app.address.to_string()];
    let world = world(&[], "0%", &[&endpoints[0], &endpoints[1]]).await;
    let mut client = world.proxy.client().await;
    // One of two at least begins with the endpoint that is gone.
    for _ in 0..2 {
        client.send(get("/cart?secret=1", "01")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let spans = world.got.spans_of(5).await;
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == 2).collect();
    let clients: Vec<_> = spans.iter().filter(|span| span.kind == 3).collect();
    assert_eq!(servers.len(), 2);
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(
            (span.trace_state.as_str(), span.flags & 0xff),
            ("a=b,c=d", 1)
        );
        assert_eq!(span.name, "GET");
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    }
    for server in &servers {
        assert_eq!(hex(&server.parent_span_id), PARENT);
        let said = attributes(server);
        for (key, value) in [
            ("http.request.method", "GET"),
            ("url.scheme", "http"),
            ("url.path", "/cart"),
            ("http.response.status_code", "200"),
            ("server.address", "shop.test"),
            ("server.port", "81"),
            ("client.address", "127.0.0.1"),
            ("network.protocol.version", "1.1"),
            ("cutover.service", "app"),
            ("cutover.pool", "blue"),
            ("cutover.endpoint", &app.address.to_string()),
        ] {
            assert_eq!(said[key], value, "{key}");
        }
        assert!(!said.contains_key("error.type"));
    }
    let (failed, served): (Vec<_>, Vec<_>) = clients
        .iter()
        .partition(|span| attributes(span).contains_key("error.type"));
    assert_eq!(served.len(), 2);
    let said = attributes(failed[0]);
    assert_eq!(said["error.type"], "connect-failed");
    assert_eq!(said["cutover.endpoint"], gone.to_string());
    // What the endpoint is told is the attempt, which is a child of the request's span.
    for request in app.requests() {
        let told = header(&request, "traceparent").to_owned();
        let attempt = served
            .iter()
            .find(|span| told == format!("00-{TRACE}-{}-01", hex(&span.span_id)));
        let parent = &attempt.expect("one of them").parent_span_id;
        assert!(servers.iter().any(|server| server.span_id == *parent));
        assert_eq!(header(&request, "tracestate"), "a=b,c=d");
    }
    let resent = served.iter().filter(|span| {
        attributes(span)
            .get("http.request.resend_count")
            .is_some_and(|count| count == "1")
    });
    assert_eq!(resent.count(), failed.len());
    assert_said_once(&world.got, &world.collector.address.to_string());
    until("the count", || {
        count(&world.counts.exported) == spans.len() as u64
    })
    .await;
    world.end().await;
}

/// What a batch comes with.
fn assert_said_once(got: &Got, collector: &str) {
    let head = got.heads.lock().unwrap()[0].clone();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "content-type"), "application/x-protobuf");
    assert_eq!(header(&head, "authorization"), "Bearer x");
    assert_eq!(header(&head, "host"), collector);
    let batch = got.batches.lock().unwrap()[0].clone();
    let resource = batch.resource_spans[0].resource.clone().unwrap();
    assert_eq!(resource.attributes[0].key, "service.name");
}

#[tokio::test]
async fn what_is_not_sampled_makes_no_span_and_goes_on_as_it_came() {
    let app = endpoint("blue").start().await;
    let world = world(&[], "0%", &[&app.address.to_string()]).await;
    let mut client = world.proxy.client().await;
    client.send(get("/", "00")).await;
    assert_eq!(client.answer().await.status, 200);
    let told = format!("00-{TRACE}-{PARENT}-00");
    assert_eq!(header(&app.request(), "traceparent"), told);
    assert_eq!(world.proxy.get("/").await.status, 200);
    assert!(header(&app.requests()[1], "traceparent").ends_with("-00"));
    assert!(world.end().await.spans().is_empty());
}

#[tokio::test]
async fn a_trace_that_begins_here_begins_with_the_requests_span() {
    let world = world(&[], "100%", &["127.0.0.1:1"]).await;
    world.proxy.decide(|decided| decided.pools.clear());
    assert_eq!(world.proxy.get("/").await.status, 503);
    // What waits is sent at the end.
    let spans = world.end().await.spans();
    assert_eq!(spans.len(), 1);
    assert!(spans[0].parent_span_id.is_empty());
    let said = attributes(&spans[0]);
    assert_eq!(said["error.type"], "no-endpoint");
    assert_eq!(said["http.response.status_code"], "503");
    assert_eq!(spans[0].status.as_ref().unwrap().code, 2);
}

#[tokio::test]
async fn a_batch_that_a_busy_collector_did_not_take_is_sent_again() {
    let app = endpoint("blue").start().await;
    let world = world(&[503], "100%", &[&app.address.to_string()]).await;
    assert_eq!(world.proxy.get("/").await.status, 200);
    assert_eq!(world.got.spans_of(2).await.len(), 2);
    until("the count", || count(&world.counts.exported) == 2).await;
    assert_eq!(count(&world.counts.failed), 0);
    assert_eq!(world.end().await.heads.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn spans_that_a_collector_refuses_are_counted() {
    let app = endpoint("blue").start().await;
    let world = world(&[400], "100%", &[&app.address.to_string()]).await;
    assert_eq!(world.proxy.get("/").await.status, 200);
    until("the count", || count(&world.counts.failed) == 2).await;
    assert_eq!(world.end().await.heads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_that_is_abandoned_is_a_span_without_an_answer() {
    let app = endpoint("slow").silent().start().await;
    let world = world(&[], "100%", &[&app.address.to_string()]).await;
    let mut client = world.proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    app.until_requests(1).await;
    drop(client);
    for span in world.got.spans_of(2).await {
        let said = attributes(&span);
        assert_eq!(said["error.type"], "abandoned");
        assert!(!said.contains_key("http.response.status_code"));
    }
}

#[tokio::test]
async fn nobody_waits_for_a_collector_that_hangs_and_what_is_too_much_is_dropped() {
    let silent = endpoint("silent").silent().start().await;
    let (spans, exporter, counts) = export_to(&silent.address.to_string(), SECOND / 5);
    let app = endpoint("blue").start().await;
    let proxy = proxy_to(&spans, "100%", &[&app.address.to_string()]);
    let mut client = proxy.client().await;
    // More than are kept: what waits, and the batch under way.
    for _ in 0..5000 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let dropped = count(&counts.dropped);
    assert!(dropped > 0);
    let ended = tokio::time::timeout(SECOND * 9, exporter.end()).await;
    assert!(ended.is_ok(), "each batch is tried once more, and no more");
    assert_eq!(count(&counts.exported), 0);
    assert_eq!(count(&counts.failed) + dropped, 10_000);
}
