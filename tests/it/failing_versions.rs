//! Versions of an app that fail while others serve, or all together.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crate::support::{App, Client, Whole, answer, endpoint, whole, within};

/// Two pools of one endpoint each.
fn versions(blue: &App, green: &App, weights: &str, more: &str) -> String {
    format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nweights = {{ {weights} }}\n\
         probe.path = \"/healthz\"\nprobe.interval = \"200ms\"\nprobe.timeout = \"2s\"\n{more}\n\
         pools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"{}\"]\n",
        blue.address, green.address
    )
}

/// An app that serves, and whose health a test decides, probe by probe.
async fn ailing(
    name: &'static str,
    healthy: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> App {
    let (probes, healthy) = (Arc::new(AtomicUsize::new(0)), Arc::new(healthy));
    let app = endpoint(name).serve(move |mut peer| {
        let (probes, healthy) = (probes.clone(), healthy.clone());
        async move {
            while let Ok(request) = peer.request().await {
                let asked = request.starts_with("GET /healthz ");
                let well = !asked || healthy(probes.fetch_add(1, SeqCst));
                let status = if well { 200 } else { 503 };
                peer.write(&answer(status, &[], name.as_bytes())).await;
            }
        }
    });
    app.start().await
}

fn probes(app: &App) -> usize {
    let requests = app.requests();
    let asked = requests.iter().filter(|asked| asked.contains("/healthz"));
    asked.count()
}

async fn until_probed(app: &App, times: usize) {
    let begun = probes(app);
    crate::support::until("probes", || probes(app) >= begun + times).await;
}

async fn bodies(client: &mut Client, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let answer = client.get("/").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        bodies.push(answer.body);
    }
    bodies
}

#[tokio::test]
async fn u_17_health_that_flaps_at_every_check_changes_nothing() {
    let well_at_first = |probe: usize| probe < 2 || probe.is_multiple_of(2);
    let blue = ailing("blue", well_at_first).await;
    let green = ailing("green", |probe| probe.is_multiple_of(2)).await;
    let shop = whole(&versions(&blue, &green, "blue = 100, green = 0", "")).await;
    // It serves once it is published that blue is ready.
    let mut client = shop.client().await;
    assert_eq!(client.get("/").await.body, "blue");
    let before = shop.service().await["generation"].clone();
    let (blue_too, green_too) = (until_probed(&blue, 20), until_probed(&green, 20));
    tokio::join!(blue_too, green_too);
    assert_eq!(bodies(&mut client, 20).await, ["blue"; 20]);
    let service = shop.service().await;
    let state = |pool: &str| service["pools"][pool]["endpoints"][0]["state"].clone();
    assert_eq!(
        (state("blue"), state("green")),
        ("ready".into(), "unproven".into())
    );
    assert_eq!(service["generation"], before, "nothing was published");
    assert_eq!(shop.events("endpoint-unready").await, 0);
    shop.stop().await;
}

#[tokio::test]
async fn u_17_where_all_are_unhealthy_all_are_tried_and_none_has_to_bear_it_alone() {
    let well = Arc::new(AtomicBool::new(true));
    let health = || {
        let well = well.clone();
        move |_| well.load(SeqCst)
    };
    let (blue, green) = (
        ailing("blue", health()).await,
        ailing("green", health()).await,
    );
    let shop = whole(&versions(&blue, &green, "blue = 50, green = 50", "")).await;
    shop.until("both to be ready", |service| service["state"] == "serving")
        .await;
    shop.until_state("green", "ready").await;
    well.store(false, SeqCst);
    shop.until("fail-open", |service| service["state"] == "failing-open")
        .await;
    let mut client = shop.client().await;
    // It fails open once that is published: until then the one that was unready last has all.
    within("an answer of each", async {
        for name in ["blue", "green"] {
            while client.get("/").await.body != name {}
        }
    })
    .await;
    let answered = bodies(&mut client, 200).await;
    let by_blue = answered.iter().filter(|name| *name == "blue").count();
    // 99.99 % of two hundred throws of a coin.
    assert!((72..=128).contains(&by_blue), "{by_blue} of 200 by blue");
    well.store(true, SeqCst);
    shop.until("it to serve", |service| service["state"] == "serving")
        .await;
    assert_eq!(shop.events("fail-open").await, 1);
    shop.stop().await;
}

/// When an app's health was asked for.
type Asked = Arc<Mutex<Vec<Instant>>>;

#[tokio::test]
async fn u_17_requests_that_fail_bring_no_storm_of_probes() {
    let asked = Asked::default();
    let health = {
        let asked = asked.clone();
        ailing("health", move |_| {
            asked.lock().unwrap().push(Instant::now());
            true
        })
        .await
    };
    let (gone, green) = (
        endpoint("gone").start().await,
        endpoint("green").start().await,
    );
    let port = format!("probe.port = {}", health.address.port());
    let text = versions(&gone, &green, "blue = 100, green = 0", &port).replace("200ms", "60s");
    let shop = whole(&text).await;
    shop.until_state("blue", "ready").await;
    gone.stop().await;
    let begun = Instant::now();
    let mut failed = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(shop.get("/").await.status, 502);
        failed += 1;
    }
    let since = {
        let asked = asked.lock().unwrap();
        asked.iter().filter(|at| **at >= begun).count()
    };
    assert!(
        failed > 20 && since >= 1,
        "{failed} requests, {since} probes"
    );
    // Of both pools: at most one in 50 ms each.
    assert!(since <= 2 * 21, "{since} probes for {failed} requests");
    shop.stop().await;
}

#[tokio::test]
async fn u_20_a_version_that_dies_in_the_middle_of_a_shift_leaves_its_share_to_the_other() {
    let (blue, green) = (
        endpoint("blue").start().await,
        endpoint("green").start().await,
    );
    let shop = whole(&versions(&blue, &green, "blue = 50, green = 50", "")).await;
    for pool in ["blue", "green"] {
        shop.until_state(pool, "ready").await;
    }
    let mut client = shop.client().await;
    assert!(bodies(&mut client, 100).await.contains(&"blue".to_owned()));
    let address = blue.stop().await;
    // Before any probe has seen it as well as afterwards.
    assert_eq!(bodies(&mut client, 50).await, ["green"; 50]);
    shop.until_state("blue", "unready").await;
    assert_eq!(bodies(&mut client, 50).await, ["green"; 50]);
    let _blue = endpoint("blue").start_at(address).await;
    shop.until_state("blue", "ready").await;
    assert!(bodies(&mut client, 100).await.contains(&"blue".to_owned()));
    shop.stop().await;
}

#[tokio::test]
async fn u_20_a_version_that_had_everything_and_died_is_no_obstacle_to_the_other() {
    let (blue, green) = (
        endpoint("blue").start().await,
        endpoint("green").start().await,
    );
    let text = |weights: &str| versions(&blue, &green, weights, "");
    let (before, after) = (text("blue = 100, green = 0"), text("blue = 0, green = 100"));
    let shop = whole(&before).await;
    for pool in ["blue", "green"] {
        shop.until_state(pool, "ready").await;
    }
    blue.stop().await;
    shop.until_state("blue", "unready").await;
    assert_eq!(shop.get("/").await.status, 502);
    let reached = green
        .requests()
        .into_iter()
        .filter(|asked| asked.starts_with("GET / "));
    assert_eq!(reached.count(), 0, "no weight, no request");
    shop.save(&after);
    shop.until("green to serve", |service| {
        service["share"]["requested"]["green"] == 1.0
    })
    .await;
    within("an answer of green's", async {
        while shop.get("/").await.body != "green" {}
    })
    .await;
    shop.stop().await;
}

/// How long it takes from the moment both apps are back until a request is answered.
async fn recovery(more: &str, refusal: u16) -> (Whole, Option<String>, Duration) {
    let (blue, green) = (
        endpoint("blue").start().await,
        endpoint("green").start().await,
    );
    let shop = whole(&versions(&blue, &green, "blue = 50, green = 50", more)).await;
    for pool in ["blue", "green"] {
        shop.until_state(pool, "ready").await;
    }
    let (blue, green) = (blue.stop().await, green.stop().await);
    for pool in ["blue", "green"] {
        shop.until_state(pool, "unready").await;
    }
    let mut refused = shop.get("/").await;
    within("a refusal", async {
        while refused.status != refusal {
            refused = shop.get("/").await;
        }
    })
    .await;
    let after = refused.header("retry-after").map(str::to_owned);
    let _blue = endpoint("blue").start_at(blue).await;
    let _green = endpoint("green").start_at(green).await;
    let back = Instant::now();
    within("an answer", async {
        while shop.get("/").await.status != 200 {}
    })
    .await;
    (shop, after, back.elapsed())
}

/// What a busy machine may take besides.
const SLACK: Duration = Duration::from_millis(500);

#[tokio::test]
async fn u_21_where_both_versions_are_dead_a_client_is_told_when_to_come_back_and_served_after_an_interval()
 {
    let (shop, after, took) = recovery("fail_open = false", 503).await;
    assert_eq!(after.as_deref(), Some("1"));
    assert!(took <= Duration::from_millis(200) + SLACK, "{took:?}");
    shop.stop().await;
}

#[tokio::test]
async fn u_21_failing_open_serves_again_at_the_first_request() {
    // They are tried, and refuse.
    let (shop, _, took) = recovery("", 502).await;
    assert!(took <= SLACK, "{took:?}");
    shop.stop().await;
}
