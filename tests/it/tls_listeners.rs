//! Listeners that speak TLS, over real sockets.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use cutover::{
    app::{Options, Running},
    tls::{Authorities, Certificate, ClientSettings, ClientStream, Trust},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    App, Authority, Client, PATIENCE, Pair, Proxy, authority, endpoint, proxy, until, within,
};

/// A folder with certificates that tests exchange.
pub struct Shelf {
    folder: TempDir,
    pub root: Authority,
}

impl Shelf {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            root: authority("root"),
        }
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, pair: &Pair) {
        fs::write(self.path(&format!("{name}.pem")), &pair.cert).unwrap();
        fs::write(self.path(&format!("{name}.key")), &pair.key).unwrap();
    }

    /// The keys of a listener that shows these.
    fn shows(&self, names: &[&str]) -> String {
        let pair = |name: &&str| {
            let (cert, key) = (
                self.path(&format!("{name}.pem")),
                self.path(&format!("{name}.key")),
            );
            format!("{{ cert = \"{cert}\", key = \"{key}\" }}")
        };
        let pairs: Vec<_> = names.iter().map(pair).collect();
        format!("tls.certificates = [{}]\n", pairs.join(", "))
    }

    fn client(&self) -> ClientSettings {
        self.client_as(None)
    }

    fn client_as(&self, pair: Option<&Pair>) -> ClientSettings {
        let trust = Trust::Authorities(Authorities::new(self.root.pem.as_bytes()).unwrap());
        let certificate =
            pair.map(|pair| Certificate::new(pair.cert.as_bytes(), pair.key.as_bytes()).unwrap());
        ClientSettings::new(trust, certificate.as_ref(), None, (true, false)).unwrap()
    }
}

/// A connection that is safe.
struct Safe(ClientStream<TcpStream>);

async fn meet(address: SocketAddr, client: &ClientSettings, host: &str) -> Result<Safe, String> {
    let stream = within("a connection", TcpStream::connect(address))
        .await
        .unwrap();
    let connected = within("a handshake", client.connect(stream, host)).await;
    let connected = connected.map_err(|error| error.to_string())?;
    Ok(Safe(connected.stream))
}

/// Once the workers have heard of a certificate.
async fn until_met(address: SocketAddr, client: &ClientSettings, host: &str) -> Safe {
    within("the certificate to be shown", async {
        loop {
            if let Ok(safe) = meet(address, client, host).await {
                return safe;
            }
        }
    })
    .await
}

impl Safe {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The head of the next answer, in lower case, and its body. Each has a length.
    async fn answer(&mut self) -> Result<(String, String), String> {
        let read = async {
            let mut bytes = Vec::new();
            loop {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let head = head.to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1);
                    let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
                    if body.len() >= length.unwrap_or(0) {
                        return Ok((head, body.to_owned()));
                    }
                }
                match self.0.read_buf(&mut bytes).await {
                    Ok(0) => return Err("closed".to_owned()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        within("an answer", read).await
    }

    async fn get(&mut self, host: &str) -> Result<(String, String), String> {
        self.send(&format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"))
            .await;
        self.answer().await
    }
}

async fn shop(shelf: &Shelf, more: &str) -> (App, Proxy) {
    shelf.put("shop", &shelf.root.server(&["shop.test"]));
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener(&shelf.shows(&["shop"]))
        .listener(more)
        .pool("blue", 100, &[&app])
        .start();
    (app, proxy)
}

/// How many handshakes have ended so.
fn handshakes(proxy: &Proxy, result: &str) -> u64 {
    let (end, _) = cutover::server::Gauge::ends_of_handshakes()
        .find(|(_, name)| *name == result)
        .unwrap();
    proxy.shards.iter().map(|shard| shard.handshakes(end)).sum()
}

#[tokio::test]
async fn requests_over_tls_are_told_as_such_to_the_app() {
    let shelf = Shelf::new();
    let (app, proxy) = shop(&shelf, "").await;
    let mut client = meet(proxy.address, &shelf.client(), "shop.test")
        .await
        .unwrap();
    for _ in 0..2 {
        let (head, body) = client.get("shop.test").await.unwrap();
        assert!(head.starts_with("http/1.1 200") && body == "blue", "{head}");
        assert!(!head.contains("strict-transport-security"), "{head}");
    }
    for request in app.requests() {
        assert!(
            request.contains("\r\nx-forwarded-proto: https\r\n"),
            "{request}"
        );
        assert!(
            request.contains(";host=\"shop.test\";proto=https\r\n"),
            "{request}"
        );
    }
    assert_eq!(handshakes(&proxy, "done"), 1);
}

#[tokio::test]
async fn large_bodies_pass_over_tls_both_ways() {
    let shelf = Shelf::new();
    shelf.put("shop", &shelf.root.server(&["shop.test"]));
    let large = "x".repeat(3 << 20);
    let answer = crate::support::answer(200, &[], large.as_bytes());
    let app = endpoint("blue").bytes(answer).start().await;
    let proxy = proxy()
        .listener(&shelf.shows(&["shop"]))
        .pool("blue", 100, &[&app])
        .start();
    let client = meet(proxy.address, &shelf.client(), "shop.test")
        .await
        .unwrap();
    let (mut reader, mut writer) = tokio::io::split(client.0);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        large.len()
    );
    let send = async {
        writer.write_all(head.as_bytes()).await.unwrap();
        writer.write_all(large.as_bytes()).await.unwrap();
        writer.flush().await.unwrap();
    };
    let mut got = Vec::new();
    let (read, ()) = within("the bodies", async {
        tokio::join!(reader.read_to_end(&mut got), send)
    })
    .await;
    // Without close_notify this would be an error: a cut answer is never taken for a whole one.
    read.unwrap();
    assert!(String::from_utf8(got).unwrap().ends_with(&large));
    assert!(app.request().ends_with(&large));
}

#[tokio::test]
async fn each_name_gets_its_own_certificate() {
    let shelf = Shelf::new();
    let other = authority("other");
    shelf.put("first", &other.server(&["first.test"]));
    shelf.put("shop", &shelf.root.server(&["shop.test", "*.shop.test"]));
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener(&shelf.shows(&["first", "shop"]))
        .pool("blue", 100, &[&app])
        .start();
    for host in ["shop.test", "eu.shop.test"] {
        let client = meet(proxy.address, &shelf.client(), host).await;
        client.unwrap().get(host).await.unwrap();
    }
    assert!(
        meet(proxy.address, &shelf.client(), "first.test")
            .await
            .is_err()
    );
    until("the alert to come", || handshakes(&proxy, "alert") == 1).await;
}

#[tokio::test]
async fn t_14_plain_http_on_a_tls_port_and_tls_on_a_plain_one_are_told_at_once() {
    let shelf = Shelf::new();
    let (_app, secure) = shop(&shelf, "").await;
    let mut client = secure.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("HTTPS"), "{}", answer.body);
    client.until_closed().await;
    until("the refusal", || handshakes(&secure, "not_tls") == 1).await;

    let app = endpoint("blue").start().await;
    let plain = proxy().pool("blue", 100, &[&app]).start();
    assert!(
        meet(plain.address, &shelf.client(), "shop.test")
            .await
            .is_err()
    );
    plain
        .until("a refusal", |proxy| {
            proxy.rejections() == [("malformed", 1)]
        })
        .await;
}

#[tokio::test]
async fn t_01_a_handshake_that_is_not_finished_in_time_is_given_up() {
    let shelf = Shelf::new();
    let (_app, proxy) = shop(&shelf, "timeouts.handshake = \"100ms\"").await;
    let mut silent = proxy.client().await;
    let mut slow = proxy.client().await;
    slow.send([22, 3, 1]).await;
    silent.until_closed().await;
    slow.until_closed().await;
    until("both to be counted", || handshakes(&proxy, "timeout") == 2).await;
}

#[tokio::test]
async fn t_01_handshakes_under_way_are_bounded() {
    let shelf = Shelf::new();
    let (_app, proxy) = shop(&shelf, "limits.handshakes = 2").await;
    let first = proxy.client().await;
    let second = proxy.client().await;
    let mut third = proxy.client().await;
    third.until_closed().await;
    until("the refusal", || handshakes(&proxy, "limit") == 1).await;
    assert!(first.is_open_and_silent() && second.is_open_and_silent());
    drop(first);
    until("its place to be free", || handshakes(&proxy, "closed") == 1).await;
    let mut fourth = meet(proxy.address, &shelf.client(), "shop.test")
        .await
        .unwrap();
    fourth.get("shop.test").await.unwrap();
}

#[tokio::test]
async fn t_09_a_client_without_the_right_certificate_is_refused_and_who_has_one_is_told_to_the_app()
{
    let shelf = Shelf::new();
    let clients = authority("clients");
    fs::write(shelf.path("clients.pem"), &clients.pem).unwrap();
    let ca = shelf.path("clients.pem");
    let (app, proxy) = shop(&shelf, &format!("tls.client_auth = {{ ca = \"{ca}\" }}")).await;
    let (address, host) = (proxy.address, "shop.test");
    for pair in [None, Some(authority("strangers").client("eve"))] {
        // With TLS 1.3 a client learns of it when it reads.
        let refused = match meet(address, &shelf.client_as(pair.as_ref()), host).await {
            Ok(mut client) => client.get(host).await.map(|_| ()),
            Err(error) => Err(error),
        };
        refused.unwrap_err();
    }
    for reason in ["client_certificate_missing", "peer_certificate"] {
        until(reason, || handshakes(&proxy, reason) == 1).await;
    }
    let ann = clients.client("ann");
    let mut client = meet(address, &shelf.client_as(Some(&ann)), host)
        .await
        .unwrap();
    client
        .send("GET / HTTP/1.1\r\nhost: shop.test\r\nx-client-cert-subject: CN=root\r\nx-client-cert-role: admin\r\n\r\n")
        .await;
    client.answer().await.unwrap();
    let request = app.request();
    for line in [
        "x-client-cert-verify: success",
        "x-client-cert-names: ann",
        "x-client-cert-fingerprint: ",
        "x-client-cert-serial: ",
    ] {
        assert!(
            request.contains(&format!("\r\n{line}")),
            "{line}: {request}"
        );
    }
    assert!(request.contains("CN=ann"), "{request}");
    assert!(!request.contains("CN=root\r\n") && !request.contains("x-client-cert-role"));
}

#[tokio::test]
async fn what_a_client_says_of_its_certificate_by_itself_never_reaches_the_app() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("trusted_proxies = [\"127.0.0.1\"]")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nX-Client-Cert-Verify: success\r\n\r\n")
        .await;
    client.answer().await;
    assert!(!app.request().contains("x-client-cert"));
}

#[tokio::test]
async fn h2_28_a_host_that_the_certificate_does_not_name_is_misdirected_where_clients_are_verified()
{
    let shelf = Shelf::new();
    fs::write(shelf.path("root.pem"), &shelf.root.pem).unwrap();
    let auth = format!(
        "tls.client_auth = {{ ca = \"{}\", mode = \"optional\" }}",
        shelf.path("root.pem")
    );
    let (app, proxy) = shop(&shelf, &auth).await;
    let mut client = meet(proxy.address, &shelf.client(), "shop.test")
        .await
        .unwrap();
    let (head, _) = client.get("admin.test").await.unwrap();
    assert!(head.starts_with("http/1.1 421"), "{head}");
    let (head, _) = client.get("SHOP.test:443").await.unwrap();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(app.requests().len(), 1);
    assert_eq!(proxy.rejections(), [("misdirected", 1)]);
}

#[tokio::test]
async fn t_05_http_2_is_agreed_on_first_and_a_coalesced_host_is_misdirected() {
    let shelf = Shelf::new();
    fs::write(shelf.path("root.pem"), &shelf.root.pem).unwrap();
    let auth = format!(
        "tls.client_auth = {{ ca = \"{}\", mode = \"optional\" }}",
        shelf.path("root.pem")
    );
    let (app, proxy) = shop(&shelf, &auth).await;
    let trust = Trust::Authorities(Authorities::new(shelf.root.pem.as_bytes()).unwrap());
    let settings = ClientSettings::new(trust, None, None, (true, true)).unwrap();
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let connected = settings.connect(stream, "shop.test").await.unwrap();
    assert!(connected.h2);
    let (mut send, connection) = h2::client::handshake(connected.stream).await.unwrap();
    tokio::spawn(connection);
    for (host, status) in [("shop.test", 200), ("admin.test", 421), ("shop.test", 200)] {
        let request = http::Request::get(format!("https://{host}/"))
            .body(())
            .unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        let answer = within("an answer", answer).await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
    }
    assert!(app.requests()[0].contains("\r\nx-forwarded-proto: https\r\n"));
}

#[tokio::test]
async fn http_2_is_neither_offered_nor_taken_where_it_is_switched_off() {
    const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let shelf = Shelf::new();
    let (_app, proxy) = shop(&shelf, "protocols = [\"http/1.1\"]").await;
    let ask = async |alpn| {
        let trust = Trust::Authorities(Authorities::new(shelf.root.pem.as_bytes()).unwrap());
        let settings = ClientSettings::new(trust, None, None, alpn).unwrap();
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let connected = within("a handshake", settings.connect(stream, "shop.test")).await;
        connected.map(|connected| connected.h2).ok()
    };
    assert_eq!(ask((true, true)).await, Some(false));
    assert_eq!(ask((false, true)).await, None);
    let clear = crate::support::proxy()
        .listener("protocols = [\"http/1.1\"]")
        .pool_at("blue", 100, &["127.0.0.1:1"])
        .start();
    let mut client = clear.client().await;
    client.send(PREFACE).await;
    assert_eq!(client.answer().await.status, 505);
    assert_eq!(client.until_closed().await, "");
    assert_eq!(clear.rejections(), [("malformed", 1)]);
}

#[tokio::test]
async fn browsers_are_told_to_stay_with_https_also_by_answers_of_our_own() {
    let shelf = Shelf::new();
    let (app, proxy) = shop(&shelf, "tls.hsts = { max_age = \"1d\" }").await;
    let mut client = meet(proxy.address, &shelf.client(), "shop.test")
        .await
        .unwrap();
    let (head, _) = client.get("shop.test").await.unwrap();
    assert!(
        head.contains("\r\nstrict-transport-security: max-age=86400"),
        "{head}"
    );
    app.stop().await;
    let (head, _) = client.get("shop.test").await.unwrap();
    assert!(head.starts_with("http/1.1 502"), "{head}");
    assert!(
        head.contains("\r\nstrict-transport-security: max-age=86400"),
        "{head}"
    );
}

#[tokio::test]
async fn a_redirecting_listener_shows_the_way_and_passes_nothing_on() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("redirect_https = { port = 8443 }")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    let answer = client.get("/a?b=c").await;
    assert_eq!(answer.status, 301);
    assert_eq!(answer.header("location"), Some("https://test:8443/a?b=c"));
    client
        .send("POST /f HTTP/1.1\r\nhost: test:80\r\ncontent-length: 0\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some("https://test:8443/f"));
    assert!(app.requests().is_empty());
}

#[tokio::test]
async fn a_drain_lets_handshakes_and_what_they_lead_to_end() {
    let shelf = Shelf::new();
    let (_app, mut proxy) = shop(&shelf, "").await;
    let early = TcpStream::connect(proxy.address).await.unwrap();
    until("the connection to be accepted", || {
        proxy.server().gauge().connections()[0].1 == 1
    })
    .await;
    let exchange = async {
        // It has not said a word yet.
        let settings = shelf.client();
        let connected = settings.connect(early, "shop.test").await.unwrap();
        let mut client = Safe(connected.stream);
        client.get("shop.test").await.unwrap().0
    };
    let (drained, head) = tokio::join!(proxy.drain(PATIENCE), exchange);
    assert!(
        head.starts_with("http/1.1 200") && head.contains("connection: close"),
        "{head}"
    );
    assert!(!drained.timed_out && drained.cut == 0);
}

#[tokio::test]
async fn websockets_pass_over_tls() {
    let shelf = Shelf::new();
    shelf.put("shop", &shelf.root.server(&["shop.test"]));
    let app = endpoint("blue")
        .serve(|mut peer| async move {
            let head = peer.head().await.unwrap().to_ascii_lowercase();
            let key = head.split("sec-websocket-key: ").nth(1).map(|_| "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            peer.write(format!("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\r\n", key.unwrap()).as_bytes()).await;
            let byte = peer.byte().await;
            peer.write(&[byte + 1]).await;
            peer.until_closed().await;
        })
        .start()
        .await;
    let proxy = proxy()
        .listener(&shelf.shows(&["shop"]))
        .pool("blue", 100, &[&app])
        .start();
    let mut client = meet(proxy.address, &shelf.client(), "shop.test")
        .await
        .unwrap();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").await;
    let (head, _) = client.answer().await.unwrap();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    client.0.write_all(b"a").await.unwrap();
    let byte = within("a byte", client.0.read_u8()).await.unwrap();
    assert_eq!(byte, b'b');
}

/// A whole process, whose file is in the shelf.
pub async fn run(shelf: &Shelf, text: &str) -> Running {
    let path = shelf.path("cutover.toml");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = free.local_addr().unwrap();
    drop(free);
    let text = format!(
        "workers = 1\nshutdown = {{ lame_duck = \"0s\" }}\nadmin.address = \"{admin}\"\n{text}"
    );
    fs::write(&path, text).unwrap();
    let options = Options {
        config: Path::new(&path).to_owned(),
        signals: false,
    };
    Running::start(options).await.unwrap()
}

/// What the admin API answers.
async fn ask(running: &Running, path: &str) -> String {
    let address = running.bound().admin.parse().unwrap();
    let mut client = Client::connect(address).await;
    client
        .send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
        .await;
    client.answer().await.body
}

pub async fn until_event(running: &Running, kind: &str, said: &str) {
    within(&format!("{kind}: {said}"), async {
        loop {
            let events = ask(running, &format!("/v1/events?type={kind}")).await;
            if events.contains(said) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn service(app: &App) -> String {
    format!(
        "[services.app]\nprobe = false\nendpoints = [\"{}\"]\n",
        app.address
    )
}

#[tokio::test]
async fn t_11_t_12_certificates_are_changed_while_they_are_served_and_a_bad_one_is_not_taken() {
    let shelf = Shelf::new();
    let app = endpoint("blue").start().await;
    let (first, second) = (
        shelf.root.server(&["shop.test"]),
        shelf.root.server(&["shop.test", "more.test"]),
    );
    shelf.put("shop", &first);
    let listener = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n{}",
        shelf.shows(&["shop"])
    );
    let running = run(&shelf, &format!("{listener}{}", service(&app))).await;
    let address = running.bound().listeners[0].ip().unwrap();
    let mut early = meet(address, &shelf.client(), "shop.test").await.unwrap();
    early.get("shop.test").await.unwrap();
    assert!(meet(address, &shelf.client(), "more.test").await.is_err());

    // In place: the certificate first, and for a while the key is another one's.
    fs::write(shelf.path("shop.pem"), &second.cert).unwrap();
    until_event(
        &running,
        "certificate-failed",
        "the key is not the certificate's",
    )
    .await;
    assert!(
        meet(address, &shelf.client(), "shop.test").await.is_ok(),
        "the old one serves"
    );
    assert!(
        ask(&running, "/metrics")
            .await
            .contains("\ncutover_config_last_reload_successful 0\n")
    );
    fs::write(shelf.path("shop.key"), &second.key).unwrap();
    until_event(&running, "certificate", "more.test").await;
    until_met(address, &shelf.client(), "more.test").await;

    // By a rename, to one that is over.
    let expired = shelf.root.sign(&["shop.test"], |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    fs::write(
        shelf.path("both"),
        format!("{}{}", expired.cert, expired.key),
    )
    .unwrap();
    fs::copy(shelf.path("both"), shelf.path("both2")).unwrap();
    fs::rename(shelf.path("both"), shelf.path("shop.pem")).unwrap();
    fs::rename(shelf.path("both2"), shelf.path("shop.key")).unwrap();
    until_event(&running, "certificate-failed", "expired").await;
    meet(address, &shelf.client(), "more.test").await.unwrap();

    // By a link, back to the first.
    shelf.put("kept", &first);
    for kind in ["pem", "key"] {
        std::os::unix::fs::symlink(format!("kept.{kind}"), shelf.path("link")).unwrap();
        fs::rename(shelf.path("link"), shelf.path(&format!("shop.{kind}"))).unwrap();
    }
    until("the first one to be shown", || {
        ask_metric(&running, "name=\"more.test\"").is_none()
    })
    .await;
    within("the workers to show it", async {
        while meet(address, &shelf.client(), "more.test").await.is_ok() {}
    })
    .await;
    early.get("shop.test").await.unwrap();
    drop(early);
    running.stop().await;
}

/// The end of a certificate, by a label; asked in a blocking way, so that it can be a condition.
fn ask_metric(running: &Running, label: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(&running.bound().admin).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    lines
        .find(|line| {
            line.starts_with("cutover_certificate_not_after_seconds") && line.contains(label)
        })
        .map(str::to_owned)
}

#[tokio::test]
async fn t_12_no_handshake_fails_while_certificates_change() {
    let shelf = Shelf::new();
    let (app, proxy) = shop(&shelf, "").await;
    let text = format!(
        "[[listeners]]\naddress = \"{}\"\n{}{}",
        proxy.address,
        shelf.shows(&["shop"]),
        service(&app)
    );
    let settings = shelf.client();
    let meetings = async {
        for _ in 0..60 {
            let mut client = meet(proxy.address, &settings, "shop.test").await.unwrap();
            client.get("shop.test").await.unwrap();
        }
    };
    let changes = async {
        for _ in 0..20 {
            shelf.put("shop", &shelf.root.server(&["shop.test"]));
            proxy.listen(&text).unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(meetings, changes);
    assert_eq!(handshakes(&proxy, "done"), 60);
}

#[tokio::test]
async fn t_11_a_pair_that_can_not_be_used_is_a_problem_of_the_file() {
    let shelf = Shelf::new();
    shelf.put("shop", &shelf.root.server(&["shop.test"]));
    let other = shelf.root.server(&["shop.test"]);
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n{}[services.app]\nendpoints = [\"127.0.0.1:1\"]\n",
        shelf.shows(&["shop"])
    );
    fs::write(shelf.path("cutover.toml"), text).unwrap();
    let path = shelf.path("cutover.toml");
    let problem = || {
        let problems = cutover::config::load(Path::new(&path)).unwrap_err();
        let first = problems.iter().next().unwrap().clone();
        (first.key, first.message)
    };
    cutover::config::load(Path::new(&path)).unwrap();
    let half = &other.cert[..other.cert.len() / 2];
    for (kind, bytes, said) in [
        ("pem", half, "cut off"),
        ("pem", "", "is empty"),
        ("pem", "nonsense", "no certificate"),
        ("key", &other.key, "belongs to another one"),
        ("key", "", "is empty"),
    ] {
        shelf.put("shop", &shelf.root.server(&["shop.test"]));
        fs::write(shelf.path(&format!("shop.{kind}")), bytes).unwrap();
        let (key, message) = problem();
        let name = if kind == "pem" { "cert" } else { "key" };
        assert_eq!(key, format!("listeners[0].tls.certificates[0].{name}"));
        assert!(message.contains(said), "{message}");
    }
    fs::remove_file(shelf.path("shop.key")).unwrap();
    assert!(problem().1.contains("does not exist"));
    cutover::config::load_offline(Path::new(&path)).unwrap();
}

#[cfg(feature = "acme")]
#[tokio::test]
async fn a_certificate_is_got_by_itself_and_a_cached_one_serves_without_the_authority() {
    let shelf = Shelf::new();
    let app = endpoint("blue").start().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = free.local_addr().unwrap();
    let Some(pebble) = crate::support::pebble(plain.port(), 1, 3600).await else {
        return;
    };
    drop(free);
    fs::write(shelf.path("ca.pem"), &pebble.ca).unwrap();
    let text = format!(
        "[[listeners]]\naddress = \"{plain}\"\nredirect_https = true\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
         tls.acme = {{ hosts = [\"shop.test\"], directory = \"{}\", ca = \"ca.pem\" }}\n{}",
        pebble.directory,
        service(&app)
    );
    let running = run(&shelf, &text).await;
    let anybody = ClientSettings::new(Trust::Anybody, None, None, (true, false)).unwrap();
    until_event(&running, "certificate", "got for shop.test").await;
    let address = running.bound().listeners[1].ip().unwrap();
    let mut client = until_met(address, &anybody, "shop.test").await;
    client.get("shop.test").await.unwrap();
    drop(client);
    let end = ask_metric(&running, "name=\"shop.test\"").unwrap();
    running.stop().await;
    drop(pebble);

    let running = run(&shelf, &text).await;
    assert_eq!(
        ask_metric_end(&running),
        end.rsplit(' ').next().map(str::to_owned)
    );
    let address = running.bound().listeners[1].ip().unwrap();
    let mut client = meet(address, &anybody, "shop.test").await.unwrap();
    client.get("shop.test").await.unwrap();
    drop(client);
    running.stop().await;
}

#[cfg(feature = "acme")]
fn ask_metric_end(running: &Running) -> Option<String> {
    let line = ask_metric(running, "name=\"shop.test\"")?;
    line.rsplit(' ').next().map(str::to_owned)
}

#[cfg(feature = "acme")]
#[tokio::test]
async fn a_listener_starts_without_a_certificate_and_says_so_to_clients() {
    let shelf = Shelf::new();
    let app = endpoint("blue").start().await;
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n\
         tls.acme = {{ hosts = [\"shop.test\"], directory = \"https://127.0.0.1:1/dir\" }}\n{}",
        service(&app)
    );
    let running = run(&shelf, &text).await;
    let refused = meet(
        running.bound().listeners[0].ip().unwrap(),
        &shelf.client(),
        "shop.test",
    )
    .await;
    let refused = refused.map(|_| ()).unwrap_err();
    assert!(refused.contains("InternalError"), "{refused}");
    until_event(&running, "certificate-failed", "shop.test: ").await;
    running.stop().await;
}
