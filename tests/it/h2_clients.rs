//! Clients that speak HTTP/2: streams share a connection and nothing else.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{fs, time::Duration};

use bytes::Bytes;
use cutover::tls::{Authorities, ClientSettings, Trust};
use h2::{Reason, client::Builder};
use http::{Method, Request, Response};
use tokio::{net::TcpStream, sync::watch};

use crate::support::{
    Peer, answer, authority,
    caller::{Caller, get, holding, read, rest, whole},
    endpoint, h2_endpoint, proxy, until, within,
};

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
async fn a_get_that_says_nothing_of_a_body_has_one_only_where_one_comes() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let caller = Caller::to(&proxy).await;
    for (body, expected) in [
        ("", "\r\n\r\n"),
        ("hello", "\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let request = Request::get("http://shop.test/").body(()).unwrap();
        let mut send = caller.send.clone().ready().await.unwrap();
        let (answer, mut rest) = send.send_request(request, false).unwrap();
        // The end comes apart from the head.
        tokio::task::yield_now().await;
        rest.send_data(body.into(), true).unwrap();
        assert_eq!(whole(answer).await.told(), (200, "blue"));
        let seen = app.requests().pop().unwrap();
        assert!(seen.ends_with(expected), "{seen}");
        let in_chunks = seen.contains("transfer-encoding: chunked");
        assert_eq!(in_chunks, !body.is_empty(), "{seen}");
    }
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
async fn a_client_that_takes_an_answer_slowly_gets_all_of_it_long_after_its_endpoint_is_done() {
    // All but a little of its last piece is in store when its stream is over.
    const WHOLE: usize = 4 * (16 << 10) - 400;
    let app = endpoint("blue")
        .bytes(answer(200, &[], &vec![b'x'; WHOLE]))
        .start()
        .await;
    let proxy = proxy()
        .listener("timeouts.idle = \"250ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let window = 4096;
    let mut caller = Caller::with(&proxy, Builder::new().initial_window_size(window)).await;
    let answer = caller.begin(get("/")).await;
    let mut answer = within("a head", answer).await.unwrap();
    let body = answer.body_mut();
    let mut taken = 0;
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    while let Some(data) = within("more of the body", body.data()).await {
        let length = data.unwrap().len();
        taken += length;
        body.flow_control().release_capacity(length).unwrap();
        pace.tick().await;
    }
    assert_eq!(taken, WHOLE);
}

#[tokio::test]
async fn an_answer_that_waits_for_its_client_gets_nothing_of_the_next_one_on_its_endpoints_connection()
 {
    // All of the first is read from the endpoint, and a little of it has to wait for its client; most of the second is yet to be read.
    let window = 65_535;
    let length = |byte| if byte == b'a' { 70_000 } else { 300_000 };
    let app = endpoint("blue")
        .serve(move |mut peer: Peer| async move {
            while let Ok(request) = peer.request().await {
                let byte = request.as_bytes()["GET /".len()];
                let body = vec![byte; length(byte)];
                peer.write(&answer(200, &[], &body)).await;
            }
        })
        .start()
        .await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    for _ in 0..5 {
        let mut slow = Caller::with(&proxy, Builder::new().initial_window_size(window)).await;
        let waits = slow.begin(get("/a")).await;
        let waits = within("a head", waits).await.unwrap();
        proxy
            .until("the endpoint to be done", |proxy| {
                proxy.in_flight("blue") == 0
            })
            .await;
        let mut quick = Caller::to(&proxy).await;
        let other = quick.begin(get("/b")).await;
        let other = within("a head", other).await.unwrap();
        let (first, second) = tokio::join!(rest(waits), rest(other));
        assert_eq!(first.body.unwrap(), "a".repeat(length(b'a')));
        assert_eq!(second.body.unwrap(), "b".repeat(length(b'b')));
    }
    assert_eq!(app.connections(), 1, "they shared it");
}

#[tokio::test]
async fn a_body_that_is_announced_by_nothing_is_awaited_no_longer_than_a_head() {
    let app = endpoint("blue").start().await;
    let proxy = proxy()
        .listener("timeouts.header = \"200ms\"")
        .pool("blue", 100, &[&app])
        .start();
    let caller = Caller::to(&proxy).await;
    let mut send = caller.send.clone().ready().await.unwrap();
    let request = Request::get("http://shop.test/").body(()).unwrap();
    let (answer, _open) = send.send_request(request, false).unwrap();
    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), 408);
    assert_eq!((app.requests().len(), app.connections()), (0, 0));
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
        .until(
            "the lease to be given back, and the connection closed",
            |proxy| proxy.in_flight("blue") == 0 && proxy.connections("blue") == 0,
        )
        .await;
    assert_eq!(proxy.failures("blue"), []);
    assert_eq!(caller.get("/").await.told(), (200, "blue"));
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_body_began_closes_no_connection_to_an_endpoint() {
    let app = endpoint("blue").start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let mut caller = Caller::to(&proxy).await;
    assert_eq!(caller.get("/").await.told(), (200, "blue"));
    for _ in 0..3 {
        let mut send = caller.send.clone().ready().await.unwrap();
        let (answer, mut body) = send.send_request(get("/"), false).unwrap();
        // An answer on the same connection tells that the head before it has been read.
        assert_eq!(caller.get("/").await.told(), (200, "blue"));
        body.send_reset(Reason::CANCEL);
        drop(answer);
        assert_eq!(caller.get("/").await.told(), (200, "blue"));
    }
    assert_eq!((app.connections(), app.open()), (1, 1));
    assert_eq!(proxy.failures("blue"), []);
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
