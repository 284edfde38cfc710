//! The access log has a line for every request that is to be logged, and it says what happened.

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
            "/blue?x=1",
            " 200 ",
            "app/blue/",
            "in=3 out=4 ",
            "attempts=1",
        ][..],
        &["/gone", " 502 ", "gone/main/", "error=connect-failed"],
        &["/nowhere", " 404 ", "attempts=0", "error=no-route"],
    ]) {
        for part in parts {
            assert!(line.contains(part), "`{part}` is not in {line}");
        }
    }
}
