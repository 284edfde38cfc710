//! Endpoints behind TLS: who is believed, what is shown, and what is spoken afterwards.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use cutover::tls::Failure;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use crate::support::{
    Authority, H2App, Pair, Proxy, authority, endpoint, h2_endpoint, proxy,
    websocket::{frame, handshake},
    within,
};

/// A folder with the files that a configuration names.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A proxy whose pool is met as `tls`, the inside of a table, says.
fn over_tls(app: &H2App, protocol: &str, tls: &str) -> Proxy {
    proxy()
        .service(&format!("protocol = \"{protocol}\"\ntls = {{ {tls} }}"))
        .pool_at("blue", 100, &[&app.address.to_string()])
        .start()
}

/// Trusts this authority alone.
fn trusting(files: &Files, root: &Authority) -> String {
    format!("ca = \"{}\"", files.write("ca.pem", &root.pem))
}

const LOCAL: &str = "127.0.0.1";

#[tokio::test]
async fn a_verified_endpoint_serves_over_each_protocol() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = root.server(&[LOCAL]);
    let tls = trusting(&files, &root);
    for (protocol, speaks, body) in [
        ("h1", (true, true), "h1"),
        ("h2", (true, true), "blue"),
        ("auto", (true, true), "blue"),
        ("auto", (true, false), "h1"),
    ] {
        let app = h2_endpoint("blue").tls(&pair, speaks).start().await;
        let proxy = over_tls(&app, protocol, &tls);
        let mut client = proxy.client().await;
        for _ in 0..5 {
            assert_eq!(client.get("/").await.body, body, "{protocol} {speaks:?}");
        }
        assert_eq!(app.connections(), 1, "{protocol} {speaks:?}");
        assert_eq!(proxy.failures("blue"), []);
        assert_eq!(app.handshakes(), ["(None, None)"], "no SNI for an address");
    }
}

#[tokio::test]
async fn an_endpoint_that_falls_back_to_http_1_gives_each_of_many_requests_a_connection() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = root.server(&[LOCAL]);
    let app = h2_endpoint("blue").tls(&pair, (true, false)).start().await;
    let proxy = over_tls(&app, "auto", &trusting(&files, &root));
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "h1");
    }
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn an_upload_goes_on_after_its_answer_has_begun() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = root.server(&[LOCAL]);
    let app = h2_endpoint("echo").tls(&pair, (true, false)).start().await;
    let proxy = over_tls(&app, "h1", &trusting(&files, &root));
    let mut client = proxy.client().await;
    client
        .send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n")
        .await;
    for (count, byte) in (1..).zip(["a", "b", "c", "d"]) {
        client.send(byte).await;
        // Chunks of one byte each.
        client.until_body_bytes(count * "1\r\na\r\n".len()).await;
    }
}

/// What becomes of a request where the endpoint shows this certificate.
async fn refused(pair: &Pair, tls: &str) -> Vec<(&'static str, u64)> {
    let app = h2_endpoint("blue").tls(pair, (true, true)).start().await;
    let proxy = over_tls(&app, "h2", tls);
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(app.calls(), 0);
    app.until_closed().await;
    proxy.failures("blue")
}

#[tokio::test]
async fn t_13_who_cannot_be_verified_gets_no_request() {
    let (files, root, other) = (Files::new(), authority("root"), authority("other"));
    let tls = trusting(&files, &root);
    assert_eq!(refused(&other.server(&[LOCAL]), &tls).await, [("tls", 1)]);
    let elsewhere = root.server(&["elsewhere.test"]);
    assert_eq!(refused(&elsewhere, &tls).await, [("tls", 1)]);
    let expired = root.sign(&[LOCAL], |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    assert_eq!(refused(&expired, &tls).await, [("tls", 1)]);
    // By default the system is asked, which does not know this authority.
    assert_eq!(refused(&root.server(&[LOCAL]), "").await, [("tls", 1)]);
}

#[tokio::test]
async fn verification_can_be_turned_off_and_a_name_be_given() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = root.server(&["shop.test"]);
    let app = h2_endpoint("blue").tls(&pair, (true, true)).start().await;
    let proxy = over_tls(&app, "h2", "verify = false");
    assert_eq!(proxy.get("/").await.body, "blue");
    let named = format!("{}, server_name = \"shop.test\"", trusting(&files, &root));
    let proxy = over_tls(&app, "h2", &named);
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(
        app.handshakes(),
        ["(None, None)", "(Some(\"shop.test\"), None)"]
    );
}

#[tokio::test]
async fn an_endpoint_is_shown_the_certificate_that_it_demands() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = root.server(&[LOCAL]);
    let plan = h2_endpoint("blue").tls(&pair, (true, true));
    let app = plan.clients_of(&root).start().await;
    let trust = trusting(&files, &root);
    let stranger = over_tls(&app, "h2", &trust);
    assert_eq!(stranger.get("/").await.status, 502);
    assert_eq!(
        app.handshakes(),
        [Failure::ClientCertificateMissing.as_str()]
    );
    let own = root.client("proxy.test");
    let own = format!(
        "{trust}, cert = \"{}\", key = \"{}\"",
        files.write("own.pem", &own.cert),
        files.write("own.key", &own.key)
    );
    let known = over_tls(&app, "h2", &own);
    assert_eq!(known.get("/").await.body, "blue");
    assert_eq!(app.handshakes()[1], "(None, Some(\"CN=proxy.test\"))");
}

#[tokio::test]
async fn t_13_an_endpoint_without_tls_or_without_http_2_is_a_failure_before_any_request() {
    let (files, root) = (Files::new(), authority("root"));
    let tls = trusting(&files, &root);
    let clear = endpoint("clear")
        .serve(|mut peer| async move {
            let mut hello = [0; 5];
            if peer.stream.read_exact(&mut hello).await.is_ok() {
                peer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service(&format!("tls = {{ {tls} }}"))
        .pool("blue", 100, &[&clear])
        .start();
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(proxy.failures("blue"), [("tls", 1)]);
    assert_eq!(clear.requests(), [""; 0]);
    let pair = root.server(&[LOCAL]);
    let only_h1 = h2_endpoint("blue").tls(&pair, (true, false)).start().await;
    let proxy = over_tls(&only_h1, "h2", &tls);
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(only_h1.calls(), 0);
}

#[tokio::test]
async fn a_failed_handshake_sends_the_request_to_another_endpoint() {
    let (files, root, other) = (Files::new(), authority("root"), authority("other"));
    let well = h2_endpoint("well")
        .tls(&root.server(&[LOCAL]), (true, true))
        .start()
        .await;
    let ill = h2_endpoint("ill")
        .tls(&other.server(&[LOCAL]), (true, true))
        .start()
        .await;
    let tls = trusting(&files, &root);
    let mut proxy = proxy()
        .service(&format!("protocol = \"auto\"\ntls = {{ {tls} }}"))
        .pool_at(
            "blue",
            100,
            &[&ill.address.to_string(), &well.address.to_string()],
        )
        .start();
    for _ in 0..4 {
        let mut client = proxy.client().await;
        client
            .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")
            .await;
        assert_eq!(client.answer().await.body, "well");
    }
    let nudged = within("a nudge", proxy.nudges.next()).await.unwrap();
    assert_eq!(nudged.key.address.to_string(), ill.address.to_string());
}

#[tokio::test]
async fn an_endpoint_that_never_ends_its_handshake_is_a_connect_timeout() {
    let silent = endpoint("silent")
        .serve(|mut peer| async move {
            let _ = peer.request().await;
        })
        .start()
        .await;
    let proxy = proxy()
        .service("tls = { verify = false }\ntimeouts = { connect = \"100ms\" }")
        .pool("blue", 100, &[&silent])
        .start();
    assert_eq!(proxy.get("/").await.status, 504);
    assert_eq!(proxy.failures("blue"), [("connect_timeout", 1)]);
}

#[tokio::test]
async fn a_change_of_how_endpoints_are_met_holds_for_new_requests_and_closes_what_was_before() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = root.server(&[LOCAL, "shop.test"]);
    let app = h2_endpoint("blue").tls(&pair, (true, true)).start().await;
    let tls = trusting(&files, &root);
    let proxy = over_tls(&app, "h2", &tls);
    let mut client = proxy.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.body, "blue");
    }
    let named = over_tls(&app, "h2", &format!("{tls}, server_name = \"shop.test\""));
    let transport = named.plan("blue").transport;
    for _ in 0..2 {
        proxy.decide(|decided| {
            let mut plan = (*decided.plan).clone();
            let pool = plan.pools.values_mut().next().unwrap();
            pool.transport = transport.clone();
            decided.plan = plan.into();
        });
        assert_eq!(client.get("/").await.body, "blue");
        assert_eq!(app.connections(), 2, "the same settings change nothing");
        proxy
            .until("the old one to be closed", |proxy| {
                proxy.connections("blue") == 1
            })
            .await;
    }
    assert_eq!(app.handshakes()[1], "(Some(\"shop.test\"), None)");
}

#[tokio::test]
async fn t_08_an_answer_that_ends_with_its_connection_needs_the_end_of_tls() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = root.server(&[LOCAL]);
    let tls = trusting(&files, &root);
    for (in_order, whole) in [(true, true), (false, false)] {
        let app = h2_endpoint("blue")
            .tls(&pair, (true, false))
            .until_close("half", in_order)
            .start()
            .await;
        let proxy = over_tls(&app, "h1", &tls);
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = within("the end", client.try_answer(false)).await;
        assert_eq!(answer.is_ok(), whole, "close_notify: {in_order}");
    }
}

#[tokio::test]
async fn a_websocket_passes_over_http_1_and_tls_where_other_requests_go_over_http_2() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = root.server(&[LOCAL]);
    let app = h2_endpoint("blue").tls(&pair, (true, true)).start().await;
    let proxy = over_tls(&app, "auto", &trusting(&files, &root));
    assert_eq!(proxy.get("/").await.body, "blue");
    let mut socket = handshake(&proxy).await;
    let hello = frame(0x82, b"hello");
    socket.writer.send(&hello).await;
    assert_eq!(socket.reader.bytes(hello.len()).await, hello);
    assert_eq!(proxy.tunnels("blue"), 1);
    drop(socket);
    proxy
        .until("the tunnel to end", |proxy| proxy.tunnels("blue") == 0)
        .await;
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(app.connections(), 2);
}
