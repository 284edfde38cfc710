//! Tunnels on streams of HTTP/2 (RFC 8441). Rows W-09 and, of CONNECT over HTTP/2, P-08 of the catalogue.

use std::{future::poll_fn, time::Duration};

use cutover::{pool::State, proxy::tunnel::handshake::is_key};
use h2::{Reason, ext::Protocol};
use tokio::sync::watch;

use crate::support::{
    Proxy, answer, endpoint, proxy, until,
    websocket::{agreement, frame, heard, is_told, key, pong_server, recording_server},
    websocket_h2::{connect, websocket},
    within,
};

const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

async fn until_ended(proxy: &Proxy, reason: &'static str) {
    proxy
        .until("the tunnel to end", |proxy| {
            proxy.tunnels("blue") == 0 && proxy.in_flight("blue") == 0
        })
        .await;
    assert_eq!(proxy.tunnel_ends("blue"), [(reason, 1)]);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn w_09_a_connect_becomes_an_upgrade_and_its_stream_a_tunnel() {
    let app = pong_server().start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = connect(&proxy).await;
    let mut asked = websocket("http://a/chat?room=1");
    let headers = asked.headers_mut();
    headers.insert("sec-websocket-version", "13".parse().unwrap());
    headers.insert("sec-websocket-protocol", "chat".parse().unwrap());
    // Not ours to believe: over HTTP/2 there is no key.
    headers.insert("sec-websocket-key", "none".parse().unwrap());
    let mut socket = client.ask(asked).await;
    assert_eq!(socket.head.status(), 200);
    for gone in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!socket.head.headers().contains_key(gone), "{gone}");
    }
    let sent = app.request().to_ascii_lowercase();
    assert!(sent.starts_with("get /chat?room=1 http/1.1\r\n"), "{sent}");
    for line in [
        "host: a",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: chat",
    ] {
        assert!(sent.contains(&format!("\r\n{line}\r\n")), "{line}: {sent}");
    }
    assert!(is_key(key(&app.request()).as_bytes()));
    // More than all windows and buffers on the way hold.
    socket.echoes(&frame(0x82, b"hello")).await;
    socket.echoes(&frame(0x82, &vec![7; 3 << 20])).await;
    assert_eq!((proxy.tunnels("blue"), proxy.in_flight("blue")), (1, 1));
    socket.end();
    assert_eq!(socket.until_ended().await, b"");
    until_ended(&proxy, "client").await;
    app.until_closed().await;
}

#[tokio::test]
async fn w_09_what_the_endpoint_chose_is_passed_on() {
    let app = endpoint("chooses")
        .serve(|mut peer| async move {
            let Ok(request) = peer.request().await else {
                return;
            };
            let mut answer = agreement(&request);
            answer.truncate(answer.len() - 2);
            answer.extend(b"sec-websocket-protocol: chat\r\nsec-websocket-extensions: x\r\n\r\n");
            peer.write(&answer).await;
            peer.until_closed().await;
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let socket = connect(&proxy).await.tunnel().await;
    let headers = socket.head.headers();
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    assert_eq!(headers["sec-websocket-extensions"], "x");
}

#[tokio::test]
async fn w_09_a_drain_tells_both_ends_and_ends_the_stream_alone() {
    let (app, seen) = recording_server();
    let app = app.start().await;
    let proxy = proxy()
        .service("drain = { websockets = \"close-now\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = connect(&proxy).await;
    let mut socket = client.tunnel().await;
    socket.send(&frame(0x82, b"still")[..4]);
    until("half a frame to pass", || !seen.lock().unwrap().is_empty()).await;
    proxy.put("blue", State::Draining, false);
    assert_eq!(socket.until_ended().await, GOING_AWAY);
    // The app is told once the frame that is passing has passed.
    socket.send(&frame(0x82, b"still")[4..]);
    until("the app to be told", || is_told(&seen)).await;
    socket.end();
    until_ended(&proxy, "drained").await;
    assert_eq!(client.get("/").await, 503);
}

#[tokio::test]
async fn w_09_a_process_that_ends_tells_both_ends() {
    let (app, seen) = recording_server();
    let app = app.start().await;
    let mut proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = connect(&proxy).await;
    let mut socket = client.tunnel().await;
    let client = async {
        assert_eq!(socket.until_ended().await, GOING_AWAY);
        socket.end();
    };
    let (drained, ()) = tokio::join!(proxy.drain(Duration::from_millis(100)), client);
    assert_eq!((drained.cut, drained.tunnels), (0, 1));
    until("the app to be told", || is_told(&seen)).await;
}

#[tokio::test]
async fn w_09_a_client_that_takes_nothing_holds_no_tunnel_that_is_closed() {
    let app = endpoint("floods")
        .serve(|mut peer| async move {
            let Ok(request) = peer.request().await else {
                return;
            };
            peer.write(&agreement(&request)).await;
            while peer.try_write(&[0x82, 2, 0, 0].repeat(4096)).await.is_ok() {}
        })
        .start()
        .await;
    let proxy = proxy()
        .service("drain = { websockets = \"close-now\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = connect(&proxy).await;
    let mut socket = client.tunnel().await;
    within("bytes", socket.reader.data()).await;
    proxy.put("blue", State::Draining, false);
    until_ended(&proxy, "drained").await;
    app.until_closed().await;
    // The stream does not stay for what is never taken.
    let reset = within(
        "the reset",
        poll_fn(|context| socket.writer.poll_reset(context)),
    );
    assert_eq!(reset.await.unwrap(), Reason::CANCEL);
    assert_eq!(client.get("/").await, 503);
}

#[tokio::test]
async fn w_09_an_answer_that_proves_nothing_is_a_502() {
    for wrong in [
        "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        // The client would take any success for the tunnel's beginning.
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let app = endpoint("wrong")
            .serve(move |mut peer| async move {
                let _ = peer.request().await;
                peer.write(wrong.as_bytes()).await;
                peer.until_closed().await;
            })
            .start()
            .await;
        let proxy = proxy().pool("blue", 100, &[&app]).start();
        let mut client = connect(&proxy).await;
        let refused = client.ask(websocket("http://a/")).await;
        assert_eq!(refused.head.status(), 502, "{wrong}");
        app.until_closed().await;
        assert_eq!(proxy.tunnels("blue"), 0);
    }
}

#[tokio::test]
async fn w_09_a_refusal_passes_as_the_answer_it_is() {
    for status in [302, 403, 426, 503] {
        let app = endpoint("no")
            .bytes(answer(status, &[("upgrade", "websocket")], b"no"))
            .start()
            .await;
        let proxy = proxy().pool("blue", 100, &[&app]).start();
        let mut client = connect(&proxy).await;
        let mut refused = client.ask(websocket("http://a/")).await;
        assert_eq!(refused.head.status(), status);
        assert!(!refused.head.headers().contains_key("upgrade"));
        assert_eq!(refused.until_ended().await, b"no");
        assert_eq!(client.get("/").await, status);
    }
}

#[tokio::test]
async fn w_09_a_service_that_allows_no_websockets_says_501() {
    let app = pong_server().start().await;
    let proxy = proxy()
        .service("upgrades = []")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = connect(&proxy).await;
    let refused = client.ask(websocket("http://a/")).await;
    assert_eq!(refused.head.status(), 501);
    assert_eq!(app.connections(), 0);
}

#[tokio::test]
async fn p_08_a_connect_for_anything_else_is_not_allowed() {
    let app = endpoint("never").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = connect(&proxy).await;
    let mut plain = websocket("a:443");
    plain.extensions_mut().remove::<Protocol>();
    let mut other = websocket("http://a/");
    let extensions = other.extensions_mut();
    extensions.insert(Protocol::from_static("connect-udp"));
    for asked in [plain, other] {
        let refused = client.ask(asked).await;
        assert_eq!(refused.head.status(), 405);
    }
    let mut framed = websocket("http://a/");
    framed.headers_mut().insert("content-length", 0.into());
    assert_eq!(client.ask(framed).await.head.status(), 400);
    assert_eq!(app.connections(), 0);
}

#[tokio::test]
async fn w_09_a_stream_that_is_reset_ends_its_tunnel_and_no_other() {
    let app = pong_server().start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = connect(&proxy).await;
    let mut stays = client.tunnel().await;
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let mut goes = client.tunnel().await;
        goes.echoes(&frame(0x82, b"hello")).await;
        assert_eq!(app.open(), 2);
        goes.writer.send_reset(reason);
        until("the app's connection to close", || app.open() == 1).await;
    }
    assert_eq!(proxy.tunnel_ends("blue"), [("client-broke", 2)]);
    stays.echoes(&frame(0x82, b"still")).await;
    assert_eq!(proxy.tunnels("blue"), 1);
}

#[tokio::test]
async fn w_09_what_was_said_before_a_reset_is_heard() {
    let (app, seen) = recording_server();
    let app = app.start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = connect(&proxy).await;
    let mut socket = client.tunnel().await;
    let last = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    socket.send(&last);
    until("the close frame to pass", || heard(&seen, &last)).await;
    socket.writer.send_reset(Reason::CANCEL);
    app.until_closed().await;
    until_ended(&proxy, "client").await;
}

#[tokio::test]
async fn w_09_an_app_that_stays_does_not_hold_the_tunnel_of_a_stream_that_was_reset() {
    let (told, mut ended) = watch::channel(false);
    let app = endpoint("stays")
        .serve(move |mut peer| {
            let told = told.clone();
            async move {
                let Ok(request) = peer.request().await else {
                    return;
                };
                peer.write(&agreement(&request)).await;
                peer.until_closed().await;
                told.send_replace(true);
                peer.hang().await;
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = connect(&proxy).await;
    let mut socket = client.tunnel().await;
    socket.end();
    within("the end", ended.wait_for(|ended| *ended))
        .await
        .unwrap();
    // The end of what the client says is no end of the tunnel; its reset is.
    assert_eq!(proxy.tunnels("blue"), 1);
    socket.writer.send_reset(Reason::CANCEL);
    until_ended(&proxy, "client-broke").await;
}

#[tokio::test]
async fn w_09_a_connection_that_breaks_ends_its_tunnels() {
    let app = pong_server().start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = connect(&proxy).await;
    let _socket = client.tunnel().await;
    client.abort();
    app.until_closed().await;
    until_ended(&proxy, "client-broke").await;
}

#[tokio::test]
async fn w_09_a_silent_tunnel_outlives_what_a_request_and_a_connection_may_take() {
    let app = endpoint("both")
        .serve(|mut peer| async move {
            let Ok(request) = peer.request().await else {
                return;
            };
            if request.starts_with("GET /slow ") {
                return peer.hang().await;
            }
            peer.write(&agreement(&request)).await;
            let first = peer.bytes(7).await;
            peer.write(&first).await;
            peer.until_closed().await;
        })
        .start()
        .await;
    let proxy = proxy()
        .listener("timeouts = { idle = \"100ms\" }")
        .service("timeouts = { idle = \"100ms\", response = \"400ms\", request = \"450ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = connect(&proxy).await;
    let mut socket = client.tunnel().await;
    let mut other = connect(&proxy).await;
    assert_eq!(other.get("/slow").await, 504);
    socket.echoes(&frame(0x82, b"still")).await;
}

#[tokio::test]
async fn w_09_a_tunnel_in_which_nothing_moves_for_too_long_is_closed() {
    let app = pong_server().start().await;
    let proxy = proxy()
        .service("timeouts = { tunnel = \"200ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = connect(&proxy).await;
    let mut socket = client.tunnel().await;
    assert_eq!(socket.until_ended().await, GOING_AWAY);
    socket.end();
    until_ended(&proxy, "idle").await;
}
