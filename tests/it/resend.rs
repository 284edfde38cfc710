//! A request of which nothing was written goes once to another endpoint, whatever its method.

use std::net::SocketAddr;

use crate::support::{Proxy, endpoint, proxy, within};

/// An address that refuses connections.
async fn closed() -> SocketAddr {
    endpoint("gone").start().await.stop().await
}

async fn post(proxy: &Proxy) -> (u16, String) {
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")
        .await;
    let answer = client.answer().await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_refused_connection_sends_the_request_to_another_endpoint_and_asks_for_a_probe() {
    let (app, gone) = (endpoint("blue").start().await, closed().await.to_string());
    let mut proxy = proxy()
        .pool_at("blue", 100, &[&gone, &app.address.to_string()])
        .start();
    for n in 1..=20 {
        assert_eq!(post(&proxy).await, (200, "blue".to_owned()));
        assert_eq!(app.requests().len(), n);
    }
    assert!(
        app.requests()
            .iter()
            .all(|request| request.ends_with("\r\n\r\nhi"))
    );
    assert_eq!(proxy.answers("blue"), [(200, true, 20)]);
    let failures = proxy.failures("blue");
    assert!(matches!(failures[..], [("connect", 1..)]), "{failures:?}");
    let nudged = within("a nudge", proxy.nudges.next())
        .await
        .expect("a worker that nudges");
    assert_eq!(nudged.key.address.to_string(), gone);
}

#[tokio::test]
async fn where_the_pool_has_no_other_endpoint_another_pool_with_weight_takes_it() {
    let (app, gone) = (endpoint("green").start().await, closed().await.to_string());
    let proxy = proxy()
        .pool_at("blue", 99, &[&gone])
        .pool("green", 1, &[&app])
        .start();
    for _ in 0..20 {
        assert_eq!(post(&proxy).await, (200, "green".to_owned()));
    }
}

#[tokio::test]
async fn a_pool_without_weight_takes_nothing_because_others_fail() {
    let (app, gone) = (endpoint("green").start().await, closed().await.to_string());
    let proxy = proxy()
        .pool_at("blue", 100, &[&gone])
        .pool("green", 0, &[&app])
        .start();
    assert_eq!(post(&proxy).await.0, 502);
    assert_eq!(app.connections(), 0);
    assert_eq!(proxy.answers("blue"), [(502, false, 1)]);
}

#[tokio::test]
async fn two_refusals_are_an_answer() {
    let (one, two) = (closed().await.to_string(), closed().await.to_string());
    let proxy = proxy().pool_at("blue", 100, &[&one, &two]).start();
    assert_eq!(post(&proxy).await.0, 502);
    assert_eq!(proxy.failures("blue"), [("connect", 2)]);
}

#[tokio::test]
async fn p_10_a_request_that_was_written_is_not_sent_twice() {
    let app = endpoint("blue")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
        })
        .start()
        .await;
    let other = endpoint("other")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app, &other]).start();
    assert_eq!(post(&proxy).await.0, 502);
    assert_eq!(app.requests().len() + other.requests().len(), 1);
}

#[tokio::test]
async fn a_parked_connection_that_the_endpoint_has_closed_is_nobodys_error() {
    // Closes without a word; whether the proxy has noticed when the next request comes is left to chance.
    let app = endpoint("blue")
        .bytes_then_close("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    for _ in 0..200 {
        assert_eq!(client.get("/").await.status, 200);
        app.until_closed().await;
    }
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn an_endpoint_that_closes_after_each_answer_costs_no_request() {
    let app = endpoint("blue")
        .bytes_then_close("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.status, 200);
        proxy
            .until("the end of the connection to be seen", |proxy| {
                proxy.connections("blue") == 0
            })
            .await;
    }
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn with_no_endpoint_at_all_a_client_is_told_when_to_come_back() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    proxy.put("blue", cutover::pool::State::Unproven, false);
    proxy.decide(|decided| {
        for endpoint in decided.pools.values_mut().flatten() {
            endpoint.standing.proven = false;
        }
    });
    let answer = proxy.get("/").await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(app.connections(), 0);
    assert_eq!(proxy.rejections(), [("no_endpoint", 1)]);
}
