//! Connections to endpoints are kept while they are of use, and closed as soon as they are not.

use cutover::pool::State;

use crate::support::{endpoint, proxy};

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert_eq!((app.connections(), proxy.connections("blue")), (1, 1));
}

#[tokio::test]
async fn a_unix_socket_is_an_endpoint_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let served = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut buffer = [0; 4096];
        for _ in 0..2 {
            let _ = stream.read(&mut buffer).await.expect("a request");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix")
                .await
                .expect("an open connection");
        }
    });
    let address = format!("unix:{}", path.display());
    let proxy = proxy().pool_at("blue", 100, &[&address]).start();
    assert_eq!(proxy.get("/").await.body, "unix");
    assert_eq!(proxy.get("/").await.body, "unix");
    served.await.expect("an app that served");
}

#[tokio::test]
async fn a_name_is_resolved_when_it_is_dialled() {
    let app = endpoint("blue").start().await;
    let address = format!("localhost:{}", app.address.port());
    let proxy = proxy().pool_at("blue", 100, &[&address]).start();
    assert_eq!(proxy.get("/").await.body, "blue");
    let unknown = crate::support::proxy()
        .pool_at("blue", 100, &["nowhere.invalid:80"])
        .start();
    assert_eq!(unknown.get("/").await.status, 502);
}

#[tokio::test]
async fn a_pool_that_loses_all_weight_has_its_idle_connections_closed() {
    let (blue, green) = (
        endpoint("blue").start().await,
        endpoint("green").start().await,
    );
    let proxy = proxy()
        .pool("blue", 100, &[&blue])
        .pool("green", 0, &[&green])
        .start();
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(proxy.connections("blue"), 1);
    proxy.shift(&[("blue", 1), ("green", 99)]);
    proxy.shift(&[("green", 100)]);
    proxy
        .until("blue's connections to close", |proxy| {
            proxy.connections("blue") == 0
        })
        .await;
    assert_eq!(proxy.get("/").await.body, "green");
}

#[tokio::test]
async fn a_change_of_weight_closes_nothing_that_is_still_used() {
    let (blue, green) = (
        endpoint("blue").start().await,
        endpoint("green").start().await,
    );
    let proxy = proxy()
        .pool("blue", 100, &[&blue])
        .pool("green", 0, &[&green])
        .start();
    assert_eq!(proxy.get("/").await.body, "blue");
    for weight in [90, 50, 10] {
        proxy.shift(&[("blue", weight), ("green", 100 - weight)]);
    }
    proxy.shift(&[("blue", 100)]);
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(blue.connections(), 1);
}

#[tokio::test]
async fn a_draining_endpoint_finishes_what_it_has_and_is_then_left() {
    let app = endpoint("blue")
        .serve(|mut peer| async move {
            if peer.request().await.is_err() {
                return;
            }
            peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
                .await;
            // The rest of the answer is sent when the client asks for it by another connection's request.
            peer.hang().await;
        })
        .start()
        .await;
    let green = endpoint("green").start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&app])
        .pool("green", 1, &[&green])
        .start();
    proxy.shift(&[("blue", 100)]);
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.until_bytes(40).await;
    proxy.put("blue", State::Draining, false);
    proxy.shift(&[("blue", 100), ("green", 1)]);
    assert_eq!(proxy.get("/").await.body, "green");
    assert_eq!((proxy.in_flight("blue"), proxy.connections("blue")), (1, 1));
    proxy.put("blue", State::Draining, true);
    proxy
        .until("what was in flight to be cut", |proxy| {
            proxy.connections("blue") == 0 && proxy.in_flight("blue") == 0
        })
        .await;
    client.until_broken().await;
}

#[tokio::test]
async fn an_endpoint_that_is_removed_is_forgotten() {
    let (one, two) = (endpoint("one").start().await, endpoint("two").start().await);
    let proxy = proxy().pool("blue", 100, &[&one, &two]).start();
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert_eq!(one.open(), 1);
    proxy.decide(|decided| {
        let gone = one.address.to_string();
        let pool = decided.pools.values_mut().next().expect("a pool");
        pool.retain(|endpoint| endpoint.address.to_string() != gone);
    });
    proxy
        .until("its connections to close", |_| one.open() == 0)
        .await;
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.body, "two");
    }
}

#[tokio::test]
async fn a_parked_connection_is_closed_before_the_app_would() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .service("timeouts = { keep_alive = \"100ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    assert_eq!(proxy.get("/").await.status, 200);
    proxy
        .until("the parked connection to close", |_| app.open() == 0)
        .await;
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(app.connections(), 2);
}
