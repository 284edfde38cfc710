//! No more connections to an endpoint than may be, whichever workers have them, and no request that fails for it.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    task::{AbortHandle, JoinHandle},
};

use crate::support::{
    Answer, App, Peer, Proxy, answer, endpoint, h2_endpoint, proxy, websocket::handshake,
    websocket::pong_server, within,
};

/// An app that knows how many connections were open to it at once, by what its kernel says of them.
struct Counting {
    address: String,
    peak: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Counting {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let peak = Arc::<AtomicUsize>::default();
        let most = peak.clone();
        let task = tokio::spawn(async move {
            let mut open = Vec::<socket2::Socket>::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let twin = stream.as_fd().try_clone_to_owned().unwrap();
                open.retain(is_open);
                open.push(twin.into());
                most.fetch_max(open.len(), SeqCst);
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while matches!(stream.read_buf(&mut bytes).await, Ok(read) if read > 0) {
                        if bytes.ends_with(b"\r\n\r\n") {
                            bytes.clear();
                            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                            let _ = stream.write_all(answer).await;
                        }
                    }
                });
            }
        });
        Self {
            address,
            peak,
            task: task.abort_handle(),
        }
    }

    fn peak(&self) -> usize {
        self.peak.load(SeqCst)
    }
}

/// Whether the other end has not closed it.
fn is_open(socket: &socket2::Socket) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match socket.peek(&mut byte) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// Asks on so many connections, which the workers share among them, so often each, all at once.
async fn ask(proxy: &Proxy, connections: usize, times: usize) {
    let clients = (0..connections).map(|_| async {
        let mut client = proxy.client().await;
        for _ in 0..times {
            assert_eq!(client.get("/").await.status, 200);
        }
    });
    within("all answers", join_all(clients)).await;
}

#[tokio::test]
async fn requests_of_all_workers_never_have_more_connections_open_than_may_be_and_none_fails() {
    let app = Counting::start().await;
    let proxy = proxy()
        .workers(4)
        .service("limits.connections_per_endpoint = 3\nqueue.wait = \"60s\"")
        .pool_at("blue", 1, &[&app.address])
        .start();
    ask(&proxy, 20, 10).await;
    assert!((1..=3).contains(&app.peak()), "{} at once", app.peak());
    assert!(proxy.connections("blue") <= 3);
    assert_eq!(
        (proxy.failures("blue"), proxy.rejections()),
        (vec![], vec![])
    );
    assert_eq!(proxy.answers("blue"), [(200, true, 200)]);
}

#[tokio::test]
async fn the_limits_on_requests_and_on_connections_hold_together() {
    let app = Counting::start().await;
    let proxy = proxy()
        .workers(4)
        .service(
            "limits = { requests = 7, requests_per_endpoint = 5, connections_per_endpoint = 2 }",
        )
        .service("queue.wait = \"60s\"")
        .pool_at("blue", 1, &[&app.address])
        .start();
    ask(&proxy, 30, 5).await;
    assert!((1..=2).contains(&app.peak()), "{} at once", app.peak());
    proxy
        .until("all to have ended", |proxy| {
            proxy.in_flight("blue") == 0 && proxy.waiting() == 0
        })
        .await;
    assert_eq!(proxy.rejections(), []);
}

#[tokio::test]
async fn an_idle_connection_is_given_up_for_a_worker_that_needs_one() {
    let app = Counting::start().await;
    let proxy = proxy()
        .workers(4)
        .service("limits.connections_per_endpoint = 1")
        .pool_at("blue", 1, &[&app.address])
        .start();
    // One after the other, wherever the kernel sends them.
    for _ in 0..20 {
        assert_eq!(within("an answer", proxy.get("/")).await.status, 200);
    }
    assert_eq!((app.peak(), proxy.connections("blue")), (1, 1));
    let (waits, reclaims) = proxy.connection_waits("blue");
    assert!(waits > 0 && reclaims >= waits, "{waits} {reclaims}");
}

/// Sends a request on a connection of its own.
async fn begin(proxy: &Proxy, path: &'static str) -> JoinHandle<Answer> {
    let mut client = proxy.client().await;
    tokio::spawn(async move { client.get(path).await })
}

/// An app that answers `/held` once it is let.
async fn holding(name: &'static str) -> (App, watch::Sender<bool>) {
    let (let_go, held) = watch::channel(false);
    let app = endpoint(name).serve(move |mut peer: Peer| {
        let mut held = held.clone();
        async move {
            while let Ok(request) = peer.request().await {
                if request.starts_with("GET /held ") {
                    let _ = held.wait_for(|held| *held).await;
                }
                peer.write(&answer(200, &[], name.as_bytes())).await;
            }
        }
    });
    (app.start().await, let_go)
}

/// As if the file had been edited.
fn limit(proxy: &Proxy, most: Option<u32>) {
    proxy.decide(|decided| {
        let mut plan = (*decided.plan).clone();
        plan.limits.connections = most;
        decided.plan = Arc::new(plan);
    });
}

#[tokio::test]
async fn a_limit_that_is_taken_live_closes_what_is_idle_and_counts_what_is_open() {
    let (app, let_go) = holding("blue").await;
    let proxy = proxy()
        .workers(4)
        .service("timeouts.connect = \"100ms\"")
        .pool("blue", 1, &[&app])
        .start();
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(begin(&proxy, "/held").await);
    }
    app.until_requests(6).await;
    assert_eq!(proxy.connections("blue"), 6);
    limit(&proxy, Some(2));
    // Nothing is open that could be given up: it is our limit, and no fault of the endpoint.
    assert_eq!(within("a refusal", proxy.get("/")).await.status, 503);
    assert_eq!(proxy.failures("blue"), []);
    assert_eq!(proxy.rejections(), [("connections_full", 1)]);
    let_go.send_replace(true);
    for one in held {
        assert_eq!(within("an answer", one).await.unwrap().status, 200);
    }
    proxy
        .until("no more than may be", |proxy| {
            proxy.connections("blue") <= 2
        })
        .await;
    ask(&proxy, 10, 2).await;
    assert!(proxy.connections("blue") <= 2);
}

#[tokio::test]
async fn connections_that_are_idle_are_closed_when_there_may_be_fewer() {
    let (app, let_go) = holding("blue").await;
    let proxy = proxy().workers(4).pool("blue", 1, &[&app]).start();
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(begin(&proxy, "/held").await);
    }
    app.until_requests(6).await;
    let_go.send_replace(true);
    for one in held {
        assert_eq!(within("an answer", one).await.unwrap().status, 200);
    }
    assert_eq!(proxy.connections("blue"), 6);
    limit(&proxy, Some(2));
    proxy
        .until("no more than may be", |proxy| {
            proxy.connections("blue") <= 2
        })
        .await;
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn who_waits_for_room_goes_on_when_the_limit_is_taken_off() {
    let (app, let_go) = holding("blue").await;
    let proxy = proxy()
        .service("timeouts.connect = \"1m\"")
        .pool("blue", 1, &[&app])
        .start();
    let held = begin(&proxy, "/held").await;
    app.until_requests(1).await;
    limit(&proxy, Some(1));
    let waits = begin(&proxy, "/").await;
    proxy
        .until("one to wait", |proxy| proxy.connection_waits("blue").0 == 1)
        .await;
    limit(&proxy, None);
    assert_eq!(within("an answer", waits).await.unwrap().status, 200);
    let_go.send_replace(true);
    assert_eq!(within("an answer", held).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_request_that_finds_no_room_goes_to_another_endpoint() {
    let (blue, let_go) = holding("blue").await;
    let green = endpoint("green").start().await;
    let proxy = proxy()
        .service("timeouts.connect = \"100ms\"")
        .pool("main", 1, &[&blue, &green])
        .start();
    let mut held = Vec::new();
    while blue.requests().is_empty() {
        held.push(begin(&proxy, "/held").await);
        let sent = held.len();
        proxy
            .until("it to be sent", |_| {
                blue.requests().len() + green.requests().len() == sent
            })
            .await;
    }
    limit(&proxy, Some(1));
    for _ in 0..4 {
        let answer = within("an answer", proxy.get("/")).await;
        assert_eq!((answer.status, &*answer.body), (200, "green"));
    }
    assert_eq!((proxy.failures("main"), proxy.faults("main")), (vec![], 0));
    let_go.send_replace(true);
}

#[tokio::test]
async fn a_websocket_has_a_connection_as_long_as_it_lasts_and_an_idle_one_makes_room_for_it() {
    let app = pong_server().start().await;
    let proxy = proxy()
        .workers(2)
        .service("limits.connections_per_endpoint = 1\nqueue.length = 0")
        .pool("blue", 1, &[&app])
        .start();
    for _ in 0..4 {
        let tunnel = handshake(&proxy).await;
        assert_eq!(proxy.connections("blue"), 1);
        assert_eq!(proxy.get("/").await.status, 503);
        drop(tunnel);
        proxy
            .until("the tunnel to end", |proxy| proxy.in_flight("blue") == 0)
            .await;
        assert!(proxy.connections("blue") <= 1);
    }
    assert_eq!(proxy.rejections(), [("queue_full", 4)]);
}

#[tokio::test]
async fn a_websocket_takes_the_place_of_a_connection_that_is_idle() {
    let app = Counting::start().await;
    let proxy = proxy()
        .service("limits.connections_per_endpoint = 1")
        .pool_at("blue", 1, &[&app.address])
        .start();
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status, 200);
        let mut asks = proxy.client().await;
        asks.send(crate::support::websocket::request()).await;
        // The app does not agree: it is an answer like any other, on a connection of its own.
        assert_eq!(within("an answer", asks.answer()).await.status, 200);
    }
    assert_eq!(app.peak(), 1);
}

#[tokio::test]
async fn connections_of_one_client_each_make_room_for_the_next_client() {
    let app = Counting::start().await;
    let proxy = proxy()
        .workers(2)
        .service("limits.connections_per_endpoint = 2\nproxy_protocol = \"v1\"")
        .pool_at("blue", 1, &[&app.address])
        .start();
    ask(&proxy, 8, 4).await;
    assert!((1..=2).contains(&app.peak()), "{} at once", app.peak());
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn over_http_2_requests_share_the_connections_that_there_may_be() {
    let app = h2_endpoint("blue").max_streams(1).serve(|call| async move {
        tokio::task::yield_now().await;
        call.answer(200, Bytes::from_static(b"blue"));
    });
    let app = app.start().await;
    let proxy = proxy()
        .workers(2)
        .service("protocol = \"h2\"\nlimits.connections_per_endpoint = 4")
        .pool_at("blue", 1, &[&app.address.to_string()])
        .start();
    ask(&proxy, 20, 5).await;
    // They are kept, so none was opened in the place of another.
    let opened = app.connections();
    assert!((1..=4).contains(&opened), "{opened} connections");
    assert_eq!(
        (proxy.failures("blue"), proxy.rejections()),
        (vec![], vec![])
    );
}

#[tokio::test]
async fn a_copy_has_only_what_requests_leave() {
    let blue = endpoint("blue").start().await;
    let green = endpoint("green").silent().start().await;
    let proxy = proxy()
        .service("mirror = { pool = \"green\", share = \"100%\", timeout = \"1m\" }")
        .service("limits.connections_per_endpoint = 1")
        .pool("blue", 1, &[&blue])
        .pool("green", 0, &[&green])
        .start();
    assert_eq!(proxy.get("/").await.status, 200);
    green.until_requests(1).await;
    assert_eq!(proxy.get("/").await.status, 200);
    proxy.until_mirrored("green", &[("failed", 1)]).await;
    assert_eq!(green.connections(), 1);
    assert_eq!(proxy.connection_waits("green"), (0, 0));
}
