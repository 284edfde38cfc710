//! A process that is killed in the middle of a rolling replacement, and the one that comes after it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{App, Client, Site, answer, endpoint};

const APP: &str = "/v1/services/app";

/// Four apps in one pool, which are replaced two at a time.
struct Shop {
    site: Site,
    apps: BTreeMap<String, App>,
}

/// An app that answers what is asked of it, but never `/slow`.
async fn app(at: Option<&str>) -> App {
    let app = endpoint("app").serve(|mut peer| async move {
        while let Ok(request) = peer.request().await {
            if request.starts_with("GET /slow ") {
                peer.until_closed().await;
                return;
            }
            peer.write(&answer(200, &[], b"app")).await;
        }
    });
    match at {
        Some(at) => app.start_at(at.parse().unwrap()).await,
        None => app.start().await,
    }
}

impl Shop {
    async fn begun() -> Self {
        let mut apps = BTreeMap::new();
        for _ in 0..4 {
            let app = app(None).await;
            apps.insert(app.address.to_string(), app);
        }
        let addresses: Vec<_> = apps.keys().map(|address| format!("{address:?}")).collect();
        let site = Site::start(&format!(
            "[services.app]\nprobe = {{ interval = \"50ms\", timeout = \"1s\" }}\ndrain.deadline = \"1m\"\n\
             pools.blue.endpoints = [{}]\n[services.app.rollout]\nstrategy = \"rolling\"\nbatch = 2\nwarm_up = \"0s\"\n\
             steps = [{{ approval = true }}]\n",
            addresses.join(", ")
        ))
        .await;
        let shop = Self { site, apps };
        shop.until_ready(4).await;
        shop
    }

    async fn until_ready(&self, count: usize) {
        let all = |app: &Value| app["pools"]["blue"]["ready"] == count;
        self.site.until("all to be ready", APP, all).await;
    }

    async fn begin(&self) {
        self.site
            .post("/v1/services/app/rollouts", &json!({}))
            .await;
    }

    async fn say(&self, verb: &str) {
        let path = format!("/v1/rollouts/1/{verb}");
        self.site.post(&path, &json!({})).await;
    }

    /// Its batch, once it is there; until then nobody else is out.
    async fn until_phase(&self, step: u64, phase: &str) -> Vec<String> {
        let seen = self
            .site
            .until(phase, APP, |app| {
                let rollout = &app["rollout"];
                let batch = rollout["batch"].as_array();
                let in_batch = |address| batch.is_some_and(|batch| batch.contains(address));
                assert!(out(app).iter().all(in_batch), "{app:#}");
                rollout["phase"] == phase && rollout["step"] == step
            })
            .await;
        serde_json::from_value(seen["rollout"]["batch"].clone()).unwrap()
    }

    /// Killed at this phase of a step, and taken up there with the same batch.
    async fn is_taken_up(&mut self, step: u64, phase: &str, then: &str) {
        let before = self.until_phase(step, phase).await;
        self.site.kill().await;
        self.site.run().await;
        assert_eq!(self.until_phase(step, then).await, before);
    }
}

/// Those that get no requests by somebody's word.
fn out(app: &Value) -> Vec<Value> {
    let held = app["pools"]["blue"]["endpoints"].as_array().unwrap();
    let out = held.iter().filter(|held| {
        let state = held["state"].as_str().unwrap();
        state.starts_with("drain")
    });
    out.map(|held| held["address"].clone()).collect()
}

#[tokio::test]
async fn one_that_is_killed_while_a_batch_ends_its_work_goes_on_with_that_batch() {
    let mut shop = Shop::begun().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(shop.site.address).await;
        client
            .send("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await;
        clients.push(client);
    }
    for app in shop.apps.values() {
        crate::support::until("its request", || {
            app.requests()
                .iter()
                .any(|seen| seen.starts_with("GET /slow"))
        })
        .await;
    }
    shop.begin().await;
    // Its clients' requests have ended with the process.
    shop.is_taken_up(1, "emptying", "replacing").await;
}

#[tokio::test]
async fn one_that_is_killed_while_a_batch_is_replaced_still_waits_for_that() {
    let mut shop = Shop::begun().await;
    shop.begin().await;
    shop.is_taken_up(1, "replacing", "replacing").await;
    shop.say("pause").await;
    shop.is_taken_up(1, "replacing", "replacing").await;
    shop.say("resume").await;
    shop.say("skip").await;
    shop.until_phase(1, "waiting").await;
    shop.until_ready(4).await;
    shop.say("promote").await;
    shop.is_taken_up(2, "replacing", "replacing").await;
    shop.say("abort").await;
    let failed = |app: &Value| app["rollout"]["stage"] == "failed";
    let over = shop.site.until("its end", APP, failed).await;
    assert_eq!(out(&over).len(), 2, "the batch stays drained: {over:#}");
}

#[tokio::test]
async fn one_that_is_killed_before_a_batch_is_proven_goes_on_proving_it() {
    let mut shop = Shop::begun().await;
    shop.begin().await;
    let batch = shop.until_phase(1, "replacing").await;
    shop.apps.remove(&batch[0]).unwrap().stop().await;
    shop.say("skip").await;
    shop.is_taken_up(1, "proving", "proving").await;
    let new = app(Some(&batch[0])).await;
    shop.apps.insert(batch[0].clone(), new);
    shop.until_phase(1, "waiting").await;
    shop.is_taken_up(1, "waiting", "waiting").await;
    shop.until_ready(4).await;
    shop.say("promote").await;
    shop.until_phase(2, "replacing").await;
    shop.say("skip").await;
    shop.until_phase(2, "waiting").await;
    shop.say("promote").await;
    let succeeded = |app: &Value| app["rollout"]["stage"] == "succeeded";
    let over = shop.site.until("its end", APP, succeeded).await;
    assert!(out(&over).is_empty(), "{over:#}");
}
