//! A pool on trial beside a stable one: who gets whose requests, and what is counted of them.

use std::{sync::Arc, time::Duration};

use cutover::pool::State;
use tokio::sync::Notify;

use crate::support::{
    App, Proxy, answer, endpoint, proxy,
    trial::{known_by, numbers, on_trial, on_trial_by_copies},
    websocket::{self, pong_server},
    websocket_h2,
};

async fn breaking() -> App {
    let plan = endpoint("breaking").serve(|mut peer| async move {
        let _ = peer.request().await;
    });
    plan.start().await
}

async fn two() -> (App, App) {
    let blue = endpoint("blue").start().await;
    (blue, endpoint("green").start().await)
}

fn of(blue: &App, green: &App) -> Proxy {
    let proxy = proxy().service("retry.budget = \"100%\"");
    proxy
        .pool("blue", 1, &[blue])
        .pool("green", 1, &[green])
        .start()
}

#[tokio::test]
async fn a_service_without_a_trial_counts_nothing_for_one() {
    let (blue, green) = two().await;
    let proxy = of(&blue, &green);
    for _ in 0..4 {
        proxy.get("/").await;
    }
    assert_eq!(numbers(&proxy, "blue"), [0; 5]);
    assert_eq!(numbers(&proxy, "green"), [0; 5]);
}

#[tokio::test]
async fn first_attempts_are_counted_on_both_arms_and_a_client_s_error_is_none() {
    let blue = endpoint("blue").reply(404).start().await;
    let green = endpoint("green").reply(400).start().await;
    let mut proxy = of(&blue, &green);
    on_trial(&proxy, 0.0, &[]);
    for _ in 0..3 {
        proxy.get("/").await;
    }
    on_trial(&proxy, 1.0, &["GET"]);
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.status, 400);
    }
    assert_eq!(numbers(&proxy, "blue"), [3, 0, 0, 0, 3]);
    assert_eq!(numbers(&proxy, "green"), [2, 0, 0, 0, 2]);
    let none = tokio::time::timeout(Duration::from_millis(20), proxy.reports.next());
    assert!(none.await.is_err(), "of errors only");
}

#[tokio::test]
async fn a_retry_is_in_nobody_s_counts() {
    let (bad, good, blue) = (
        breaking().await,
        endpoint("green").start().await,
        two().await.0,
    );
    let proxy = proxy()
        .service("retry.budget = \"100%\"")
        .pool("blue", 1, &[&blue])
        .pool("green", 1, &[&bad, &good])
        .start();
    on_trial(&proxy, 1.0, &[]);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.body, "green");
    }
    let errors = bad.requests().len() as u64;
    assert!(errors > 0);
    assert_eq!(good.requests().len(), 20);
    assert_eq!(numbers(&proxy, "green"), [20, errors, 0, 0, 20]);
    assert_eq!(blue.requests().len(), 0, "the sample is the candidate's");
}

#[tokio::test]
async fn what_stable_has_failed_never_goes_to_the_candidate() {
    for bad in [
        breaking().await.stop().await.to_string(),
        breaking().await.address.to_string(),
    ] {
        let green = endpoint("green").start().await;
        let proxy = proxy()
            .service("retry.budget = \"100%\"")
            .pool_at("blue", 1, &[&bad])
            .pool("green", 1, &[&green])
            .start();
        on_trial(&proxy, 0.0, &["GET"]);
        assert_eq!(proxy.get("/").await.status, 502);
        assert_eq!(numbers(&proxy, "blue"), [1, 1, 0, 1, 1]);
        assert_eq!(green.requests().len(), 0);
        proxy.decide(|decided| decided.trial = None);
        assert_eq!(
            proxy.get("/").await.body,
            "green",
            "without a trial it would"
        );
    }
}

#[tokio::test]
async fn what_was_sent_to_stable_first_stays_there_though_the_shares_change_meanwhile() {
    let blue = endpoint("blue").serve(|mut peer| async move {
        let _ = peer.request().await;
        let _ = peer.arrives_within(Duration::from_millis(100)).await;
    });
    let (blue, green) = (blue.start().await, endpoint("green").start().await);
    let proxy = of(&blue, &green);
    on_trial(&proxy, 0.0, &["GET"]);
    let shifted = async {
        blue.until_requests(1).await;
        on_trial(&proxy, 1.0, &["GET"]);
    };
    let (answer, ()) = tokio::join!(proxy.get("/"), shifted);
    assert_eq!(answer.status, 502);
    assert_eq!(green.requests().len(), 0);
}

#[tokio::test]
async fn stable_s_share_stays_stable_s_whatever_becomes_of_it() {
    let (blue, green) = two().await;
    let proxy = of(&blue, &green);
    on_trial(&proxy, 0.0, &[]);
    proxy.put("blue", State::Unready, false);
    assert_eq!(proxy.get("/").await.body, "blue", "it was ready once");
    proxy.put("blue", State::Draining, false);
    assert_eq!(proxy.get("/").await.status, 503);
    assert_eq!(green.requests().len(), 0);
    assert_eq!(numbers(&proxy, "green"), [0; 5]);
    proxy.decide(|decided| decided.trial = None);
    assert_eq!(
        proxy.get("/").await.body,
        "green",
        "without a trial it spills"
    );
}

#[tokio::test]
async fn a_candidate_with_nobody_ready_yields_to_stable() {
    let (blue, green) = two().await;
    let proxy = of(&blue, &green);
    on_trial(&proxy, 1.0, &[]);
    assert_eq!(proxy.get("/").await.body, "green");
    proxy.put("green", State::Unready, false);
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(numbers(&proxy, "blue"), [1, 0, 0, 0, 1]);
    proxy.put("blue", State::Unready, false);
    assert_eq!(proxy.get("/").await.body, "blue", "even then");
}

#[tokio::test]
async fn previews_and_copies_are_in_nobody_s_counts() {
    let (blue, green) = (
        endpoint("blue").start().await,
        endpoint("green").reply(500).start().await,
    );
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let proxy = proxy()
        .service(&format!(
            "preview = {{ header = \"x-pool\", secret = {{ file = {secret:?} }} }}\n\
             mirror = {{ pool = \"green\", share = \"100%\" }}"
        ))
        .pool("blue", 1, &[&blue])
        .pool("green", 0, &[&green])
        .start();
    on_trial(&proxy, 0.0, &["GET"]);
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nx-pool: green;s3cret\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 500, "nor are they rescued");
    assert_eq!(proxy.get("/").await.body, "blue");
    proxy
        .until_mirrored("green", &[("differs", 1), ("status", 1), ("body", 1)])
        .await;
    assert_eq!(numbers(&proxy, "green"), [0; 5]);
    assert_eq!(numbers(&proxy, "blue"), [1, 0, 0, 0, 1]);
}

fn copied(blue: &App, green: &App) -> Proxy {
    let proxy = proxy().pool("blue", 1, &[blue]).pool("green", 0, &[green]);
    let proxy = proxy.start();
    on_trial_by_copies(&proxy, "100%");
    proxy
}

#[tokio::test]
async fn before_the_first_user_requests_are_compared_with_their_copies_and_no_others() {
    let (blue, green) = two().await;
    let proxy = copied(&blue, &green);
    let mut client = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.body, "blue");
    }
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")
        .await;
    assert_eq!(client.answer().await.body, "blue");
    proxy
        .until_mirrored("green", &[("differs", 3), ("body", 3)])
        .await;
    assert_eq!(numbers(&proxy, "blue"), [3, 0, 0, 0, 3]);
    assert_eq!(proxy.copied("green"), (3, 0));
    assert_eq!(numbers(&proxy, "green"), [0; 5], "they are nobody's");
    assert_eq!(green.requests().len(), 3);
}

#[tokio::test]
async fn a_copy_that_fails_is_an_error_of_the_new_version_that_nobody_has_felt() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let hangs = "HTTP/1.1 500 Oh\r\ncontent-length: 9\r\n\r\nhalf";
    for green in [
        endpoint("green").reply(503).start().await,
        breaking().await,
        endpoint("cut").bytes_then_close(half).start().await,
        endpoint("cut").bytes_then_close(hangs).start().await,
        endpoint("odd").bytes("what?\r\n\r\n").start().await,
    ] {
        let blue = endpoint("blue").start().await;
        let mut proxy = copied(&blue, &green);
        assert_eq!(proxy.get("/").await.body, "blue");
        proxy
            .until("the error to be counted", |proxy| {
                proxy.copied("green") == (1, 1)
            })
            .await;
        assert_eq!(numbers(&proxy, "blue"), [1, 0, 0, 0, 1]);
        let none = tokio::time::timeout(Duration::from_millis(20), proxy.reports.next());
        assert!(none.await.is_err(), "the guard is for users");
    }
}

#[tokio::test]
async fn a_copy_that_is_late_is_an_error_of_the_new_version() {
    let (blue, _) = two().await;
    let green = endpoint("green").silent().start().await;
    let proxy = proxy()
        .service("timeouts.response = \"50ms\"")
        .pool("blue", 1, &[&blue])
        .pool("green", 0, &[&green])
        .start();
    on_trial_by_copies(&proxy, "100%");
    assert_eq!(proxy.get("/").await.body, "blue");
    proxy
        .until("the error to be counted", |proxy| {
            proxy.copied("green") == (1, 1)
        })
        .await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_that_its_client_has_felt() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let (blue, _) = two().await;
    let green = endpoint("cut").bytes_then_close(half).start().await;
    let proxy = of(&blue, &green);
    on_trial(&proxy, 1.0, &["GET"]);
    assert!(proxy.client().await.try_get("/").await.is_err());
    proxy
        .until("the error to be counted", |proxy| {
            numbers(proxy, "green") == [1, 1, 0, 1, 1]
        })
        .await;
    assert_eq!(
        blue.requests().len(),
        0,
        "what has begun is not begun again"
    );
}

#[tokio::test]
async fn what_its_client_gave_up_says_nothing_of_the_endpoint() {
    let (blue, _) = two().await;
    let green = endpoint("green").silent().start().await;
    let proxy = of(&blue, &green);
    on_trial(&proxy, 1.0, &["GET"]);
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    green.until_requests(1).await;
    drop(client);
    proxy
        .until("it to be over", |proxy| proxy.in_flight("green") == 0)
        .await;
    assert_eq!(numbers(&proxy, "green"), [0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn how_long_an_answer_takes_is_taken_of_good_ones_on_connections_that_were_open() {
    let stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n\
        7\r\ndata: a\r\n0\r\n\r\n";
    for (bytes, taken) in [
        (answer(200, &[], b"green"), 4),
        (answer(302, &[], b""), 4),
        (answer(404, &[], b""), 0),
        (answer(500, &[], b""), 0),
        (stream.to_vec(), 0),
    ] {
        let (blue, _) = two().await;
        let green = endpoint("green").bytes(bytes).start().await;
        let proxy = of(&blue, &green);
        on_trial(&proxy, 1.0, &[]);
        let mut client = proxy.client().await;
        for _ in 0..5 {
            client.get("/").await;
        }
        let tried = proxy.tried("green");
        assert_eq!((tried.requests, tried.response.count()), (5, taken));
        assert_eq!(green.connections(), 1);
    }
}

#[tokio::test]
async fn an_answer_on_trial_is_timed_to_its_head_for_the_trial_and_to_its_end_for_its_pool() {
    const PAUSE: Duration = Duration::from_millis(30);
    let (blue, _) = two().await;
    let begun = Arc::new(Notify::new());
    let plan = endpoint("green").serve({
        let begun = begun.clone();
        move |mut peer| {
            let begun = begun.clone();
            async move {
                while peer.request().await.is_ok() {
                    peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")
                        .await;
                    begun.notified().await;
                    assert!(!peer.arrives_within(PAUSE).await);
                    peer.write(b"later").await;
                }
            }
        }
    });
    let green = plan.start().await;
    let proxy = of(&blue, &green);
    on_trial(&proxy, 1.0, &[]);
    let mut client = proxy.client().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.until_body_bytes(5).await;
        begun.notify_one();
        assert_eq!(client.answer().await.body, "firstlater");
    }
    let (response, latency) = (proxy.tried("green").response, proxy.latency("green"));
    assert_eq!((response.count(), latency.count()), (1, 2));
    assert!(latency.sum() >= response.sum() + 2 * PAUSE, "{latency:?}");
}

#[tokio::test]
async fn what_breaks_after_an_answer_was_passed_over_is_charged_to_nobody() {
    let blue = endpoint("blue")
        .bytes_then_close(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")
        .start()
        .await;
    let green = endpoint("green").reply(429).start().await;
    let proxy = proxy()
        .service("retry = { budget = \"100%\", statuses = [\"429\"] }")
        .pool("blue", 1, &[&blue])
        .pool("green", 1, &[&green])
        .start();
    on_trial(&proxy, 1.0, &[]);
    let mut client = proxy.client().await;
    assert!(client.try_get("/").await.is_err(), "blue has broken it off");
    assert_eq!((green.requests().len(), blue.requests().len()), (1, 1));
    proxy
        .until("it to be over", |proxy| proxy.in_flight("blue") == 0)
        .await;
    assert_eq!(numbers(&proxy, "green"), [1, 0, 0, 0, 1]);
    assert_eq!(numbers(&proxy, "blue"), [0; 5]);
}

#[tokio::test]
async fn a_tunnel_counts_as_its_handshake_and_no_more() {
    let (blue, _) = two().await;
    let green = pong_server().start().await;
    let proxy = of(&blue, &green);
    on_trial(&proxy, 1.0, &["GET"]);
    let mut client = proxy.client().await;
    client.send(websocket::request()).await;
    assert_eq!(client.answer_to_head().await.status, 101);
    drop(client);
    proxy
        .until("the tunnel to end", |proxy| proxy.tunnels("green") == 0)
        .await;
    assert_eq!(numbers(&proxy, "green"), [1, 0, 0, 0, 1]);
    assert_eq!(proxy.tried("green").response.count(), 0);
}

#[tokio::test]
async fn a_tunnel_on_a_stream_counts_as_its_handshake_however_it_ends() {
    let (blue, _) = two().await;
    let green = pong_server().start().await;
    let proxy = of(&blue, &green);
    on_trial(&proxy, 1.0, &["GET"]);
    let mut client = websocket_h2::connect(&proxy).await;
    let mut ended = client.tunnel().await;
    let mut reset = client.tunnel().await;
    for socket in [&mut ended, &mut reset] {
        socket.echoes(&websocket::frame(0x82, b"hello")).await;
    }
    assert_eq!(numbers(&proxy, "green"), [2, 0, 0, 0, 2]);
    ended.end();
    ended.until_ended().await;
    reset.writer.send_reset(h2::Reason::CANCEL);
    let mut broken = client.tunnel().await;
    broken.echoes(&websocket::frame(0x82, b"hello")).await;
    client.abort();
    proxy
        .until("the tunnels to end", |proxy| proxy.tunnels("green") == 0)
        .await;
    assert_eq!(numbers(&proxy, "green"), [3, 0, 0, 0, 3]);
    assert_eq!(numbers(&proxy, "blue"), [0; 5]);
    assert_eq!(proxy.tried("green").response.count(), 0);
}

#[tokio::test]
async fn on_rollback_all_clients_are_back_at_once() {
    let (blue, green) = two().await;
    let proxy = proxy()
        .service("sticky = { by = \"cookie\" }")
        .pool("blue", 1, &[&blue])
        .pool("green", 1, &[&green])
        .start();
    on_trial(&proxy, 1.0, &[]);
    for number in 0..8 {
        let answer = known_by(proxy.client().await, number).await;
        assert_eq!(answer.body, "green");
    }
    proxy.shift(&[("blue", 1), ("green", 0)]);
    for number in 0..8 {
        let answer = known_by(proxy.client().await, number).await;
        assert_eq!(answer.body, "blue");
    }
    // None of them was drawn.
    assert_eq!(numbers(&proxy, "green"), [8, 0, 0, 0, 0]);
    assert_eq!(numbers(&proxy, "blue"), [8, 0, 0, 0, 0]);
}
