//! Endpoints that speak HTTP/2: requests share connections, and what an endpoint refuses goes elsewhere.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cutover::pool::State;
use h2::Reason;
use http::Response;
use tokio::{
    io::AsyncReadExt,
    sync::{mpsc, watch},
};

use crate::support::{
    App, Client, H2App, Proxy, Wire, endpoint,
    h2::{DATA, END_STREAM, HEADERS, RST_STREAM},
    h2_endpoint, proxy, within,
};

/// A proxy whose only pool speaks HTTP/2 in clear.
fn over_h2(apps: &[&H2App]) -> Proxy {
    let addresses: Vec<_> = apps.iter().map(|app| app.address.to_string()).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    proxy()
        .service("protocol = \"h2\"")
        .pool_at("blue", 100, &addresses)
        .start()
}

/// The same to an app of bare frames.
fn over_wire(app: &App) -> Proxy {
    proxy()
        .service("protocol = \"h2\"")
        .pool("blue", 100, &[app])
        .start()
}

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

async fn post(proxy: &Proxy) -> (u16, String) {
    let mut client = proxy.client().await;
    client.send(POST).await;
    let answer = client.answer().await;
    (answer.status, answer.body)
}

/// Sends so many requests on connections of their own.
async fn begin(proxy: &Proxy, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn a_request_arrives_in_the_form_of_http_2_and_its_answer_in_that_of_http_1() {
    let app = h2_endpoint("blue")
        .serve(|mut call| async move {
            let (body, trailers) = call.body().await;
            let head = format!(
                "{} {} host={:?} te={:?} connection={:?} cookie={:?} {} {trailers:?}",
                call.request.method(),
                call.request.uri(),
                call.request.headers().get("host"),
                call.request.headers().get("te"),
                call.request.headers().get("connection"),
                call.request.headers().get("cookie"),
                String::from_utf8_lossy(&body),
            );
            let answer = Response::builder()
                .header("trailer", "x-sum")
                .body(())
                .unwrap();
            let mut stream = call.respond.send_response(answer, false).unwrap();
            stream.send_data(Bytes::from(head), false).unwrap();
            let trailers = [("x-sum".parse().unwrap(), "7".parse().unwrap())];
            stream
                .send_trailers(trailers.into_iter().collect())
                .unwrap();
        })
        .start()
        .await;
    let proxy = over_h2(&[&app]);
    let mut client = proxy.client().await;
    client
        .send(
            "POST /a?b=c HTTP/1.1\r\nhost: shop.test\r\nte: trailers\r\nconnection: te\r\n\
             cookie: a=1; b=2\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n\
             2\r\nhi\r\n0\r\nx-end: 1\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!(
        answer.body,
        "POST http://shop.test/a?b=c host=None te=Some(\"trailers\") connection=None \
         cookie=Some(\"a=1; b=2\") hi {\"x-end\": \"1\"}"
    );
    assert_eq!(answer.trailers, "x-sum: 7");
    assert_eq!(proxy.answers("blue"), [(200, true, 1)]);
}

#[tokio::test]
async fn requests_share_connections_up_to_the_endpoints_limit_and_open_another_beyond_it() {
    let (open, opened) = watch::channel(false);
    let app = h2_endpoint("blue")
        .max_streams(4)
        .serve(move |call| {
            let mut opened = opened.clone();
            async move {
                let _ = opened.wait_for(|open| *open).await;
                call.answer(200, Bytes::from_static(b"blue"));
            }
        })
        .start()
        .await;
    let proxy = over_h2(&[&app]);
    let clients = begin(&proxy, 10).await;
    app.until_calls(10).await;
    assert_eq!(app.connections(), 3);
    open.send_replace(true);
    for mut client in clients {
        assert_eq!(client.answer().await.body, "blue");
    }
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.body, "blue");
    }
    assert_eq!(app.connections(), 3);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn u_16_a_refused_stream_goes_elsewhere_whatever_its_method() {
    let refusing = endpoint("refusing")
        .serve(|peer| async move {
            let Some(mut wire) = Wire::meet(peer, &[]).await else {
                return;
            };
            while let Some(stream) = wire.request().await {
                wire.reset(stream, Reason::REFUSED_STREAM).await;
            }
        })
        .start()
        .await;
    let app = h2_endpoint("blue")
        .serve(|mut call| async move {
            let (body, _) = call.body().await;
            call.answer(200, body.into());
        })
        .start()
        .await;
    let addresses = [refusing.address.to_string(), app.address.to_string()];
    let proxy = proxy()
        .service("protocol = \"h2\"")
        .pool_at("blue", 100, &[&addresses[0], &addresses[1]])
        .start();
    for _ in 0..10 {
        assert_eq!(post(&proxy).await, (200, "hi".to_owned()));
    }
    assert_eq!(proxy.answers("blue"), [(200, true, 10)]);
    assert!(matches!(proxy.failures("blue")[..], [("refused", 1..)]));
}

#[tokio::test]
async fn u_16_a_request_that_nobody_takes_is_a_503() {
    let app = endpoint("refusing")
        .serve(|peer| async move {
            let Some(mut wire) = Wire::meet(peer, &[]).await else {
                return;
            };
            while let Some(stream) = wire.request().await {
                wire.reset(stream, Reason::REFUSED_STREAM).await;
            }
        })
        .start()
        .await;
    let proxy = over_wire(&app);
    assert_eq!(proxy.get("/").await.status, 503);
    assert_eq!(proxy.failures("blue"), [("refused", 2)]);
}

#[tokio::test]
async fn u_16_a_request_above_the_last_that_a_goaway_names_goes_on_a_new_connection() {
    let app = endpoint("blue")
        .serve(|peer| async move {
            let Some(mut wire) = Wire::meet(peer, &[]).await else {
                return;
            };
            // Takes one request, and the next not.
            if let Some(first) = wire.request().await {
                wire.ok(first, END_STREAM).await;
            }
            if wire.request().await.is_some() {
                wire.go_away(1).await;
            }
            while wire.frame().await.is_some() {}
        })
        .start()
        .await;
    let proxy = over_wire(&app);
    for _ in 0..6 {
        assert_eq!(post(&proxy).await.0, 200);
    }
    assert_eq!(app.connections(), 6);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn u_16_goaways_during_traffic_lose_nothing() {
    let app = h2_endpoint("blue")
        .serve(|mut call| async move {
            let (body, _) = call.body().await;
            call.answer(200, body.into());
        })
        .start()
        .await;
    let proxy = over_h2(&[&app]);
    let traffic = async {
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(proxy.client().await);
        }
        for _ in 0..40 {
            for client in &mut clients {
                client.send(POST).await;
            }
            app.go_away();
            for client in &mut clients {
                let answer = client.answer().await;
                assert_eq!((answer.status, &*answer.body), (200, "hi"));
            }
        }
    };
    traffic.await;
    assert_eq!(proxy.failures("blue"), []);
    assert!(app.connections() > 10, "{}", app.connections());
}

#[tokio::test]
async fn u_16_an_endpoint_that_takes_no_request_at_all_is_a_connect_timeout() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let app = endpoint("blue")
        .serve(|peer| async move {
            let wire = Wire::meet(peer, &[(MAX_CONCURRENT_STREAMS, 0)]).await;
            if let Some(mut wire) = wire {
                while wire.frame().await.is_some() {}
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("protocol = \"h2\"\ntimeouts = { connect = \"100ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    assert_eq!(proxy.get("/").await.status, 504);
    assert_eq!(proxy.failures("blue"), [("connect_timeout", 1)]);
    app.until_closed().await;
}

#[tokio::test]
async fn u_10_an_endpoint_that_speaks_http_1_is_told_apart_before_it_has_a_request() {
    let app = endpoint("blue").start().await;
    let proxy = over_wire(&app);
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(proxy.failures("blue"), [("malformed", 1)]);
}

/// Answers a request with a head and a part of a body, then resets it.
async fn cut_off(reason: Reason) -> (App, Proxy) {
    let app = endpoint("blue")
        .serve(move |peer| async move {
            let Some(mut wire) = Wire::meet(peer, &[]).await else {
                return;
            };
            while let Some(stream) = wire.request().await {
                wire.ok(stream, 0).await;
                wire.data(stream, 0, b"half").await;
                wire.reset(stream, reason).await;
            }
        })
        .start()
        .await;
    let proxy = over_wire(&app);
    (app, proxy)
}

#[tokio::test]
async fn u_04_a_reset_in_the_middle_of_an_answer_is_never_a_clean_end() {
    for reason in [
        Reason::INTERNAL_ERROR,
        Reason::CANCEL,
        Reason::REFUSED_STREAM,
        Reason::NO_ERROR,
    ] {
        let (_app, proxy) = cut_off(reason).await;
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = within("the end", client.try_answer(false)).await;
        assert!(answer.is_err(), "{reason:?}");
        assert_eq!(proxy.failures("blue"), [("reset", 1)], "{reason:?}");
    }
}

#[tokio::test]
async fn u_05_a_connection_that_ends_in_the_middle_of_an_answer_is_never_a_clean_end() {
    let app = endpoint("blue")
        .serve(move |peer| async move {
            if let Some(mut wire) = Wire::meet(peer, &[]).await
                && let Some(stream) = wire.request().await
            {
                wire.ok(stream, 0).await;
                wire.data(stream, 0, b"half").await;
            }
        })
        .start()
        .await;
    let proxy = over_wire(&app);
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(
        within("the end", client.try_answer(false)).await.is_err(),
        "it was cut off"
    );
    assert_eq!(proxy.failures("blue"), [("reset", 1)]);
}

#[tokio::test]
async fn a_whole_answer_before_the_end_of_its_request_is_passed_on_whole() {
    let app = endpoint("blue")
        .serve(move |peer| async move {
            let Some(mut wire) = Wire::meet(peer, &[]).await else {
                return;
            };
            while let Some(stream) = wire.request().await {
                wire.ok(stream, 0).await;
                wire.data(stream, END_STREAM, b"whole").await;
                wire.reset(stream, Reason::NO_ERROR).await;
            }
        })
        .start()
        .await;
    let proxy = over_wire(&app);
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nbegin")
        .await;
    assert_eq!(client.answer().await.body, "whole");
}

#[tokio::test]
async fn a_clients_cancel_reaches_the_endpoint_at_once() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let app = endpoint("blue")
        .serve(move |peer| {
            let tell = tell.clone();
            async move {
                let Some(mut wire) = Wire::meet(peer, &[]).await else {
                    return;
                };
                while let Some(frame) = wire.frame().await {
                    // The first gets no answer, the second half of one.
                    if frame.kind == HEADERS && frame.stream > 1 {
                        wire.ok(frame.stream, 0).await;
                    }
                    if matches!(frame.kind, HEADERS | RST_STREAM) {
                        tell.send((frame.kind, frame.payload, Instant::now()))
                            .unwrap();
                    }
                }
            }
        })
        .start()
        .await;
    let proxy = over_wire(&app);
    for request in 1..=2 {
        let mut client = begin(&proxy, 1).await;
        let (kind, ..) = within("the request", told.recv()).await.unwrap();
        assert_eq!(kind, HEADERS);
        if request == 2 {
            client[0].until_bytes(12).await;
        }
        let gone = Instant::now();
        drop(client);
        let (kind, code, at) = within("the cancel", told.recv()).await.unwrap();
        assert_eq!((kind, &*code), (RST_STREAM, &[0, 0, 0, 8][..]), "CANCEL");
        assert!(at.saturating_duration_since(gone) <= Duration::from_millis(100));
    }
    proxy
        .until("the lease to be given back", |proxy| {
            proxy.in_flight("blue") == 0
        })
        .await;
    assert_eq!(proxy.failures("blue"), []);
    assert_eq!(app.connections(), 1, "the others' connection stays");
}

#[tokio::test]
async fn u_13_a_slow_client_stops_its_endpoint_and_no_other_request() {
    let app = h2_endpoint("blue")
        .serve(|mut call| async move {
            if call.request.uri().path() == "/small" {
                return call.answer(200, Bytes::from_static(b"small"));
            }
            let head = Response::new(());
            let mut stream = call.respond.send_response(head, false).unwrap();
            let piece = Bytes::from(vec![b'x'; 64 << 10]);
            loop {
                stream.reserve_capacity(piece.len());
                STALLED.fetch_add(1, SeqCst);
                let room = poll_fn(|context| stream.poll_capacity(context)).await;
                STALLED.fetch_sub(1, SeqCst);
                match room {
                    Some(Ok(room)) => {
                        let part = piece.slice(..room.min(piece.len()));
                        SENT.fetch_add(part.len(), SeqCst);
                        if stream.send_data(part, false).is_err() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        })
        .start()
        .await;
    let proxy = over_h2(&[&app]);
    let mut slow = begin(&proxy, 40).await;
    app.until_calls(40).await;
    let sent = || SENT.load(SeqCst);
    // Quiet, while other requests on the same connection come and go: what there is to say for the slow ones was said before.
    within("the endpoint to stop", async {
        loop {
            let before = sent();
            for _ in 0..20 {
                assert_eq!(proxy.get("/small").await.body, "small");
            }
            if STALLED.load(SeqCst) == 40 && sent() == before {
                return;
            }
        }
    })
    .await;
    // The window of a stream, what waits in the proxy for a client that takes nothing, and the sockets' own buffers.
    assert!(sent() / 40 < 8 << 20, "{} bytes each", sent() / 40);
    assert_eq!(app.connections(), 1);
    slow.clear();
    proxy
        .until("the endpoint to be let go", |proxy| {
            proxy.in_flight("blue") == 0
        })
        .await;
}

static SENT: AtomicUsize = AtomicUsize::new(0);
static STALLED: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn u_14_an_endpoint_that_takes_no_body_stops_its_client() {
    let app = endpoint("blue")
        .serve(|peer| async move {
            if let Some(mut wire) = Wire::meet(peer, &[]).await {
                let mut taken = 0;
                while let Some(frame) = wire.frame().await {
                    // Never a WINDOW_UPDATE.
                    if frame.kind == DATA {
                        taken += frame.payload.len();
                        assert!(taken <= 65_535, "more than the window");
                    }
                }
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("protocol = \"h2\"\ntimeouts = { idle = \"1s\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n")
        .await;
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), client.try_send(&piece)).await
    {
        written.unwrap();
        sent += 1;
        assert!(sent < 64, "nothing holds the client up");
    }
    // Nothing moves for as long as it may.
    assert_eq!(client.answer().await.status, 504);
    assert_eq!(proxy.failures("blue"), [("timeout", 1)]);
}

#[tokio::test]
async fn a_dead_connection_is_found_by_a_ping() {
    let app = endpoint("blue")
        .serve(|peer| async move {
            if let Some(mut wire) = Wire::meet(peer, &[]).await {
                // Takes everything, pings too, and answers nothing.
                while wire.frame().await.is_some() {}
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("protocol = \"h2\"\nretry.attempts = 1\ntimeouts = { response = \"2s\", idle = \"2s\" }")
        .pool("blue", 100, &[&app])
        .start();
    // Both on one connection, and before the time to answer is over.
    for mut client in begin(&proxy, 2).await {
        assert_eq!(client.answer().await.status, 502);
    }
    assert_eq!(proxy.failures("blue"), [("reset", 2)]);
    assert_eq!(app.connections(), 1);
    proxy
        .until("the connection to be closed", |proxy| {
            proxy.connections("blue") == 0
        })
        .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let app = h2_endpoint("blue").start().await;
    let proxy = proxy()
        .service("protocol = \"h2\"\ntimeouts = { keep_alive = \"100ms\" }")
        .pool_at("blue", 100, &[&app.address.to_string()])
        .start();
    assert_eq!(proxy.get("/").await.body, "blue");
    app.until_closed().await;
    proxy
        .until("no connection", |proxy| proxy.connections("blue") == 0)
        .await;
}

#[tokio::test]
async fn u_23_a_drain_lets_requests_end_and_then_closes_their_connection() {
    let (open, opened) = watch::channel(false);
    let app = h2_endpoint("blue")
        .serve(move |call| {
            let mut opened = opened.clone();
            async move {
                let _ = opened.wait_for(|open| *open).await;
                call.answer(200, Bytes::from_static(b"blue"));
            }
        })
        .start()
        .await;
    let proxy = over_h2(&[&app]);
    let mut clients = begin(&proxy, 2).await;
    app.until_calls(2).await;
    proxy.put("blue", State::Draining, false);
    open.send_replace(true);
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "blue");
    }
    app.until_closed().await;
    proxy
        .until("nothing left", |proxy| {
            proxy.connections("blue") == 0 && proxy.in_flight("blue") == 0
        })
        .await;
}

#[tokio::test]
async fn u_23_a_cut_ends_what_is_in_flight() {
    let app = h2_endpoint("blue")
        .serve(|call| async move {
            let _call = call;
            std::future::pending::<()>().await;
        })
        .start()
        .await;
    let proxy = over_h2(&[&app]);
    let mut clients = begin(&proxy, 3).await;
    app.until_calls(3).await;
    proxy.put("blue", State::Draining, true);
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 502);
    }
    app.until_closed().await;
    proxy
        .until("nothing left", |proxy| {
            proxy.connections("blue") == 0 && proxy.in_flight("blue") == 0
        })
        .await;
}

#[tokio::test]
async fn p_13_what_comes_before_an_answer_is_not_the_answer() {
    let app = endpoint("hints")
        .serve(|peer| async move {
            let Some(mut wire) = Wire::meet(peer, &[]).await else {
                return;
            };
            while let Some(stream) = wire.request().await {
                for status in ["100", "102", "103"] {
                    wire.interim(stream, status, 20).await;
                }
                wire.ok(stream, 0).await;
                wire.data(stream, END_STREAM, b"a").await;
            }
        })
        .start()
        .await;
    let proxy = over_wire(&app);
    for _ in 0..2 {
        let answer = proxy.get("/").await;
        assert_eq!((answer.status, &*answer.body), (200, "a"));
    }
    assert_eq!(app.connections(), 1);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn u_11_a_flood_of_hints_ends_when_an_answer_is_due() {
    let (told, mut ended) = watch::channel(false);
    let app = endpoint("floods")
        .serve(move |peer| {
            let told = told.clone();
            async move {
                let Some(mut wire) = Wire::meet(peer, &[]).await else {
                    return;
                };
                let Some(stream) = wire.request().await else {
                    return;
                };
                wire.interim(stream, "103", 200_000).await;
                while let Some(frame) = wire.frame().await {
                    if frame.kind == RST_STREAM {
                        break;
                    }
                }
                told.send_replace(true);
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("protocol = \"h2\"\ntimeouts = { response = \"300ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    assert_eq!(proxy.get("/").await.status, 504);
    assert_eq!(proxy.failures("blue"), [("timeout", 1)]);
    within("the reset", ended.wait_for(|ended| *ended))
        .await
        .unwrap();
}

#[tokio::test]
async fn u_01_a_refused_dial_fails_all_who_wait_for_it_at_once() {
    let app = endpoint("gone").start().await;
    let address = app.stop().await.to_string();
    let proxy = proxy()
        .service("protocol = \"h2\"")
        .pool_at("blue", 100, &[&address])
        .start();
    for mut client in begin(&proxy, 5).await {
        assert_eq!(client.answer().await.status, 502);
    }
    assert_eq!(proxy.failures("blue"), [("connect", 5)]);
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let app = h2_endpoint("blue")
        .serve(|mut call| async move {
            let (body, _) = call.body().await;
            let length = body.len();
            let head = Response::new(());
            let mut stream = call.respond.send_response(head, false).unwrap();
            let _ = stream.send_data(body.into(), false);
            let _ = stream.send_data(Bytes::from(format!("{length}")), true);
            std::future::poll_fn(|context| stream.poll_reset(context))
                .await
                .ok();
        })
        .start()
        .await;
    let proxy = over_h2(&[&app]);
    let (mut stream, _) = proxy.client().await.into_parts();
    let length = 3 << 20;
    let (mut reading, mut writing) = stream.split();
    let upload = async {
        use tokio::io::AsyncWriteExt;
        let head = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        writing.write_all(head.as_bytes()).await.unwrap();
        writing.write_all(&vec![b'x'; length]).await.unwrap();
    };
    let mut read = Vec::new();
    let download = reading.read_to_end(&mut read);
    let ((), downloaded) = within("both ways", async { tokio::join!(upload, download) }).await;
    downloaded.unwrap();
    assert!(read.len() > length, "{}", read.len());
    assert!(read.ends_with(b"0\r\n\r\n"));
}
