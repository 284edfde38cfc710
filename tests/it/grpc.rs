//! Calls of gRPC, as far as a proxy can spoil them. Its own client and server are met in `tests/suites/grpc`.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it can't get what it needs"
)]

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture},
};
use http::{Request, Response};

use crate::support::{
    Authority, Call, H2App, PATIENCE, Proxy, authority, caller::Caller, endpoint, h2_endpoint,
    proxy, within,
};

fn call(method: &str) -> Request<()> {
    let request = Request::post(format!("http://shop.test/shop.v1.Cart/{method}"));
    let request = request.header("content-type", "application/grpc");
    request.header("te", "trailers").body(()).unwrap()
}

/// A message of so many bytes, as it goes over the wire.
fn message(length: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap());
    bytes.put_bytes(b'x', length);
    bytes.freeze()
}

/// Sends the bytes as the other side makes room for them; how many are left when it takes no more of them for good.
async fn push(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> usize {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(room)) => {
                let part = bytes.split_to(room.min(bytes.len()));
                if stream.send_data(part, false).is_err() {
                    return bytes.len();
                }
            }
            _ => return bytes.len(),
        }
    }
    0
}

/// The next bytes of a stream, at least so many.
async fn pull(stream: &mut RecvStream, count: usize) -> usize {
    let mut pulled = 0;
    while pulled < count {
        let Some(data) = within("data", stream.data()).await else {
            return pulled;
        };
        let data = data.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        pulled += data.len();
    }
    pulled
}

fn head(call: &mut Call) -> SendStream<Bytes> {
    let head = Response::builder().header("content-type", "application/grpc");
    let head = head.body(()).unwrap();
    call.respond.send_response(head, false).unwrap()
}

fn status(stream: &mut SendStream<Bytes>, code: &str) {
    let trailers = [("grpc-status".parse().unwrap(), code.parse().unwrap())];
    let _ = stream.send_trailers(trailers.into_iter().collect());
}

/// Gives every message back as it comes, and says that all was well.
async fn echo(mut call: Call) {
    let mut answer = head(&mut call);
    let asked = call.request.body_mut();
    while let Some(Ok(data)) = asked.data().await {
        let _ = asked.flow_control().release_capacity(data.len());
        if push(&mut answer, data).await > 0 {
            return;
        }
    }
    status(&mut answer, "0");
}

async fn echoing() -> (H2App, Proxy) {
    let app = h2_endpoint("blue").serve(echo).start().await;
    let proxy = over_h2(&app, "");
    (app, proxy)
}

fn over_h2(app: &H2App, more: &str) -> Proxy {
    proxy()
        .listener(more)
        .service("protocol = \"h2\"")
        .pool_at("blue", 100, &[&app.address.to_string()])
        .start()
}

/// A call with messages in both directions.
struct Talk {
    up: SendStream<Bytes>,
    down: RecvStream,
}

impl Talk {
    async fn begin(caller: &Caller) -> Self {
        let (answer, up) = open(caller, "Talk").await;
        let answer = within("a head", answer).await.unwrap();
        Self {
            up,
            down: answer.into_body(),
        }
    }

    /// One message there and back.
    async fn exchange(&mut self, length: usize) {
        let (up, down) = (&mut self.up, &mut self.down);
        let (left, pulled) = tokio::join!(push(up, message(length)), pull(down, 5 + length));
        assert_eq!((left, pulled), (0, 5 + length));
    }

    async fn end(mut self) {
        self.up.send_data(Bytes::new(), true).unwrap();
        assert_eq!(pull(&mut self.down, 1).await, 0);
        let trailers = within("trailers", self.down.trailers()).await.unwrap();
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
    }
}

async fn open(caller: &Caller, method: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let ready = within("a free stream", caller.send.clone().ready()).await;
    ready.unwrap().send_request(call(method), false).unwrap()
}

/// What is told of an app that can't be spoken to in HTTP/2.
async fn unavailable(proxy: &Proxy) {
    let mut caller = Caller::to(proxy).await;
    let got = caller.ask(call("Get")).await;
    assert_eq!((got.status, &*got.body.unwrap()), (200, ""));
    assert_eq!(got.headers["content-type"], "application/grpc");
    assert_eq!(got.headers["grpc-status"], "14", "UNAVAILABLE");
}

#[tokio::test]
async fn g_05_an_endpoint_that_speaks_http_1_alone_is_unavailable_and_nobody_waits() {
    let app = endpoint("blue").start().await;
    let clear = proxy()
        .service("protocol = \"h2\"")
        .pool("blue", 100, &[&app])
        .start();
    unavailable(&clear).await;
    let heard = app.requests().concat();
    assert!(
        !heard.contains("Cart"),
        "of the beginning of HTTP/2 alone: {heard}"
    );

    let root = authority("root");
    let app = speaking_tls(&root, (true, false)).await;
    let ca = root_of(&root);
    let safe = format!("protocol = \"h2\"\ntls.ca = {:?}", ca.path());
    let safe = proxy()
        .service(&safe)
        .pool_at("blue", 100, &[&app.address.to_string()])
        .start();
    unavailable(&safe).await;
    assert_eq!(app.calls(), 0);
}

async fn speaking_tls(root: &Authority, versions: (bool, bool)) -> H2App {
    let app = h2_endpoint("blue").tls(&root.server(&["127.0.0.1"]), versions);
    app.start().await
}

fn root_of(root: &Authority) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &root.pem).unwrap();
    file
}

#[tokio::test]
async fn g_05_a_call_that_is_carried_over_http_1_gets_the_apps_answer_and_hangs_nowhere() {
    let app = endpoint("blue").reply(404).start().await;
    let proxy = proxy().pool("blue", 100, &[&app]).start();
    let got = Caller::to(&proxy).await.ask(call("Get")).await;
    assert_eq!(got.status, 404, "which its client takes for UNIMPLEMENTED");
    assert!(!got.headers.contains_key("grpc-status"));
}

#[tokio::test]
async fn g_06_a_call_in_both_directions_goes_on_over_shifts_and_reloads() {
    let (app, proxy) = echoing().await;
    let caller = Caller::to(&proxy).await;
    let mut talk = Talk::begin(&caller).await;
    talk.exchange(1).await;
    for _ in 0..20 {
        proxy.decide(|decided| decided.revision += 1);
        proxy.edit(|_| {});
        talk.exchange(100).await;
    }
    let text = format!(
        "[[listeners]]\naddress = \"{}\"\nlimits.connections = 17\n[services.app]\npools.blue.endpoints = [\"{}\"]\n",
        proxy.address, app.address
    );
    proxy.listen(&text).unwrap();
    talk.exchange(100).await;
    talk.end().await;
    assert_eq!((app.connections(), app.calls()), (1, 1));
}

#[tokio::test]
async fn g_06_a_call_in_both_directions_counts_in_limits_until_its_last_message() {
    let app = h2_endpoint("blue").serve(echo).start().await;
    let proxy = proxy()
        .service("protocol = \"h2\"\nlimits.requests_per_endpoint = 1\nqueue.length = 0")
        .pool_at("blue", 100, &[&app.address.to_string()])
        .start();
    let mut caller = Caller::to(&proxy).await;
    let mut talk = Talk::begin(&caller).await;
    talk.exchange(100).await;
    assert_eq!(proxy.in_flight("blue"), 1);
    let refused = caller.ask(call("Get")).await;
    assert_eq!(refused.headers["grpc-status"], "14", "UNAVAILABLE");
    assert_eq!(proxy.rejections(), [("queue_full", 1)]);
    talk.exchange(100).await;
    talk.end().await;
    proxy
        .until("the call to end", |proxy| proxy.in_flight("blue") == 0)
        .await;
    assert_eq!(caller.ask(call("Get")).await.status, 200);
}

#[tokio::test]
async fn g_06_new_calls_move_when_a_connection_is_told_to_end_and_the_old_one_goes_on() {
    let app = h2_endpoint("blue").serve(echo).start().await;
    let proxy = over_h2(&app, "timeouts.max_connection_age = \"200ms\"");
    let old = Caller::to(&proxy).await;
    let mut talk = Talk::begin(&old).await;
    old.until_told().await;
    talk.exchange(100).await;
    let new = Caller::to(&proxy).await;
    let mut other = Talk::begin(&new).await;
    other.exchange(100).await;
    // The app, too, tells its connection to end.
    app.go_away();
    talk.exchange(100).await;
    other.exchange(100).await;
    within("a call on another connection", async {
        while app.connections() < 2 {
            let fresh = Caller::to(&proxy).await;
            let mut third = Talk::begin(&fresh).await;
            third.exchange(100).await;
            third.end().await;
        }
    })
    .await;
    talk.end().await;
    other.end().await;
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn g_07_messages_of_five_megabytes_and_of_one_byte_pass_both_ways() {
    let (_app, proxy) = echoing().await;
    let caller = Caller::to(&proxy).await;
    let mut talk = Talk::begin(&caller).await;
    talk.exchange(5 << 20).await;
    for _ in 0..500 {
        talk.exchange(1).await;
    }
    talk.exchange((4 << 20) + 1).await;
    talk.end().await;
}

/// What may wait in the proxy and in the windows and sockets on both sides of it.
const HELD: usize = 8 << 20;
const LARGE: usize = 32 << 20;

#[tokio::test]
async fn g_07_an_upload_that_nobody_takes_holds_up_no_answer() {
    let app = h2_endpoint("blue").serve(|mut call| async move {
        let mut answer = head(&mut call);
        assert_eq!(push(&mut answer, message(LARGE)).await, 0);
        status(&mut answer, "0");
        // It takes nothing until the client is gone.
        let _ = poll_fn(|context| answer.poll_reset(context)).await;
    });
    let app = app.start().await;
    let proxy = over_h2(&app, "");
    let caller = Caller::to(&proxy).await;
    let (answer, mut up) = open(&caller, "Stalled").await;
    let mut down = within("a head", answer).await.unwrap().into_body();
    let stalled = tokio::time::timeout(PATIENCE, push(&mut up, message(LARGE)));
    let download = async {
        assert_eq!(pull(&mut down, 5 + LARGE).await, 5 + LARGE);
        let trailers = within("trailers", down.trailers()).await.unwrap();
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
    };
    tokio::select! {
        () = download => {}
        left = stalled => panic!("the upload went through: {left:?}"),
    }
}

#[tokio::test]
async fn g_07_answers_that_nobody_takes_hold_up_no_upload_and_no_other_call() {
    let app = h2_endpoint("blue").serve(|mut call| async move {
        if call.request.uri().path().ends_with("/Talk") {
            return echo(call).await;
        }
        let mut answer = head(&mut call);
        let asked = call.request.body_mut();
        let upload = async {
            assert_eq!(pull(asked, 5 + LARGE).await, 5 + LARGE);
            ALL_TAKEN.store(true, SeqCst);
        };
        let (left, ()) = tokio::join!(push(&mut answer, message(LARGE)), upload);
        assert!(LARGE - left < HELD, "{left} of {LARGE} left");
    });
    let app = app.start().await;
    let proxy = over_h2(&app, "");
    // Its own connection must have room for the answers that it does not read.
    let mut roomy = Builder::new();
    roomy.initial_connection_window_size(16 << 20);
    let caller = Caller::with(&proxy, &roomy).await;
    let (answer, mut up) = open(&caller, "Stalled").await;
    let _unread = within("a head", answer).await.unwrap();
    assert_eq!(within("the upload", push(&mut up, message(LARGE))).await, 0);
    crate::support::until("all to be taken", || ALL_TAKEN.load(SeqCst)).await;
    let mut talk = Talk::begin(&caller).await;
    talk.exchange(1 << 20).await;
    talk.end().await;
}

static ALL_TAKEN: AtomicBool = AtomicBool::new(false);
