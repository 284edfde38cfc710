//! Clients that speak HTTP/2: streams share a connection and nothing else, and a connection's end costs no stream.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{fs, time::Duration};

use bytes::Bytes;
use cutover::tls::{Authorities, ClientSettings, Trust};
use h2::{
    Reason, RecvStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Method, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};

use crate::support::{
    App, Client, PATIENCE, Peer, Proxy, answer, authority, endpoint,
    h2::{DATA, GOAWAY},
    h2_endpoint, proxy, until, within,
};

/// A client's connection.
struct Caller {
    send: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
}

/// An answer, and how its body ended.
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Result<String, h2::Error>,
    trailers: HeaderMap,
}

fn get(path: &str) -> Request<()> {
    let uri = format!("http://shop.test{path}");
    Request::get(uri).body(()).unwrap()
}

impl Caller {
    async fn to(proxy: &Proxy) -> Self {
        Self::with(proxy, &Builder::new()).await
    }

    async fn with(proxy: &Proxy, builder: &Builder) -> Self {
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        Self::over(stream, builder).await
    }

    async fn over<S>(stream: S, builder: &Builder) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let met = within("a handshake", builder.handshake(stream)).await;
        let (send, connection) = met.unwrap();
        Self {
            send,
            ended: tokio::spawn(connection),
        }
    }

    /// Sends a request without a body.
    async fn begin(&mut self, request: Request<()>) -> ResponseFuture {
        let ready = within("a free stream", self.send.clone().ready()).await;
        ready.unwrap().send_request(request, true).unwrap().0
    }

    async fn ask(&mut self, request: Request<()>) -> Got {
        let answer = self.begin(request).await;
        whole(answer).await
    }

    async fn get(&mut self, path: &str) -> Got {
        self.ask(get(path)).await
    }

    /// Waits to be told that no more requests are taken.
    async fn until_told(&self) {
        within("GOAWAY", async {
            loop {
                match self.send.clone().ready().await {
                    Err(error) => return assert!(error.is_go_away(), "{error}"),
                    Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        })
        .await;
    }

    /// Waits for the connection's end; it must be an orderly one.
    async fn until_closed(self) {
        drop(self.send);
        let ended = within("the connection's end", self.ended).await;
        ended.unwrap().unwrap();
    }
}

async fn whole(answer: ResponseFuture) -> Got {
    let answer = within("an answer", answer).await.unwrap();
    let (head, mut body) = answer.into_parts();
    let text = read(&mut body).await;
    let trailers = within("trailers", body.trailers()).await;
    Got {
        status: head.status.as_u16(),
        headers: head.headers,
        body: text,
        trailers: trailers.ok().flatten().unwrap_or_default(),
    }
}

async fn read(body: &mut RecvStream) -> Result<String, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = within("a body", body.data()).await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

impl Got {
    fn told(&self) -> (u16, &str) {
        (self.status, self.body.as_ref().unwrap())
    }
}

/// An app that answers `/held` once it is let.
async fn holding(name: &'static str) -> (App, watch::Sender<bool>) {
    let (let_go, held) = watch::channel(false);
    let app = endpoint(name)
        .serve(move |mut peer: Peer| {
            let mut held = held.clone();
            async move {
                while let Ok(request) = peer.request().await {
                    if request.starts_with("GET /held ") {
                        let _ = held.wait_for(|held| *held).await;
                    }
                    peer.write(&answer(200, &[], name.as_bytes())).await;
                }
            }
        })
        .start()
        .await;
    (app, let_go)
}

#[tokio::test]
async fn http_2_is_spoken_to_who_begins_with_it_and_http_1_to_others() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::to(&proxy).await;
    for _ in 0..3 {
        assert_eq!(caller.get("/").await.told(), (200, "blue"));
    }
    assert_eq!(proxy.get("/").await.body, "blue");
    assert_eq!(caller.get("/").await.told(), (200, "blue"));
    assert_eq!(proxy.answers("blue"), [(200, true, 5)]);
}

#[tokio::test]
async fn with_tls_http_2_is_spoken_to_who_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let root = authority("root");
    let pair = root.server(&["shop.test"]);
    fs::write(path("shop.pem"), &pair.cert).unwrap();
    fs::write(path("shop.key"), &pair.key).unwrap();
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener(&format!(
            "tls.certificates = [{{ cert = {:?}, key = {:?} }}]",
            path("shop.pem"),
            path("shop.key")
        ))
        .pool("blue", 100, &[&app])
        .start();
    for (names, chosen) in [
        ((true, true), true),
        ((false, true), true),
        ((true, false), false),
    ] {
        let trust = Trust::Authorities(Authorities::new(root.pem.as_bytes()).unwrap());
        let settings = ClientSettings::new(trust, None, None, names).unwrap();
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let met = within("a handshake", settings.connect(stream, "shop.test")).await;
        let met = met.unwrap();
        assert_eq!(met.h2, chosen, "{names:?}");
        if chosen {
            let mut caller = Caller::over(met.stream, &Builder::new()).await;
            let request = Request::get("https://shop.test/").body(()).unwrap();
            assert_eq!(caller.ask(request).await.told(), (200, "blue"));
        }
    }
    for request in app.requests() {
        assert!(
            request.contains("\r\nx-forwarded-proto: https\r\n"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn streams_of_one_connection_go_where_the_weights_are_when_they_come() {
    let (blue, let_go) = holding("blue").await;
    let green = endpoint("green").start().await;
    let proxy = proxy()
        .pool("blue", 100, &[&blue])
        .pool("green", 0, &[&green])
        .start();
    let mut caller = Caller::to(&proxy).await;
    assert_eq!(caller.get("/").await.told(), (200, "blue"));
    let held = caller.begin(get("/held")).await;
    blue.until_requests(2).await;
    proxy.shift(&[("blue", 0), ("green", 100)]);
    for _ in 0..10 {
        assert_eq!(caller.get("/").await.told(), (200, "green"));
    }
    let_go.send_replace(true);
    assert_eq!(whole(held).await.told(), (200, "blue"));
}

#[tokio::test]
async fn h2_22_h2_23_an_app_of_http_1_gets_one_host_one_cookie_and_the_body_in_chunks() {
    let bytes = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: x-own\r\nx-own: 1\r\n\r\n\
                 2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
    let app = endpoint("blue").bytes(bytes).start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let caller = Caller::to(&proxy).await;
    let request = Request::post("http://shop.test/a?b=c")
        .header("te", "trailers")
        .header("trailer", "x-end")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(())
        .unwrap();
    let mut send = caller.send.clone().ready().await.unwrap();
    let (answer, mut body) = send.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let trailers = [("x-end".parse().unwrap(), "1".parse().unwrap())];
    body.send_trailers(trailers.into_iter().collect()).unwrap();
    let got = whole(answer).await;
    assert_eq!(got.told(), (200, "hi"));
    assert_eq!(got.trailers["x-sum"], "7");
    for name in ["connection", "transfer-encoding", "x-own"] {
        assert!(!got.headers.contains_key(name), "{:?}", got.headers);
    }
    let seen = app.request();
    assert!(seen.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{seen}");
    for line in [
        "host: shop.test",
        "cookie: a=1; b=2",
        "transfer-encoding: chunked",
    ] {
        let line = format!("\r\n{line}\r\n");
        assert_eq!(seen.matches(&line).count(), 1, "{line} {seen}");
    }
    assert_eq!(seen.matches("cookie:").count(), 1, "{seen}");
    assert!(
        seen.ends_with("\r\n\r\n5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn large_bodies_pass_both_ways_within_the_windows() {
    let large = "x".repeat(3 << 20);
    let app = endpoint("blue")
        .bytes(answer(200, &[], large.as_bytes()))
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let caller = Caller::to(&proxy).await;
    let request = Request::post("http://a/").body(()).unwrap();
    let mut send = caller.send.clone().ready().await.unwrap();
    let (answer, mut body) = send.send_request(request, false).unwrap();
    body.send_data(Bytes::from(large.clone()), true).unwrap();
    assert!(whole(answer).await.told() == (200, &large));
    let seen = app.request();
    assert!(seen.matches('x').count() >= large.len());
}

#[tokio::test]
async fn h2_18_h2_22_h2_24_heads_that_could_be_read_in_two_ways_are_refused_and_others_go_on() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::to(&proxy).await;
    for (name, value, status) in [
        ("x-a", " b", 400),
        ("x-a", "b\t", 400),
        ("host", "b.test", 400),
        ("x-a", "b", 200),
    ] {
        let mut request = get("/");
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(
            caller.ask(request).await.status,
            status,
            "{name}: {value:?}"
        );
    }
    let mut connect = Request::new(());
    *connect.method_mut() = Method::CONNECT;
    *connect.uri_mut() = "a.test:443".parse().unwrap();
    assert_eq!(caller.ask(connect).await.status, 405);
    assert_eq!(caller.get("/").await.told(), (200, "blue"));
    assert_eq!(app.requests().len(), 2);
}

#[tokio::test]
async fn a_stream_that_its_endpoint_breaks_is_reset_and_others_go_on() {
    let app = endpoint("blue")
        .serve(|mut peer: Peer| async move {
            while let Ok(request) = peer.request().await {
                if request.starts_with("GET /broken ") {
                    peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
                        .await;
                    return;
                }
                peer.write(&answer(200, &[], b"blue")).await;
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::to(&proxy).await;
    let broken = caller.get("/broken").await;
    assert_eq!(broken.status, 200);
    assert!(broken.body.unwrap_err().is_reset());
    assert_eq!(caller.get("/").await.told(), (200, "blue"));
    assert_eq!(proxy.failures("blue"), [("reset", 1)]);
}

#[tokio::test]
async fn h2_30_a_stream_that_breaks_at_the_endpoint_harms_no_other_on_its_connections() {
    let (stage, reached) = watch::channel(0);
    let app = h2_endpoint("blue")
        .serve(move |mut call| {
            let mut reached = reached.clone();
            async move {
                if call.request.uri().path() != "/broken" {
                    let _ = reached.wait_for(|stage| *stage == 2).await;
                    return call.answer(200, Bytes::from_static(b"blue"));
                }
                let head = Response::new(());
                let mut stream = call.respond.send_response(head, false).unwrap();
                stream.send_data(Bytes::from_static(b"a"), false).unwrap();
                let _ = reached.wait_for(|stage| *stage == 1).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("protocol = \"h2\"")
        .pool_at("blue", 100, &[&app.address.to_string()])
        .start();
    let mut caller = Caller::to(&proxy).await;
    let held = caller.begin(get("/")).await;
    app.until_calls(1).await;
    let broken = caller.begin(get("/broken")).await;
    let mut broken = within("a head", broken).await.unwrap();
    stage.send_replace(1);
    assert!(read(broken.body_mut()).await.unwrap_err().is_reset());
    stage.send_replace(2);
    assert_eq!(whole(held).await.told(), (200, "blue"));
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn h2_13_an_answer_that_nobody_takes_is_reset_and_the_connection_goes_on() {
    let app = endpoint("blue")
        .serve(|mut peer: Peer| async move {
            while let Ok(request) = peer.request().await {
                let large = vec![b'x'; 1 << 20];
                let body = if request.starts_with("GET /large ") {
                    &large[..]
                } else {
                    b""
                };
                peer.write(&answer(200, &[], body)).await;
            }
        })
        .start()
        .await;
    let proxy = proxy()
        .service("timeouts.idle = \"100ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let mut caller = Caller::with(&proxy, Builder::new().initial_window_size(0)).await;
    let stuck = caller.begin(get("/large")).await;
    let mut stuck = within("a head", stuck).await.unwrap();
    assert_eq!(proxy.in_flight("blue"), 1);
    assert!(read(stuck.body_mut()).await.unwrap_err().is_reset());
    proxy
        .until("the lease to be given back", |proxy| {
            proxy.in_flight("blue") == 0
        })
        .await;
    assert_eq!(caller.get("/").await.told(), (200, ""));
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn a_stream_that_its_client_resets_is_cancelled_at_the_endpoint() {
    let (app, _let_go) = holding("blue").await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::to(&proxy).await;
    let held = caller.begin(get("/held")).await;
    app.until_requests(1).await;
    drop(held);
    proxy
        .until("the lease to be given back", |proxy| {
            proxy.in_flight("blue") == 0
        })
        .await;
    assert_eq!(proxy.connections("blue"), 0);
    assert_eq!(proxy.failures("blue"), []);
    assert_eq!(caller.get("/").await.told(), (200, "blue"));
}

#[tokio::test]
async fn h2_29_a_drain_is_announced_and_what_is_under_way_ends_whole() {
    let (app, let_go) = holding("blue").await;
    let mut proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::to(&proxy).await;
    let held = caller.begin(get("/held")).await;
    app.until_requests(1).await;
    let (drained, ()) = tokio::join!(proxy.drain(PATIENCE), async {
        caller.until_told().await;
        let_go.send_replace(true);
        let got = whole(held).await;
        assert_eq!(got.told(), (200, "blue"));
        assert!(!got.headers.contains_key("connection"));
        caller.until_closed().await;
    });
    assert!(!drained.timed_out && drained.cut == 0, "{drained:?}");
}

#[tokio::test]
async fn h2_29_a_listener_that_goes_away_is_announced_and_what_is_under_way_ends_whole() {
    let (app, let_go) = holding("blue").await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::to(&proxy).await;
    let held = caller.begin(get("/held")).await;
    app.until_requests(1).await;
    let other = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    proxy
        .listen(&format!(
            "[[listeners]]\naddress = \"{other}\"\n[services.app]\npools.blue.endpoints = [\"{}\"]\n",
            app.address
        ))
        .unwrap();
    caller.until_told().await;
    let_go.send_replace(true);
    assert_eq!(whole(held).await.told(), (200, "blue"));
    caller.until_closed().await;
}

#[tokio::test]
async fn what_a_slow_client_has_yet_to_take_is_waited_for_when_the_process_drains() {
    let app = endpoint("blue")
        .bytes(answer(200, &[], &[b'x'; 10_000]))
        .start()
        .await;
    let mut proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::with(&proxy, Builder::new().initial_window_size(4096)).await;
    let answer = caller.begin(get("/")).await;
    let mut answer = within("a head", answer).await.unwrap();
    // The endpoint has no part in it any more.
    proxy
        .until("the lease to be given back", |proxy| {
            proxy.in_flight("blue") == 0
        })
        .await;
    let (drained, ()) = tokio::join!(proxy.drain(PATIENCE), async {
        caller.until_told().await;
        // Longer than a connection is waited for on which nothing is open.
        let patience = Duration::from_millis(1500);
        let ended = tokio::time::timeout(patience, &mut caller.ended).await;
        assert!(ended.is_err(), "{ended:?}");
        assert_eq!(read(answer.body_mut()).await.unwrap().len(), 10_000);
        caller.until_closed().await;
    });
    assert!(!drained.timed_out && drained.cut == 0, "{drained:?}");
}

#[tokio::test]
async fn an_old_connection_is_ended_and_loses_nothing() {
    let (app, let_go) = holding("blue").await;
    let proxy = proxy()
        .listener("timeouts.max_connection_age = \"200ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let mut caller = Caller::to(&proxy).await;
    let held = caller.begin(get("/held")).await;
    let mut count = 0;
    within("the connection to be old", async {
        while let Ok(mut send) = caller.send.clone().ready().await {
            let Ok((answer, _)) = send.send_request(get("/"), true) else {
                return;
            };
            assert_eq!(whole(answer).await.told(), (200, "blue"));
            count += 1;
        }
    })
    .await;
    assert!(count > 0);
    caller.until_told().await;
    let_go.send_replace(true);
    assert_eq!(whole(held).await.told(), (200, "blue"));
    caller.until_closed().await;
    assert_eq!(proxy.answers("blue"), [(200, true, count + 1)]);
}

#[tokio::test]
async fn h2_31_a_connection_without_streams_is_closed_after_a_while() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts.idle = \"100ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let mut caller = Caller::to(&proxy).await;
    assert_eq!(caller.get("/").await.told(), (200, "blue"));
    caller.until_told().await;
    caller.until_closed().await;
}

/// A `GET` of `/`, as HPACK has it without remembering anything (RFC 7541 §6).
fn bare_get(stream: u8) -> Vec<u8> {
    let fields = b"\x82\x86\x84\x01\x01a";
    let mut frame = vec![0, 0, 6, 1, 5, 0, 0, 0, stream];
    frame.extend_from_slice(fields);
    frame
}

/// The next frame of this kind.
async fn until_frame(client: &mut Client, kind: u8) -> Vec<u8> {
    loop {
        let head = client.bytes(9).await;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = client.bytes(length as usize).await;
        if head[3] == kind {
            return payload;
        }
    }
}

#[tokio::test]
async fn h2_29_a_request_that_crosses_the_end_of_an_idle_connection_is_answered() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts.idle = \"50ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    client.send(bare_get(1)).await;
    assert_eq!(until_frame(&mut client, DATA).await, b"blue");
    until_frame(&mut client, GOAWAY).await;
    client.send(bare_get(3)).await;
    assert_eq!(until_frame(&mut client, DATA).await, b"blue");
    // A client that says no more is not waited for long.
    client.until_closed().await;
}

#[tokio::test]
async fn h2_26_a_frame_that_is_none_ends_the_connection_and_is_counted() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut client = proxy.client().await;
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    // SETTINGS of five bytes.
    client.send(b"\0\0\x05\x04\0\0\0\0\0\0\0\0\0\0").await;
    let told = until_frame(&mut client, GOAWAY).await;
    assert_eq!(
        told[4..8],
        u32::from(Reason::FRAME_SIZE_ERROR).to_be_bytes()
    );
    client.until_closed().await;
    assert_eq!(proxy.rejections(), [("malformed", 1)]);
}

#[tokio::test]
async fn p_08_a_target_stays_the_same_through_http_1_http_2_and_http_1() {
    let app = endpoint("blue").start().await;
    let second = proxy().pool("blue", 100, &[&app]).start();
    let first = proxy()
        .service("protocol = \"h2\"")
        .pool_at("blue", 100, &[&second.address.to_string()])
        .start();
    let targets = ["/", "/a%2Fb//c;d", "/a?", "/?b=%zz&c=%2f?", "/%E4?%e4"];
    for target in targets {
        assert_eq!(first.get(target).await.body, "blue", "{target}");
    }
    let requests = app.requests();
    assert_eq!(requests.len(), targets.len());
    for (request, target) in requests.iter().zip(targets) {
        assert!(
            request.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{request}"
        );
        assert_eq!(request.matches("\r\nhost: test\r\n").count(), 1);
    }
}

#[tokio::test]
async fn h2_27_a_client_that_asks_for_nothing_or_only_wishes_for_http_2_gets_none() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts.header = \"100ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let silent = Caller::to(&proxy).await;
    silent.until_told().await;
    silent.until_closed().await;
    let mut client: Client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    let seen = app.request();
    assert!(
        !seen.contains("h2c") && !seen.contains("http2-settings"),
        "{seen}"
    );
}

#[tokio::test]
async fn refusals_say_nothing_of_the_connection_and_leave_it_open() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .service("limits = { body = \"10B\" }")
        .pool("blue", 100, &[&app])
        .more("[[routes]]\npath = \"/app\"\nservice = \"app\"\n")
        .start();
    let mut caller = Caller::to(&proxy).await;
    let too_large = Request::post("http://a/app/x")
        .header("content-length", "11")
        .body(())
        .unwrap();
    let mut send = caller.send.clone().ready().await.unwrap();
    let (answer, _body) = send.send_request(too_large, false).unwrap();
    let refused = [
        (413, whole(answer).await),
        (404, caller.get("/other").await),
    ];
    for (status, got) in refused {
        assert_eq!(got.status, status);
        assert!(!got.headers.contains_key("connection"), "{:?}", got.headers);
    }
    let got = caller.get("/app/x").await;
    assert_eq!(got.told(), (200, "blue"));
    assert!(!got.headers.contains_key("connection"), "{:?}", got.headers);
    until("both to be counted", || proxy.rejections().len() == 2).await;
}
