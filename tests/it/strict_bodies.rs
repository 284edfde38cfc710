//! Where a request ends, and the next one begins, is seen in one way or the connection ends. The ids are those of
//! `docs/catalogue.md`.

use crate::{
    strict_corpus::POST,
    strict_requests::{served, told},
    support::{endpoint, proxy},
};

/// A chunked request whose chunks are these.
fn chunked(chunks: &str) -> Vec<u8> {
    format!("{POST}transfer-encoding: chunked\r\n\r\n{chunks}").into_bytes()
}

#[tokio::test]
async fn h1_39_to_h1_41_chunks_that_are_none_break_the_request_off() {
    let extension = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("1;a={}\r\nx\r\n", "x".repeat(15 << 10)).repeat(64) + "0\r\n\r\n";
    let chunks = [
        ("h1-39", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("h1-39", "5_0\r\nhello\r\n0\r\n\r\n"),
        ("h1-39", "-5\r\nhello\r\n0\r\n\r\n"),
        ("h1-39", "+5\r\nhello\r\n0\r\n\r\n"),
        ("h1-39", " 5\r\nhello\r\n0\r\n\r\n"),
        ("h1-39", "\r\nhello\r\n0\r\n\r\n"),
        ("h1-39", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("h1-39", "g\r\nhello\r\n0\r\n\r\n"),
        ("h1-40", "5;a\nhello\r\n0\r\n\r\n"),
        ("h1-40", "5;a\rhello\r\n0\r\n\r\n"),
        ("h1-40", &extension),
        ("h1-40", &many),
        ("h1-41", "5\r\nhello0\r\n\r\n"),
        ("h1-41", "5\r\nhello\n0\r\n\r\n"),
        ("h1-41", "5\r\nhello\r0\r\n\r\n"),
        ("h1-41", "5\r\nhello world\r\n0\r\n\r\n"),
        ("h1-41", "5\nhello\r\n0\r\n\r\n"),
        ("h1-41", "5\r\nhello\r\n0\r\nx"),
    ];
    for (id, chunks) in chunks {
        let (app, proxy) = served().await;
        let mut bytes = chunked(chunks);
        if chunks.ends_with('x') {
            bytes.extend(b"\0: 1\r\n\r\n");
        }
        let (status, ended) = told(&proxy, &bytes).await;
        let shown = &chunks[..chunks.len().min(60)];
        assert!(
            status == 400 && ended,
            "{id}: {status}, ended: {ended}: {shown:?}"
        );
        // What the app got of it was no whole request.
        app.until_closed().await;
        assert_eq!(app.requests(), [""; 0], "{id}: {shown:?}");
        assert_eq!(proxy.failures("blue"), [], "{id}: {shown:?}");
        assert_eq!(proxy.rejections(), [("malformed", 1)], "{id}: {shown:?}");
    }
}

#[tokio::test]
async fn h1_39_and_h1_40_what_is_lenient_in_chunks_goes_no_further() {
    for (id, chunks) in [
        ("h1-39", "5 \r\nhello\r\n0\r\n\r\n"),
        ("h1-39", "0005\r\nhello\r\n000\r\n\r\n"),
        ("h1-40", "5;\r\nhello\r\n0;\r\n\r\n"),
        ("h1-40", "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
        ("h1-40", "5;a=\0\r\nhello\r\n0\r\n\r\n"),
        ("h1-40", "5;a=b;c\r\nhello\r\n0\r\n\r\n"),
    ] {
        let (app, proxy) = served().await;
        let mut client = proxy.client().await;
        client.send(chunked(chunks)).await;
        assert_eq!(client.answer().await.status, 200, "{id}: {chunks:?}");
        assert!(
            app.request().ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            "{id}: {chunks:?}"
        );
    }
}

#[tokio::test]
async fn h1_42_a_body_that_is_cut_off_is_no_whole_request_for_the_app() {
    for (id, cut) in [
        ("h1-42", format!("{POST}content-length: 10\r\n\r\nhello")),
        (
            "h1-42",
            format!("{POST}transfer-encoding: chunked\r\n\r\n5\r\nhel"),
        ),
        (
            "h1-42",
            format!("{POST}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        ),
        (
            "h1-42",
            format!("{POST}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
        ),
    ] {
        for reset in [false, true] {
            let (app, proxy) = served().await;
            let mut client = proxy.client().await;
            client.send(&cut).await;
            proxy
                .until("the request to be on its way", |_| app.open() == 1)
                .await;
            if reset {
                client.stream.set_zero_linger().expect("a socket");
            }
            drop(client);
            app.until_closed().await;
            assert_eq!(app.requests(), [""; 0], "{id}: {cut}");
        }
    }
}

#[tokio::test]
async fn h1_43_trailers_carry_nothing_that_belongs_into_a_head() {
    let names = "content-length, transfer-encoding, host, authorization, content-type, x-forwarded-for, forwarded, x-request-id, x_real_ip, x-sum";
    let trailers = "content-length: 9\r\ntransfer-encoding: gzip\r\nhost: b\r\nauthorization: x\r\ncontent-type: y\r\n\
                    x-forwarded-for: 1.2.3.4\r\nforwarded: for=1.2.3.4\r\nx-request-id: 1\r\nx_real_ip: 1.2.3.4\r\nx-sum: 7\r\n";
    let (app, proxy) = served().await;
    let mut client = proxy.client().await;
    client
        .send(format!("{POST}trailer: {names}\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n{trailers}\r\n"))
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
    let request = &app.requests()[0];
    assert!(
        request.ends_with("\r\n\r\n1\r\na\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn h1_43_trailers_have_limits() {
    let long = format!("5\r\nhello\r\n0\r\nx: {}\r\n\r\n", "y".repeat(17 << 10));
    let many = format!("5\r\nhello\r\n0\r\n{}\r\n", "x: y\r\n".repeat(101));
    for trailers in [long, many] {
        let app = endpoint("blue").start().await;
        let proxy = proxy()
            .listener("limits = { header_bytes = \"16KiB\" }")
            .pool("blue", 100, &[&app])
            .start();
        let (status, ended) = told(&proxy, &chunked(&trailers)).await;
        assert!([400, 431].contains(&status) && ended, "{status}, {ended}");
        app.until_closed().await;
        assert_eq!(app.requests(), [""; 0]);
    }
}

#[tokio::test]
async fn h1_44_any_method_may_have_a_body_and_the_next_request_follows_it() {
    let (app, proxy) = served().await;
    let mut client = proxy.client().await;
    for (n, method) in ["GET", "DELETE", "OPTIONS", "HEAD", "PUT"]
        .into_iter()
        .enumerate()
    {
        let length = format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
        let chunks = format!(
            "{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        for request in [length, chunks] {
            client.send(request).await;
            let answer = if method == "HEAD" {
                client.answer_to_head().await
            } else {
                client.answer().await
            };
            assert_eq!(answer.status, 200, "{method}");
        }
        assert_eq!(app.requests().len(), 2 * (n + 1));
    }
    assert!(
        app.requests()
            .iter()
            .all(|request| request.contains("hello"))
    );
}

#[tokio::test]
async fn h1_45_bytes_after_a_request_without_a_length_are_the_next_request() {
    let (app, proxy) = served().await;
    let mut client = proxy.client().await;
    client
        .send(format!("{POST}\r\nGET /next HTTP/1.1\r\nhost: a\r\n\r\n"))
        .await;
    for _ in 0..2 {
        assert_eq!(client.answer().await.status, 200);
    }
    let requests = app.requests();
    assert!(requests[0].starts_with("POST / ") && requests[1].starts_with("GET /next "));
}

#[tokio::test]
async fn h1_46_a_bad_request_in_the_middle_ends_the_pipeline_and_no_answer_before_it() {
    let (app, proxy) = served().await;
    let good = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let bad = "GET /../ HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut client = proxy.client().await;
    client.send(good.repeat(50) + bad + &good.repeat(49)).await;
    for _ in 0..50 {
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(client.answer().await.status, 400);
    assert_eq!(client.until_closed().await, "");
    assert_eq!(app.requests().len(), 50);
}

#[tokio::test]
async fn h1_47_an_expectation_never_shifts_the_requests_after_it() {
    for expect in [
        "100-continue",
        "200-ok",
        "100-continue, x",
        "\t100-Continue",
        "y",
    ] {
        let (app, proxy) = served().await;
        let mut client = proxy.client().await;
        let body = format!("{POST}expect: {expect}\r\ncontent-length: 5\r\n\r\nhello");
        client
            .send(body + "GET /next HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n")
            .await;
        let mut answers = Vec::new();
        while answers.len() < 2 {
            let answer = client.answer().await;
            if answer.status != 100 {
                answers.push(answer.status);
            }
        }
        assert_eq!(answers, [200, 200], "{expect}");
        let requests = app.requests();
        assert!(
            requests[0].ends_with("hello") && requests[1].starts_with("GET /next "),
            "{requests:?}"
        );
    }
}

#[tokio::test]
async fn h1_49_a_connection_lives_as_long_as_both_ends_wish() {
    let (_app, proxy) = served().await;
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.header("connection"), Some("close"));
    assert_eq!(client.until_closed().await, "");
    let mut client = proxy.client().await;
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
            .await;
        assert_eq!(
            client.answer().await.header("connection"),
            Some("keep-alive")
        );
    }
}

#[tokio::test]
async fn h1_50_who_closes_half_of_its_connection_has_left() {
    let app = endpoint("blue")
        .serve(|mut peer| async move {
            if peer.request().await.is_ok() {
                peer.until_closed().await;
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    app.until_requests(1).await;
    let half = tokio::io::AsyncWriteExt::shutdown(&mut client.stream);
    half.await.expect("an open connection");
    assert_eq!(client.until_closed().await, "");
    app.until_closed().await;
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn h1_52_a_request_in_pieces_is_the_request() {
    let request =
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (app, proxy) = served().await;
    for at in 1..request.len() {
        let mut client = proxy.client().await;
        client.send(&request[..at]).await;
        // The proxy has read the first piece when it answers on another connection: one thread serves both.
        assert_eq!(proxy.get("/").await.status, 200);
        client.send(&request[at..]).await;
        assert_eq!(client.answer().await.status, 200, "{at}");
    }
    let mut client = proxy.client().await;
    for byte in request {
        client.send([*byte]).await;
    }
    assert_eq!(client.answer().await.status, 200);
    let requests = app.requests();
    let posts: Vec<_> = requests
        .iter()
        .filter(|text| text.starts_with("POST /a "))
        .collect();
    assert_eq!(posts.len(), request.len());
    for post in posts {
        // However it is cut into chunks.
        let body = post.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let said: String = body.chars().filter(char::is_ascii_alphabetic).collect();
        assert_eq!(said, "hello", "{post}");
    }
}
