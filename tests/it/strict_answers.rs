//! What an endpoint may say, and that nothing it says beyond that reaches a client. The ids are those of
//! `docs/catalogue.md`.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::support::{App, Proxy, answer, endpoint, proxy};

const NEXT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";

async fn behind(bytes: impl Into<Vec<u8>>) -> (App, Proxy) {
    let app = endpoint("blue").bytes(bytes).start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    (app, proxy)
}

/// Each answer is a 502, the endpoint's error, and the end of its connection.
async fn are_malformed(cases: &[(&str, Vec<u8>)]) {
    for (id, bytes) in cases {
        let shown = bytes[..bytes.len().min(80)].escape_ascii().to_string();
        let (app, proxy) = behind(bytes.clone()).await;
        let mut client = proxy.client().await;
        for n in 1..3 {
            let refused = client.get("/").await;
            assert_eq!(
                (refused.status, refused.body.as_str()),
                (502, "502 Bad Gateway\n"),
                "{id}: {shown}"
            );
            assert_eq!(proxy.failures("blue"), [("malformed", n)], "{id}: {shown}");
        }
        app.until_closed().await;
        assert_eq!(app.connections(), 2, "{id}: {shown}");
    }
}

#[tokio::test]
async fn u_08_an_answer_that_ends_in_two_places_is_a_502() {
    let fields = [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
        "content-length: 3\r\ncontent-length: 4",
        "content-length: 3\r\ncontent-length: 3",
        "content-length: 3, 3",
        "content-length: +3",
        "content-length: 3 3",
        "content-length: -1",
        "content-length:",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip",
        "transfer-encoding: xchunked",
        "transfer-encoding: identity",
        "transfer-encoding:",
    ];
    let mut cases: Vec<_> = fields
        .into_iter()
        .map(|fields| {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
            ("u-08", text.into_bytes())
        })
        .collect();
    let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    cases.push(("u-08", old.into()));
    are_malformed(&cases).await;
}

#[tokio::test]
async fn u_08_a_length_is_passed_on_as_every_reader_writes_it() {
    let (_app, proxy) = behind("HTTP/1.1 200 OK\r\ncontent-length: 003\r\n\r\nabc").await;
    let answer = proxy.get("/").await;
    assert_eq!(
        (answer.header("content-length"), answer.body.as_str()),
        (Some("3"), "abc")
    );
}

#[tokio::test]
async fn u_09_and_p_09_a_field_that_is_none_is_a_502() {
    let many = "x: 1\r\n".repeat(1000);
    let large = format!("x: {}", "y".repeat(1 << 20));
    let fields: Vec<&[u8]> = vec![
        b"x: \0",
        b"x: a\rset-cookie: b",
        b"x: a\r\n b",
        b"x : a",
        b"x y: a",
        b": a",
        b"x: \x1b[31m",
        many.trim_end().as_bytes(),
        large.as_bytes(),
    ];
    let cases: Vec<_> = fields
        .into_iter()
        .map(|field| {
            let parts = [
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n",
                field,
                b"\r\n\r\n",
            ];
            ("u-09", parts.concat())
        })
        .collect();
    are_malformed(&cases).await;
}

#[tokio::test]
async fn u_10_a_status_that_is_none_is_a_502() {
    let lines = [
        "HTTP/1.1 99 X",
        "HTTP/1.1 099 X",
        "HTTP/1.1 1000 X",
        "HTTP/1.1 2x0 X",
        "HTTP/1.1 -20 X",
        "HTTP/1.1  200 OK",
        "HTTP/1.1",
        "HTTP/9.9 200 OK",
        "HTTP/2.0 200 OK",
        "http/1.1 200 OK",
        "<html>hello</html>",
        "\0\0\0",
        "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{28}",
    ];
    let case = |line: &str| {
        (
            "u-10",
            format!("{line}\r\ncontent-length: 0\r\n\r\n").into_bytes(),
        )
    };
    are_malformed(&lines.map(case)).await;
}

#[tokio::test]
async fn u_06_bytes_beyond_an_answers_end_end_its_connection_and_reach_nobody() {
    for (id, whole) in [
        ("u-06", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrue"),
        (
            "u-06",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntrue\r\n0\r\n\r\n",
        ),
        ("p-12", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "p-12",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        ),
    ] {
        for extra in [NEXT, "x", "\r\n\r\n", "hello"] {
            let (app, proxy) = behind(format!("{whole}{extra}")).await;
            let mut client = proxy.client().await;
            for n in 1..6 {
                let answer = client.get("/").await;
                assert_eq!(
                    whole.ends_with("content-length: 5\r\n\r\n"),
                    answer.status == 304
                );
                assert!(
                    ["true", ""].contains(&answer.body.as_str()),
                    "{id}: {extra:?}: {answer:?}"
                );
                assert_eq!(app.connections(), n, "{id}: {extra:?}");
            }
            assert_eq!(proxy.failures("blue"), [], "{id}");
        }
    }
}

#[tokio::test]
async fn p_12_a_body_after_an_answer_to_head_ends_its_connection_and_reaches_nobody() {
    let (app, proxy) = behind(answer(200, &[], b"hello")).await;
    let mut client = proxy.client().await;
    for n in 1..4 {
        client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let head = client.answer_to_head().await;
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some("5"))
        );
        assert_eq!(app.connections(), n);
    }
    assert_eq!(client.get("/").await.body, "hello");
}

#[tokio::test]
async fn u_07_an_answer_that_nobody_asked_for_ends_its_connection_and_reaches_nobody() {
    let speak = Arc::new(Notify::new());
    let app = endpoint("blue")
        .serve({
            let speak = speak.clone();
            move |mut peer| {
                let speak = speak.clone();
                async move {
                    if peer.request().await.is_ok() {
                        peer.write(&answer(200, &[], b"asked for")).await;
                        speak.notified().await;
                        peer.write(NEXT.as_bytes()).await;
                        peer.until_closed().await;
                    }
                }
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    for n in 1..4 {
        assert_eq!(client.get("/").await.body, "asked for");
        assert_eq!(app.connections(), n);
        speak.notify_one();
        proxy
            .until("the connection to close", |proxy| {
                proxy.connections("blue") == 0
            })
            .await;
        app.until_closed().await;
    }
    assert!(client.is_open_and_silent());
}

#[tokio::test]
async fn p_13_what_comes_before_an_answer_is_not_the_answer() {
    for before in [
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        "HTTP/1.1 102 Processing\r\n\r\n".to_owned(),
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(20),
    ] {
        let (_app, proxy) = behind(format!(
            "{before}HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"
        ))
        .await;
        let mut client = proxy.client().await;
        for _ in 0..2 {
            assert_eq!(client.get("/").await.body, "a", "{before}");
        }
        client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
        let old = client.until_closed().await;
        assert!(
            old.starts_with("HTTP/1.0 200 OK\r\n") && old.ends_with("\r\n\r\na"),
            "{old}"
        );
    }
}

#[tokio::test]
async fn u_11_hints_for_ever_are_no_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(1000);
    let app = endpoint("blue").bytes(hints).start().await;
    let proxy = proxy()
        .service("timeouts = { response = \"200ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    assert_eq!(proxy.get("/").await.status, 504);
    assert_eq!(proxy.failures("blue"), [("timeout", 1)]);
    app.until_closed().await;
}

#[tokio::test]
async fn u_11_a_flood_of_hints_ends_when_an_answer_is_due() {
    for status in [102, 103] {
        let hints = format!("HTTP/1.1 {status} X\r\nlink: </a>\r\n\r\n").repeat(1000);
        let app = endpoint("floods")
            .serve(move |mut peer| {
                let hints = hints.clone();
                async move {
                    let _ = peer.request().await;
                    while peer.try_write(hints.as_bytes()).await.is_ok() {}
                }
            })
            .start()
            .await;
        let proxy = proxy()
            .service("timeouts = { response = \"300ms\" }")
            .pool("blue", 100, &[&app])
            .start();
        assert_eq!(proxy.get("/").await.status, 504, "{status}");
        assert_eq!(proxy.failures("blue"), [("timeout", 1)]);
        app.until_closed().await;
    }
}
