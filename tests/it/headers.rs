//! What of a message's head goes on, and what an app is told of whom we speak for.

use crate::support::{App, Proxy, answer, endpoint, proxy};

/// Sends a request with these fields and returns what the app saw of it, in lower case.
async fn seen(proxy: &Proxy, app: &App, fields: &str) -> String {
    let before = app.requests().len();
    let mut client = proxy.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: Shop.test\r\n{fields}\r\n"))
        .await;
    assert_eq!(client.answer().await.status, 200);
    app.requests()[before].to_ascii_lowercase()
}

fn values<'a>(request: &'a str, name: &str) -> Vec<&'a str> {
    let lines = request
        .split("\r\n")
        .filter_map(|line| line.split_once(": "));
    lines
        .filter(|(field, _)| *field == name)
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test]
async fn p_03_what_an_untrusted_client_says_of_others_is_dropped() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let lies = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: bank\r\n\
                Forwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Request-Id: mine\r\n";
    for fields in ["", lies] {
        let request = seen(&proxy, &app, fields).await;
        assert_eq!(values(&request, "x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(values(&request, "x-forwarded-proto"), ["http"]);
        assert_eq!(values(&request, "x-forwarded-host"), ["shop.test"]);
        assert_eq!(
            values(&request, "forwarded"),
            ["for=127.0.0.1;host=\"shop.test\";proto=http"]
        );
        assert_eq!(values(&request, "x-real-ip"), [""; 0]);
        assert_eq!(values(&request, "host"), ["shop.test"]);
        let ids = values(&request, "x-request-id");
        assert!(
            ids.len() == 1
                && ids[0].len() == 32
                && ids[0].bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{ids:?}"
        );
    }
}

#[tokio::test]
async fn p_03_a_trusted_proxy_is_believed_and_added_to() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("trusted_proxies = [\"127.0.0.0/8\"]")
        .pool("blue", 100, &[&app])
        .start();
    let fields = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: bank\r\n\
                  Forwarded: for=1.2.3.4\r\nX-Request-Id: Mine-1\r\n";
    let request = seen(&proxy, &app, fields).await;
    assert_eq!(
        values(&request, "x-forwarded-for"),
        ["1.2.3.4, 5.6.7.8, 127.0.0.1"]
    );
    assert_eq!(values(&request, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&request, "x-forwarded-host"), ["bank"]);
    assert_eq!(
        values(&request, "forwarded"),
        ["for=1.2.3.4, for=127.0.0.1;host=\"shop.test\";proto=http"]
    );
    assert_eq!(values(&request, "x-request-id"), ["mine-1"]);
    let request = seen(&proxy, &app, "").await;
    assert_eq!(values(&request, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&request, "x-forwarded-proto"), ["http"]);
}

#[tokio::test]
async fn a_request_id_that_is_no_id_is_replaced() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("trusted_proxies = [\"127.0.0.0/8\"]")
        .pool("blue", 100, &[&app])
        .start();
    let long = "x".repeat(129);
    for bad in ["", "a b", "\u{e4}", &long] {
        let request = seen(&proxy, &app, &format!("X-Request-Id: {bad}\r\n")).await;
        let ids = values(&request, "x-request-id");
        assert!(ids.len() == 1 && ids[0].len() == 32, "{bad}: {ids:?}");
    }
}

#[tokio::test]
async fn p_01_fields_for_one_connection_go_no_further_either_way() {
    let fields = [
        ("connection", "close, x-private"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "basic"),
        ("upgrade", "h2c"),
        ("x-public", "2"),
    ];
    let app = endpoint("blue")
        .bytes(answer(200, &fields, b"x"))
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let request = seen(
        &proxy,
        &app,
        "Connection: X-Private, X-Forwarded-For, Host, keep-alive, X-Request-Id\r\nX-Private: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nX-Public: 2\r\n",
    )
    .await;
    for name in [
        "connection",
        "x-private",
        "keep-alive",
        "upgrade",
        "http2-settings",
        "proxy-connection",
        "te",
    ] {
        assert_eq!(values(&request, name), [""; 0], "{name}");
    }
    for name in ["host", "x-public", "x-forwarded-for", "x-request-id"] {
        assert_eq!(values(&request, name).len(), 1, "{name}: {request}");
    }
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let answer = client.get("/").await;
        assert_eq!(answer.header("x-public"), Some("2"));
        for name in [
            "connection",
            "x-private",
            "keep-alive",
            "proxy-authenticate",
            "upgrade",
        ] {
            assert!(
                !answer.head.contains(&format!("\r\n{name}:")),
                "{name}: {}",
                answer.head
            );
        }
    }
}

#[tokio::test]
async fn p_07_and_p_14_an_answer_keeps_its_own_fields_in_order() {
    let fields = [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("date", "then"),
        ("server", "mine"),
        ("etag", "\"x\""),
    ];
    let app = endpoint("blue")
        .bytes(answer(200, &fields, b"x"))
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let answer = proxy.get("/").await;
    let (first, second) = (answer.head.find("a=1"), answer.head.find("b=2"));
    assert!(first.is_some() && first < second, "{}", answer.head);
    for (name, value) in &fields[2..] {
        assert_eq!(answer.header(name), Some(*value));
    }
}
