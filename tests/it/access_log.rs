//! The access log has a line for every request that is to be logged, and it says what happened.

use std::path::Path;

use crate::support::{endpoint, proxy, until};

#[tokio::test]
async fn every_answer_has_its_line_whoever_made_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let app = endpoint("blue").start().await;
    let gone = endpoint("gone").start().await.stop().await;
    let proxy = proxy()
        .log_to(&path)
        .pool_at("blue", 1, &[&app.address.to_string()])
        .more(&format!(
            "[[routes]]\npath = \"/blue\"\nservice = \"app\"\n[[routes]]\npath = \"/gone\"\nservice = \"gone\"\n\
             [services.gone]\nprobe = false\nendpoints = [\"{gone}\"]\n"
        ))
        .start();
    let mut client = proxy.client().await;
    client
        .send("POST /blue?x=1 HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\n\r\nabc")
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.get("/gone").await.status, 502);
    assert_eq!(client.get("/nowhere").await.status, 404);
    let lines = || std::fs::read_to_string(&path).unwrap_or_default();
    until("three lines", || lines().lines().count() == 3).await;
    let text = lines();
    let lines: Vec<_> = text.lines().collect();
    for (line, parts) in lines.iter().zip([
        &[
            "POST shop",
            "/blue?x=1 HTTP/1.1",
            " 200 ",
            "app/blue/",
            "in=3 out=4 ",
            "attempts=1",
        ][..],
        &[
            "/gone",
            " 502 ",
            "gone/main/",
            "attempts=1",
            "error=connect-failed",
        ],
        &["/nowhere", " 404 ", "attempts=0", "error=no-route"],
    ]) {
        for part in parts {
            assert!(line.contains(part), "`{part}` is not in {line}");
        }
    }
}

async fn lines(path: &Path, count: usize) -> Vec<String> {
    let text = || std::fs::read_to_string(path).unwrap_or_default();
    until("the lines", || text().lines().count() == count).await;
    text().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_could_not_be_read_has_its_line_and_none_of_its_bytes_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let proxy = proxy()
        .log_to(&path)
        .listener("limits = { header_bytes = \"8KiB\" }\ntimeouts = { header = \"200ms\" }")
        .pool_at("blue", 1, &["127.0.0.1:1"])
        .start();
    let long = "x".repeat(9000);
    for (bytes, status, error) in [
        ("GET / secret HTTP/1.1\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nsecret", 408, "head-timeout"),
        (&*format!("GET /secret{long}"), 414, "head-too-large"),
        (
            &*format!("GET / HTTP/1.1\r\nsecret: {long}"),
            431,
            "head-too-large",
        ),
    ] {
        let mut client = proxy.client().await;
        client.send(bytes).await;
        assert_eq!(client.answer().await.status, status);
        client.until_closed().await;
        let line = lines(&path, 1).await.pop().expect("a line");
        std::fs::write(&path, "").expect("it is emptied");
        let (_, line) = line.split_once(' ').expect("the time");
        let rest = "proxy -/-/- in=0 out=0 ms=0.000 endpoint_ms=- attempts=0 id=-";
        let expected = format!("127.0.0.1 \"- - - -\" {status} {rest} error={error}");
        assert_eq!(line, expected);
    }
}

#[tokio::test]
async fn a_request_whose_client_left_before_the_answer_has_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let app = endpoint("slow").silent().start().await;
    let proxy = proxy().log_to(&path).pool("blue", 1, &[&app]).start();
    let mut client = proxy.client().await;
    client.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    app.until_requests(1).await;
    drop(client);
    let line = lines(&path, 1).await.pop().expect("a line");
    let expected = format!(
        "\"GET a /wait HTTP/1.1\" 499 proxy app/blue/{}",
        app.address
    );
    assert!(line.contains(&expected), "{line}");
    assert!(line.ends_with("error=abandoned"), "{line}");
}
