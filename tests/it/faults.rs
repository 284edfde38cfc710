//! Faults that a rehearsal injects: who gets them, what they do, what counts them, and that they end by themselves.

use std::time::{Duration, Instant};

use cutover::{
    pool::State,
    telemetry::Injected,
    units::{InjectedFault, Timestamp},
};

use crate::support::{App, Proxy, endpoint, proxy, until, within};

fn in_an_hour() -> Timestamp {
    Timestamp::now() + Duration::from_hours(1)
}

/// The key of the service, with an entry of each of these.
fn faults(entries: &[&str]) -> String {
    let until = in_an_hour();
    let entries = entries.iter();
    let entries: Vec<_> = entries
        .map(|entry| format!("{{ {entry}, until = \"{until}\" }}"))
        .collect();
    format!("faults = [{}]", entries.join(", "))
}

fn injected(proxy: &Proxy, pool: &str, kind: Injected) -> u64 {
    proxy.injected(pool, kind)
}

async fn app() -> App {
    endpoint("app").start().await
}

#[tokio::test]
async fn an_aborted_request_is_answered_in_its_endpoints_place() {
    let app = app().await;
    let proxy = proxy()
        .service(&faults(&["abort = 503, share = \"100%\""]))
        .service("pool_header = true")
        .pool("blue", 1, &[&app])
        .start();
    let answer = proxy.get("/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.body, "503 Service Unavailable\n");
    assert!(app.requests().is_empty());
    assert_eq!(injected(&proxy, "blue", Injected::Abort), 1);
    // An answer and an error of the pool, and of no endpoint.
    assert_eq!(proxy.answers("blue"), [(503, false, 1)]);
    assert_eq!(proxy.failures("blue"), [("injected", 1)]);
    assert_eq!((proxy.faults("blue"), proxy.in_flight("blue")), (0, 0));
    assert_eq!(proxy.rejections(), []);
}

#[tokio::test]
async fn a_refusal_that_is_injected_is_no_error() {
    let app = app().await;
    let proxy = proxy()
        .service(&faults(&["abort = 429, share = \"100%\""]))
        .pool("blue", 1, &[&app])
        .start();
    assert_eq!(proxy.get("/").await.status, 429);
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn an_aborted_request_is_not_sent_once_more_elsewhere() {
    let (one, other) = (app().await, app().await);
    let proxy = proxy()
        .service(&faults(&[
            "abort = 502, share = \"100%\", pool = \"green\"",
        ]))
        .pool("blue", 0, &[&one])
        .pool("green", 1, &[&other])
        .start();
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(proxy.retries("green"), []);
    assert!(one.requests().is_empty() && other.requests().is_empty());
}

#[tokio::test]
async fn a_delayed_request_holds_nothing_and_is_then_sent_as_it_would_have_been() {
    let app = app().await;
    let proxy = proxy()
        // Of a connection that has more patience with its client's head than with anything else.
        .listener("timeouts = { header = \"100ms\", idle = \"100ms\" }")
        .service(&faults(&["delay = \"400ms\", share = \"100%\""]))
        .pool("blue", 1, &[&app])
        .start();
    let mut client = proxy.client().await;
    let began = Instant::now();
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
        .await;
    let delayed = || injected(&proxy, "blue", Injected::Delay) == 1;
    until("the delay to begin", delayed).await;
    assert_eq!(proxy.in_flight("blue"), 0);
    assert!(app.requests().is_empty());
    let answer = client.answer().await;
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!((answer.status, &*answer.body), (200, "app"));
    assert!(app.request().ends_with("\r\n\r\nabc"));
    assert_eq!(proxy.failures("blue"), []);
}

#[tokio::test]
async fn a_delay_takes_nothing_of_the_time_that_the_endpoint_has() {
    let app = app().await;
    let proxy = proxy()
        .service(&faults(&["delay = \"400ms\", share = \"100%\""]))
        .service("timeouts.response = \"250ms\"")
        .pool("blue", 1, &[&app])
        .start();
    // The second goes over the connection that the first has left.
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn a_delay_ends_when_the_requests_time_does_or_its_client_goes() {
    let app = app().await;
    let proxy = proxy()
        .service(&faults(&["delay = \"1h\", share = \"100%\""]))
        .service("timeouts.request = \"200ms\"")
        .pool("blue", 1, &[&app])
        .start();
    assert_eq!(within("the end", proxy.get("/")).await.status, 504);
    assert!(app.requests().is_empty());
    let mut goes = proxy.client().await;
    goes.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    drop(goes);
    proxy
        .until("the connection to end", |proxy| {
            proxy.server().gauge().connections()[0].1 == 0
        })
        .await;
}

#[tokio::test]
async fn a_request_may_be_delayed_and_then_aborted_and_the_first_fault_that_it_draws_is_its_only_one()
 {
    let app = app().await;
    let proxy = proxy()
        .service(&faults(&[
            "abort = 500, share = \"0%\"",
            "delay = \"50ms\", abort = 504, share = \"100%\"",
            "abort = 500, share = \"100%\"",
        ]))
        .pool("blue", 1, &[&app])
        .start();
    let began = Instant::now();
    assert_eq!(proxy.get("/").await.status, 504);
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(injected(&proxy, "blue", Injected::Delay), 1);
    assert_eq!(injected(&proxy, "blue", Injected::Abort), 1);
}

#[tokio::test]
async fn a_fault_means_its_pool_alone_and_what_is_delayed_for_a_pool_goes_there() {
    let (blue, green) = (app().await, app().await);
    let proxy = proxy()
        .service(&faults(&[
            "delay = \"1ms\", share = \"100%\", pool = \"green\"",
        ]))
        .pool("blue", 1, &[&blue])
        .pool("green", 1, &[&green])
        .start();
    let mut client = proxy.client().await;
    for _ in 0..200 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let sent = green.requests().len() as u64;
    assert!((50..150).contains(&sent), "{sent}");
    assert_eq!(injected(&proxy, "green", Injected::Delay), sent);
    assert_eq!(injected(&proxy, "blue", Injected::Delay), 0);
}

#[tokio::test]
async fn a_fault_takes_its_share_of_the_requests_with_its_header() {
    let app = app().await;
    let fault = "abort = 503, share = \"50%\", headers = { x-rehearsal = \"yes\" }";
    let proxy = proxy()
        .service(&faults(&[fault]))
        .pool("blue", 1, &[&app])
        .start();
    let mut client = proxy.client().await;
    let mut aborted = 0;
    for _ in 0..200 {
        assert_eq!(client.get("/").await.status, 200);
        client
            .send("GET / HTTP/1.1\r\nhost: a\r\nx-rehearsal: yes\r\n\r\n")
            .await;
        aborted += u64::from(client.answer().await.status == 503);
    }
    // Outside of this once in ten million times.
    assert!((62..138).contains(&aborted), "{aborted}");
    assert_eq!(injected(&proxy, "blue", Injected::Abort), aborted);
}

#[tokio::test]
async fn a_fault_ends_by_itself() {
    let app = app().await;
    let proxy = proxy().pool("blue", 1, &[&app]).start();
    let set = |until: Timestamp| {
        proxy.decide(|decided| {
            let mut plan = (*decided.plan).clone();
            plan.faults = vec![InjectedFault {
                delay: None,
                abort: Some(http::StatusCode::SERVICE_UNAVAILABLE),
                share: "100%".parse().unwrap(),
                headers: Vec::new(),
                pool: None,
                until,
            }];
            decided.plan = plan.into();
        });
    };
    let mut client = proxy.client().await;
    set(Timestamp::now() - Duration::from_secs(1));
    assert_eq!(client.get("/").await.status, 200);
    set(in_an_hour());
    assert_eq!(client.get("/").await.status, 503);
    set(Timestamp::now() + Duration::from_millis(300));
    assert_eq!(client.get("/").await.status, 503);
    within("it to end", async {
        while client.get("/").await.status == 503 {}
    })
    .await;
}

#[tokio::test]
async fn a_call_of_grpc_and_the_rules_of_a_route_are_heeded() {
    let app = app().await;
    let proxy = proxy()
        .service(&faults(&["abort = 503, share = \"100%\""]))
        .pool("blue", 1, &[&app])
        .more("[[routes]]\nservice = \"app\"\nresponse_headers.set = { x-from = \"route\" }\n")
        .start();
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.header("grpc-status")),
        (200, Some("14"))
    );
    assert_eq!(answer.header("x-from"), Some("route"));
    assert_eq!(proxy.answers("blue"), [(503, false, 1)]);
}

#[tokio::test]
async fn the_access_log_says_what_was_injected() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let app = app().await;
    let proxy = proxy()
        .log_to(&path)
        .service(&faults(&[
            "abort = 500, share = \"100%\", headers = { x-do = \"abort\" }",
            "delay = \"1ms\", share = \"100%\"",
        ]))
        .pool("blue", 1, &[&app])
        .start();
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nx-do: abort\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 500);
    assert_eq!(client.get("/").await.status, 200);
    let text = || std::fs::read_to_string(&path).unwrap_or_default();
    until("two lines", || text().lines().count() == 2).await;
    let text = text();
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].contains(" 500 proxy app/blue/- ") && lines[0].ends_with("error=injected-abort")
    );
    assert!(
        lines[1].contains(" 200 endpoint app/blue/") && lines[1].ends_with("error=injected-delay")
    );
}

#[tokio::test]
async fn a_pool_that_gets_nothing_has_nothing_injected() {
    let (blue, green) = (app().await, app().await);
    let proxy = proxy()
        .service(&faults(&[
            "abort = 500, share = \"100%\", pool = \"green\"",
        ]))
        .pool("blue", 1, &[&blue])
        .pool("green", 1, &[&green])
        .start();
    proxy.put("green", State::Unready, false);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert_eq!(injected(&proxy, "green", Injected::Abort), 0);
}
