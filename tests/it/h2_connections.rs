//! How connections of HTTP/2 end: in order, and without a loss.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::time::Duration;

use h2::{Reason, client::Builder};

use crate::support::{
    Client, PATIENCE, Proxy, answer,
    caller::{Caller, get, holding, read, rest, whole},
    endpoint,
    h2::{DATA, GOAWAY},
    proxy, within,
};

#[tokio::test]
async fn h2_29_a_drain_is_announced_and_what_is_under_way_ends_whole() {
    let (app, let_go) = holding("blue").await;
    let mut proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::to(&proxy).await;
    let held = caller.begin(get("/held")).await;
    app.until_requests(1).await;
    let (drained, ()) = tokio::join!(proxy.drain(PATIENCE), async {
        caller.until_told().await;
        let_go.send_replace(true);
        let got = whole(held).await;
        assert_eq!(got.told(), (200, "blue"));
        assert!(!got.headers.contains_key("connection"));
        caller.until_closed().await;
    });
    assert!(!drained.timed_out && drained.cut == 0, "{drained:?}");
}

#[tokio::test]
async fn h2_29_a_listener_that_goes_away_is_announced_and_what_is_under_way_ends_whole() {
    let (app, let_go) = holding("blue").await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::to(&proxy).await;
    let held = caller.begin(get("/held")).await;
    app.until_requests(1).await;
    let other = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    proxy
        .listen(&format!(
            "[[listeners]]\naddress = \"{other}\"\n[services.app]\npools.blue.endpoints = [\"{}\"]\n",
            app.address
        ))
        .unwrap();
    caller.until_told().await;
    let_go.send_replace(true);
    assert_eq!(whole(held).await.told(), (200, "blue"));
    caller.until_closed().await;
}

#[tokio::test]
async fn what_a_slow_client_has_yet_to_take_is_waited_for_when_the_process_drains() {
    let app = endpoint("blue")
        .bytes(answer(200, &[], &[b'x'; 10_000]))
        .start()
        .await;
    let mut proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::with(&proxy, Builder::new().initial_window_size(4096)).await;
    let answer = caller.begin(get("/")).await;
    let mut answer = within("a head", answer).await.unwrap();
    // The endpoint has no part in it any more.
    proxy
        .until("the lease to be given back", |proxy| {
            proxy.in_flight("blue") == 0
        })
        .await;
    let (drained, ()) = tokio::join!(proxy.drain(PATIENCE), async {
        caller.until_told().await;
        // Longer than a connection is waited for on which nothing is open.
        let patience = Duration::from_millis(1500);
        let ended = tokio::time::timeout(patience, &mut caller.ended).await;
        assert!(ended.is_err(), "{ended:?}");
        assert_eq!(read(answer.body_mut()).await.unwrap().len(), 10_000);
        caller.until_closed().await;
    });
    assert!(!drained.timed_out && drained.cut == 0, "{drained:?}");
}

#[tokio::test]
async fn an_old_connection_is_ended_and_loses_nothing() {
    let (app, let_go) = holding("blue").await;
    let proxy = proxy()
        .listener("timeouts.max_connection_age = \"200ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let mut caller = Caller::to(&proxy).await;
    let held = caller.begin(get("/held")).await;
    let mut count = 0;
    within("the connection to be old", async {
        while let Ok(mut send) = caller.send.clone().ready().await {
            let Ok((answer, _)) = send.send_request(get("/"), true) else {
                return;
            };
            match within("an answer", answer).await {
                // It was not sent: the word had come before it was.
                Err(error) if error.is_go_away() => return,
                answer => assert_eq!(rest(answer.unwrap()).await.told(), (200, "blue")),
            }
            count += 1;
        }
    })
    .await;
    assert!(count > 0);
    caller.until_told().await;
    let_go.send_replace(true);
    assert_eq!(whole(held).await.told(), (200, "blue"));
    caller.until_closed().await;
    assert_eq!(proxy.answers("blue"), [(200, true, count + 1)]);
}

#[tokio::test]
async fn h2_31_a_connection_without_streams_is_closed_after_a_while() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts.idle = \"100ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let mut caller = Caller::to(&proxy).await;
    assert_eq!(caller.get("/").await.told(), (200, "blue"));
    caller.until_told().await;
    caller.until_closed().await;
}

/// A `GET` of `/`, as HPACK has it without remembering anything (RFC 7541 §6).
fn bare_get(stream: u8) -> Vec<u8> {
    let fields = b"\x82\x86\x84\x01\x01a";
    let mut frame = vec![0, 0, 6, 1, 5, 0, 0, 0, stream];
    frame.extend_from_slice(fields);
    frame
}

/// The next frame of this kind.
async fn until_frame(client: &mut Client, kind: u8) -> Vec<u8> {
    loop {
        let head = client.bytes(9).await;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = client.bytes(length as usize).await;
        if head[3] == kind {
            return payload;
        }
    }
}

#[tokio::test]
async fn h2_29_a_request_that_crosses_the_end_of_an_idle_connection_is_answered() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts.idle = \"50ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    client.send(bare_get(1)).await;
    assert_eq!(until_frame(&mut client, DATA).await, b"blue");
    until_frame(&mut client, GOAWAY).await;
    client.send(bare_get(3)).await;
    assert_eq!(until_frame(&mut client, DATA).await, b"blue");
    // A client that says no more is not waited for long.
    client.until_closed().await;
}

#[tokio::test]
async fn h2_26_a_frame_that_is_too_large_ends_the_connection_and_is_counted() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    // DATA of more than is allowed, of which the length is enough.
    client.send(b"\0\x40\x01\0\0\0\0\0\x01").await;
    let told = until_frame(&mut client, GOAWAY).await;
    assert_eq!(
        told[4..8],
        u32::from(Reason::FRAME_SIZE_ERROR).to_be_bytes()
    );
    client.until_closed().await;
    let counted = |proxy: &Proxy| proxy.rejections() == [("malformed", 1)];
    proxy.until("the refusal", counted).await;
}

#[tokio::test]
async fn h2_27_a_client_that_asks_for_nothing_or_only_wishes_for_http_2_gets_none() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts.header = \"100ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let silent = Caller::to(&proxy).await;
    silent.until_told().await;
    silent.until_closed().await;
    let mut client: Client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    let seen = app.request();
    assert!(
        !seen.contains("h2c") && !seen.contains("http2-settings"),
        "{seen}"
    );
}
