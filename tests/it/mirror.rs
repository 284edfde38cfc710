//! Copies of requests: who gets them, what their answers are compared with, and that nothing they do is felt by the requests.

use std::time::{Duration, Instant};

use cutover::pool::State;

use crate::support::{App, Client, Proxy, answer, endpoint, h2_endpoint, proxy};

/// Blue serves, and green gets copies of all that can be copied, under these further keys.
fn mirroring(blue: &App, green: &App, keys: &str) -> Proxy {
    let comma = if keys.is_empty() { "" } else { ", " };
    proxy()
        .service(&format!(
            "mirror = {{ pool = \"green\", share = \"100%\"{comma}{keys} }}"
        ))
        .pool("blue", 1, &[blue])
        .pool("green", 0, &[green])
        .start()
}

async fn both(name: &str) -> (App, App) {
    (endpoint(name).start().await, endpoint(name).start().await)
}

/// An app that takes connections and says nothing on them.
async fn silent() -> App {
    endpoint("silent").silent().start().await
}

#[tokio::test]
async fn a_copy_is_what_the_request_is_and_says_so() {
    let (blue, green) = both("same").await;
    let proxy = mirroring(&blue, &green, "");
    let mut client = proxy.client().await;
    client
        .send("GET /a?b=c HTTP/1.1\r\nhost: shop\r\ncookie: d=e\r\nx-request-id: f\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.body, "same");
    proxy.until_mirrored("green", &[("same", 1)]).await;
    let (own, copy) = (blue.request(), green.request());
    assert!(!own.contains("cutover-mirror"), "{own}");
    assert_eq!(copy.replace("cutover-mirror: 1\r\n", ""), own);
    assert!(own.starts_with("GET /a?b=c HTTP/1.1\r\n") && own.contains("cookie: d=e\r\n"));
    // The copy is nobody's request.
    assert_eq!(proxy.answers("green"), []);
    assert_eq!(proxy.answers("blue"), [(200, true, 1)]);
}

#[tokio::test]
async fn answers_that_differ_are_told_apart() {
    let blue = endpoint("blue")
        .bytes(answer(200, &[("content-type", "text/plain")], b"hello"))
        .start()
        .await;
    let green = endpoint("green")
        .bytes(answer(500, &[("content-type", "text/html")], b"hell!"))
        .start()
        .await;
    let proxy = mirroring(&blue, &green, "");
    let answer = proxy.get("/").await;
    assert_eq!((answer.status, &*answer.body), (200, "hello"));
    let all = [("differs", 1), ("status", 1), ("headers", 1), ("body", 1)];
    proxy.until_mirrored("green", &all).await;
    // A 5xx to a copy is an answer, and no error of the pool.
    assert_eq!(proxy.failures("green"), []);
    assert_eq!(proxy.faults("green"), 0);
}

#[tokio::test]
async fn only_what_is_named_is_compared() {
    let blue = endpoint("blue")
        .bytes(answer(200, &[("content-type", "a"), ("x-v", "1")], b"one"))
        .start()
        .await;
    let green = endpoint("green")
        .bytes(answer(
            201,
            &[("content-type", "b"), ("x-v", "1")],
            b"one more",
        ))
        .start()
        .await;
    let proxy = mirroring(&blue, &green, "headers = [\"x-v\"], body = \"3B\"");
    proxy.get("/").await;
    proxy.until_mirrored("green", &[("same", 1)]).await;
}

#[tokio::test]
async fn without_a_comparison_answers_are_thrown_away() {
    let (blue, green) = (
        endpoint("blue").start().await,
        endpoint("green").start().await,
    );
    let proxy = mirroring(&blue, &green, "compare = false");
    assert_eq!(proxy.get("/").await.body, "blue");
    proxy.until_mirrored("green", &[("discarded", 1)]).await;
}

#[tokio::test]
async fn only_what_is_safe_and_has_no_body_is_copied() {
    let (blue, green) = both("same").await;
    let proxy = mirroring(&blue, &green, "");
    let mut client = proxy.client().await;
    for request in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx",
        "DELETE / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx",
    ] {
        client.send(request).await;
        assert_eq!(client.answer().await.status, 200);
    }
    client.send("HEAD /last HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.answer_to_head().await.status, 200);
    green.until_requests(1).await;
    assert!(green.request().starts_with("HEAD /last "));
}

#[tokio::test]
async fn a_pool_that_gets_the_request_gets_no_copy_of_it() {
    let (blue, green) = both("same").await;
    let proxy = mirroring(&blue, &green, "");
    proxy.shift(&[("green", 1)]);
    for _ in 0..10 {
        proxy.get("/").await;
    }
    assert_eq!(green.requests().len(), 10);
    assert_eq!(proxy.mirrored("green"), []);
}

#[tokio::test]
async fn a_part_of_the_requests_is_copied() {
    let (blue, green) = both("same").await;
    let proxy = proxy()
        .service("mirror = { pool = \"green\", share = \"20%\", most = 10000 }")
        .pool("blue", 1, &[&blue])
        .pool("green", 0, &[&green])
        .start();
    let mut client = proxy.client().await;
    for _ in 0..1000 {
        client.get("/").await;
    }
    let copies = || {
        proxy
            .mirrored("green")
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>()
    };
    // Six standard deviations.
    assert!((120..280).contains(&copies()), "{}", copies());
}

#[tokio::test]
async fn an_app_that_takes_copies_and_does_not_answer_them_is_not_felt() {
    let (blue, green) = (endpoint("blue").start().await, silent().await);
    let proxy = mirroring(&blue, &green, "most = 2, timeout = \"300ms\"");
    let mut client = proxy.client().await;
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(client.get("/").await.body, "blue");
    }
    assert!(began.elapsed() < Duration::from_millis(300));
    // The third was one too many.
    assert_eq!(proxy.mirrored("green"), [("skipped", 1)]);
    assert_eq!(proxy.in_flight("green"), 2);
    proxy
        .until_mirrored("green", &[("failed", 2), ("skipped", 1)])
        .await;
    green.until_closed().await;
    assert_eq!((proxy.in_flight("green"), proxy.faults("green")), (0, 0));
}

#[tokio::test]
async fn an_app_that_can_not_be_reached_is_not_felt() {
    let (blue, green) = both("same").await;
    let address = green.stop().await.to_string();
    let proxy = proxy()
        .service("mirror = { pool = \"green\", share = \"100%\" }")
        .pool("blue", 1, &[&blue])
        .pool_at("green", 0, &[&address])
        .start();
    assert_eq!(proxy.get("/").await.status, 200);
    proxy.until_mirrored("green", &[("failed", 1)]).await;
    proxy.put("green", State::Unready, false);
    assert_eq!(proxy.get("/").await.status, 200);
    proxy
        .until_mirrored("green", &[("failed", 1), ("nowhere", 1)])
        .await;
    assert_eq!(
        (proxy.failures("green"), proxy.failures("blue")),
        (vec![], vec![])
    );
}

#[tokio::test]
async fn what_breaks_off_or_is_no_http_is_a_copy_that_failed() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let blue = endpoint("blue").start().await;
        let green = endpoint("green").bytes_then_close(bytes).start().await;
        let proxy = mirroring(&blue, &green, "");
        assert_eq!(proxy.get("/").await.body, "blue");
        proxy.until_mirrored("green", &[("failed", 1)]).await;
    }
}

#[tokio::test]
async fn a_request_that_is_retried_is_copied_once() {
    let bad = endpoint("bad").reply(503).start().await;
    let (good, green) = both("good").await;
    let proxy = proxy()
        .service("mirror = { pool = \"green\", share = \"100%\" }")
        .pool("blue", 1, &[&bad, &good])
        .pool("green", 0, &[&green])
        .start();
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.body, "good");
    }
    assert_eq!(bad.requests().len(), 1);
    // The answer that counts is the one that the client got.
    proxy.until_mirrored("green", &[("same", 2)]).await;
    assert_eq!(green.requests().len(), 2);
}

#[tokio::test]
async fn a_request_whose_client_leaves_is_compared_with_nothing() {
    let (blue, green) = (silent().await, endpoint("green").start().await);
    let proxy = mirroring(&blue, &green, "");
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    green.until_requests(1).await;
    blue.until_requests(1).await;
    drop(client);
    proxy.until_mirrored("green", &[("unmatched", 1)]).await;
}

#[tokio::test]
async fn an_answer_without_end_is_read_as_far_as_it_is_compared() {
    let endless = || {
        endpoint("endless").serve(|mut peer| async move {
            if peer.request().await.is_ok() {
                peer.write(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while peer.try_write(&[b'x'; 1000]).await.is_ok() {}
            }
        })
    };
    let (blue, green) = (endless().start().await, endless().start().await);
    let proxy = mirroring(&blue, &green, "body = \"10KiB\"");
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.until_bytes(20_000).await;
    // The copy has ended; the client's answer goes on.
    green.until_closed().await;
    assert_eq!(blue.open(), 1);
    assert_eq!(proxy.in_flight("green"), 0);
}

#[tokio::test]
async fn copies_go_over_connections_that_are_kept() {
    let (blue, green) = both("same").await;
    let proxy = mirroring(&blue, &green, "");
    let mut client = proxy.client().await;
    for count in 1..=3 {
        client.get("/").await;
        proxy.until_mirrored("green", &[("same", count)]).await;
    }
    assert_eq!(green.connections(), 1);
    // A change of weights elsewhere keeps them, too.
    proxy.shift(&[("blue", 2)]);
    client.get("/").await;
    proxy.until_mirrored("green", &[("same", 4)]).await;
    assert_eq!(green.connections(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_the_app_has_closed_is_no_failure() {
    let blue = endpoint("same").start().await;
    let same = answer(200, &[], b"same");
    let green = endpoint("green").bytes_then_close(same).start().await;
    let proxy = mirroring(&blue, &green, "");
    let mut client = proxy.client().await;
    for count in 1..=5 {
        client.get("/").await;
        proxy.until_mirrored("green", &[("same", count)]).await;
    }
}

#[tokio::test]
async fn a_drain_waits_for_copies_too_and_its_deadline_ends_them() {
    let (blue, green) = (endpoint("blue").start().await, silent().await);
    let proxy = mirroring(&blue, &green, "timeout = \"1m\"");
    proxy.get("/").await;
    green.until_requests(1).await;
    proxy.put("green", State::Draining, false);
    assert_eq!(proxy.in_flight("green"), 1);
    proxy.put("green", State::Draining, true);
    proxy.until_mirrored("green", &[("failed", 1)]).await;
    assert_eq!(proxy.in_flight("green"), 0);
    // And it gets no further copies.
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(green.requests().len(), 1);
}

#[tokio::test]
async fn a_process_that_ends_waits_for_no_copy() {
    let (blue, green) = (endpoint("blue").start().await, silent().await);
    let mut proxy = mirroring(&blue, &green, "timeout = \"1m\"");
    proxy.get("/").await;
    green.until_requests(1).await;
    let drained = proxy.drain(Duration::from_mins(1)).await;
    assert_eq!(drained.cut, 0);
}

#[tokio::test]
async fn copies_go_to_apps_that_speak_http_2() {
    let blue = endpoint("same").start().await;
    let green = h2_endpoint("same").start().await;
    let proxy = proxy()
        .service("mirror = { pool = \"green\", share = \"100%\" }")
        .service("pools.green.protocol = \"h2\"")
        .pool("blue", 1, &[&blue])
        .pool_at("green", 0, &[&green.address.to_string()])
        .start();
    let mut client = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.body, "same");
    }
    proxy.until_mirrored("green", &[("same", 3)]).await;
    assert_eq!((green.connections(), green.calls()), (1, 3));
}

#[tokio::test]
async fn nobody_but_a_trusted_proxy_says_that_a_request_is_a_copy() {
    let blue = endpoint("blue").start().await;
    let asked = |trusted: &str| {
        let proxy = proxy()
            .listener(&format!("trusted_proxies = [{trusted}]"))
            .pool("blue", 1, &[&blue])
            .start();
        async move {
            let mut client: Client = proxy.client().await;
            client
                .send("GET / HTTP/1.1\r\nhost: a\r\ncutover-mirror: 1\r\n\r\n")
                .await;
            client.answer().await.status
        }
    };
    assert_eq!(asked("").await, 200);
    assert!(!blue.request().contains("cutover-mirror"));
    assert_eq!(asked("\"127.0.0.0/8\"").await, 200);
    assert!(blue.requests()[1].contains("cutover-mirror: 1\r\n"));
}
