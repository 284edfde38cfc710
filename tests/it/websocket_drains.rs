//! What becomes of open tunnels when their endpoint, or the whole proxy, is taken away. Row W-08 of the catalogue.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cutover::pool::State;

use crate::support::{
    App, Proxy, endpoint, proxy, until,
    websocket::{Socket, frame, handshake, heard, is_told, recording_server, request, switching},
};

const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];
const LONG: Duration = Duration::from_mins(1);

/// A tunnel to an app that records, under a policy.
async fn tunnel(drain: &str) -> (Proxy, App, Arc<Mutex<Vec<u8>>>, Socket) {
    let (app, seen) = recording_server();
    let app = app.start().await;
    let proxy = proxy()
        .service(&format!("drain = {{ {drain} }}"))
        .pool("blue", 100, &[&app])
        .start();
    let socket = handshake(&proxy).await;
    (proxy, app, seen, socket)
}

async fn until_ended(proxy: &Proxy, reason: &'static str) {
    proxy
        .until("the tunnel to end", |proxy| {
            proxy.tunnels("blue") == 0 && proxy.in_flight("blue") == 0
        })
        .await;
    assert_eq!(proxy.tunnel_ends("blue"), [(reason, 1)]);
    proxy
        .until("its connection to close", |proxy| {
            proxy.connections("blue") == 0
        })
        .await;
    assert_eq!(proxy.failures("blue"), []);
}

async fn until_app_is_told(seen: &Arc<Mutex<Vec<u8>>>) {
    until("the app to be told", || is_told(seen)).await;
}

#[tokio::test]
async fn w_08_a_drain_keeps_a_websocket_until_its_deadline_and_then_tells_both_ends() {
    let (proxy, _app, seen, mut socket) = tunnel("deadline = \"300ms\"").await;
    let start = Instant::now();
    proxy.put("blue", State::Draining, false);
    tokio::time::sleep(Duration::from_millis(150)).await;
    // It still works, and whatever moves does not put the deadline off.
    socket.writer.send(&frame(0x82, b"still")).await;
    until("the frame to pass", || heard(&seen, b"still")).await;
    assert_eq!((proxy.tunnels("blue"), proxy.in_flight("blue")), (1, 1));
    assert_eq!(socket.reader.bytes(4).await, GOING_AWAY);
    assert!(
        (290..900).contains(&start.elapsed().as_millis()),
        "{:?}",
        start.elapsed()
    );
    // The client's answer ends it without a reset.
    socket.writer.send(&[0x88, 0x80, 0, 0, 0, 0]).await;
    socket.writer.end().await;
    assert_eq!(socket.reader.until_closed().await, b"");
    until_app_is_told(&seen).await;
    until_ended(&proxy, "drained").await;
}

#[tokio::test]
async fn w_08_keep_leaves_a_websocket_alone_and_close_now_does_not_wait() {
    let (proxy, _app, seen, mut socket) =
        tunnel("deadline = \"50ms\", websockets = \"keep\"").await;
    proxy.put("blue", State::Draining, false);
    tokio::time::sleep(Duration::from_millis(250)).await;
    socket.writer.send(&frame(0x82, b"still")).await;
    until("the frame to pass", || heard(&seen, b"still")).await;
    assert_eq!(proxy.tunnels("blue"), 1);
    drop(socket);
    until_ended(&proxy, "client").await;

    let (proxy, _app, seen, mut socket) =
        tunnel("deadline = \"1h\", websockets = \"close-now\"").await;
    proxy.put("blue", State::Draining, false);
    assert_eq!(socket.reader.until_closed().await, GOING_AWAY);
    drop(socket);
    until_app_is_told(&seen).await;
    until_ended(&proxy, "drained").await;
}

#[tokio::test]
async fn w_08_a_cut_ends_a_websocket_whatever_its_policy() {
    let (proxy, _app, seen, mut socket) = tunnel("deadline = \"1h\", websockets = \"keep\"").await;
    proxy.put("blue", State::Draining, true);
    assert_eq!(socket.reader.until_closed().await, GOING_AWAY);
    drop(socket);
    until_app_is_told(&seen).await;
    until_ended(&proxy, "cut").await;
}

#[tokio::test]
async fn w_08_an_endpoint_that_is_restored_keeps_its_websockets() {
    let (proxy, _app, seen, mut socket) = tunnel("deadline = \"300ms\"").await;
    proxy.put("blue", State::Draining, false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.put("blue", State::Ready, false);
    tokio::time::sleep(Duration::from_millis(400)).await;
    socket.writer.send(&frame(0x82, b"still")).await;
    until("the frame to pass", || heard(&seen, b"still")).await;
    assert_eq!(proxy.tunnels("blue"), 1);
}

#[tokio::test]
async fn w_08_a_websocket_that_the_app_agrees_to_after_its_drain_began_is_closed_as_well() {
    let (told, agrees) = tokio::sync::watch::channel(false);
    let app = endpoint("late")
        .serve(move |mut peer| {
            let mut agrees = agrees.clone();
            async move {
                let _ = peer.request().await;
                let _ = agrees.wait_for(|agrees| *agrees).await;
                peer.write(&switching()).await;
                peer.until_closed().await;
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("drain = { websockets = \"close-now\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client.send(request()).await;
    app.until_requests(1).await;
    proxy.put("blue", State::Draining, false);
    // The workers have seen it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    told.send_replace(true);
    assert_eq!(client.answer().await.status, 101);
    assert_eq!(client.bytes(4).await, GOING_AWAY);
    drop(client);
    until_ended(&proxy, "drained").await;
}

#[tokio::test]
async fn w_08_a_pool_that_loses_its_weight_gives_its_websockets_until_the_deadline() {
    let (app, seen) = recording_server();
    let (app, green) = (app.start().await, endpoint("green").start().await);
    let proxy = proxy()
        .service("drain = { deadline = \"200ms\" }")
        .pool("blue", 100, &[&app])
        .pool("green", 0, &[&green])
        .start();
    let mut socket = handshake(&proxy).await;
    proxy.shift(&[("green", 100)]);
    assert_eq!(socket.reader.until_closed().await, GOING_AWAY);
    drop(socket);
    until_app_is_told(&seen).await;
    until_ended(&proxy, "drained").await;
}

#[tokio::test]
async fn w_08_an_endpoint_that_is_removed_gives_its_websockets_until_the_deadline() {
    let (proxy, _app, seen, mut socket) = tunnel("deadline = \"200ms\"").await;
    proxy.decide(|decided| {
        decided.pools.values_mut().for_each(Vec::clear);
    });
    assert_eq!(socket.reader.until_closed().await, GOING_AWAY);
    drop(socket);
    until_app_is_told(&seen).await;
}

#[tokio::test]
async fn w_08_a_close_frame_waits_for_the_frame_that_is_passing_and_goes_without_where_none_ends() {
    // The app's frame ends after the close was due: it passes whole, and the close frame follows it.
    let app = endpoint("halves")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
            peer.write(&switching()).await;
            let whole = frame(0x82, &[7; 100]);
            peer.write(&whole[..50]).await;
            // The other end is told at once: it stands between frames.
            peer.bytes(8).await;
            peer.write(&whole[50..]).await;
            peer.write(&frame(0x82, b"too late")).await;
            peer.until_closed().await;
        })
        .start()
        .await;
    let policy = "drain = { websockets = \"close-now\" }";
    let proxy = proxy().service(policy).pool("blue", 100, &[&app]).start();
    let mut socket = handshake(&proxy).await;
    socket.reader.bytes(50).await;
    proxy.put("blue", State::Draining, false);
    assert_eq!(
        socket.reader.until_closed().await,
        [&[7; 52][..], &GOING_AWAY].concat()
    );

    // It never ends: nothing of ours is put into it.
    let app = endpoint("half")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
            peer.write(&switching()).await;
            peer.write(&frame(0x82, &[7; 100])[..50]).await;
            peer.hang().await;
        })
        .start()
        .await;
    let proxy = crate::support::proxy()
        .service(policy)
        .pool("blue", 100, &[&app])
        .start();
    let mut socket = handshake(&proxy).await;
    socket.reader.bytes(50).await;
    let start = Instant::now();
    proxy.put("blue", State::Draining, false);
    assert_eq!(socket.reader.until_closed().await, b"");
    assert!(
        (900..2500).contains(&start.elapsed().as_millis()),
        "{:?}",
        start.elapsed()
    );
    until_ended(&proxy, "drained").await;
}

#[tokio::test]
async fn w_08_who_has_said_close_is_not_told_again() {
    let app = endpoint("closes")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
            peer.write(&switching()).await;
            peer.write(&frame(0x88, &[0x03, 0xe8])).await;
            peer.until_closed().await;
        })
        .start()
        .await;
    let policy = "drain = { websockets = \"close-now\" }";
    let proxy = proxy().service(policy).pool("blue", 100, &[&app]).start();
    let mut socket = handshake(&proxy).await;
    socket.reader.bytes(4).await;
    proxy.put("blue", State::Draining, false);
    assert_eq!(socket.reader.until_closed().await, b"");
}

#[tokio::test]
async fn w_08_the_processs_end_tells_every_websocket_at_its_deadline_and_counts_them_apart() {
    let (mut proxy, _app, seen, mut socket) = tunnel("websockets = \"keep\"").await;
    let start = Instant::now();
    let (drained, told) = tokio::join!(proxy.drain(Duration::from_millis(200)), async {
        let told = socket.reader.until_closed().await;
        drop(socket);
        told
    });
    assert_eq!(told, GOING_AWAY);
    assert!(
        (190..900).contains(&start.elapsed().as_millis()),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        (drained.tunnels, drained.cut, drained.timed_out),
        (1, 0, true)
    );
    until_app_is_told(&seen).await;
}

#[tokio::test]
async fn w_08_the_processs_end_closes_at_once_where_the_service_says_so() {
    let (mut proxy, _app, seen, mut socket) = tunnel("websockets = \"close-now\"").await;
    let (drained, told) = tokio::join!(proxy.drain(LONG), async {
        let told = socket.reader.until_closed().await;
        drop(socket);
        told
    });
    assert_eq!(told, GOING_AWAY);
    assert_eq!(
        (drained.tunnels, drained.cut, drained.timed_out),
        (0, 0, false)
    );
    until_app_is_told(&seen).await;
}

#[tokio::test]
async fn another_protocols_tunnel_is_ended_without_a_word() {
    let app = endpoint("other")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
            peer.write(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n")
                .await;
            peer.until_closed().await;
        })
        .start()
        .await;
    let proxy = proxy()
        .service("upgrades = [\"raw\"]\ndrain = { websockets = \"close-now\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 101);
    proxy.put("blue", State::Draining, false);
    assert_eq!(client.until_closed().await, "");
    app.until_closed().await;
}
