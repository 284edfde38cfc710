//! Requests wait for their turn where as many as may be are under way, or nobody is ready, and are sent or refused in time.

use std::sync::Arc;

use cutover::pool::State;
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::support::{
    Answer, App, Client, Proxy, answer, endpoint, proxy, until,
    websocket::{handshake, pong_server},
    whole, within,
};

/// An app that answers a request for each permit that it is given.
struct Slow {
    app: App,
    go: Arc<Semaphore>,
}

async fn slow(name: &'static str) -> Slow {
    let go = Arc::new(Semaphore::new(0));
    let shared = go.clone();
    let app = endpoint(name).serve(move |mut peer| {
        let go = shared.clone();
        async move {
            while peer.request().await.is_ok() {
                let Ok(permit) = go.acquire().await else {
                    return;
                };
                permit.forget();
                peer.write(&answer(200, &[], name.as_bytes())).await;
            }
        }
    });
    Slow {
        app: app.start().await,
        go,
    }
}

impl Slow {
    /// The paths it was asked for, in the order in which they came.
    fn paths(&self) -> Vec<String> {
        let requests = self.app.requests();
        let path = |request: &String| request.split(' ').nth(1).unwrap_or("").to_owned();
        requests.iter().map(path).collect()
    }
}

/// Sends a request on a connection of its own.
async fn ask(proxy: &Proxy, path: &'static str) -> JoinHandle<Answer> {
    let mut client = proxy.client().await;
    tokio::spawn(async move { client.get(path).await })
}

/// Sends one after the other so many that have to wait, each when the one before stands in line.
async fn line_up(proxy: &Proxy, paths: &[&'static str]) -> Vec<JoinHandle<Answer>> {
    let mut asked = Vec::new();
    for path in paths {
        asked.push(ask(proxy, path).await);
        let count = asked.len() as u64;
        proxy
            .until("it to stand in line", |proxy| proxy.waiting() == count)
            .await;
    }
    asked
}

#[tokio::test]
async fn no_more_than_may_be_are_under_way_and_the_others_are_sent_in_the_order_they_came() {
    for limit in ["requests", "requests_per_pool", "requests_per_endpoint"] {
        let slow = slow("slow").await;
        let proxy = proxy()
            .workers(2)
            .service(&format!("limits.{limit} = 2"))
            .pool("blue", 1, &[&slow.app])
            .start();
        let mut asked = vec![ask(&proxy, "/1").await, ask(&proxy, "/2").await];
        slow.app.until_requests(2).await;
        asked.extend(line_up(&proxy, &["/3", "/4", "/5"]).await);
        assert_eq!(slow.app.requests().len(), 2, "{limit}");
        for sent in 3..=5 {
            slow.go.add_permits(1);
            slow.app.until_requests(sent).await;
            proxy
                .until("the next to be sent", |proxy| {
                    proxy.waiting() == 5 - sent as u64
                })
                .await;
        }
        assert_eq!(slow.paths()[2..], ["/3", "/4", "/5"], "{limit}");
        slow.go.add_permits(2);
        for one in asked {
            assert_eq!(within("an answer", one).await.unwrap().status, 200);
        }
        assert_eq!((proxy.waiting(), proxy.in_flight("blue")), (0, 0));
    }
}

#[tokio::test]
async fn an_endpoint_that_has_all_it_may_have_leaves_the_next_to_another() {
    for balance in [
        "round-robin",
        "least-requests",
        "peak-ewma",
        "random",
        "hash:path",
    ] {
        let (one, other) = (slow("one").await, slow("other").await);
        let proxy = proxy()
            .service(&format!(
                "balance = \"{balance}\"\nlimits.requests_per_endpoint = 2"
            ))
            .pool("blue", 1, &[&one.app, &other.app])
            .start();
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(ask(&proxy, "/").await);
        }
        one.app.until_requests(2).await;
        other.app.until_requests(2).await;
        asked.extend(line_up(&proxy, &["/"]).await);
        one.go.add_permits(3);
        other.go.add_permits(3);
        for one in asked {
            assert_eq!(within(balance, one).await.unwrap().status, 200);
        }
    }
}

#[tokio::test]
async fn who_finds_the_line_full_is_told_to_come_back() {
    let slow = slow("slow").await;
    let proxy = proxy()
        .service("limits.requests = 1\nqueue.length = 1")
        .pool("blue", 1, &[&slow.app])
        .start();
    let first = ask(&proxy, "/").await;
    slow.app.until_requests(1).await;
    let second = line_up(&proxy, &["/"]).await;
    let refused = proxy.get("/").await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(proxy.rejections(), [("queue_full", 1)]);
    slow.go.add_permits(2);
    for one in second.into_iter().chain([first]) {
        assert_eq!(within("an answer", one).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_may_be() {
    let slow = slow("slow").await;
    let proxy = proxy()
        .service("limits.requests_per_pool = 1\nqueue.wait = \"200ms\"")
        .pool("blue", 1, &[&slow.app])
        .start();
    let _first = ask(&proxy, "/").await;
    slow.app.until_requests(1).await;
    let refused = within("a refusal", proxy.get("/")).await;
    assert_eq!(refused.status, 503);
    assert_eq!(proxy.rejections(), [("queue_timeout", 1)]);
    assert_eq!(proxy.waiting(), 0);
}

#[tokio::test]
async fn who_waits_does_so_no_longer_than_its_whole_request_may_take() {
    let app = endpoint("app").start().await;
    let proxy = proxy()
        .service("queue.unready = \"1h\"\ntimeouts.request = \"200ms\"\nfail_open = false")
        .pool("blue", 1, &[&app])
        .start();
    proxy.put("blue", State::Unready, false);
    assert_eq!(within("a refusal", proxy.get("/")).await.status, 503);
    assert_eq!(proxy.waiting(), 0);
}

#[tokio::test]
async fn who_goes_away_leaves_its_place_and_its_turn_to_the_next() {
    for (head, more) in [
        ("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n", ""),
        // What is unread of it hides that it has gone.
        (
            "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n",
            "ten bytes.",
        ),
    ] {
        let slow = slow("slow").await;
        let proxy = proxy()
            .service("limits.requests = 1")
            .pool("blue", 1, &[&slow.app])
            .start();
        let first = ask(&proxy, "/1").await;
        slow.app.until_requests(1).await;
        let mut goes: Client = proxy.client().await;
        goes.send(head).await;
        proxy
            .until("one in line", |proxy| proxy.waiting() == 1)
            .await;
        goes.send(more).await;
        let stays = ask(&proxy, "/3").await;
        proxy
            .until("two in line", |proxy| proxy.waiting() == 2)
            .await;
        drop(goes);
        proxy
            .until("one in line", |proxy| proxy.waiting() == 1)
            .await;
        slow.go.add_permits(2);
        for one in [first, stays] {
            assert_eq!(within("an answer", one).await.unwrap().status, 200);
        }
        assert_eq!(slow.paths(), ["/1", "/3"]);
    }
}

#[tokio::test]
async fn a_limit_that_is_raised_or_taken_off_lets_those_go_on_who_wait() {
    let slow = slow("slow").await;
    let proxy = proxy()
        .service("limits.requests = 1")
        .pool("blue", 1, &[&slow.app])
        .start();
    let mut asked = vec![ask(&proxy, "/").await];
    slow.app.until_requests(1).await;
    asked.extend(line_up(&proxy, &["/", "/", "/"]).await);
    proxy.decide(|decided| {
        let mut plan = (*decided.plan).clone();
        plan.limits.service = Some(3);
        decided.plan = Arc::new(plan);
    });
    slow.app.until_requests(3).await;
    assert_eq!(proxy.waiting(), 1);
    proxy.decide(|decided| {
        let mut plan = (*decided.plan).clone();
        plan.limits.service = None;
        decided.plan = Arc::new(plan);
    });
    slow.app.until_requests(4).await;
    slow.go.add_permits(4);
    for one in asked {
        assert_eq!(within("an answer", one).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_tunnel_counts_until_it_ends() {
    let app = pong_server().start().await;
    let proxy = proxy()
        .service("limits.requests_per_endpoint = 1\nqueue.length = 0")
        .pool("blue", 1, &[&app])
        .start();
    let tunnel = handshake(&proxy).await;
    assert_eq!(proxy.get("/").await.status, 503);
    drop(tunnel);
    proxy
        .until("the tunnel to end", |proxy| proxy.in_flight("blue") == 0)
        .await;
    handshake(&proxy).await;
}

#[tokio::test]
async fn an_answer_that_is_streamed_counts_until_its_last_byte() {
    let go = Arc::new(Semaphore::new(0));
    let shared = go.clone();
    let app = endpoint("app").serve(move |mut peer| {
        let go = shared.clone();
        async move {
            while peer.request().await.is_ok() {
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
                peer.write(head).await;
                let Ok(permit) = go.acquire().await else {
                    return;
                };
                permit.forget();
                peer.write(b"4\r\nlast\r\n0\r\n\r\n").await;
            }
        }
    });
    let app = app.start().await;
    let proxy = proxy()
        .service("limits.requests_per_endpoint = 1\nqueue.length = 0")
        .pool("blue", 1, &[&app])
        .start();
    let mut streams = proxy.client().await;
    streams.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // The head, and the first part of the body.
    streams.until_bytes(50).await;
    assert_eq!(proxy.get("/").await.status, 503);
    assert_eq!(proxy.in_flight("blue"), 1);
    go.add_permits(2);
    proxy
        .until("the answer to end", |proxy| proxy.in_flight("blue") == 0)
        .await;
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn where_nobody_is_ready_requests_wait_until_somebody_is() {
    let app = endpoint("app").start().await;
    let proxy = proxy()
        .service("queue.unready = \"10s\"\nfail_open = false")
        .pool("blue", 1, &[&app])
        .start();
    proxy.put("blue", State::Unready, false);
    let asked = line_up(&proxy, &["/", "/"]).await;
    proxy.put("blue", State::Ready, false);
    for one in asked {
        assert_eq!(within("an answer", one).await.unwrap().status, 200);
    }
    assert_eq!(proxy.rejections(), []);
}

#[tokio::test]
async fn where_nobody_gets_ready_in_time_requests_are_refused_or_tried_on_those_that_were() {
    for (fail_open, status) in [(false, 503), (true, 200)] {
        let app = endpoint("app").start().await;
        let proxy = proxy()
            .service(&format!(
                "queue.unready = \"200ms\"\nfail_open = {fail_open}"
            ))
            .pool("blue", 1, &[&app])
            .start();
        proxy.put("blue", State::Unready, false);
        assert_eq!(within("an answer", proxy.get("/")).await.status, status);
    }
}

#[tokio::test]
async fn an_app_that_is_started_anew_on_its_own_address_costs_no_request() {
    let app = endpoint("app").start().await;
    let shop = whole(&format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nqueue.unready = \"10s\"\n\
         probe.path = \"/healthz\"\nprobe.interval = \"100ms\"\nendpoints = [\"{}\"]\n",
        app.address
    ))
    .await;
    shop.until_state("main", "ready").await;
    assert_eq!(shop.get("/").await.status, 200);
    let address = app.stop().await;
    let mut asked = Vec::new();
    // In the instant in which nobody knows yet, and when probes have said so.
    for _ in 0..2 {
        for method in ["GET", "POST"] {
            let mut client = shop.client().await;
            asked.push(tokio::spawn(async move {
                let head = format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
                client.send(head).await;
                client.answer().await.status
            }));
        }
        shop.until_state("main", "unready").await;
    }
    let _app = endpoint("app").start_at(address).await;
    for one in asked {
        assert_eq!(within("an answer", one).await.unwrap(), 200);
    }
    shop.stop().await;
}

#[tokio::test]
async fn many_who_come_at_once_are_all_served_and_never_more_at_once_than_may_be() {
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let now = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counts = (most.clone(), now.clone());
    let app = endpoint("app").serve(move |mut peer| {
        let (most, now) = counts.clone();
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            while peer.request().await.is_ok() {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, SeqCst);
                peer.write(&answer(200, &[], b"")).await;
            }
        }
    });
    let app = app.start().await;
    let proxy = proxy()
        .workers(4)
        .service("limits = { requests = 7, requests_per_pool = 5, requests_per_endpoint = 3 }\nqueue.wait = \"60s\"")
        .pool("blue", 1, &[&app])
        .start();
    let clients: Vec<_> = (0..40)
        .map(|_| async {
            let mut client = proxy.client().await;
            for _ in 0..25 {
                assert_eq!(client.get("/").await.status, 200);
            }
        })
        .collect();
    within("all to be served", futures_util::future::join_all(clients)).await;
    let most = most.load(std::sync::atomic::Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most} at once");
    until("all to have ended", || {
        proxy.in_flight("blue") == 0 && proxy.waiting() == 0
    })
    .await;
}
