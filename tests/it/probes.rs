//! Readiness by real probes of real endpoints: control decides, probes ask.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{net::SocketAddr, time::Duration};

use cutover::{
    control::{Wait, view},
    pool::{self, Nudge, State},
    probe::{self, Failures},
};
use tokio::time::{Instant, timeout};

use crate::{
    control::{World, act, switch},
    support::{App, H2App, answer, authority, endpoint, h2_endpoint},
};

struct Probed {
    world: World,
    nudge: Nudge,
    failures: Failures,
}

/// A service whose pools have these endpoints, all traffic to blue.
fn shop(probe: &str, blue: &[SocketAddr], green: &[SocketAddr]) -> String {
    format!(
        r#"
[[listeners]]
address = "127.0.0.1:8080"

[services.shop]
weights = {{ blue = 100, green = 0 }}
probe = {probe}
pools.blue.endpoints  = {blue:?}
pools.green.endpoints = {green:?}
"#,
        blue = blue.iter().map(ToString::to_string).collect::<Vec<_>>(),
        green = green.iter().map(ToString::to_string).collect::<Vec<_>>(),
    )
}

fn start(text: &str) -> Probed {
    let world = World::start(text);
    let (nudge, nudges) = pool::nudges();
    let failures = Failures::default();
    tokio::spawn(probe::run(world.control.clone(), nudges, failures.clone()));
    Probed {
        world,
        nudge,
        failures,
    }
}

impl Probed {
    async fn until(&self, pool: &str, state: State) {
        self.world
            .until(|service| first(service, pool).state == state)
            .await;
    }

    async fn first(&self, pool: &str) -> view::Endpoint {
        first(&self.world.shop().await, pool).clone()
    }

    async fn error(&self, pool: &str) -> String {
        self.first(pool).await.probe.unwrap().error.unwrap()
    }
}

fn first<'a>(service: &'a view::Service, pool: &str) -> &'a view::Endpoint {
    &service.pool(pool).unwrap().endpoints[0]
}

async fn apps() -> (App, App) {
    (
        endpoint("blue").start().await,
        endpoint("green").start().await,
    )
}

const QUICK: &str = r#"{ path = "/healthz", interval = "100ms", timeout = "5s" }"#;
const SLOW: &str = r#"{ path = "/healthz", interval = "60s", timeout = "5s" }"#;

#[tokio::test]
async fn an_endpoint_is_ready_once_it_has_passed_and_its_last_probe_is_shown() {
    let (blue, green) = apps().await;
    let shop = start(&shop(QUICK, &[blue.address], &[green.address]));
    shop.until("blue", State::Ready).await;
    shop.until("green", State::Ready).await;
    let last = shop.first("blue").await.probe.unwrap();
    assert_eq!(last.url, format!("http://{}/healthz", blue.address));
    assert_eq!((last.status, last.error), (Some(200), None));
    assert!(last.streak >= 2 && last.latency_ms > 0.0);
    let asked = &blue.requests()[0];
    assert!(asked.starts_with("GET /healthz HTTP/1.1\r\n"), "{asked}");
    assert!(
        asked.contains(&format!("host: {}\r\n", blue.address)),
        "{asked}"
    );
}

#[tokio::test]
async fn an_endpoint_that_stops_is_unready_and_ready_again_when_it_is_back() {
    let (blue, green) = apps().await;
    let shop = start(&shop(QUICK, &[blue.address], &[green.address]));
    shop.until("green", State::Ready).await;
    let address = green.stop().await;
    shop.until("green", State::Unready).await;
    assert_eq!(shop.error("green").await, "connection refused");
    let failed = shop
        .failures
        .rows()
        .into_iter()
        .filter(|(endpoint, reason, _)| {
            endpoint.pool == *"green" && *reason == probe::Reason::Connect
        });
    assert!(failed.map(|(.., count)| count).sum::<u64>() >= 3);
    let _green = endpoint("green").start_at(address).await;
    shop.until("green", State::Ready).await;
}

#[tokio::test]
async fn what_answers_wrongly_never_becomes_ready_and_status_says_why() {
    let moved = answer(301, &[("location", "/login")], b"");
    let (blue, green) = (
        endpoint("blue").bytes(moved).start().await,
        endpoint("green").reply(503).start().await,
    );
    let shop = start(&shop(QUICK, &[blue.address], &[green.address]));
    // Far more often than its rise count.
    blue.until_requests(10).await;
    green.until_requests(10).await;
    assert_eq!(shop.first("blue").await.state, State::Unproven);
    assert_eq!(
        shop.error("blue").await,
        "status 301 (Location: /login), expected 2xx; redirects are not followed"
    );
    assert_eq!(shop.error("green").await, "status 503, expected 2xx");
}

#[tokio::test]
async fn a_worker_s_nudge_finds_out_what_the_interval_would_hide_for_a_minute() {
    let (blue, green) = apps().await;
    let shop = start(&shop(SLOW, &[blue.address], &[green.address]));
    shop.until("blue", State::Ready).await;
    blue.stop().await;
    let held = shop.first("blue").await.endpoint;
    shop.nudge.send(&held);
    shop.until("blue", State::Unready).await;
}

#[tokio::test]
async fn a_switch_gets_fresh_proof_without_waiting_for_the_interval() {
    let (blue, green) = apps().await;
    let shop = start(&shop(SLOW, &[blue.address], &[green.address]));
    shop.until("blue", State::Ready).await;
    shop.until("green", State::Ready).await;
    let (before, called) = (green.requests().len(), Instant::now());
    let done = shop.world.control.act(act(switch("green"), Wait::None));
    let done = timeout(Duration::from_secs(20), done).await.unwrap();
    done.unwrap();
    assert_eq!(shop.world.serving(), "green=100");
    assert!(
        green.requests().len() >= before + 2,
        "by probes begun after the call"
    );
    assert!(called.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_switch_to_a_pool_that_has_died_unseen_is_refused() {
    let (blue, green) = apps().await;
    let shop = start(&shop(SLOW, &[blue.address], &[green.address]));
    shop.until("blue", State::Ready).await;
    shop.until("green", State::Ready).await;
    green.stop().await;
    let mut switch = act(switch("green"), Wait::None);
    switch.ready_timeout = Duration::from_secs(2);
    let refusal = shop.world.control.act(switch).await.unwrap_err();
    let told = refusal.evidence[0].probe.clone().unwrap();
    assert_eq!(told.error.as_deref(), Some("connection refused"));
    assert_eq!(shop.world.serving(), "blue=100");
}

#[tokio::test]
async fn an_edit_of_the_probe_is_adopted_and_forgets_nothing() {
    let (blue, green) = apps().await;
    let ready = start(&shop(QUICK, &[blue.address], &[green.address]));
    ready.until("blue", State::Ready).await;
    let since = ready.first("blue").await.since;
    let edited = QUICK.replace("/healthz", "/readyz");
    let edited = shop(&edited, &[blue.address], &[green.address]);
    ready.world.edit(&edited).await.unwrap();
    crate::support::until("the new path to be asked", || {
        blue.requests()
            .iter()
            .any(|asked| asked.starts_with("GET /readyz "))
    })
    .await;
    let held = ready.first("blue").await;
    assert_eq!((held.state, held.since), (State::Ready, since));
}

#[tokio::test]
async fn an_endpoint_that_leaves_the_file_is_not_asked_any_more() {
    let (blue, green) = apps().await;
    let other = endpoint("blue").start().await;
    let both = [blue.address, other.address];
    let ready = start(&shop(QUICK, &both, &[green.address]));
    ready.until("blue", State::Ready).await;
    other.until_requests(2).await;
    let text = shop(QUICK, &[blue.address], &[green.address]);
    ready.world.edit(&text).await.unwrap();
    let gone = || {
        let rows = ready.failures.rows();
        rows.iter()
            .all(|(endpoint, ..)| endpoint.address.to_string() != other.address.to_string())
    };
    crate::support::until("its probes to end", gone).await;
    other.until_closed().await;
    let (asked, elsewhere) = (other.requests().len(), blue.requests().len());
    blue.until_requests(elsewhere + 5).await;
    assert!(other.requests().len() <= asked + 1);
}

/// The same, whose endpoints are met as `transport` says.
fn shop_over(transport: &str, probe: &str, blue: SocketAddr, green: SocketAddr) -> String {
    shop(probe, &[blue], &[green]).replace("weights = ", &format!("{transport}\nweights = "))
}

#[tokio::test]
async fn a_probe_goes_the_way_that_requests_go() {
    let (root, other) = (authority("root"), authority("other"));
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), &root.pem).unwrap();
    let blue = h2_endpoint("blue").tls(&root.server(&["127.0.0.1"]), (true, true));
    let green = h2_endpoint("green").tls(&other.server(&["127.0.0.1"]), (true, true));
    let (blue, green) = (blue.start().await, green.start().await);
    let tls = format!("tls.ca = {:?}", ca.path());
    for protocol in ["h1", "h2", "auto"] {
        let transport = format!("protocol = \"{protocol}\"\n{tls}");
        let shop = start(&shop_over(&transport, QUICK, blue.address, green.address));
        shop.until("blue", State::Ready).await;
        let probe = shop.first("blue").await.probe.unwrap();
        assert!(probe.url.starts_with("https://127.0.0.1:"), "{}", probe.url);
        until_failed(&shop, "green").await;
        let error = shop.error("green").await;
        assert!(error.starts_with("TLS: "), "{error}");
        let rows = shop.failures.rows();
        let told = rows.iter().find(|(_, _, count)| *count > 0).unwrap();
        assert_eq!(told.1.as_str(), "tls");
    }
}

async fn until_failed(shop: &Probed, pool: &str) {
    shop.world
        .until(|service| {
            let probe = &first(service, pool).probe;
            probe.as_ref().is_some_and(|probe| probe.error.is_some())
        })
        .await;
}

/// An app that says so of its health.
async fn healthy(status: u8) -> H2App {
    let app = h2_endpoint("app").serve(move |mut call| async move {
        let (body, _) = call.body().await;
        let path = call.request.uri().path();
        // The name of the service stands in the question.
        let asked = path == "/grpc.health.v1.Health/Check" && body.ends_with(b"shop.v1.Cart");
        let code = if asked { "0" } else { "12" };
        let head = http::Response::builder().header("content-type", "application/grpc");
        let mut stream = call
            .respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        let answer = vec![0, 0, 0, 0, 2, 8, status];
        stream.send_data(answer.into(), false).unwrap();
        let trailers = [("grpc-status".parse().unwrap(), code.parse().unwrap())];
        stream
            .send_trailers(trailers.into_iter().collect())
            .unwrap();
    });
    app.start().await
}

#[tokio::test]
async fn a_grpc_endpoint_is_ready_when_its_health_service_says_serving() {
    let (blue, green) = (healthy(1).await, healthy(2).await);
    let probe = r#"{ type = "grpc", service = "shop.v1.Cart", interval = "20ms" }"#;
    let text = shop_over("protocol = \"h2\"", probe, blue.address, green.address);
    let shop = start(&text);
    shop.until("blue", State::Ready).await;
    let probe = shop.first("blue").await.probe.unwrap();
    assert!(probe.url.ends_with("/shop.v1.Cart"), "{}", probe.url);
    until_failed(&shop, "green").await;
    assert_eq!(shop.error("green").await, "NOT_SERVING, expected SERVING");
    let (blue, green) = (healthy(1).await, endpoint("h1").start().await);
    let probe = r#"{ type = "grpc", interval = "20ms" }"#;
    let text = shop_over("protocol = \"h2\"", probe, blue.address, green.address);
    let shop = start(&text);
    until_failed(&shop, "blue").await;
    let error = shop.error("blue").await;
    assert!(error.contains("has no grpc.health.v1.Health"), "{error}");
    until_failed(&shop, "green").await;
    let error = shop.error("green").await;
    assert!(error.starts_with("HTTP/2: "), "{error}");
}
