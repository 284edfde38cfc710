//! A client that goes away takes its request with it, and is no endpoint's error.

use crate::support::{answer, endpoint, proxy};

#[tokio::test]
async fn h1_51_a_client_that_leaves_while_it_waits_cancels_its_request() {
    let app = endpoint("slow").silent().start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    app.until_requests(1).await;
    assert_eq!(proxy.in_flight("blue"), 1);
    drop(client);
    proxy
        .until("the request to be cancelled", |proxy| {
            app.open() == 0 && proxy.in_flight("blue") == 0
        })
        .await;
    assert_eq!(
        (proxy.failures("blue"), proxy.connections("blue")),
        (vec![], 0)
    );
}

#[tokio::test]
async fn h1_51_a_client_that_leaves_in_the_middle_of_an_answer_cancels_it() {
    let app = endpoint("large")
        .bytes(answer(200, &[], &vec![b'x'; 64 << 20]))
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.until_bytes(100_000).await;
    drop(client);
    proxy
        .until("the answer to be cancelled", |proxy| {
            app.open() == 0 && proxy.in_flight("blue") == 0
        })
        .await;
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn h1_42_a_client_that_leaves_in_the_middle_of_its_body_leaves_a_broken_request() {
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let app = endpoint("blue").start().await;
        let proxy = proxy().pool("blue", 100, &[&app]).start();
        let mut client = proxy.client().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n4\r\nha"
            ))
            .await;
        proxy
            .until("the request to begin", |_| app.open() == 1)
            .await;
        drop(client);
        proxy
            .until("the request to break off", |proxy| {
                app.open() == 0 && proxy.in_flight("blue") == 0
            })
            .await;
        assert_eq!(
            (app.requests().len(), proxy.failures("blue")),
            (0, vec![]),
            "{framing}"
        );
    }
}
