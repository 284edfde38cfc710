//! A process that is killed in the middle of a rollout, and the one that comes after it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{
    fs,
    net::SocketAddr,
    ops::{Deref, DerefMut},
};

use serde_json::{Value, json};

use crate::support::{App, Client, Site, endpoint, free_address, told};

const PLAN: &str = r#"
warm_up = "0s"
bake = "1h"
steps = [{ share = "20%", approval = true }, { share = "50%", approval = true }]
"#;

struct Shop {
    site: Site,
    _apps: [App; 2],
}

impl Deref for Shop {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for Shop {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

impl Shop {
    /// `green`: where the new version is; where nothing is, it is never proven.
    async fn start(green: Option<SocketAddr>) -> Self {
        let apps = [
            endpoint("blue").start().await,
            endpoint("green").start().await,
        ];
        let green = green.map_or_else(|| apps[1].address.to_string(), |green| green.to_string());
        let text = format!(
            "[services.app]\nweights = {{ blue = 100, green = 0 }}\nprobe = {{ interval = \"50ms\", timeout = \"50ms\" }}\n\
             pools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"{green}\"]\n[services.app.rollout]\n{PLAN}",
            apps[0].address
        );
        let shop = Self {
            site: Site::start(&text).await,
            _apps: apps,
        };
        shop.until_blue_serves().await;
        shop
    }

    async fn until_blue_serves(&self) {
        self.until_serves("blue").await;
    }

    async fn until_serves(&self, pool: &str) {
        self.until("it to serve", "/v1/services/app", |app| {
            app["pools"][pool]["ready"] == 1
        })
        .await;
    }

    async fn begin(&self) {
        self.post("/v1/services/app/rollouts", &json!({ "to": "green" }))
            .await;
    }

    async fn say(&self, verb: &str) {
        self.post(&format!("/v1/rollouts/1/{verb}"), &json!({}))
            .await;
    }

    async fn until_step(&self, step: u64) {
        self.until("its step", "/v1/rollouts/1", |seen| {
            seen["step"] == step && seen["phase"] == "waiting"
        })
        .await;
    }

    async fn until_it_is(&self, state: &str) {
        self.until(state, "/v1/rollouts/1", |seen| seen["state"] == state)
            .await;
    }

    /// Where it stands, and what is served.
    async fn stands(&self) -> (Value, Value, Value, Value) {
        let rollout = self.ask("/v1/rollouts/1").await;
        let app = self.ask("/v1/services/app").await;
        let [state, step, share] = ["state", "step", "share"].map(|key| rollout[key].clone());
        (state, step, share, app["weights"].clone())
    }

    /// Killed where it stands, and taken up there.
    async fn is_taken_up(&mut self) {
        let before = self.stands().await;
        self.kill().await;
        self.run().await;
        self.until_blue_serves().await;
        assert_eq!(self.stands().await, before);
    }
}

#[tokio::test]
async fn one_that_is_killed_while_the_new_version_is_not_proven_goes_on_proving_it() {
    let mut site = Shop::start(Some(free_address())).await;
    site.begin().await;
    site.until_it_is("preparing").await;
    site.is_taken_up().await;
    assert_eq!(site.stands().await.3, json!({ "blue": 100, "green": 0 }));
    site.say("abort").await;
    site.until_it_is("failed").await;
}

#[tokio::test]
async fn one_that_is_killed_in_a_step_goes_on_at_its_share_and_never_above() {
    let mut site = Shop::start(None).await;
    site.begin().await;
    site.until_step(1).await;
    site.is_taken_up().await;
    assert_eq!(site.stands().await.3, json!({ "blue": 80, "green": 20 }));
    site.until_step(1).await;
    site.say("pause").await;
    site.is_taken_up().await;
    site.say("resume").await;
    site.until("green to be proven again", "/v1/services/app", |app| {
        app["pools"]["green"]["ready"] == 1
    })
    .await;
    site.say("promote").await;
    site.until_step(2).await;
    site.is_taken_up().await;
    site.say("abort").await;
    site.until_it_is("failed").await;
    assert_eq!(site.stands().await.3, json!({ "blue": 100, "green": 0 }));
}

#[tokio::test]
async fn one_that_is_killed_while_it_bakes_goes_on_with_everything_and_may_be_taken_back() {
    let mut site = Shop::start(None).await;
    site.begin().await;
    site.until_step(1).await;
    site.post("/v1/rollouts/1/promote", &json!({ "full": true }))
        .await;
    site.until_it_is("baking").await;
    site.is_taken_up().await;
    site.say("abort").await;
    site.until_it_is("failed").await;
    assert_eq!(site.stands().await.3, json!({ "blue": 100, "green": 0 }));
    // What is over stays as it was.
    site.is_taken_up().await;
}

#[tokio::test]
async fn a_way_back_that_an_edit_has_taken_away_is_alarmed_and_taken_once_it_is_there_again() {
    let mut site = Shop::start(None).await;
    site.begin().await;
    site.until_step(1).await;
    site.post("/v1/rollouts/1/promote", &json!({ "full": true }))
        .await;
    site.until_it_is("baking").await;
    site.kill().await;
    // Nobody was there to refuse it.
    let whole = fs::read_to_string(site.file()).unwrap();
    let without = whole
        .replace("pools.blue.", "pools.next.")
        .replace("{ blue = 100, green = 0 }", "{ green = 100 }");
    fs::write(site.file(), &without).unwrap();
    site.run().await;
    site.until_serves("green").await;
    let (status, problem) = site.asks("/v1/rollouts/1/abort", &json!({})).await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("unknown-pool")),
        "{problem:#}"
    );
    let events = "/v1/events?type=rollout-alarm";
    let alarms = site
        .until("the alarm", events, |seen| seen["events"][0].is_object())
        .await;
    let why = alarms["events"][0]["reason"].as_str().unwrap();
    assert!(
        why.starts_with("goes back, and the weights cannot be moved"),
        "{why}"
    );
    let seen = site.ask("/v1/rollouts/1").await;
    assert_eq!(
        (&seen["state"], &seen["share"]),
        (&json!("rolling-back"), &json!(1.0))
    );
    assert!(seen["restored"].is_null());
    let mut operator = Client::connect(site.admin).await;
    let metrics = told(&mut operator, "/metrics").await;
    let stuck = "cutover_rollout_state{service=\"app\",state=\"stuck\"} 1\n";
    assert!(metrics.contains(stuck), "{metrics}");
    // There it is again: nobody says another word.
    fs::write(site.file(), without.replace("pools.next.", "pools.blue.")).unwrap();
    site.until_it_is("failed").await;
    let (_, _, share, weights) = site.stands().await;
    assert_eq!(
        (share, weights),
        (json!(0.0), json!({ "blue": 100, "green": 0 }))
    );
    assert_eq!(
        site.ask(events).await["events"].as_array().unwrap().len(),
        1
    );
}
