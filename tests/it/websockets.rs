//! Tunnels over HTTP/1.1: when one begins, what passes through it, and how it ends. Rows W-02 to W-07 of the catalogue.

use std::time::{Duration, Instant};

use crate::support::{
    App, Proxy, answer, endpoint, proxy, until,
    websocket::{self, ACCEPT, handshake, pong_server, request, switching},
    within,
};

fn last(app: &App) -> String {
    app.requests().pop().expect("a request")
}

fn tunnels(proxy: &Proxy) -> u64 {
    proxy.tunnels("blue")
}

#[tokio::test]
async fn w_02_bytes_sent_before_the_101_wait_for_it_and_then_come_first() {
    let app = endpoint("late")
        .serve(|mut peer| async move {
            let Ok(_) = peer.head().await else { return };
            let early = peer.arrives_within(Duration::from_millis(100)).await;
            assert!(!early, "nothing may come before the 101");
            peer.write(&switching()).await;
            let first = peer.bytes(5).await;
            peer.write(&first).await;
            peer.until_closed().await;
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client.send(format!("{}early", request())).await;
    assert_eq!(client.answer().await.status, 101);
    assert_eq!(client.bytes(5).await, b"early");
}

#[tokio::test]
async fn w_02_bytes_sent_before_an_answer_that_is_no_101_are_read_as_the_next_request() {
    let app = endpoint("no").reply(400).start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send(format!(
            "{}GET /next HTTP/1.1\r\nhost: a\r\n\r\n",
            request()
        ))
        .await;
    assert_eq!(client.answer().await.status, 400);
    assert_eq!(client.answer().await.status, 400);
    assert!(app.requests()[1].starts_with("GET /next "));
    let mut client = proxy.client().await;
    client
        .send(format!("{}\x01\x02\x03\r\n\r\n", request()))
        .await;
    assert_eq!(client.answer().await.status, 400);
    // What is no request never reaches the app: it is ours to refuse.
    assert_eq!(client.answer().await.header("connection"), Some("close"));
    client.until_closed().await;
    assert_eq!(app.requests().len(), 3);
}

#[tokio::test]
async fn w_02_more_than_a_buffer_sent_before_the_101_waits_in_the_clients_socket() {
    let app = endpoint("never")
        .serve(|mut peer| async move {
            let _ = peer.head().await;
            peer.until_closed().await;
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client.send(request()).await;
    let flood = vec![b'x'; 64 << 20];
    let sent = tokio::time::timeout(Duration::from_millis(300), client.try_send(&flood)).await;
    assert!(sent.is_err(), "64 MiB were taken before there was a tunnel");
}

#[tokio::test]
async fn w_03_an_answer_that_is_no_101_is_relayed_and_the_connection_stays_http() {
    for status in [200, 400, 403, 426, 503] {
        let app = endpoint("no").reply(status).start().await;
        let proxy = proxy().pool("blue", 100, &[&app]).start();
        let mut client = proxy.client().await;
        client.send(request()).await;
        let refused = client.answer().await;
        assert_eq!((refused.status, refused.body), (status, status.to_string()));
        assert!(
            app.request()
                .to_ascii_lowercase()
                .contains("\r\nupgrade: websocket\r\n")
        );
        assert_eq!(client.get("/").await.status, status);
        assert_eq!(tunnels(&proxy), 0);
    }
}

#[tokio::test]
async fn w_04_a_101_without_its_proof_is_a_502_and_closes_the_endpoints_connection() {
    let lines = |lines: &[&str]| format!("HTTP/1.1 101 X\r\n{}\r\n\r\n", lines.join("\r\n"));
    let accept = format!("sec-websocket-accept: {ACCEPT}");
    for wrong in [
        lines(&["connection: upgrade", "upgrade: websocket"]),
        lines(&[
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ]),
        lines(&[
            "connection: upgrade",
            "upgrade: websocket",
            &accept,
            &accept,
        ]),
        lines(&["connection: upgrade", "upgrade: h2c", &accept]),
        lines(&["connection: upgrade", "upgrade: websocket, h2c", &accept]),
        lines(&["connection: upgrade", &accept]),
        lines(&["upgrade: websocket", &accept]),
        lines(&["connection: close", "upgrade: websocket", &accept]),
    ] {
        let app = endpoint("wrong")
            .serve(move |mut peer| {
                let wrong = wrong.clone();
                async move {
                    let _ = peer.head().await;
                    peer.write(wrong.as_bytes()).await;
                    peer.until_closed().await;
                }
            })
            .start()
            .await;
        let proxy = proxy().pool("blue", 100, &[&app]).start();
        let mut client = proxy.client().await;
        client.send(request()).await;
        assert_eq!(client.answer().await.status, 502);
        app.until_closed().await;
        assert_eq!(tunnels(&proxy), 0);
        assert_eq!(proxy.failures("blue"), [("malformed", 1)]);
    }
}

#[tokio::test]
async fn w_04_a_101_that_nobody_asked_for_is_a_502() {
    let app = endpoint("eager").bytes(switching()).start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    assert_eq!(proxy.get("/").await.status, 502);
    app.until_closed().await;
}

#[tokio::test]
async fn w_05_what_is_not_allowed_or_not_asked_for_as_it_must_be_is_an_ordinary_request() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
    for ordinary in [
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket, h2c\r\n{key}"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c\r\n{key}"),
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: unknown/1\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: web socket\r\n{key}"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket,\r\n{key}"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade:\r\n{key}"),
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: upgrade\r\nupgrade: websocket\r\n{key}"),
        format!("GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade, keep-alive\r\nupgrade: websocket\r\n{key}"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n{key}"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\nupgrade: websocket\r\n{key}"),
    ] {
        let mut client = proxy.client().await;
        client.send(format!("{ordinary}\r\n")).await;
        assert_eq!(client.answer().await.status, 200, "{ordinary}");
        let seen = last(&app).to_ascii_lowercase();
        assert!(!seen.contains("\r\nupgrade:"), "{ordinary}{seen}");
        assert!(!seen.contains("http2-settings"), "{ordinary}{seen}");
    }
    let mut client = proxy.client().await;
    let body = format!(
        "{}hello",
        request().replace("\r\n\r\n", "\r\ncontent-length: 5\r\n\r\n")
    );
    client.send(body).await;
    assert_eq!(client.answer().await.status, 200);
    let seen = last(&app).to_ascii_lowercase();
    assert!(
        !seen.contains("\r\nupgrade:") && seen.ends_with("hello"),
        "{seen}"
    );
}

#[tokio::test]
async fn w_05_another_protocol_passes_where_its_service_allows_it_and_none_where_it_allows_none() {
    let app = endpoint("other")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
            peer.write(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: Echo/2\r\n\r\nhello")
                .await;
            let said = peer.bytes(3).await;
            peer.write(&said).await;
        })
        .start()
        .await;
    let proxy = proxy()
        .service("upgrades = [\"echo/2\"]")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: ECHO/2\r\n\r\n")
        .await;
    let switched = client.answer().await;
    assert_eq!(
        (switched.status, switched.header("upgrade")),
        (101, Some("echo/2"))
    );
    assert_eq!(client.bytes(5).await, b"hello");
    client.send("abc").await;
    assert_eq!(client.until_closed().await, "abc");

    let app = endpoint("blue").start().await;
    let proxy = crate::support::proxy()
        .service("upgrades = []")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client.send(request()).await;
    assert_eq!(client.answer().await.status, 200);
    assert!(!app.request().to_ascii_lowercase().contains("upgrade"));
}

#[tokio::test]
async fn w_06_a_426_is_relayed_with_the_versions_that_the_app_speaks() {
    let fields = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13, 8"),
    ];
    let app = endpoint("thirteen")
        .bytes(answer(426, &fields, b""))
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send(request().replace("version: 13", "version: 7"))
        .await;
    let refused = client.answer().await;
    assert_eq!(
        (
            refused.status,
            refused.header("sec-websocket-version"),
            refused.header("upgrade")
        ),
        (426, Some("13, 8"), Some("websocket"))
    );
    assert!(app.request().contains("sec-websocket-version: 7"));
}

#[tokio::test]
async fn what_the_handshake_says_passes_and_what_is_the_connections_own_does_not() {
    let app = endpoint("talks")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
            let more =
                "sec-websocket-protocol: chat\r\nset-cookie: a=b\r\nkeep-alive: timeout=5\r\n";
            let head = String::from_utf8_lossy(&switching()).into_owned();
            peer.write(
                head.replace("\r\n\r\n", &format!("\r\n{more}\r\n"))
                    .as_bytes(),
            )
            .await;
            peer.until_closed().await;
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    let offer = "sec-websocket-protocol: chat, superchat\r\norigin: https://a\r\nte: trailers\r\n";
    client
        .send(request().replace("\r\n\r\n", &format!("\r\n{offer}\r\n")))
        .await;
    let switched = client.answer().await;
    assert_eq!(switched.status, 101);
    for (name, value) in [
        ("connection", Some("upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-accept", Some(&*ACCEPT.to_ascii_lowercase())),
        ("sec-websocket-protocol", Some("chat")),
        ("set-cookie", Some("a=b")),
        ("keep-alive", None),
        ("content-length", None),
        ("transfer-encoding", None),
    ] {
        assert_eq!(switched.header(name), value, "{name}");
    }
    let seen = app.request();
    for line in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "origin: https://a\r\n",
        "x-forwarded-for: 127.0.0.1\r\n",
    ] {
        assert!(seen.contains(&format!("\r\n{line}")), "{line} in {seen}");
    }
    assert!(!seen.contains("\r\nte:"), "{seen}");
}

#[tokio::test]
async fn bytes_pass_both_ways_at_once_and_are_counted_with_the_tunnel() {
    let app = pong_server().start().await;
    let proxy = proxy().workers(2).pool("blue", 100, &[&app]).start();
    let mut client = handshake(&proxy).await;
    assert_eq!((tunnels(&proxy), proxy.in_flight("blue")), (1, 1));
    let message = websocket::frame(0x82, &vec![7; 3 << 20]);
    let (sent, echoed) = tokio::join!(
        client.writer.send(&message),
        client.reader.bytes(message.len())
    );
    let () = sent;
    assert!(echoed == message, "what came back is not what was sent");
    drop(client);
    proxy
        .until("the tunnel to end", |proxy| {
            tunnels(proxy) == 0 && proxy.in_flight("blue") == 0
        })
        .await;
    assert_eq!(
        proxy.tunnel_bytes("blue"),
        (message.len() as u64, message.len() as u64)
    );
    assert_eq!(proxy.tunnel_ends("blue"), [("client", 1)]);
    assert_eq!(proxy.answers("blue"), [(101, true, 1)]);
    app.until_closed().await;
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer_and_nothing_piles_up() {
    let app = endpoint("floods")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
            peer.write(&switching()).await;
            loop {
                let chunk = websocket::frame(0x82, &vec![1; 1 << 20]);
                if peer.try_write(&chunk).await.is_err() {
                    return;
                }
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let client = handshake(&proxy).await;
    let passed = || proxy.tunnel_bytes("blue").1;
    let stands = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = passed();
            if now > 0 && now == before {
                return now;
            }
            before = now;
        }
    };
    let stood = within("the flood to stand", stands).await;
    // The kernel's buffers of two connections, and one read of ours.
    assert!(stood < 32 << 20, "{stood}");
    drop(client);
    app.until_closed().await;
}

#[tokio::test]
async fn w_07_one_end_may_close_its_half_and_read_on() {
    let app = endpoint("counts")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
            peer.write(&switching()).await;
            let mut all = Vec::new();
            while let Some(byte) = peer.try_byte().await {
                all.push(byte);
            }
            peer.write(format!("{} bytes", all.len()).as_bytes()).await;
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = handshake(&proxy).await;
    client.writer.send(&[0x82, 1, 0]).await;
    client.writer.end().await;
    assert_eq!(client.reader.until_closed().await, b"3 bytes");
    proxy
        .until("the tunnel to end", |proxy| tunnels(proxy) == 0)
        .await;
    assert_eq!(proxy.tunnel_ends("blue"), [("client", 1)]);
}

#[tokio::test]
async fn w_07_a_reset_of_the_client_ends_the_endpoints_connection_and_is_not_its_error() {
    let app = pong_server().start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let client = handshake(&proxy).await;
    client.reset();
    app.until_closed().await;
    proxy
        .until("the tunnel to end", |proxy| tunnels(proxy) == 0)
        .await;
    assert_eq!(proxy.tunnel_ends("blue"), [("client-broke", 1)]);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn w_07_a_reset_of_the_endpoint_is_told_to_the_client_between_two_frames() {
    for (said, told) in [
        (websocket::frame(0x82, b"whole"), &[0x88, 2, 0x03, 0xf3][..]),
        (websocket::frame(0x82, b"half of it")[..5].to_vec(), &[]),
    ] {
        let app = endpoint("resets")
            .serve({
                let said = said.clone();
                move |mut peer| {
                    let said = said.clone();
                    async move {
                        let _ = peer.request().await;
                        peer.write(&switching()).await;
                        peer.write(&said).await;
                        // The client has it.
                        peer.bytes(1).await;
                        peer.reset();
                    }
                }
            })
            .start()
            .await;
        let proxy = proxy().pool("blue", 100, &[&app]).start();
        let mut client = handshake(&proxy).await;
        assert_eq!(client.reader.bytes(said.len()).await, said);
        client.writer.send(&[0]).await;
        assert_eq!(client.reader.until_closed().await, told);
        drop(client);
        proxy
            .until("the tunnel to end", |proxy| tunnels(proxy) == 0)
            .await;
        assert_eq!(proxy.tunnel_ends("blue"), [("endpoint-broke", 1)]);
        assert_eq!(proxy.failures("blue"), [("reset", 1)]);
    }
}

#[tokio::test]
async fn w_07_a_tunnel_in_which_nothing_moves_is_closed_at_both_ends_after_its_time() {
    let (app, seen) = websocket::recording_server();
    let app = app.start().await;
    let proxy = proxy()
        .service("timeouts = { tunnel = \"300ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = handshake(&proxy).await;
    for _ in 0..5 {
        // Whatever moves counts.
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.writer.send(&websocket::frame(0x89, b"")).await;
    }
    let start = Instant::now();
    assert_eq!(client.reader.until_closed().await, [0x88, 2, 0x03, 0xe9]);
    assert!(
        (280..1000).contains(&start.elapsed().as_millis()),
        "{:?}",
        start.elapsed()
    );
    drop(client);
    until("the app to be told", || websocket::is_told(&seen)).await;
    proxy
        .until("the tunnel to end", |proxy| tunnels(proxy) == 0)
        .await;
    assert_eq!(proxy.tunnel_ends("blue"), [("idle", 1)]);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn an_upgrade_goes_over_a_connection_of_its_own_and_is_tried_elsewhere_where_none_opens() {
    let app = pong_server().start().await;
    let dead = endpoint("dead").start().await.stop().await;
    let proxy = proxy()
        .pool_at("blue", 100, &[&app.address.to_string(), &dead.to_string()])
        .start();
    for _ in 0..4 {
        drop(handshake(&proxy).await);
    }
    assert_eq!(app.connections(), 4);
    app.until_closed().await;
}

#[tokio::test]
async fn a_tunnel_is_logged_when_it_ends_with_what_went_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let app = pong_server().start().await;
    let proxy = proxy().log_to(&path).pool("blue", 100, &[&app]).start();
    let mut client = handshake(&proxy).await;
    client.writer.send(&websocket::frame(0x82, b"1234")).await;
    client.reader.bytes(6).await;
    client.writer.end().await;
    client.reader.until_closed().await;
    let line = || std::fs::read_to_string(&path).unwrap_or_default();
    until("the line to be written", || line().contains('\n')).await;
    for part in ["GET a /chat", " 101 ", "app/blue/", "in=6 out=6 "] {
        assert!(line().contains(part), "`{part}` is not in {}", line());
    }
}
