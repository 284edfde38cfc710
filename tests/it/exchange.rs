//! A request and its answer pass through whole, in every form that HTTP/1.1 gives them.

use crate::support::{Client, answer, endpoint, proxy, within};

#[tokio::test]
async fn a_request_reaches_the_endpoint_and_its_answer_the_client() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let answer = proxy.get("/a/b?c=d%20e").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "blue"));
    assert!(app.request().starts_with("GET /a/b?c=d%20e HTTP/1.1\r\n"));
    assert_eq!(proxy.answers("blue"), [(200, true, 1)]);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn answers_without_a_body_are_passed_on_without_one() {
    let bodiless = [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: \"a\"\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ];
    for bytes in bodiless {
        let app = endpoint("blue").bytes(bytes).start().await;
        let proxy = proxy().pool("blue", 100, &[&app]).start();
        let mut client = proxy.client().await;
        for _ in 0..2 {
            assert_eq!(client.get("/").await.body, "", "{bytes}");
        }
        assert_eq!(app.connections(), 1, "{bytes}");
    }
}

#[tokio::test]
async fn the_answer_to_head_keeps_its_length_and_has_no_body() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    let app = endpoint("blue").bytes(head).start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        let answer = client.answer_to_head().await;
        assert_eq!(answer.header("content-length"), Some("1000"));
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn bodies_keep_their_length_or_their_chunks_both_ways() {
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    let app = endpoint("blue").bytes(chunked).start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello")
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.body.as_str(), answer.header("content-length")),
        ("abcde", None)
    );
    // A GET may have a body, too.
    for method in ["POST", "GET", "DELETE"] {
        let head =
            format!("{method} / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send(format!("{head}4\r\nwiki\r\n0\r\n\r\n")).await;
        assert_eq!(client.answer().await.body, "abcde");
    }
    let requests = app.requests();
    assert!(
        requests[0].contains("\r\ncontent-length: 5\r\n") && requests[0].ends_with("\r\n\r\nhello")
    );
    for request in &requests[1..] {
        assert!(
            request.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{request}"
        );
        assert!(
            request.ends_with("\r\n\r\n4\r\nwiki\r\n0\r\n\r\n"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn trailers_are_passed_on_and_to_clients_where_they_are_announced_and_wanted() {
    let bytes = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n1\r\na\r\n0\r\nx-sum: 7\r\n\r\n";
    let app = endpoint("blue").bytes(bytes).start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nte: trailers\r\nconnection: te\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.trailers, "x-sum: 7");
    let head =
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
    client
        .send(format!("{head}1\r\na\r\n0\r\nx-sum: 9\r\n\r\n"))
        .await;
    client.answer().await;
    assert!(app.requests()[0].contains("\r\nte: trailers\r\n"));
    assert!(
        app.requests()[1].ends_with("0\r\nx-sum: 9\r\n\r\n"),
        "{:?}",
        app.requests()[1]
    );
    let unannounced = head.replace("trailer: x-sum\r\n", "");
    client
        .send(format!("{unannounced}1\r\na\r\n0\r\nx-sum: 8\r\n\r\n"))
        .await;
    client.answer().await;
    assert!(app.requests()[2].ends_with("0\r\nx-sum: 8\r\n\r\n"));
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_chunked_for_the_client() {
    let app = endpoint("blue")
        .bytes_then_close("HTTP/1.1 200 OK\r\n\r\nuntil the end")
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let answer = client.get("/").await;
        assert_eq!(
            (answer.body.as_str(), answer.header("transfer-encoding")),
            ("until the end", Some("chunked"))
        );
    }
}

#[tokio::test]
async fn h1_46_pipelined_requests_are_answered_in_order() {
    let app = endpoint("blue")
        .serve(|mut peer| async move {
            while let Ok(request) = peer.request().await {
                let path = request.split(' ').nth(1).unwrap_or("").to_owned();
                peer.write(&answer(200, &[], path.as_bytes())).await;
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    let requests: Vec<_> = (0..100)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nhost: test\r\n\r\n"))
        .collect();
    client
        .send(requests.concat() + "GET bad HTTP/1.1\r\n\r\n")
        .await;
    for n in 0..100 {
        assert_eq!(client.answer().await.body, format!("/{n}"));
    }
    assert_eq!(client.answer().await.status, 400);
    assert_eq!(client.until_closed().await, "");
}

#[tokio::test]
async fn h1_47_a_client_that_expects_100_gets_it_before_it_sends() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 100);
    client.send("hi").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(app.request().ends_with("\r\n\r\nhi"));
}

#[tokio::test]
async fn h1_48_an_early_answer_reaches_a_client_that_is_still_sending() {
    let app = endpoint("blue")
        .serve(|mut peer| async move {
            if peer.head().await.is_ok() {
                peer.write(&answer(413, &[], b"enough")).await;
                peer.hang().await;
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\npart")
        .await;
    let early = client.answer().await;
    assert_eq!((early.status, early.body.as_str()), (413, "enough"));
    assert_eq!(
        early.header("connection"),
        Some("close"),
        "its body is not to be read as a request"
    );
    assert_eq!(client.until_closed().await, "");
    // A connection with half a request on it carries no other.
    proxy
        .until("the connection to close", |proxy| {
            proxy.connections("blue") == 0
        })
        .await;
}

#[tokio::test]
async fn a_body_streams_both_ways_at_once() {
    let app = endpoint("echo")
        .serve(|mut peer| async move {
            if peer.head().await.is_err() {
                return;
            }
            peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
                .await;
            for _ in 0..4 {
                let byte = peer.byte().await;
                peer.write(&[byte]).await;
            }
            peer.hang().await;
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n")
        .await;
    for (count, byte) in (1..).zip(["a", "b", "c", "d"]) {
        client.send(byte).await;
        client.until_body_bytes(count).await;
    }
    assert_eq!(client.answer().await.body, "abcd");
}

#[tokio::test]
async fn h1_38_an_answer_that_nobody_reads_is_not_buffered() {
    const CHUNK: usize = 1 << 20;
    let app = endpoint("endless")
        .serve(|mut peer| async move {
            use tokio::io::AsyncWriteExt;
            if peer.request().await.is_err() {
                return;
            }
            peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n")
                .await;
            let chunk = vec![b'x'; CHUNK];
            for written in 0..256 {
                let write = peer.stream.write_all(&chunk);
                if tokio::time::timeout(std::time::Duration::from_millis(500), write)
                    .await
                    .is_err()
                {
                    // Sockets' buffers and ours are full.
                    assert!(written < 64, "{written} MiB went nowhere");
                    return;
                }
            }
            panic!("256 MiB went nowhere");
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    proxy
        .until("the app to give up", |_| {
            app.requests().len() == 1 && app.open() == 0
        })
        .await;
}

#[tokio::test]
async fn an_endpoint_that_breaks_off_is_never_a_clean_end_for_the_client() {
    let halves = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ];
    for half in halves {
        let app = endpoint("blue").bytes_then_close(half).start().await;
        let proxy = proxy().pool("blue", 100, &[&app]).start();
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        // What there is of it is the client's all the same.
        client.until_body_bytes(4).await;
        assert!(
            within("the end", client.try_answer(false)).await.is_err(),
            "{half}"
        );
        assert_eq!(proxy.failures("blue"), [("reset", 1)], "{half}");
    }
}

#[tokio::test]
async fn an_endpoint_that_reads_no_further_is_heard_to_the_end() {
    let app = endpoint("blue")
        .serve(|mut peer| async move {
            if peer.head().await.is_ok() {
                // It closes on bytes that it has not read, which resets the connection.
                peer.byte().await;
                peer.write(&answer(413, &[], b"enough")).await;
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\npart")
        .await;
    let early = client.answer().await;
    assert_eq!((early.status, early.body.as_str()), (413, "enough"));
}

#[tokio::test]
async fn an_early_answer_is_whole_for_a_client_that_reads_it_when_all_is_sent() {
    const LENGTH: usize = 8 << 20;
    let body = vec![b'x'; 2 << 20];
    let early = answer(413, &[], &body);
    let app = endpoint("blue")
        .serve(move |mut peer| {
            let early = early.clone();
            async move {
                if peer.head().await.is_ok() {
                    peer.write(&early).await;
                    peer.hang().await;
                }
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LENGTH}\r\n\r\n"
        ))
        .await;
    proxy
        .until("the end of the answer", |proxy| {
            proxy.in_flight("blue") == 0 && app.connections() == 1
        })
        .await;
    within("the upload", client.send(vec![b'y'; LENGTH])).await;
    assert_eq!(client.answer().await.body.len(), body.len());
}

#[tokio::test]
async fn a_client_that_sends_on_after_its_answer_keeps_nobody_waiting_and_comes_to_an_end() {
    let app = endpoint("blue")
        .serve(|mut peer| async move {
            while let Ok(head) = peer.head().await {
                let status = if head.starts_with("POST ") { 413 } else { 200 };
                peer.write(&answer(status, &[], b"enough")).await;
            }
        })
        .start()
        .await;
    let proxy = proxy().workers(1).pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1099511627776\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 413);
    let flood = client.into_parts().0.into_std().unwrap();
    flood.set_nonblocking(false).unwrap();
    // Faster than it is read.
    let flooding = std::thread::spawn(move || {
        use std::io::Write;
        let bytes = vec![b'x'; 1 << 20];
        while (&flood).write_all(&bytes).is_ok() {}
    });
    let mut other = proxy.client().await;
    let mut slowest = std::time::Duration::ZERO;
    while !flooding.is_finished() {
        let start = std::time::Instant::now();
        assert_eq!(other.get("/").await.status, 200);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest.as_millis() < 500, "{slowest:?}");
}

#[tokio::test]
async fn an_upload_goes_on_while_its_client_does_not_read_the_answer() {
    const LENGTH: usize = 16 << 20;
    let app = endpoint("blue")
        .serve(|mut peer| async move {
            use tokio::io::AsyncWriteExt;
            if peer.head().await.is_err() {
                return;
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            peer.write(head.as_bytes()).await;
            let (mut reads, mut writes) = peer.stream.into_split();
            let writing = tokio::spawn(async move {
                let _ = writes.write_all(&vec![b'x'; LENGTH]).await;
                writes
            });
            let mut sink = tokio::io::sink();
            let mut whole = tokio::io::AsyncReadExt::take(&mut reads, LENGTH as u64);
            let _ = tokio::io::copy(&mut whole, &mut sink).await;
            let _ = writing.await;
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LENGTH}\r\n\r\n"
        ))
        .await;
    // The whole of it, before anything is read.
    within("the upload", client.send(vec![b'y'; LENGTH])).await;
    assert_eq!(client.answer().await.body.len(), LENGTH);
}

#[tokio::test]
async fn h1_22_an_absolute_target_wins_over_host() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send("GET http://Shop.test:81/x?y HTTP/1.1\r\nhost: other\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    let request = app.request();
    assert!(request.starts_with("GET /x?y HTTP/1.1\r\n"), "{request}");
    assert!(
        request
            .to_lowercase()
            .contains("\r\nhost: shop.test:81\r\n"),
        "{request}"
    );
    assert!(!request.contains("other"), "{request}");
}

#[tokio::test]
async fn a_request_that_two_readers_may_understand_differently_is_refused() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let bad = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a,b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: [::1\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET https://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n",
        "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
        "G=T\x01 / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551616\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for request in bad {
        let mut client = proxy.client().await;
        client.send(request).await;
        assert_eq!(client.answer().await.status, 400, "{request}");
    }
    for method in [
        "TRACE / HTTP/1.1\r\nhost: a",
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443",
    ] {
        let mut client = proxy.client().await;
        client.send(format!("{method}\r\n\r\n")).await;
        let answer = client.answer().await;
        assert!(
            answer.status == 405 && answer.header("allow").is_some(),
            "{answer:?}"
        );
    }
    assert_eq!(app.requests().len(), 0);
    let malformed = u64::try_from(bad.len()).expect("few");
    assert_eq!(
        proxy.rejections(),
        [("malformed", malformed), ("method_not_allowed", 2)]
    );
}

#[tokio::test]
async fn h1_01_length_and_chunks_at_once_are_read_as_chunks_and_the_connection_ends() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    for framing in [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
    ] {
        let mut client = proxy.client().await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        client
            .send(format!(
                "POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n0\r\n\r\n{smuggled}"
            ))
            .await;
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(client.until_closed().await, "");
    }
    for request in app.requests() {
        assert!(
            !request.contains("content-length") && !request.contains("smuggled"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn http_1_0_clients_get_what_they_can_read() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let app = endpoint("blue").bytes(chunked).start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let whole = client.until_closed().await;
    assert!(
        whole.starts_with("HTTP/1.0 200 OK\r\n") && whole.ends_with("\r\n\r\nabc"),
        "{whole}"
    );
    let request = app.request();
    assert!(
        request.starts_with("GET / HTTP/1.1\r\n") && request.contains("\r\nhost: 127.0.0.1:"),
        "{request}"
    );
}

#[tokio::test]
async fn nonsense_from_an_endpoint_is_a_502_and_its_error() {
    let nonsense = [
        "nonsense\r\n\r\n",
        "HTTP/1.1 99 X\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ];
    for bytes in nonsense {
        let app = endpoint("blue").bytes_then_close(bytes).start().await;
        let proxy = proxy().pool("blue", 100, &[&app]).start();
        let answer = proxy.get("/").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (502, "502 Bad Gateway\n"),
            "{bytes}"
        );
        assert_eq!(proxy.failures("blue"), [("malformed", 1)], "{bytes}");
        assert_eq!(proxy.answers("blue"), [(502, false, 1)], "{bytes}");
    }
}

#[tokio::test]
async fn an_endpoint_that_hangs_up_before_it_answers_is_a_502() {
    for reset in [false, true] {
        let app = endpoint("blue")
            .serve(move |mut peer| async move {
                if peer.request().await.is_ok() && reset {
                    peer.reset();
                }
            })
            .start()
            .await;
        let proxy = proxy()
            .service("retry.attempts = 1")
            .pool("blue", 100, &[&app])
            .start();
        let mut client = proxy.client().await;
        client
            .send("GET / HTTP/1.1\r\nhost: a\r\naccept: application/json\r\n\r\n")
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.body, "{\"status\":502,\"error\":\"Bad Gateway\"}\n");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(proxy.failures("blue"), [("reset", 1)]);
        // The client's connection is none the worse.
        assert_eq!(client.get("/").await.status, 502);
    }
}

#[tokio::test]
async fn what_an_endpoint_sends_unasked_never_reaches_the_next_client() {
    let app = endpoint("blue")
        .bytes("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrueHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfalse")
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut clients = Vec::<Client>::new();
    for _ in 0..5 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.body, "true");
        clients.push(client);
    }
}

#[tokio::test]
async fn a_path_that_no_route_takes_is_a_404_and_counted() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .more("[[routes]]\npath = \"/api\"\nservice = \"app\"\n")
        .start();
    assert_eq!(proxy.get("/api/x").await.status, 200);
    assert_eq!(proxy.get("/other").await.status, 404);
    assert_eq!(proxy.rejections(), [("no_route", 1)]);
}
