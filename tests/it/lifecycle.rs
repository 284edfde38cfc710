//! Listeners come and go, and the process goes, without a request being lost.

use std::{net::SocketAddr, time::Duration};

use crate::support::{App, Client, Proxy, endpoint, proxy, until, within};

const LONG: Duration = Duration::from_mins(1);

fn file(addresses: &[SocketAddr], app: &App) -> String {
    let listeners: Vec<_> = addresses
        .iter()
        .map(|address| format!("[[listeners]]\naddress = \"{address}\"\n"))
        .collect();
    format!(
        "{}[services.app]\nprobe = false\nendpoints = [\"{}\"]\n",
        listeners.concat(),
        app.address
    )
}

fn free() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("an address")
}

async fn served() -> (App, Proxy) {
    let app = endpoint("blue").start().await;
    let proxy = proxy().workers(2).pool("blue", 100, &[&app]).start();
    (app, proxy)
}

#[tokio::test]
async fn a_listener_is_added_and_removed_while_others_serve() {
    let (app, proxy) = served().await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.status, 200);
    let second = free();
    proxy
        .listen(&file(&[proxy.address, second], &app))
        .expect("a free address");
    assert_eq!(Client::connect(second).await.get("/").await.status, 200);
    assert_eq!(client.get("/").await.header("connection"), None);
    proxy
        .listen(&file(&[second], &app))
        .expect("nothing to bind");
    // What is open on the removed listener is served on, and told to go.
    assert_eq!(client.get("/").await.header("connection"), Some("close"));
    assert_eq!(client.until_closed().await, "");
    let gone = proxy.address;
    within("the address to be free", async {
        while tokio::net::TcpStream::connect(gone).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(Client::connect(second).await.get("/").await.status, 200);
}

#[tokio::test]
async fn a_listener_that_can_not_be_bound_leaves_everything_as_it_was() {
    let (app, proxy) = served().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken
        .local_addr()
        .map(|address| (taken, address))
        .expect("an address");
    let (free, refused) = (free(), taken.1);
    let error = proxy
        .listen(&file(&[free, refused], &app))
        .expect_err("the address is taken");
    assert_eq!(error.address.ip(), Some(refused));
    assert_eq!(proxy.get("/").await.status, 200);
    assert!(tokio::net::TcpStream::connect(free).await.is_err());
}

#[tokio::test]
async fn a_removed_listener_loses_none_of_the_connections_it_had_queued() {
    let (app, proxy) = served().await;
    let second = free();
    for _ in 0..10 {
        proxy
            .listen(&file(&[proxy.address, second], &app))
            .expect("a free address");
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(Client::connect(second).await);
        }
        proxy
            .listen(&file(&[proxy.address], &app))
            .expect("nothing to bind");
        for client in &mut clients {
            assert_eq!(client.get("/").await.status, 200);
        }
    }
}

#[tokio::test]
async fn who_connects_while_the_process_goes_away_is_answered_or_refused() {
    for _ in 0..5 {
        let (app, mut proxy) = served().await;
        let address = proxy.address;
        let clients = (0..4).map(|_| {
            tokio::spawn(async move {
                // A handshake that found nobody begins again after a second, and is then refused.
                while let Ok(stream) = tokio::net::TcpStream::connect(address).await {
                    let mut client = Client::over(stream);
                    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
                    assert_eq!(client.answer().await.status, 200);
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        until("some answers", || app.requests().len() >= 20).await;
        let drained = within("the drain", proxy.drain(LONG)).await;
        assert_eq!(drained.cut, 0);
        for client in clients {
            within("a refusal", client)
                .await
                .expect("every answer is a 200");
        }
    }
}

#[tokio::test]
async fn a_lame_duck_accepts_and_says_with_every_answer_that_it_goes() {
    let (_app, proxy) = served().await;
    let mut idle = proxy.client().await;
    assert_eq!(idle.get("/").await.header("connection"), None);
    proxy.server().lame_duck();
    let announced = |answer: crate::support::Answer| answer.header("connection") == Some("close");
    within("the announcement", async {
        while !announced(proxy.get("/").await) {}
    })
    .await;
    assert!(idle.is_open_and_silent());
    let last = idle.get("/").await;
    assert_eq!(
        (last.status, last.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(idle.until_closed().await, "");
}

#[tokio::test]
async fn a_drain_keeps_idle_connections_until_they_have_asked_once_more() {
    let (_app, mut proxy) = served().await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.status, 200);
        idle.push(client);
    }
    let address = proxy.address;
    let drain = proxy.drain(LONG);
    let clients = async {
        within("the listener to close", async {
            while tokio::net::TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        for client in &mut idle {
            assert!(client.is_open_and_silent());
            let last = client.get("/").await;
            assert_eq!(
                (last.status, last.header("connection")),
                (200, Some("close"))
            );
            assert_eq!(client.until_closed().await, "");
        }
    };
    let (drained, ()) = tokio::join!(drain, clients);
    assert_eq!((drained.timed_out, drained.cut), (false, 0));
}

#[tokio::test]
async fn a_drain_lets_what_is_in_flight_end() {
    let app = endpoint("slow")
        .serve(|mut peer| async move {
            while peer.request().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(300)).await;
                peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
                    .await;
            }
        })
        .start()
        .await;
    let mut proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    app.until_requests(1).await;
    let (drained, answer) = tokio::join!(proxy.drain(LONG), client.answer());
    assert_eq!(
        (answer.body.as_str(), answer.header("connection")),
        ("late", Some("close"))
    );
    assert_eq!((drained.timed_out, drained.cut), (false, 0));
}

#[tokio::test]
async fn at_the_deadline_idle_connections_are_closed_and_the_rest_is_cut_and_counted() {
    let app = endpoint("endless")
        .serve(|mut peer| async move {
            if peer.request().await.is_ok() {
                peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                    .await;
                peer.until_closed().await;
            }
        })
        .start()
        .await;
    let mut proxy = proxy().pool("blue", 100, &[&app]).start();
    let (mut idle, mut busy) = (proxy.client().await, proxy.client().await);
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    busy.until_bytes(40).await;
    let (drained, silence) =
        tokio::join!(proxy.drain(Duration::from_millis(100)), idle.until_closed());
    assert_eq!(
        (drained.timed_out, drained.cut, silence.as_str()),
        (true, 1, "")
    );
    assert!(busy.try_answer(false).await.is_err());
}
