//! Which endpoint of a pool gets a request, by what it does with those it has.

use std::time::Duration;

use cutover::pool::State;

use crate::support::{App, Proxy, answer, endpoint, free_address, proxy, until, within};

/// An app that takes so long to begin an answer.
async fn after(millis: u64) -> App {
    let app = endpoint("app").serve(move |mut peer| async move {
        while peer.request().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            peer.write(&answer(200, &[], b"good")).await;
        }
    });
    app.start().await
}

/// So many clients at once, each of which asks so often.
async fn ask(proxy: &Proxy, clients: usize, times: usize) {
    let clients = (0..clients).map(|_| async {
        let mut client = proxy.client().await;
        for _ in 0..times {
            assert_eq!(client.get("/").await.status, 200);
        }
    });
    within("all answers", futures_util::future::join_all(clients)).await;
}

fn counts(apps: &[&App]) -> Vec<usize> {
    apps.iter().map(|app| app.requests().len()).collect()
}

#[tokio::test]
async fn a_slow_endpoint_gets_few_requests_by_peak_ewma() {
    for workers in [1, 4] {
        let (slow, one, other) = (after(400).await, after(2).await, after(2).await);
        let proxy = proxy()
            .workers(workers)
            .service("balance = \"peak-ewma\"")
            .pool("blue", 1, &[&slow, &one, &other])
            .start();
        ask(&proxy, 8, 50).await;
        let counts = counts(&[&slow, &one, &other]);
        // One in twenty is 20 of 400.
        assert!(counts[0] <= 12, "{counts:?} by {workers}");
        assert!(counts[1] > 80 && counts[2] > 80, "{counts:?} by {workers}");
    }
}

#[tokio::test]
async fn an_endpoint_that_fails_quickly_does_not_draw_requests_by_peak_ewma() {
    let (one, other) = (after(2).await, after(2).await);
    let nobody = free_address().to_string();
    let [first, second] = [&one, &other].map(|app| app.address.to_string());
    let proxy = proxy()
        .service("balance = \"peak-ewma\"\nretry.budget = \"100%\"")
        .pool_at("blue", 1, &[&nobody, &first, &second])
        .start();
    ask(&proxy, 4, 50).await;
    let failed = proxy.failures("blue");
    assert!(
        matches!(failed[..], [("connect", 1..=20)]),
        "{failed:?} of 200"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_back_is_measured_anew() {
    let (slow, quick) = (after(300).await, after(2).await);
    let proxy = proxy()
        .service("balance = \"peak-ewma\"")
        .pool("blue", 1, &[&slow, &quick])
        .start();
    ask(&proxy, 2, 10).await;
    let seen = slow.requests().len();
    ask(&proxy, 1, 10).await;
    assert_eq!(slow.requests().len(), seen, "it is too slow");
    proxy.put("blue", State::Unready, false);
    proxy.put("blue", State::Ready, false);
    ask(&proxy, 1, 10).await;
    assert_eq!(slow.requests().len(), seen + 1);
}

#[tokio::test]
async fn who_is_given_up_is_known_to_be_slow() {
    let (silent, quick) = (endpoint("silent").silent().start().await, after(2).await);
    let proxy = proxy()
        .service("balance = \"peak-ewma\"")
        .pool("blue", 1, &[&silent, &quick])
        .start();
    let mut waiting = proxy.client().await;
    // Of two that are new, the second that is asked is the one that was not the first.
    for asked in 1..=2 {
        waiting = proxy.client().await;
        waiting.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let seen = || silent.requests().len() + quick.requests().len();
        until("it to be sent", || seen() == asked).await;
        if !silent.requests().is_empty() {
            break;
        }
        waiting.answer().await;
    }
    ask(&proxy, 1, 100).await;
    drop(waiting);
    proxy
        .until("it to be given up", |proxy| proxy.in_flight("blue") == 0)
        .await;
    ask(&proxy, 1, 10).await;
    assert_eq!(silent.requests().len(), 1);
}

#[tokio::test]
async fn what_a_client_takes_for_its_body_is_not_its_endpoints_time() {
    let (app, slow) = (endpoint("app").start().await, after(400).await);
    let measured = proxy()
        .service("balance = \"peak-ewma\"")
        .pool("blue", 1, &[&app])
        .start();
    let clock = proxy().pool("blue", 1, &[&slow]).start();
    let mut client = measured.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na")
        .await;
    ask(&clock, 1, 1).await;
    assert_eq!(measured.expected_latency("blue"), [None]);
    client.send("b").await;
    assert_eq!(client.answer().await.status, 200);
    let expected = measured.expected_latency("blue")[0].unwrap();
    assert!(expected < Duration::from_millis(200), "{expected:?}");
}
