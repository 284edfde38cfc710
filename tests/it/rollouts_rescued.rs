//! A whole Cutover takes a version back that fails from its first request, and nobody has seen it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use serde_json::Value;

use crate::support::{App, Whole, answer, endpoint, whole, within};

/// SHA-256 of `secret`.
const TOKEN: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// Ready, and of no other use.
async fn broken() -> App {
    let app = endpoint("green").serve(|mut peer| async move {
        while let Ok(request) = peer.request().await {
            let probe = request.starts_with("GET /healthz ");
            let status = if probe { 200 } else { 500 };
            peer.write(&answer(status, &[], b"green")).await;
        }
    });
    app.start().await
}

fn file(blue: &App, green: &App) -> String {
    format!(
        "admin.tokens = [{{ name = \"ops\", role = \"operator\", sha256 = \"{TOKEN}\" }}]\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nweights = {{ blue = 100, green = 0 }}\n\
         retry.budget = \"100%\"\nprobe.path = \"/healthz\"\nprobe.interval = \"200ms\"\n\
         rollout.steps = [{{ share = \"20%\", hold = \"10m\" }}]\nrollout.warm_up = \"0s\"\n\
         pools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"{}\"]\n",
        blue.address, green.address
    )
}

async fn start(shop: &Whole) {
    let body = "{\"to\":\"green\"}";
    let mut operator = shop.operator().await;
    operator
        .send(format!(
            "POST /v1/services/app/rollouts HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    let answer = operator.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The value of a series; 0 where there is none.
fn value(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(series));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn weights(service: &Value) -> (u64, u64) {
    let weight = |pool: &str| service["weights"][pool].as_u64().unwrap();
    (weight("blue"), weight("green"))
}

#[tokio::test]
async fn a_version_that_fails_from_its_first_request_is_taken_back_and_nobody_has_seen_it() {
    let (blue, green) = (endpoint("blue").start().await, broken().await);
    let shop = whole(&file(&blue, &green)).await;
    start(&shop).await;
    shop.until("the new version to have a share", |service| {
        weights(service).1 > 0
    })
    .await;
    let mut asked = 0_u64;
    within("the old version to have everything", async {
        while weights(&shop.service().await).1 > 0 {
            // The guard believes no single client.
            for last in 1..=9 {
                let ip = [127, 0, 0, last].into();
                let mut client = crate::support::Client::connect_from(ip, shop.address()).await;
                let answer = client.get("/").await;
                assert_eq!((answer.status, answer.body.as_str()), (200, "blue"));
                asked += 1;
            }
        }
    })
    .await;
    let metrics = shop.ask("/metrics").await;
    let of = |name: &str, pool: &str| {
        value(
            &metrics,
            &format!("cutover_rollout_{name}{{service=\"app\",pool=\"{pool}\"}}"),
        )
    };
    let errors = of("errors_total", "green");
    assert!(errors >= 5, "{metrics}");
    assert_eq!(of("requests_total", "green"), errors);
    assert_eq!(of("rescued_total", "green"), errors);
    assert_eq!(of("felt_total", "green"), 0);
    assert_eq!(of("errors_total", "blue"), 0);
    assert!(of("requests_total", "blue") <= asked - errors);
    let series = "cutover_retries_total{service=\"app\",pool=\"green\",outcome=\"answered\"}";
    assert_eq!(value(&metrics, series), errors);
    shop.stop().await;
}
