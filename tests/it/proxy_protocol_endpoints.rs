//! An app server that wants to be told by the PROXY protocol who the client is.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use cutover::units::{Ends, Preamble, PreambleRead, PreambleVersion};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{Client, Proxy, proxy, within};

/// What came first on each connection, and the paths that were asked for on it.
type Seen = Arc<Mutex<Vec<(Preamble, Vec<String>)>>>;

/// An app server that insists on the preamble.
async fn app() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let seen = Seen::default();
    let known = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, known.clone()));
        }
    });
    (address, seen)
}

async fn serve(mut stream: TcpStream, seen: Seen) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut index = None;
    loop {
        let mut more = [0; 1024];
        let read = stream.read(&mut more).await?;
        if read == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&more[..read]);
        if index.is_none() {
            let PreambleRead::Done(preamble, length) = Preamble::read(&bytes) else {
                continue;
            };
            bytes.drain(..length);
            let mut seen = seen.lock().expect("nobody panicked");
            seen.push((preamble, Vec::new()));
            index = Some(seen.len() - 1);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let (Some(index), Some((head, _))) = (index, text.split_once("\r\n\r\n")) {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            seen.lock().expect("nobody panicked")[index].1.push(path);
            bytes.clear();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await?;
        }
    }
}

fn through(app: SocketAddr, version: &str) -> Proxy {
    listening(app, version, "")
}

/// With more to listen on.
fn listening(app: SocketAddr, version: &str, listener: &str) -> Proxy {
    proxy()
        .service(&format!("proxy_protocol = \"{version}\""))
        .pool_at("blue", 100, &[&app.to_string()])
        .more(listener)
        .start()
}

/// What came first on the newest connection.
fn last(seen: &Seen) -> Preamble {
    let last = seen.lock().expect("nobody panicked").pop();
    last.expect("a connection").0
}

#[tokio::test]
async fn an_endpoint_is_told_who_the_client_is_on_a_connection_of_its_own() {
    for version in ["v1", "v2"] {
        let (app, seen) = app().await;
        let proxy = through(app, version);
        let (mut first, mut second) = (proxy.client().await, proxy.client_from("127.0.0.2").await);
        let ends = [&first, &second].map(|client| client.stream.local_addr().unwrap());
        for (client, path) in [(&mut first, "/1"), (&mut second, "/2")] {
            assert_eq!(client.get(path).await.status, 200);
        }
        for (client, path) in [(&mut second, "/2b"), (&mut first, "/1b")] {
            assert_eq!(client.get(path).await.status, 200);
        }
        let seen = seen.lock().unwrap().clone();
        let told = |client: SocketAddr| {
            let of = |preamble: &Preamble| preamble.ends.map(|ends| ends.client);
            let mine = seen
                .iter()
                .filter(|(preamble, _)| of(preamble) == Some(client));
            mine.map(|(_, paths)| paths.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(
            ends.map(told),
            [["/1 /1b"], ["/2 /2b"]],
            "{version}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn a_connection_of_a_client_that_has_gone_is_no_others() {
    let (app, seen) = app().await;
    let proxy = through(app, "v2");
    for path in ["/1", "/2"] {
        assert_eq!(proxy.get(path).await.status, 200);
    }
    within("both", async {
        let paths: Vec<_> = seen
            .lock()
            .unwrap()
            .iter()
            .map(|(_, paths)| paths.len())
            .collect();
        assert_eq!(paths, [1, 1]);
    })
    .await;
}

#[tokio::test]
async fn the_address_that_the_client_has_connected_to_is_told_even_by_who_listens_everywhere() {
    let (app, seen) = app().await;
    for (everywhere, version) in [
        ("0.0.0.0", "v1"),
        ("0.0.0.0", "v2"),
        ("[::]", "v1"),
        ("[::]", "v2"),
    ] {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = free.expect("a free port").port();
        let listener = format!("[[listeners]]\naddress = \"{everywhere}:{port}\"\n");
        let _proxy = listening(app, version, &listener);
        // Another than most would guess.
        let address = SocketAddr::from(([127, 0, 0, 3], port));
        assert_eq!(Client::connect(address).await.get("/").await.status, 200);
        let told = last(&seen).ends;
        assert_eq!(told.map(|ends| ends.server), Some(address), "{everywhere}");
    }
}

#[tokio::test]
async fn a_client_of_a_unix_socket_is_unknown_unless_a_balancer_says_who_it_is() {
    let (app, seen) = app().await;
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("web.sock");
    let ends = Ends {
        client: SocketAddr::from(([192, 0, 2, 1], 56324)),
        server: SocketAddr::from(([192, 0, 2, 2], 443)),
    };
    for version in ["v1", "v2"] {
        for (lines, said) in [
            ("", None),
            (
                "trusted_proxies = [\"unix\"]\nproxy_protocol = true\n",
                Some(ends),
            ),
        ] {
            let listener = format!(
                "[[listeners]]\naddress = \"unix:{}\"\n{lines}",
                socket.display()
            );
            let _proxy = listening(app, version, &listener);
            let mut client = Client::connect_unix(&socket).expect("it listens");
            if said.is_some() {
                let preamble = Preamble { ends: said };
                client.send(preamble.write(PreambleVersion::V2)).await;
            }
            assert_eq!(client.get("/").await.status, 200);
            // `UNKNOWN` and `LOCAL`: no ends.
            assert_eq!(last(&seen).ends, said, "{version}");
        }
    }
}
