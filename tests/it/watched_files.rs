//! Files that services and pools name are followed like the configuration that names them.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{fs, net::SocketAddr};

use crate::{
    support::{Answer, Client, authority, h2_endpoint, within},
    tls_listeners::{Shelf, run, until_event},
};

async fn until_answered(proxy: SocketAddr, request: &str, what: impl Fn(&Answer) -> bool) {
    within("another answer", async {
        loop {
            let mut client = Client::connect(proxy).await;
            client.send(request).await;
            if what(&client.answer().await) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_endpoints_are_met_with_is_taken_live_and_a_bad_file_is_refused() {
    const ASKS: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let (shelf, other) = (Shelf::new(), authority("other"));
    let pair = shelf.root.server(&["127.0.0.1"]);
    let app = h2_endpoint("blue").tls(&pair, (true, true)).start().await;
    let (ca, page) = (shelf.path("ca.pem"), shelf.path("502.txt"));
    fs::write(&ca, &other.pem).unwrap();
    fs::write(&page, "first").unwrap();
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nprobe = false\ntls.ca = \"{ca}\"\n\
         errors.502.file = \"{page}\"\nendpoints = [\"{}\"]\n",
        app.address
    );
    let running = run(&shelf, &text).await;
    let proxy = running.bound().listeners[0].ip().unwrap();
    until_answered(proxy, ASKS, |answer| answer.body == "first").await;

    fs::write(&page, "second").unwrap();
    until_answered(proxy, ASKS, |answer| answer.body == "second").await;

    // By a rename.
    fs::write(shelf.path("new"), &shelf.root.pem).unwrap();
    fs::rename(shelf.path("new"), &ca).unwrap();
    until_answered(proxy, ASKS, |answer| answer.status == 200).await;
    until_event(&running, "config", "with other contents").await;

    // Half of it, and then nothing of it.
    fs::write(&ca, &shelf.root.pem[..100]).unwrap();
    until_event(&running, "certificate-failed", "`ca` can't be used").await;
    fs::remove_file(&ca).unwrap();
    until_event(&running, "config-rejected", "does not exist").await;
    let mut client = Client::connect(proxy).await;
    assert_eq!(client.get("/").await.status, 200, "as before");
    fs::write(&ca, &other.pem).unwrap();
    until_answered(proxy, ASKS, |answer| answer.status == 502).await;
}

#[tokio::test]
async fn a_secret_is_taken_live() {
    let shelf = Shelf::new();
    let app = crate::support::endpoint("blue").start().await;
    let secret = shelf.path("preview.secret");
    fs::write(&secret, "one-secret-of-many\n").unwrap();
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nprobe = false\nweights = {{ green = 1 }}\n\
         preview = {{ header = \"x-preview\", secret = {{ file = \"{secret}\" }} }}\n\
         pools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"127.0.0.1:1\"]\n",
        app.address
    );
    let running = run(&shelf, &text).await;
    let proxy = running.bound().listeners[0].ip().unwrap();
    let asks =
        |secret: &str| format!("GET / HTTP/1.1\r\nhost: a\r\nx-preview: blue;{secret}\r\n\r\n");
    until_answered(proxy, &asks("one-secret-of-many"), |answer| {
        answer.status == 200
    })
    .await;
    fs::write(&secret, "another-secret-now\n").unwrap();
    until_answered(proxy, &asks("another-secret-now"), |answer| {
        answer.status == 200
    })
    .await;
    let mut client = Client::connect(proxy).await;
    client.send(asks("one-secret-of-many")).await;
    assert_eq!(client.answer().await.status, 502);
}
