//! What clients are told when no app answers, and what the proxy says of itself.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::fs;

use crate::support::{Proxy, answer, endpoint, proxy};

async fn asked(proxy: &Proxy, path: &str, fields: &str) -> (u16, Option<String>, String) {
    let mut client = proxy.client().await;
    client
        .send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
        .await;
    let answer = client.answer().await;
    let kind = answer.header("content-type").map(str::to_owned);
    (answer.status, kind, answer.body)
}

#[tokio::test]
async fn pages_stand_in_place_of_our_own_answers_and_never_of_an_apps() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        format!("{{ file = {path:?} }}")
    };
    let errors = [
        format!(
            "[defaults.errors]\n4xx = {}",
            file("4xx.html", "<p>{status}!")
        ),
        format!(
            "[services.app.errors]\n502 = {}",
            file("502.json", "{\"gone\":{status}}")
        ),
        format!("5xx = {}", file("5xx.txt", "later")),
    ];
    let route = "[[routes]]\nservice = \"app\"\npath = \"/in\"\n\
         [[routes]]\nservice = \"app\"\npath = \"/out\"\ndeny = [\"0.0.0.0/0\"]\n";
    let app = endpoint("blue").reply(503).start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more(&format!("{route}{}\n", errors.join("\n")))
        .start();
    let told = |status, kind: &str, body: &str| (status, Some(kind.to_owned()), body.to_owned());
    let html = "text/html; charset=utf-8";
    let json = "accept: application/json\r\n";
    assert_eq!(asked(&proxy, "/none", "").await, told(404, html, "<p>404!"));
    assert_eq!(asked(&proxy, "/out", "").await, told(403, html, "<p>403!"));
    let own = "{\"status\":404,\"error\":\"Not Found\"}\n";
    assert_eq!(
        asked(&proxy, "/none", json).await,
        told(404, "application/json", own)
    );
    assert_eq!(asked(&proxy, "/in", "").await, (503, None, "503".into()));
    app.stop().await;
    for fields in ["", json] {
        let gone = told(502, "application/json", "{\"gone\":502}");
        assert_eq!(asked(&proxy, "/in", fields).await, gone);
    }
    proxy.put("blue", cutover::pool::State::Drained, false);
    let later = told(503, "text/plain; charset=utf-8", "later");
    assert_eq!(asked(&proxy, "/in", "").await, later);
}

#[tokio::test]
async fn answers_name_their_pool_where_that_is_wished() {
    let bytes = answer(200, &[("cutover-pool", "mine")], b"x");
    let app = endpoint("blue").bytes(bytes).start().await;
    for (line, named) in [("", "mine"), ("pool_header = true", "blue")] {
        let proxy = proxy()
            .service(line)
            .pool("blue", 100, &[&app])
            .more("[[routes]]\nservice = \"app\"\npath = \"/in\"\n")
            .start();
        assert_eq!(proxy.get("/in").await.header("cutover-pool"), Some(named));
        assert_eq!(proxy.get("/").await.header("cutover-pool"), None);
    }
}

#[tokio::test]
async fn via_is_said_both_ways_where_that_is_wished() {
    let bytes = answer(200, &[("via", "1.1 inner")], b"x");
    for (line, ours) in [("", false), ("via = true", true)] {
        let app = endpoint("blue").bytes(bytes.clone()).start().await;
        let proxy = proxy().listener(line).pool("blue", 100, &[&app]).start();
        let mut client = proxy.client().await;
        client
            .send("GET / HTTP/1.0\r\nhost: a\r\nvia: 1.1 outer\r\n\r\n")
            .await;
        let head = client.answer().await.head;
        assert!(head.contains("via: 1.1 inner\r\n"), "{head}");
        assert_eq!(head.contains("via: 1.1 cutover\r\n"), ours, "{head}");
        let request = app.request().to_ascii_lowercase();
        assert!(request.contains("via: 1.1 outer\r\n"), "{request}");
        assert_eq!(request.contains("via: 1.0 cutover\r\n"), ours, "{request}");
    }
}

#[tokio::test]
async fn a_trace_is_passed_on_or_started() {
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (line, starts, flag) in [
        ("", false, ""),
        ("traceparent = \"100%\"", true, "01"),
        ("traceparent = \"0%\"", true, "00"),
    ] {
        let app = endpoint("blue").start().await;
        let proxy = proxy().listener(line).pool("blue", 100, &[&app]).start();
        let valid = format!("traceparent: {given}\r\ntracestate: a=b\r\n");
        for fields in [&*valid, "tracestate: a=b\r\n", ""] {
            assert_eq!(asked(&proxy, "/", fields).await.0, 200);
        }
        let of = |request: &str, name: &str| {
            let lines = request.split("\r\n");
            let mut values = lines.filter_map(|line| line.strip_prefix(name));
            values.next().map(str::to_owned)
        };
        let seen = app.requests();
        let traces: Vec<_> = seen.iter().map(|r| of(r, "traceparent: ")).collect();
        assert_eq!(traces[0].as_deref(), Some(given));
        assert_eq!(of(&seen[0], "tracestate: ").as_deref(), Some("a=b"));
        assert_eq!(of(&seen[1], "tracestate: ").is_some(), !starts);
        for trace in &traces[1..] {
            assert_eq!(trace.is_some(), starts);
            let trace = trace.as_deref().unwrap_or("");
            assert!(
                !starts || trace.len() == 55 && trace.ends_with(flag),
                "{trace}"
            );
        }
        assert!(!starts || traces[1] != traces[2]);
    }
}
