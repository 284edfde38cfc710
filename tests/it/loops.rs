//! Requests that go round, and requests that may go no further.

use crate::support::{answer, endpoint, proxy};

const TURN: &str = "via: 1.1 cutover\r\n";

#[tokio::test]
async fn p_05_a_request_that_goes_round_is_refused_where_via_is_written() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("via = true")
        .pool("blue", 100, &[&app])
        .start();
    for (turns, status) in [(0, 200), (7, 200), (8, 508), (90, 508)] {
        let mut client = proxy.client().await;
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", TURN.repeat(turns));
        client.send(head).await;
        assert_eq!(client.answer().await.status, status, "{turns}");
    }
    assert_eq!(proxy.rejections(), [("loop", 2)]);
    assert_eq!(app.requests().len(), 2);
}

#[tokio::test]
async fn p_05_a_loop_comes_to_an_end() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = free.expect("a free port").port();
    // By a name, which no check of the file sees through.
    let proxy = proxy()
        .pool_at("blue", 100, &[&format!("localhost:{port}")])
        .more(&format!(
            "[[listeners]]\naddress = \"127.0.0.1:{port}\"\nvia = true\n"
        ))
        .start();
    assert_eq!(proxy.get("/").await.status, 508);
    assert_eq!(proxy.rejections(), [("loop", 1)]);
}

#[tokio::test]
async fn p_05_without_via_what_others_say_of_the_way_is_theirs() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", TURN.repeat(20));
    client.send(head).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(app.request().matches("1.1 cutover").count(), 20);
}

#[tokio::test]
async fn options_go_as_far_as_they_may() {
    let app = endpoint("blue")
        .bytes(answer(200, &[("x-app", "here")], b""))
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    for (method, said, here, passed_on) in [
        ("OPTIONS", "0", true, ""),
        ("OPTIONS", "2", false, "max-forwards: 1\r\n"),
        ("GET", "0", false, "max-forwards: 0\r\n"),
    ] {
        let before = app.requests().len();
        let mut client = proxy.client().await;
        client
            .send(format!(
                "{method} / HTTP/1.1\r\nhost: a\r\nmax-forwards: {said}\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.header("x-app").is_none()),
            (200, here)
        );
        let seen = app.requests();
        assert_eq!(seen.len() == before, here, "{method} {said}");
        if !here {
            assert!(
                seen[before].to_ascii_lowercase().contains(passed_on),
                "{seen:?}"
            );
        }
    }
}
