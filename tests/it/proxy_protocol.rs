//! A balancer of TCP before us says who its client is, in front of the first byte.

use cutover::units::{Ends, Preamble, PreambleVersion};

use crate::support::{App, Client, Proxy, endpoint, proxy, within};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// An app behind a proxy that trusts one address, 127.0.0.1, to speak it.
async fn announced() -> (App, Proxy) {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener(
            "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true\ntimeouts.header = \"200ms\"",
        )
        .pool("blue", 100, &[&app])
        .start();
    (app, proxy)
}

fn told(client: &str) -> Preamble {
    let ends = Ends {
        client: client.parse().expect("an address"),
        server: "192.0.2.2:443".parse().expect("an address"),
    };
    Preamble { ends: Some(ends) }
}

/// The client that the app is told of for the last request.
fn forwarded_for(app: &App) -> String {
    let requests = app.requests();
    let last = requests.last().expect("a request").to_ascii_lowercase();
    let line = last
        .lines()
        .find(|line| line.starts_with("x-forwarded-for: "));
    line.unwrap_or_default()["x-forwarded-for: ".len()..].to_owned()
}

async fn is_closed(client: &mut Client) -> bool {
    within("the end", client.try_answer(false)).await.is_err()
}

#[tokio::test]
async fn h1_53_the_client_that_a_trusted_proxy_names_is_the_client() {
    let (app, proxy) = announced().await;
    for version in [PreambleVersion::V1, PreambleVersion::V2] {
        for (preamble, name) in [
            (told("192.0.2.1:56324"), "192.0.2.1"),
            (told("[2001:db8::1]:1"), "2001:db8::1"),
            (Preamble { ends: None }, "127.0.0.1"),
        ] {
            let mut client = proxy.client().await;
            client
                .send([preamble.write(version), REQUEST.to_vec()].concat())
                .await;
            assert_eq!(client.answer().await.status, 200);
            assert_eq!(forwarded_for(&app), name);
            client.send(REQUEST).await;
            assert_eq!(client.answer().await.status, 200);
            assert_eq!(forwarded_for(&app), name, "on the same connection");
        }
    }
}

#[tokio::test]
async fn h1_53_it_may_come_in_pieces() {
    let (app, proxy) = announced().await;
    for version in [PreambleVersion::V1, PreambleVersion::V2] {
        let mut client = proxy.client().await;
        for byte in [told("192.0.2.1:1").write(version), REQUEST.to_vec()].concat() {
            client.send([byte]).await;
        }
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(forwarded_for(&app), "192.0.2.1");
    }
}

#[tokio::test]
async fn h1_53_a_trusted_proxy_that_does_not_speak_it_is_refused() {
    let (app, proxy) = announced().await;
    let unfinished = &told("192.0.2.1:1").write(PreambleVersion::V2)[..20];
    for bytes in [REQUEST, b"PROXY TCP4 nobody\r\n", b"PROXY", unfinished] {
        let mut client = proxy.client().await;
        client.send(bytes.to_vec()).await;
        assert!(is_closed(&mut client).await);
    }
    assert_eq!(app.requests(), [""; 0]);
    assert_eq!(proxy.rejections(), [("proxy_protocol", 4)]);
}

#[tokio::test]
async fn h1_53_whoever_is_not_trusted_speaks_for_itself() {
    let (app, proxy) = announced().await;
    let mut client = proxy.client_from("127.0.0.2").await;
    client.send(REQUEST).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(forwarded_for(&app), "127.0.0.2");
    let mut liar = proxy.client_from("127.0.0.2").await;
    let lie = told("192.0.2.1:1").write(PreambleVersion::V1);
    liar.send([lie, REQUEST.to_vec()].concat()).await;
    assert_eq!(liar.answer().await.status, 400);
    assert_eq!(app.requests().len(), 1);
}
