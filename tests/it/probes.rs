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
    support::{App, answer, endpoint},
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
