//! Each silence has its limit, its answer, and the one whose fault it is.

use std::time::{Duration, Instant};

use crate::support::{endpoint, proxy, within};

/// Time for a busy test machine to run what is due.
const SLACK: Duration = Duration::from_millis(400);

fn about(millis: u64, elapsed: Duration) {
    let wanted = Duration::from_millis(millis);
    assert!(
        elapsed >= wanted && elapsed < wanted + SLACK,
        "{elapsed:?} is not about {wanted:?}"
    );
}

#[tokio::test]
async fn h1_36_a_head_that_is_not_finished_in_time_is_a_408_however_it_trickles() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts = { header = \"200ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    let start = Instant::now();
    let trickle = async {
        for byte in "GET / HTTP/1.1\r\nhost: a-very-long-name-that-takes-for-ever".bytes() {
            use tokio::io::AsyncWriteExt;
            if client.stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(200), trickle).await;
    assert_eq!(client.answer().await.status, 408);
    about(200, start.elapsed());
    client.until_closed().await;
    assert_eq!(proxy.rejections(), [("head_timeout", 1)]);
}

#[tokio::test]
async fn h1_35_a_connection_that_never_sends_is_closed_without_a_word() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts = { header = \"100ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    assert_eq!(client.until_closed().await, "");
}

#[tokio::test]
async fn a_connection_may_idle_between_requests_for_its_own_time() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts = { header = \"5s\", idle = \"200ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.get("/").await.status, 200);
    let start = Instant::now();
    assert_eq!(client.until_closed().await, "");
    about(195, start.elapsed());
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_time_is_a_504_and_its_error() {
    let app = endpoint("slow")
        .serve(|mut peer| async move {
            if peer.request().await.is_ok() {
                peer.until_closed().await;
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("timeouts = { response = \"200ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    let start = Instant::now();
    assert_eq!(client.get("/").await.status, 504);
    about(200, start.elapsed());
    assert_eq!(proxy.failures("blue"), [("timeout", 1)]);
    proxy
        .until("the connection to close", |proxy| {
            proxy.connections("blue") == 0
        })
        .await;
    // The client's connection is none the worse.
    assert_eq!(client.get("/").await.status, 504);
}

#[tokio::test]
async fn the_endpoints_time_to_answer_runs_from_the_requests_last_byte() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .service("timeouts = { response = \"200ms\", idle = \"5s\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n")
        .await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.send("ab").await;
    }
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn h1_37_a_client_that_stops_sending_its_body_is_told_408_and_is_no_error_of_the_endpoint() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .service("timeouts = { idle = \"200ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    let start = Instant::now();
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nab")
        .await;
    assert_eq!(client.answer().await.status, 408);
    about(200, start.elapsed());
    client.until_closed().await;
    assert_eq!(proxy.failures("blue"), []);
    proxy
        .until("the connection to close", |proxy| {
            proxy.connections("blue") == 0
        })
        .await;
    assert_eq!(app.requests().len(), 0);
}

#[tokio::test]
async fn an_answer_that_stands_still_is_cut_off_and_is_the_endpoints_error() {
    let app = endpoint("stuck")
        .serve(|mut peer| async move {
            if peer.request().await.is_ok() {
                peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                    .await;
                peer.until_closed().await;
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("timeouts = { idle = \"200ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(within("the end", client.try_answer(false)).await.is_err());
    about(200, start.elapsed());
    assert_eq!(proxy.failures("blue"), [("idle", 1)]);
    proxy
        .until("the connection to close", |proxy| {
            proxy.connections("blue") == 0
        })
        .await;
}

#[tokio::test]
async fn h1_38_a_client_that_stops_reading_is_cut_off_and_is_no_error_of_the_endpoint() {
    let app = endpoint("large")
        .bytes(crate::support::answer(200, &[], &vec![b'x'; 64 << 20]))
        .start()
        .await;
    let proxy = proxy()
        .service("timeouts = { idle = \"200ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    proxy
        .until("the request", |_| app.requests().len() == 1)
        .await;
    proxy
        .until("the request's end", |proxy| proxy.in_flight("blue") == 0)
        .await;
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn a_whole_request_has_its_time_however_busy_it_is() {
    let app = endpoint("endless")
        .serve(|mut peer| async move {
            if peer.request().await.is_err() {
                return;
            }
            peer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            let trickle = async {
                loop {
                    use tokio::io::AsyncWriteExt;
                    if peer.stream.write_all(b"1\r\nx\r\n").await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            within("the proxy to close", trickle).await;
        })
        .start()
        .await;
    let proxy = proxy()
        .service("timeouts = { request = \"300ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(within("the end", client.try_answer(false)).await.is_err());
    about(300, start.elapsed());
}

#[tokio::test]
async fn an_endpoint_that_takes_no_connection_in_time_is_a_504_and_its_error() {
    // Nobody accepts, and the one place in the queue is taken.
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).expect("a free port");
    socket.listen(0).expect("a listener");
    let address = socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket())
        .expect("an address");
    let _first = std::net::TcpStream::connect(address).expect("the only place");
    let proxy = proxy()
        .service("timeouts = { connect = \"200ms\" }")
        .pool_at("blue", 100, &[&address.to_string()])
        .start();
    let start = Instant::now();
    assert_eq!(proxy.get("/").await.status, 504);
    about(200, start.elapsed());
    assert_eq!(proxy.failures("blue"), [("connect_timeout", 1)]);
}

#[tokio::test]
async fn an_endpoint_that_stops_taking_a_body_is_a_504_and_its_error() {
    let app = endpoint("deaf")
        .serve(|mut peer| async move {
            if peer.head().await.is_ok() {
                peer.hang().await;
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("timeouts = { idle = \"300ms\", response = \"300ms\" }")
        .pool("blue", 100, &[&app])
        .start();
    let client = proxy.client().await;
    let (mut reader, mut writer) = client.stream.into_split();
    let upload = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let _ = writer
            .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1073741824\r\n\r\n")
            .await;
        while writer.write_all(&[b'x'; 8192]).await.is_ok() {}
    });
    let mut answer = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut reader, &mut answer);
    within("an answer", read).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 504");
    assert_eq!(proxy.failures("blue"), [("timeout", 1)]);
    drop(reader);
    within("the upload's end", upload).await.expect("no panic");
}
