//! A new version that is judged by copies of its users' requests before it has a user.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use crate::{
    rollouts_whole::{Shop, shop_of},
    support::{App, Client, answer, endpoint},
};

/// It is judged by copies of all requests, as fast as that can be.
const COPIES: &str = r#"
strategy = "blue-green"
warm_up = "200ms"
bake = "0s"
steps = [{ mirror = "100%", judge = "1s" }]
judge = { interval = "200ms", min_requests = 50, error_margin = "5%", latency = { floor = "20ms" }, max_hold = "20s" }
"#;

/// Ask until they are told to stop, or meet the new version. How many answers they got from the old one; none was a failure.
async fn users(shop: &Shop, over: Arc<AtomicBool>) -> u64 {
    let address = shop.whole.address();
    let users = (0..4).map(|_| {
        let over = over.clone();
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) {
                let answer = client.get("/").await;
                assert_eq!(answer.status, 200);
                if answer.body == "green" {
                    break;
                }
                asked += 1;
            }
            asked
        })
    });
    let mut all = 0;
    for user in users.collect::<Vec<_>>() {
        all += user.await.unwrap();
    }
    all
}

/// How a rollout to this version ends, under load; users meet the old version until it is over.
async fn judged(green: App) -> (Value, Shop) {
    let shop = shop_of(endpoint("blue").start().await, green, COPIES).await;
    let id = shop.start().await;
    let over = Arc::new(AtomicBool::new(false));
    let met = users(&shop, over.clone());
    let ends = async {
        let ends = shop
            .until(id, "the judgement", |seen| {
                seen["stage"] != "preparing" && seen["stage"] != "stepping"
            })
            .await;
        over.store(true, Ordering::Relaxed);
        ends
    };
    let (asked, _) = tokio::join!(met, ends);
    assert!(asked > 50, "{asked}");
    let seen = shop
        .until(id, "its end", |seen| !seen["ended"].is_null())
        .await;
    (seen, shop)
}

/// Every request takes so long, and is answered so.
async fn app(status: u16, takes: Duration) -> App {
    let app = endpoint("green").serve(move |mut peer| async move {
        while peer.request().await.is_ok() {
            tokio::time::sleep(takes).await;
            peer.write(&answer(status, &[], b"green")).await;
        }
    });
    app.start().await
}

#[tokio::test]
async fn one_that_answers_copies_as_well_gets_all_requests() {
    let (seen, shop) = judged(app(200, Duration::ZERO).await).await;
    assert_eq!(seen["state"], "succeeded", "{seen:#}");
    assert_eq!(shop.whole.get("/").await.body, "green");
    let log = seen["log"].as_array().unwrap();
    let told = |text: &str| {
        let details = log.iter().filter_map(|entry| entry["detail"].as_str());
        details.filter(|detail| *detail == text).count()
    };
    assert_eq!(
        told("copies of 100% of the requests to the new version"),
        1,
        "{seen:#}"
    );
    assert_eq!(told("judged good"), 1, "{seen:#}");
    shop.whole.stop().await;
}

#[tokio::test]
async fn one_that_fails_copies_is_refused_before_it_has_a_user() {
    let (seen, shop) = judged(app(500, Duration::ZERO).await).await;
    assert_eq!(
        (&seen["state"], &seen["cause"]["kind"]),
        (&"failed".into(), &"judge".into())
    );
    assert_eq!(
        seen["counts"]["requests"], 0,
        "no user has met it, and copies are nobody's requests"
    );
    let report = shop.whole.ask("/v1/reports/delivery").await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["total"]["refused"], 1, "{report:#}");
    shop.whole.stop().await;
}

#[tokio::test]
async fn one_that_is_slow_with_copies_is_refused_before_it_has_a_user() {
    let (seen, shop) = judged(app(200, Duration::from_millis(60)).await).await;
    assert_eq!(
        (&seen["state"], &seen["cause"]["kind"]),
        (&"failed".into(), &"judge".into())
    );
    let detail = seen["cause"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("slower") || detail.contains("p95"),
        "{detail}"
    );
    shop.whole.stop().await;
}

#[tokio::test]
async fn its_figures_are_shown_while_it_is_compared() {
    let plan = COPIES.replace("judge = \"1s\"", "approval = true");
    let shop = shop_of(
        endpoint("blue").start().await,
        app(200, Duration::ZERO).await,
        &plan,
    )
    .await;
    let id = shop.start().await;
    let seen = shop
        .until(id, "it to wait", |seen| seen["phase"] == "waiting")
        .await;
    assert_eq!(
        (seen["copies"].as_f64(), seen["share"].as_f64()),
        (Some(1.0), Some(0.0))
    );
    for _ in 0..3 {
        assert_eq!(shop.whole.get("/").await.body, "blue");
    }
    shop.until(id, "both to be counted", |seen| {
        seen["live"]["candidate"]["requests"] == 3 && seen["live"]["stable"]["requests"] == 3
    })
    .await;
    let (_, text) = shop.run(&["rollout", "status", "app"]).await;
    assert!(text.contains("copies of 100 %"), "{text}");
    let metrics = shop.whole.ask("/metrics").await;
    let series = "cutover_mirrored_requests_total{service=\"app\",pool=\"green\",outcome=\"same\"}";
    assert!(metrics.contains(series), "{metrics}");
    shop.whole.stop().await;
}
