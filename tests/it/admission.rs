//! Services whose requests are held, or get the page for maintenance.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use cutover::{
    pool::State,
    units::{Admission, Admits},
};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    console::bare_cli,
    support::{
        Answer, App, Client, Proxy, Whole, answer,
        caller::{self, Caller},
        endpoint, proxy, until, websocket, whole, within,
    },
};

const HOUR: Duration = Duration::from_hours(1);

fn admit(proxy: &Proxy, admission: Admission, span: Option<Duration>) {
    let ends = span.map(|span| Instant::now() + span);
    proxy.decide(|decided| decided.admits = Admits { admission, ends });
}

fn hold(proxy: &Proxy, span: Duration) {
    admit(proxy, Admission::Hold, Some(span));
}

fn resume(proxy: &Proxy) {
    admit(proxy, Admission::Open, None);
}

/// Sends a request on a connection of its own, and returns when so many wait.
async fn held(proxy: &Proxy, count: u64) -> JoinHandle<Answer> {
    let mut client = proxy.client().await;
    let asked = tokio::spawn(async move { client.get("/").await });
    waits(proxy, count).await;
    asked
}

async fn waits(proxy: &Proxy, count: u64) {
    let what = format!("{count} to wait");
    proxy.until(&what, |proxy| proxy.waiting() == count).await;
}

async fn app() -> App {
    endpoint("app").start().await
}

#[tokio::test]
async fn held_requests_wait_and_flow_by_themselves_when_the_time_is_over() {
    let app = app().await;
    let proxy = proxy().workers(2).pool("blue", 1, &[&app]).start();
    hold(&proxy, HOUR);
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
        .await;
    waits(&proxy, 1).await;
    assert!(app.requests().is_empty());
    assert_eq!(proxy.in_flight("blue"), 0);
    let began = Instant::now();
    hold(&proxy, Duration::from_millis(400));
    // Nobody publishes that it is over.
    let answer = client.answer().await;
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!((answer.status, &*answer.body), (200, "app"));
    assert!(app.request().ends_with("\r\n\r\nabc"));
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!((proxy.waiting(), proxy.rejections()), (0, Vec::new()));
}

#[tokio::test]
async fn who_was_held_is_decided_on_what_holds_afterwards() {
    let (blue, green) = (app().await, endpoint("green").start().await);
    let proxy = proxy()
        .workers(2)
        .pool("blue", 1, &[&blue])
        .pool("green", 0, &[&green])
        .start();
    hold(&proxy, HOUR);
    let mut asked = Vec::new();
    for count in 1..=10 {
        asked.push(held(&proxy, count).await);
    }
    proxy.put("blue", State::Unready, false);
    proxy.shift(&[("green", 1)]);
    resume(&proxy);
    for one in asked {
        let answer = within("an answer", one).await.unwrap();
        assert_eq!((answer.status, &*answer.body), (200, "green"));
    }
    assert!(blue.requests().is_empty());
}

#[tokio::test]
async fn a_hold_that_is_begun_anew_goes_on() {
    let app = app().await;
    let proxy = proxy().pool("blue", 1, &[&app]).start();
    hold(&proxy, HOUR);
    let asked = held(&proxy, 1).await;
    let began = Instant::now();
    hold(&proxy, Duration::from_millis(200));
    hold(&proxy, HOUR);
    until("the first to be over", || {
        began.elapsed() > Duration::from_millis(300)
    })
    .await;
    assert_eq!(proxy.waiting(), 1);
    assert!(app.requests().is_empty());
    hold(&proxy, Duration::from_millis(50));
    assert_eq!(within("an answer", asked).await.unwrap().status, 200);
}

#[tokio::test]
async fn who_finds_no_place_is_told_when_the_hold_is_over() {
    let app = app().await;
    let proxy = proxy()
        .service("hold.length = 1")
        .pool("blue", 1, &[&app])
        .start();
    hold(&proxy, Duration::from_mins(1));
    let mut goes = proxy.client().await;
    goes.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    waits(&proxy, 1).await;
    let refused = proxy.get("/").await;
    assert_eq!(refused.status, 503);
    let seconds = refused.header("retry-after").unwrap();
    assert!((50..=60).contains(&seconds.parse::<u32>().unwrap()));
    assert_eq!(proxy.rejections(), [("hold_full", 1)]);
    // Who goes away leaves its place.
    drop(goes);
    waits(&proxy, 0).await;
    let asked = held(&proxy, 1).await;
    resume(&proxy);
    assert_eq!(within("an answer", asked).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_stream_that_is_held_and_reset_leaves_its_place() {
    let app = app().await;
    let proxy = proxy().pool("blue", 1, &[&app]).start();
    hold(&proxy, HOUR);
    let mut caller = Caller::to(&proxy).await;
    let goes = caller.begin(caller::get("/")).await;
    let stays = caller.begin(caller::get("/")).await;
    waits(&proxy, 2).await;
    drop(goes);
    waits(&proxy, 1).await;
    resume(&proxy);
    assert_eq!(caller::whole(stays).await.told(), (200, "app"));
    assert_eq!(app.requests().len(), 1);
}

#[tokio::test]
async fn a_tunnel_goes_on_while_others_are_held_and_one_that_is_asked_for_waits() {
    let app = websocket::pong_server().start().await;
    let proxy = proxy().pool("blue", 1, &[&app]).start();
    let mut open = websocket::handshake(&proxy).await;
    hold(&proxy, HOUR);
    let mut client = proxy.client().await;
    client.send(websocket::request()).await;
    waits(&proxy, 1).await;
    let frame = websocket::frame(0x81, b"still there?");
    open.writer.send(&frame).await;
    assert_eq!(open.reader.bytes(frame.len()).await, frame);
    resume(&proxy);
    assert_eq!(client.answer().await.status, 101);
}

#[tokio::test]
async fn after_a_hold_limits_hold_and_patience_begins() {
    let app = endpoint("app").serve(move |mut peer| async move {
        while peer.request().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            peer.write(&answer(200, &[], b"app")).await;
        }
    });
    let app = app.start().await;
    let proxy = proxy()
        .workers(2)
        .service("limits.requests = 2\nqueue.wait = \"300ms\"")
        .pool("blue", 1, &[&app])
        .start();
    let began = Instant::now();
    hold(&proxy, HOUR);
    let mut asked = Vec::new();
    for count in 1..=12 {
        asked.push(held(&proxy, count).await);
    }
    until("more than that to be over", || {
        began.elapsed() > Duration::from_millis(350)
    })
    .await;
    resume(&proxy);
    for one in asked {
        while !one.is_finished() {
            assert!(proxy.in_flight("blue") <= 2);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(one.await.unwrap().status, 200);
    }
    assert_eq!((proxy.waiting(), proxy.rejections()), (0, Vec::new()));
}

#[tokio::test]
async fn a_request_is_held_no_longer_than_it_may_take() {
    let app = app().await;
    let proxy = proxy()
        .service("timeouts.request = \"200ms\"")
        .pool("blue", 1, &[&app])
        .start();
    hold(&proxy, HOUR);
    assert_eq!(within("a refusal", proxy.get("/")).await.status, 503);
    assert_eq!(proxy.rejections(), [("queue_timeout", 1)]);
}

#[tokio::test]
async fn who_is_held_when_the_process_ends_is_told_to_come_back() {
    let app = app().await;
    let mut proxy = proxy().workers(2).pool("blue", 1, &[&app]).start();
    hold(&proxy, HOUR);
    let asked = [held(&proxy, 1).await, held(&proxy, 2).await];
    let drained = proxy.drain(Duration::from_millis(200)).await;
    assert_eq!(drained.cut, 0);
    for one in asked {
        let answer = within("an answer", one).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1"))
        );
    }
}

#[tokio::test]
async fn who_is_held_when_the_process_ends_flows_where_the_hold_is_over_in_time() {
    let app = app().await;
    let mut proxy = proxy().pool("blue", 1, &[&app]).start();
    hold(&proxy, HOUR);
    let asked = held(&proxy, 1).await;
    hold(&proxy, Duration::from_millis(300));
    let drained = proxy.drain(Duration::from_secs(5)).await;
    assert!(!drained.timed_out);
    assert_eq!(within("an answer", asked).await.unwrap().status, 200);
}

#[tokio::test]
async fn in_maintenance_clients_get_the_page_and_some_are_let_through() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("soon.html");
    fs::write(&page, "<p>soon ({status})").unwrap();
    let app = app().await;
    let proxy = proxy()
        .service(&format!(
            "maintenance = {{ file = {page:?}, status = 500, retry_after = \"90s\", allow = [\"127.0.0.2\"] }}"
        ))
        .pool("blue", 1, &[&app])
        .start();
    hold(&proxy, HOUR);
    let waited = held(&proxy, 1).await;
    admit(&proxy, Admission::Maintenance, None);
    let waited = within("an answer", waited).await.unwrap();
    for answer in [waited, proxy.get("/").await] {
        assert_eq!((answer.status, &*answer.body), (500, "<p>soon (500)"));
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(answer.header("retry-after"), Some("90"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let mut tester = proxy.client_from("127.0.0.2").await;
    assert_eq!(tester.get("/").await.body, "app");
    assert_eq!(proxy.rejections(), [("maintenance", 2)]);
    // Its end is known.
    admit(
        &proxy,
        Admission::Maintenance,
        Some(Duration::from_secs(30)),
    );
    let answer = proxy.get("/").await;
    let seconds = answer.header("retry-after").unwrap().parse::<u32>();
    assert!((20..=30).contains(&seconds.unwrap()));
    resume(&proxy);
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn without_a_page_maintenance_has_that_of_its_status_or_a_few_words() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("503.txt");
    fs::write(&page, "later").unwrap();
    let app = app().await;
    for (lines, body) in [
        (String::new(), "503 Service Unavailable\n"),
        (format!("errors.503.file = {page:?}"), "later"),
    ] {
        let proxy = proxy().service(&lines).pool("blue", 1, &[&app]).start();
        admit(&proxy, Admission::Maintenance, None);
        let answer = proxy.get("/").await;
        assert_eq!((answer.status, &*answer.body), (503, body));
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
}

/// The SHA-256 of `secret`.
const TOKEN: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn file(app: &App, lines: &str) -> String {
    format!(
        "admin.tokens = [{{ name = \"ops\", role = \"operator\", sha256 = \"{TOKEN}\" }}]\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nprobe = false\n{lines}\n\
         pools.blue.endpoints = [\"{}\"]\n",
        app.address
    )
}

async fn cli(shop: &Whole, line: &'static str) -> String {
    let (code, out) = run(shop, line).await;
    assert_eq!(code, Some(0), "{out}");
    out
}

/// How the command line exits, and what it prints.
async fn run(shop: &Whole, line: &'static str) -> (Option<i32>, String) {
    let admin = shop.admin().to_string();
    let run = move || {
        let words: Vec<_> = line.split(' ').collect();
        let folder = tempfile::tempdir().unwrap();
        let mut command = bare_cli(folder.path(), &words);
        command.env("CUTOVER_ADMIN", admin);
        command.env("CUTOVER_TOKEN", "secret");
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn post(shop: &Whole, path: &str, body: &str) -> Value {
    let mut operator = shop.operator().await;
    let length = body.len();
    operator
        .send(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
    let answer = operator.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn until_status(shop: &Whole, status: u16) -> Answer {
    within("another answer", async {
        loop {
            let answer = shop.get("/").await;
            if answer.status == status {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

#[tokio::test]
async fn operators_hold_and_resume_by_api_command_line_and_file() {
    let app = app().await;
    let shop = whole(&file(&app, "")).await;
    until_status(&shop, 200).await;
    let asked = app.requests().len();

    let done = cli(&shop, "hold app --for 50s --wait --reason migration").await;
    assert!(done.contains("app.admission: open → hold until"), "{done}");
    assert!(done.contains("nothing is in flight any more"), "{done}");
    let mut client: Client = shop.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    shop.until("it to wait", |app| app["waiting"] == 1).await;
    assert_eq!(shop.service().await["admission"], "hold");
    let status: Value = serde_json::from_str(&shop.ask("/v1/status").await).unwrap();
    let held = &status["holds"][0];
    assert_eq!(
        (&held["service"], &held["waiting"]),
        (&"app".into(), &1.into())
    );
    assert_eq!(held["reason"], "migration");
    assert!((30..=50).contains(&held["left_seconds"].as_u64().unwrap()));
    let metrics = shop.ask("/metrics").await;
    for line in [
        "cutover_admission{service=\"app\",admission=\"hold\"} 1",
        "cutover_admission{service=\"app\",admission=\"open\"} 0",
        "cutover_queue_length{service=\"app\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let page = cli(&shop, "status").await;
    assert!(page.starts_with("app: requests are held"), "{page}");
    assert!(page.contains("next: cutover resume app"), "{page}");
    assert_eq!(app.requests().len(), asked);
    cli(&shop, "resume app").await;
    assert_eq!(client.answer().await.status, 200);

    let answer = post(&shop, "/v1/services/app/maintenance", "{\"for\":\"1h\"}").await;
    assert_eq!(answer["durable"], true);
    assert_eq!(shop.get("/").await.status, 503);
    let steps = "{\"changes\":[{\"do\":\"resume\",\"service\":\"app\"}]}";
    post(&shop, "/v1/changes", steps).await;
    assert_eq!(shop.get("/").await.status, 200);
    assert_eq!(shop.events("hold").await, 1);
    assert_eq!(shop.events("maintenance").await, 1);
    assert_eq!(shop.events("resume").await, 2);
    shop.stop().await;
}

#[tokio::test]
async fn who_waits_in_vain_for_work_to_end_is_told_by_the_exit_code() {
    let (app, let_go) = caller::holding("app").await;
    let shop = whole(&file(&app, "")).await;
    until_status(&shop, 200).await;
    let mut client = shop.client().await;
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n").await;
    shop.until("it to be under way", |app| {
        app["pools"]["blue"]["in_flight"] == 1
    })
    .await;
    let (code, out) = run(&shop, "hold app --wait --deadline 100ms").await;
    assert!(out.contains("1 requests are still in flight"), "{out}");
    assert_eq!(code, Some(7));
    // What has begun goes on.
    let_go.send_replace(true);
    assert_eq!(client.answer().await.status, 200);
    let (code, out) = run(&shop, "maintenance app --wait").await;
    assert_eq!(code, Some(0), "{out}");
    shop.stop().await;
}

#[tokio::test]
async fn an_edit_of_the_file_holds_and_resumes_live() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("soon.txt");
    fs::write(&page, "soon").unwrap();
    let app = app().await;
    let shop = whole(&file(&app, "")).await;
    until_status(&shop, 200).await;
    let lines = format!("admission = \"maintenance\"\nmaintenance.file = {page:?}");
    shop.save(&file(&app, &lines));
    let answer = until_status(&shop, 503).await;
    assert_eq!(
        (answer.header("retry-after"), &*answer.body),
        (Some("60"), "soon")
    );
    fs::write(&page, "sooner").unwrap();
    within("the page to change", async {
        while shop.get("/").await.body != "sooner" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let explained = shop.ask("/v1/explain?url=/").await;
    let explained: Value = serde_json::from_str(&explained).unwrap();
    assert_eq!(explained["answer"], 503);
    shop.save(&file(&app, ""));
    until_status(&shop, 200).await;
    // A hold of the file ends though the file goes on saying so.
    shop.save(&file(&app, "admission = \"hold\"\nhold.for = \"500ms\""));
    within("a hold", async {
        while shop.events("hold").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(shop.get("/").await.status, 200);
    shop.until("its end", |app| app["admission"] == "open")
        .await;
    assert_eq!(shop.events("hold").await, 1);
    assert_eq!(shop.events("maintenance").await, 1);
    assert_eq!(shop.events("resume").await, 2);
    shop.stop().await;
}
