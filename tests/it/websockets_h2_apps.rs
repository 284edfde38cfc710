//! Tunnels to apps that speak HTTP/2, on streams of connections that other requests share (RFC 8441). Rows W-04, W-05, W-07, W-08 and
//! W-09 of the catalogue.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use cutover::pool::State;
use h2::{Reason, ext::Protocol};
use http::{Method, Request, Response};
use tokio::sync::mpsc;

use crate::support::{
    Call, H2App, Proxy, Wire, authority, endpoint,
    h2::Plan,
    h2_endpoint, proxy, until,
    websocket::{ACCEPT, KEY, frame, handshake, heard, is_told, request},
    websocket_h2::{Socket, connect, websocket},
    within,
};

const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];
const INTERNAL_ERROR: [u8; 4] = [0x88, 2, 0x03, 0xf3];

fn over_h2(app: &H2App) -> Proxy {
    serving(app, "")
}

fn serving(app: &H2App, service: &str) -> Proxy {
    proxy()
        .service(&format!("protocol = \"h2\"\n{service}"))
        .pool_at("blue", 100, &[&app.address.to_string()])
        .start()
}

fn is_connect(call: &Call) -> bool {
    *call.request.method() == Method::CONNECT
}

/// Gives back what comes in a tunnel, and says its name to other requests.
fn echoing() -> Plan {
    h2_endpoint("blue").tunnels().serve(|call| async move {
        if is_connect(&call) {
            call.agree(&[]).echo().await;
        } else {
            call.answer(200, Bytes::from_static(b"blue"));
        }
    })
}

/// Hands over the app's end of each tunnel.
fn handing_over() -> (Plan, mpsc::UnboundedReceiver<Socket<Request<()>>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let plan = h2_endpoint("blue").tunnels().serve(move |call| {
        let sender = sender.clone();
        async move {
            if is_connect(&call) {
                let _ = sender.send(call.agree(&[]));
            } else {
                call.answer(200, Bytes::from_static(b"blue"));
            }
        }
    });
    (plan, receiver)
}

/// Keeps what it hears in tunnels.
fn recording() -> (Plan, Arc<Mutex<Vec<u8>>>) {
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let kept = seen.clone();
    let plan = h2_endpoint("records").tunnels().serve(move |call| {
        let kept = kept.clone();
        async move {
            let mut socket = call.agree(&[]);
            while let Some(Ok(part)) = socket.reader.data().await {
                let _ = socket.reader.flow_control().release_capacity(part.len());
                kept.lock().expect("nobody panicked").extend(part);
            }
            let _ = socket.writer.send_data(Bytes::new(), true);
        }
    });
    (plan, seen)
}

async fn until_ended(proxy: &Proxy, reason: &'static str) {
    proxy
        .until("the tunnel to end", |proxy| {
            proxy.tunnels("blue") == 0 && proxy.in_flight("blue") == 0
        })
        .await;
    assert_eq!(proxy.tunnel_ends("blue"), [(reason, 1)]);
}

#[tokio::test]
async fn w_09_an_upgrade_becomes_an_extended_connect_and_its_stream_a_tunnel() {
    let (asked, mut heads) = mpsc::unbounded_channel();
    let app = h2_endpoint("blue")
        .tunnels()
        .serve(move |call| {
            let asked = asked.clone();
            async move {
                // The proof of others is not passed on.
                let said = [
                    ("sec-websocket-protocol", "chat"),
                    ("sec-websocket-accept", "x"),
                ];
                let socket = call.agree(&said);
                asked.send(socket.head.clone()).unwrap();
                socket.echo().await;
            }
        })
        .start()
        .await;
    let proxy = over_h2(&app);
    let mut client = proxy.client().await;
    let mut said = request().replace("/chat", "/chat?room=1");
    said.truncate(said.len() - 2);
    said += "sec-websocket-protocol: chat\r\nsec-websocket-extensions: x\r\n\r\n";
    client.send(said).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 101);
    let head = &answer.head;
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-protocol: chat",
        &format!("sec-websocket-accept: {}", ACCEPT.to_ascii_lowercase()),
    ] {
        assert_eq!(
            head.matches(&format!("\r\n{line}\r\n")).count(),
            1,
            "{head}"
        );
    }
    assert_eq!(head.matches("sec-websocket-accept").count(), 1, "{head}");
    let head = heads.recv().await.unwrap();
    assert_eq!(*head.method(), Method::CONNECT);
    assert_eq!(*head.uri(), "http://a/chat?room=1");
    let protocol = head.extensions().get::<Protocol>();
    assert_eq!(protocol.map(Protocol::as_str), Some("websocket"));
    let headers = head.headers();
    assert_eq!(headers["sec-websocket-version"], "13");
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    assert_eq!(headers["sec-websocket-extensions"], "x");
    for gone in ["connection", "upgrade", "host", "sec-websocket-key"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn w_09_bytes_pass_both_ways_and_tunnels_and_requests_share_a_connection() {
    let app = echoing().start().await;
    let proxy = over_h2(&app);
    let mut first = handshake(&proxy).await;
    let mut client = connect(&proxy).await;
    let mut second = client.tunnel().await;
    // More than all windows and buffers on the way hold.
    let large = frame(0x82, &vec![7; 3 << 20]);
    let (heard, ()) = tokio::join!(first.reader.bytes(large.len()), first.writer.send(&large));
    assert!(heard == large);
    second.echoes(&large).await;
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(app.connections(), 1);
    assert_eq!((proxy.tunnels("blue"), proxy.in_flight("blue")), (2, 2));
    let length = large.len() as u64;
    assert_eq!(proxy.tunnel_bytes("blue"), (2 * length, 2 * length));
    first.writer.end().await;
    assert_eq!(first.reader.until_closed().await, b"");
    second.end();
    assert_eq!(second.until_ended().await, b"");
    proxy
        .until("the tunnels to end", |proxy| proxy.in_flight("blue") == 0)
        .await;
    assert_eq!(proxy.tunnel_ends("blue"), [("client", 2)]);
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(app.connections(), 1);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn w_09_it_is_the_same_with_tls() {
    let root = authority("root");
    let pair = root.server(&["127.0.0.1"]);
    let files = tempfile::tempdir().unwrap();
    let trusted = files.path().join("ca.pem");
    std::fs::write(&trusted, &root.pem).unwrap();
    let app = echoing().tls(&pair, (false, true)).start().await;
    let proxy = serving(&app, &format!("tls = {{ ca = {trusted:?} }}"));
    let mut socket = handshake(&proxy).await;
    socket.writer.send(&frame(0x82, b"hello")).await;
    assert_eq!(socket.reader.bytes(7).await, frame(0x82, b"hello"));
}

#[tokio::test]
async fn w_09_an_app_that_lets_no_stream_become_a_tunnel_is_a_502_unless_another_does() {
    let cannot = h2_endpoint("cannot").start().await;
    let one = over_h2(&cannot);
    let mut client = one.client().await;
    client.send(request()).await;
    assert_eq!(client.answer().await.status, 502);
    let mut h2 = connect(&one).await;
    let refused = h2.ask(websocket("http://a/")).await;
    assert_eq!(refused.head.status(), 502);
    // It has seen neither, and is none the worse for it.
    assert_eq!(cannot.calls(), 0);
    assert_eq!(one.failures("blue"), []);
    assert_eq!(one.get("/").await.body, "cannot");
    let can = echoing().start().await;
    let addresses = [cannot.address.to_string(), can.address.to_string()];
    let both = proxy()
        .service("protocol = \"h2\"")
        .pool_at("blue", 100, &[&addresses[0], &addresses[1]])
        .start();
    for _ in 0..4 {
        handshake(&both).await;
    }
    assert_eq!(can.calls(), 4);
}

#[tokio::test]
async fn w_05_a_wish_that_no_stream_can_have_is_an_ordinary_request() {
    let app = echoing().start().await;
    let proxy = serving(&app, "upgrades = [\"websocket\", \"chat\"]");
    for said in [
        request().replace(KEY, "short"),
        request().replace("WebSocket", "chat"),
        request().replace("WebSocket", "websocket, chat"),
    ] {
        let mut client = proxy.client().await;
        client.send(&said).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, &*answer.body), (200, "blue"), "{said}");
    }
}

#[tokio::test]
async fn w_09_any_other_answer_passes_as_it_is_and_a_success_that_is_no_tunnel_is_a_502() {
    for (said, heard) in [
        (302, 302),
        (403, 403),
        (426, 426),
        (503, 503),
        (204, 502),
        (202, 502),
    ] {
        let app = h2_endpoint("no")
            .tunnels()
            .serve(move |call| async move {
                let body: &[u8] = if said == 204 { b"" } else { b"no" };
                call.answer(said, Bytes::from_static(body));
            })
            .start()
            .await;
        let proxy = over_h2(&app);
        let mut client = proxy.client().await;
        client.send(request()).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, heard);
        // RFC 9110 §15.5.22: who says that says what to upgrade to.
        let upgrades = answer.head.contains("\r\nupgrade:");
        assert_eq!(upgrades, heard == 426, "{}", answer.head);
        if heard == said {
            assert_eq!(answer.body, "no");
            assert_eq!(client.get("/").await.status, heard);
        }
        let mut h2 = connect(&proxy).await;
        let refused = h2.ask(websocket("http://a/")).await;
        assert_eq!(refused.head.status(), heard);
        assert!(!refused.head.headers().contains_key("upgrade"));
        assert_eq!(proxy.tunnels("blue"), 0);
        proxy
            .until("nothing in flight", |proxy| proxy.in_flight("blue") == 0)
            .await;
        assert_eq!(app.connections(), 1);
    }
}

#[tokio::test]
async fn w_04_a_101_which_h2_does_not_have_begins_no_tunnel() {
    let app = endpoint("wrong")
        .serve(|peer| async move {
            let Some(mut wire) = Wire::meet(peer, &[(8, 1)]).await else {
                return;
            };
            if let Some(stream) = wire.request().await {
                wire.interim(stream, "101", 1).await;
                while wire.frame().await.is_some() {}
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("protocol = \"h2\"\ntimeouts = { response = \"300ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client.send(request()).await;
    assert_eq!(client.answer().await.status, 504);
    assert_eq!(proxy.tunnels("blue"), 0);
}

#[tokio::test]
async fn w_07_a_stream_that_the_app_resets_is_told_to_the_client_between_two_frames() {
    for reason in [
        Reason::INTERNAL_ERROR,
        Reason::CANCEL,
        Reason::NO_ERROR,
        Reason::STREAM_CLOSED,
    ] {
        let (app, mut ends) = handing_over();
        let app = app.start().await;
        let proxy = over_h2(&app);
        let mut client = handshake(&proxy).await;
        let mut end = ends.recv().await.unwrap();
        end.send(&frame(0x82, b"whole"));
        assert_eq!(client.reader.bytes(7).await, frame(0x82, b"whole"));
        end.writer.send_reset(reason);
        assert_eq!(
            client.reader.until_closed().await,
            INTERNAL_ERROR,
            "{reason}"
        );
        drop(client);
        until_ended(&proxy, "endpoint-broke").await;
        assert_eq!(proxy.failures("blue"), [("reset", 1)]);
        // Its connection has done nothing.
        assert_eq!(proxy.get("/").await.body, "blue");
        assert_eq!(app.connections(), 1, "{reason}");
    }
}

#[tokio::test]
async fn w_07_a_goaway_keeps_the_tunnels_and_a_lost_connection_ends_them() {
    let (plan, mut ends) = handing_over();
    let app = plan.start().await;
    let proxy = over_h2(&app);
    let mut client = handshake(&proxy).await;
    let mut end = ends.recv().await.unwrap();
    app.go_away();
    within("another connection", async {
        while app.connections() < 2 {
            assert_eq!(proxy.get("/").await.status, 200);
        }
    })
    .await;
    let mut another = handshake(&proxy).await;
    let _end = ends.recv().await.unwrap();
    end.send(&frame(0x82, b"still"));
    assert_eq!(client.reader.bytes(7).await, frame(0x82, b"still"));
    client.writer.send(b"x").await;
    assert_eq!(end.bytes(1).await, b"x");
    drop(app);
    for client in [&mut client, &mut another] {
        assert_eq!(client.reader.until_closed().await, INTERNAL_ERROR);
    }
    drop((client, another));
    proxy
        .until("the tunnels to end", |proxy| proxy.tunnels("blue") == 0)
        .await;
    assert_eq!(proxy.tunnel_ends("blue"), [("endpoint-broke", 2)]);
}

#[tokio::test]
async fn w_07_a_client_that_breaks_ends_its_stream_and_no_other() {
    let (plan, mut ends) = handing_over();
    let app = plan.start().await;
    let proxy = over_h2(&app);
    let mut stays = handshake(&proxy).await;
    let mut its = ends.recv().await.unwrap();
    let goes = handshake(&proxy).await;
    let mut end = ends.recv().await.unwrap();
    goes.reset();
    assert_eq!(end.until_ended().await, b"");
    proxy
        .until("the tunnel to end", |proxy| proxy.tunnels("blue") == 1)
        .await;
    assert_eq!(proxy.tunnel_ends("blue"), [("client-broke", 1)]);
    its.send(b"still");
    assert_eq!(stays.reader.bytes(5).await, b"still");
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(app.connections(), 1);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn w_08_a_drain_tells_both_ends_once_the_frame_that_is_passing_has_passed() {
    let (plan, seen) = recording();
    let app = plan.start().await;
    let proxy = serving(&app, "drain = { websockets = \"close-now\" }");
    let mut socket = handshake(&proxy).await;
    socket.writer.send(&frame(0x82, b"still")[..4]).await;
    until("half a frame to pass", || !seen.lock().unwrap().is_empty()).await;
    proxy.put("blue", State::Draining, false);
    assert_eq!(socket.reader.bytes(4).await, GOING_AWAY);
    assert!(!is_told(&seen));
    socket.writer.send(&frame(0x82, b"still")[4..]).await;
    until("the app to be told", || is_told(&seen)).await;
    socket.writer.end().await;
    assert_eq!(socket.reader.until_closed().await, b"");
    until_ended(&proxy, "drained").await;
    app.until_closed().await;
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn w_08_the_other_policies_hold_as_well_and_a_cut_ends_the_connection() {
    let (plan, seen) = recording();
    let app = plan.start().await;
    let keeps = serving(&app, "drain = { websockets = \"keep\" }");
    let mut socket = handshake(&keeps).await;
    keeps.put("blue", State::Draining, false);
    socket.writer.send(&frame(0x82, b"still")).await;
    until("the frame to pass", || heard(&seen, b"still")).await;
    assert_eq!((keeps.tunnels("blue"), keeps.in_flight("blue")), (1, 1));
    keeps.put("blue", State::Draining, true);
    assert_eq!(socket.reader.until_closed().await, GOING_AWAY);
    drop(socket);
    until_ended(&keeps, "cut").await;
    app.until_closed().await;
    assert_eq!(keeps.failures("blue"), []);

    let deadline = serving(&app, "drain = { deadline = \"200ms\" }");
    let mut socket = handshake(&deadline).await;
    deadline.put("blue", State::Draining, false);
    assert_eq!(socket.reader.bytes(4).await, GOING_AWAY);
    until("the app to be told", || is_told(&seen)).await;
    socket.writer.end().await;
    until_ended(&deadline, "drained").await;
}

#[tokio::test]
async fn w_07_a_tunnel_in_which_nothing_moves_is_closed_at_both_ends() {
    let (plan, seen) = recording();
    let app = plan.start().await;
    let proxy = serving(&app, "timeouts = { tunnel = \"200ms\" }");
    let mut socket = handshake(&proxy).await;
    assert_eq!(socket.reader.bytes(4).await, GOING_AWAY);
    until("the app to be told", || is_told(&seen)).await;
    socket.writer.end().await;
    until_ended(&proxy, "idle").await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_the_app() {
    let (plan, mut ends) = handing_over();
    let app = plan.start().await;
    let proxy = over_h2(&app);
    let client = handshake(&proxy).await;
    let end = ends.recv().await.unwrap();
    let flood = tokio::spawn(async move {
        let mut writer = end.writer;
        let part = Bytes::from(vec![1; 1 << 20]);
        loop {
            writer.reserve_capacity(part.len());
            let room = std::future::poll_fn(|context| writer.poll_capacity(context)).await;
            let Some(Ok(room)) = room else { return };
            if writer
                .send_data(part.slice(..room.min(part.len())), false)
                .is_err()
            {
                return;
            }
        }
    });
    let stands = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = proxy.tunnel_bytes("blue").1;
            if now > 0 && now == before {
                return now;
            }
            before = now;
        }
    };
    let stood = within("the flood to stand", stands).await;
    // The kernel's buffers of one connection, and one read of ours.
    assert!(stood < 32 << 20, "{stood}");
    drop(client);
    within("the app to be told", flood).await.unwrap();
    assert_eq!(proxy.get("/").await.body, "blue");
}

#[tokio::test]
async fn an_app_that_takes_nothing_stops_the_client_and_loses_its_connection_with_the_tunnel() {
    let (plan, mut ends) = handing_over();
    let app = plan.start().await;
    let proxy = serving(&app, "timeouts = { tunnel = \"1s\" }");
    let mut client = handshake(&proxy).await;
    let end = ends.recv().await.unwrap();
    let sent = Arc::<AtomicUsize>::default();
    let flood = tokio::spawn({
        let sent = sent.clone();
        async move {
            let part = frame(0x82, &vec![1; 16 << 10]);
            loop {
                client.writer.send(&part).await;
                sent.fetch_add(part.len(), SeqCst);
            }
        }
    });
    let stands = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = sent.load(SeqCst);
            if now > 0 && now == before {
                return now;
            }
            before = now;
        }
    };
    let stood = within("the flood to stand", stands).await;
    assert!(stood < 32 << 20, "{stood}");
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(app.connections(), 1);
    until_ended(&proxy, "idle").await;
    flood.abort();
    // What it has not taken stays there; others go another way.
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(app.connections(), 2);
    until("the old connection to close", || app.open() == 1).await;
    drop(end);
}

#[tokio::test]
async fn w_02_what_is_sent_before_the_101_waits_for_it() {
    let (told, wait) = tokio::sync::watch::channel(false);
    let app = h2_endpoint("slow")
        .tunnels()
        .serve(move |call| {
            let mut wait = wait.clone();
            async move {
                wait.wait_for(|told| *told).await.unwrap();
                call.agree(&[]).echo().await;
            }
        })
        .start()
        .await;
    let proxy = over_h2(&app);
    let mut client = proxy.client().await;
    client.send([request().as_bytes(), b"early"].concat()).await;
    app.until_calls(1).await;
    told.send_replace(true);
    assert_eq!(client.answer().await.status, 101);
    let (mut stream, mut early) = client.into_parts();
    within("the echo", async {
        use tokio::io::AsyncReadExt as _;
        while early.len() < 5 {
            assert!(stream.read_buf(&mut early).await.unwrap() > 0);
        }
    })
    .await;
    assert_eq!(early, b"early");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_its_stream() {
    let (told, mut resets) = mpsc::unbounded_channel();
    let app = h2_endpoint("slow")
        .tunnels()
        .serve(move |mut call| {
            let told = told.clone();
            async move {
                let reset = std::future::poll_fn(|context| call.respond.poll_reset(context));
                told.send(reset.await.ok()).unwrap();
                let _ = call.respond.send_response(Response::new(()), true);
            }
        })
        .start()
        .await;
    let proxy = over_h2(&app);
    let mut client = proxy.client().await;
    client.send(request()).await;
    app.until_calls(1).await;
    drop(client);
    let reset = within("the reset", resets.recv()).await;
    assert_eq!(reset, Some(Some(Reason::CANCEL)));
    proxy
        .until("nothing in flight", |proxy| proxy.in_flight("blue") == 0)
        .await;
    assert_eq!(proxy.failures("blue"), []);
}
