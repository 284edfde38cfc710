//! Everything has a limit, and says when it was hit.

use crate::support::{endpoint, proxy};

/// So many header lines.
fn fields(count: usize) -> String {
    let lines: Vec<_> = (0..count).map(|n| format!("x-{n}: 1\r\n")).collect();
    lines.concat()
}

#[tokio::test]
async fn a_body_known_to_be_too_large_is_a_413_before_the_endpoint_hears_of_it() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .service("limits = { body = \"10B\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n0123456789")
        .await;
    assert_eq!(client.answer().await.status, 200);
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 413);
    client.until_closed().await;
    assert_eq!(app.requests().len(), 1);
    assert_eq!(proxy.rejections(), [("body_too_large", 1)]);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_a_413_and_the_endpoint_sees_it_broken_off() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .service("limits = { body = \"10B\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n678901\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 413);
    proxy
        .until("the connection to close", |proxy| {
            proxy.connections("blue") == 0
        })
        .await;
    assert_eq!(app.requests().len(), 0);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn h1_30_a_head_that_is_too_large_is_a_431() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("limits = { header_bytes = \"8KiB\", headers = 20 }")
        .pool("blue", 100, &[&app])
        .start();
    let many = fields(20);
    let large = format!("x-large: {}\r\n", "x".repeat(8192));
    for fields in [many, large] {
        let mut client = proxy.client().await;
        client
            .send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
            .await;
        assert_eq!(client.answer().await.status, 431, "{}", &fields[..20]);
    }
    assert_eq!(proxy.rejections(), [("head_too_large", 2)]);
    let fields = fields(19);
    let mut client = proxy.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
        .await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_listener_may_allow_more_fields_than_the_usual_hundred() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("limits = { headers = 200 }")
        .pool("blue", 100, &[&app])
        .start();
    let fields = fields(150);
    let mut client = proxy.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert!(app.request().contains("\r\nx-149: 1\r\n"));
}

#[tokio::test]
async fn h1_29_a_target_that_is_too_long_is_a_414() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("limits = { header_bytes = \"16KiB\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send(format!(
            "GET /{} HTTP/1.1\r\nhost: a\r\n\r\n",
            "x".repeat(20_000)
        ))
        .await;
    assert_eq!(client.answer().await.status, 414);
    client.until_closed().await;
}

#[tokio::test]
async fn a_connection_above_the_cap_is_told_503_and_when_to_come_back() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .workers(2)
        .listener("limits = { connections = 2 }")
        .pool("blue", 100, &[&app])
        .start();
    let (mut first, mut second) = (proxy.client().await, proxy.client().await);
    assert_eq!(
        (first.get("/").await.status, second.get("/").await.status),
        (200, 200)
    );
    let mut third = proxy.client().await;
    let refused = third.answer().await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(third.until_closed().await, "");
    assert_eq!(proxy.rejections(), [("connections", 1)]);
    drop(first);
    proxy
        .until("a place", |proxy| {
            proxy.server().gauge().connections()[0].1 == 1
        })
        .await;
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(second.get("/").await.status, 200);
}

/// How many requests of others are answered at most while one waits, for each connection that they come on: one while it
/// is read, one while its answer is, and one for those who come in between.
const ROUNDS: usize = 3;

/// How many more while its connections are opened: the client's and the endpoint's.
const OPENINGS: usize = 2;

#[tokio::test]
async fn o_08_a_client_that_sends_nine_of_ten_requests_makes_nobody_wait_behind_them() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let crowd = 20;
    let mut greedy = tokio::task::JoinSet::new();
    for _ in 0..crowd {
        let mut client = proxy.client().await;
        greedy.spawn(async move {
            // Never without a hundred requests ahead of itself.
            let batch = "GET /greedy HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
            loop {
                client.send(&batch).await;
                for _ in 0..100 {
                    assert_eq!(client.answer().await.status, 200);
                }
            }
        });
    }
    app.until_requests(500).await;
    let mut modest = proxy.client().await;
    for n in 0..30 {
        let rounds = if n == 0 { ROUNDS + OPENINGS } else { ROUNDS };
        let before = app.requests().len();
        assert_eq!(modest.get("/modest").await.status, 200);
        let meanwhile = app.requests().len() - before;
        assert!(meanwhile <= rounds * crowd, "{meanwhile} were served first");
    }
    let modest = app
        .requests()
        .iter()
        .filter(|asked| asked.contains("/modest"))
        .count();
    assert!(app.requests().len() > 9 * modest);
}
