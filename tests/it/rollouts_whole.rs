//! Rollouts of a whole proxy, from its admin API and its command line: what becomes of the weights, and who is told what.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    console::bare_cli,
    support::{App, PATIENCE, Whole, endpoint, whole, within},
};

/// The SHA-256 of `secret`.
const TOKEN: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// It waits for somebody's word at 20 %, and goes on by itself from 50 %.
pub const ASKS: &str = r#"
warm_up = "0s"
bake = "0s"
steps = [{ share = "20%", approval = true }, { share = "50%", hold = "50ms" }]
"#;

pub struct Shop {
    pub whole: Whole,
    pub blue: App,
    pub green: App,
}

pub fn file(blue: &App, green: &App, weights: &str, plan: &str) -> String {
    format!(
        "admin.tokens = [{{ name = \"ops\", role = \"operator\", sha256 = \"{TOKEN}\" }}]\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nweights = {weights}\nprobe = false\n\
         drain.deadline = \"1s\"\npools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"{}\"]\n\
         [services.app.rollout]\n{plan}\n",
        blue.address, green.address
    )
}

pub const BLUE: &str = "{ blue = 100, green = 0 }";

/// Green fails its probes.
pub async fn shop_with_a_bad_green(plan: &str) -> Shop {
    let blue = endpoint("blue").start().await;
    let green = endpoint("green").reply(500).start().await;
    let probe = "probe = { path = \"/\", interval = \"50ms\", timeout = \"1s\", rise = 1 }";
    let text = file(&blue, &green, BLUE, plan).replace("probe = false", probe);
    let whole = whole(&text).await;
    let shop = Shop { whole, blue, green };
    shop.whole.until_state("blue", "ready").await;
    shop
}

/// Blue serves; this is how it would go to green.
pub async fn shop(plan: &str) -> Shop {
    let blue = endpoint("blue").start().await;
    shop_of(blue, endpoint("green").start().await, plan).await
}

pub async fn shop_of(blue: App, green: App, plan: &str) -> Shop {
    let whole = whole(&file(&blue, &green, BLUE, plan)).await;
    let shop = Shop { whole, blue, green };
    shop.whole
        .until("blue to serve", |app| app["active"] == "blue")
        .await;
    shop
}

impl Shop {
    pub async fn post(&self, path: &str, body: impl Into<Value>) -> (u16, Value) {
        self.post_with(path, "", body.into()).await
    }

    /// With another line of the head.
    async fn post_with(&self, path: &str, line: &str, body: Value) -> (u16, Value) {
        let mut operator = self.whole.operator().await;
        let body = body.to_string();
        let length = body.len();
        operator
            .send(format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n{line}\
                 content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
            .await;
        let answer = operator.answer().await;
        let json = serde_json::from_str(&answer.body).unwrap();
        (answer.status, json)
    }

    /// What is in force now is said by the answer.
    pub async fn done(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer:#}");
        answer
    }

    pub async fn start(&self) -> u64 {
        let answer = self
            .done("/v1/services/app/rollouts", json!({ "to": "green" }))
            .await;
        answer["rollout"]["id"].as_u64().unwrap()
    }

    async fn tell(&self, id: u64, verb: &str, body: Value) -> (u16, Value) {
        self.post(&format!("/v1/rollouts/{id}/{verb}"), body).await
    }

    pub async fn obeys(&self, id: u64, verb: &str, body: Value) -> Value {
        let (status, answer) = self.tell(id, verb, body).await;
        assert_eq!(status, 200, "{verb}: {answer:#}");
        answer
    }

    async fn refuses(&self, id: u64, verb: &str) -> String {
        let (status, problem) = self.tell(id, verb, json!({})).await;
        assert_eq!(
            (status, &problem["code"]),
            (409, &json!("invalid-transition")),
            "{verb}: {problem:#}"
        );
        format!("{} {}", problem["detail"], problem["hint"])
    }

    pub async fn rollout(&self, id: u64) -> Value {
        serde_json::from_str(&self.whole.ask(&format!("/v1/rollouts/{id}")).await).unwrap()
    }

    pub async fn until(&self, id: u64, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let seen = self.rollout(id).await;
                if holds(&seen) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(seen) => seen,
            Err(late) => panic!("{late} for {what}: {:#}", self.rollout(id).await),
        }
    }

    pub async fn until_state(&self, id: u64, state: &str) -> Value {
        self.until(id, state, |seen| seen["state"] == state).await
    }

    /// Waits for somebody's word at 20 %.
    pub async fn until_it_asks(&self, id: u64) {
        self.until(id, "it to ask", |seen| {
            seen["step"] == 1 && seen["phase"] == "waiting"
        })
        .await;
    }

    pub async fn weights(&self) -> Value {
        self.whole.service().await["weights"].clone()
    }

    /// How the command line exits, and what it prints.
    pub async fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let admin = self.whole.admin().to_string();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let run = move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
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
}

fn share(blue: u64, green: u64) -> Value {
    json!({ "blue": blue, "green": green })
}

#[tokio::test]
async fn a_new_version_gets_its_share_step_by_step_and_then_everything() {
    let shop = shop(ASKS).await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    assert_eq!(shop.weights().await, share(80, 20));
    assert_eq!(shop.rollout(id).await["awaits"], "approval");
    assert_eq!(shop.whole.service().await["rollout"]["id"], id);
    let promoted = shop.obeys(id, "promote", json!({ "step": 1 })).await;
    assert_eq!(promoted["rollout"]["step"], 2);
    let over = shop.until_state(id, "succeeded").await;
    assert!(
        over["promoted"].is_string() && over["cause"].is_null(),
        "{over:#}"
    );
    let served = shop.weights().await;
    assert!(
        served["blue"] == 0 && served["green"].as_u64() > Some(0),
        "{served}"
    );
    assert_eq!(shop.whole.get("/").await.body, "green");
    assert_eq!(shop.whole.events("rollout-succeeded").await, 1);
    let twice = shop.refuses(id, "promote").await;
    assert!(twice.contains("over"), "{twice}");
    let listed = shop.whole.ask("/v1/rollouts?state=succeeded").await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["rollouts"][0]["id"], id);
    shop.whole.stop().await;
}

#[tokio::test]
async fn an_aborted_one_gives_everything_back_and_may_be_tried_again() {
    let shop = shop(ASKS).await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    assert_eq!(
        shop.obeys(id, "abort", json!({ "reason": "seen enough" }))
            .await["rollout"]["share"],
        0.0
    );
    assert_eq!(shop.weights().await["green"], 0);
    let over = shop.until_state(id, "failed").await;
    assert_eq!(over["cause"]["kind"], "abort");
    assert!(
        over["cause"]["detail"]
            .as_str()
            .unwrap()
            .contains("seen enough")
    );
    assert_eq!(over["verbs"], json!(["retry"]));
    let again = shop.obeys(id, "retry", json!({})).await;
    let again = again["rollout"]["id"].as_u64().unwrap();
    assert!(again > id);
    shop.until_it_asks(again).await;
    assert_eq!(shop.rollout(again).await["retry_of"], id);
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_paused_one_stays_where_it_is_until_it_is_resumed() {
    let shop = shop(ASKS).await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    assert_eq!(
        shop.obeys(id, "pause", json!({})).await["rollout"]["paused"]["reason"],
        "person"
    );
    assert!(shop.refuses(id, "pause").await.contains("paused already"));
    assert_eq!(shop.rollout(id).await["state"], "paused");
    assert_eq!(shop.weights().await, share(80, 20));
    let (code, text) = shop.run(&["wait", "app", "rollout"]).await;
    assert_eq!(code, Some(7), "{text}");
    assert!(text.contains("next: cutover rollout resume app"), "{text}");
    assert_eq!(
        shop.obeys(id, "resume", json!({})).await["rollout"]["state"],
        "stepping"
    );
    assert!(shop.refuses(id, "resume").await.contains("not paused"));
    shop.obeys(id, "skip", json!({})).await;
    shop.until_state(id, "succeeded").await;
    shop.whole.stop().await;
}

#[tokio::test]
async fn whoever_moves_the_weights_by_hand_has_them() {
    let shop = shop(ASKS).await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    let (code, text) = shop.run(&["shift", "app", "green=40%"]).await;
    assert_eq!(code, Some(0), "{text}");
    let paused = shop.until_state(id, "paused").await;
    assert_eq!(paused["paused"]["reason"], "manual");
    assert!(
        paused["paused"]["detail"]
            .as_str()
            .unwrap()
            .contains("by ops"),
        "{paused:#}"
    );
    for verb in ["promote", "skip", "resume"] {
        let why = shop.refuses(id, verb).await;
        assert!(why.contains("restore-step"), "{verb}: {why}");
    }
    assert_eq!(shop.weights().await, share(60, 40));
    let (code, text) = shop
        .run(&["rollout", "resume", "app", "--restore-step"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(shop.weights().await, share(80, 20));
    shop.until_it_asks(id).await;
    shop.run(&["shift", "app", "green=70%"]).await;
    shop.until_state(id, "paused").await;
    shop.obeys(id, "resume", json!({ "how": "from-current" }))
        .await;
    // What it has is more than its last step would give it, so that is where it is.
    shop.until_state(id, "succeeded").await;
    shop.whole.stop().await;
}

#[tokio::test]
async fn an_edit_of_the_file_pauses_it_as_a_hand_does() {
    let shop = shop(ASKS).await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    let edited = file(&shop.blue, &shop.green, "{ blue = 90, green = 10 }", ASKS);
    shop.whole.save(&edited);
    let paused = shop.until_state(id, "paused").await;
    assert_eq!(paused["paused"]["reason"], "manual");
    assert_eq!(shop.weights().await, share(90, 10));
    shop.obeys(id, "abort", json!({})).await;
    shop.until_state(id, "failed").await;
    assert_eq!(shop.weights().await["green"], 0);
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_rollback_of_the_service_ends_it() {
    let shop = shop(ASKS).await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    let (code, text) = shop.run(&["rollback", "app"]).await;
    assert_eq!(code, Some(0), "{text}");
    let over = shop.until_state(id, "failed").await;
    assert_eq!(over["cause"]["kind"], "rollback");
    assert_eq!(shop.weights().await["green"], 0);
    shop.whole.stop().await;
}

#[tokio::test]
async fn what_has_succeeded_is_undone_in_one_step() {
    let shop = shop(ASKS).await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    shop.obeys(id, "promote", json!({ "full": true })).await;
    let over = shop.until_state(id, "succeeded").await;
    assert_eq!(over["verbs"], json!(["undo"]));
    let (code, text) = shop.run(&["rollout", "undo", "app"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(shop.weights().await["green"], 0);
    assert_eq!(
        shop.until_state(id, "failed").await["cause"]["kind"],
        "undo"
    );
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_start_that_cannot_be_is_refused_with_the_reason() {
    let shop = shop(ASKS).await;
    let start = |body: Value| shop.post("/v1/services/app/rollouts", body);
    for (body, status, code) in [
        (json!({ "to": "gren" }), 422, "unknown-pool"),
        (json!({ "to": "blue" }), 409, "invalid-transition"),
        (
            json!({ "to": "green", "from": "green" }),
            409,
            "invalid-transition",
        ),
        (
            json!({ "to": "green", "preset": "hasty" }),
            422,
            "invalid-plan",
        ),
        (
            json!({ "to": "green", "preset": "fast", "plan": {} }),
            422,
            "invalid-plan",
        ),
        (
            json!({ "to": "green", "plan": { "stepz": [] } }),
            422,
            "invalid-plan",
        ),
        (
            json!({ "to": "green", "plan": { "steps": [{ "share": "50%", "hold": "1s" }, { "share": "10%", "hold": "1s" }] } }),
            422,
            "invalid-plan",
        ),
        (
            json!({ "to": "green", "plan": { "steps": [{ "share": "150%", "hold": "1s" }] } }),
            422,
            "invalid-plan",
        ),
        (
            json!({ "to": "green", "with": { "api": "green" } }),
            422,
            "unknown-service",
        ),
    ] {
        let (got, problem) = start(body.clone()).await;
        assert_eq!(
            (got, &problem["code"]),
            (status, &json!(code)),
            "{body}: {problem:#}"
        );
    }
    let (missing, _) = shop
        .post("/v1/services/api/rollouts", json!({ "to": "green" }))
        .await;
    assert_eq!(missing, 404);
    assert_eq!(shop.whole.events("rollout-started").await, 0);
    shop.whole.stop().await;
}

#[tokio::test]
async fn one_at_a_time_is_under_way_unless_another_takes_its_place() {
    let shop = shop(ASKS).await;
    let start = |body: Value| shop.post("/v1/services/app/rollouts", body);
    let dry = shop
        .done(
            "/v1/services/app/rollouts?dry_run=true",
            json!({ "to": "green" }),
        )
        .await;
    assert_eq!(
        (&dry["dry_run"], &dry["rollout"]["steps"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(shop.whole.service().await["rollout"], Value::Null);
    let id = shop.start().await;
    let (second, problem) = start(json!({ "to": "green" })).await;
    assert_eq!(
        (second, &problem["code"]),
        (409, &json!("rollout-running")),
        "{problem:#}"
    );
    shop.until_it_asks(id).await;
    let instead = json!({ "to": "green", "supersede": true });
    shop.done("/v1/services/app/rollouts?dry_run=true", instead.clone())
        .await;
    assert_eq!(shop.rollout(id).await["state"], "stepping");
    let next = shop.done("/v1/services/app/rollouts", instead).await;
    assert_ne!(next["rollout"]["id"], id);
    assert_eq!(shop.rollout(id).await["state"], "superseded");
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_start_that_is_followed_ends_with_how_it_ended() {
    let shop =
        shop("warm_up = \"0s\"\nbake = \"0s\"\nsteps = [{ share = \"10%\", hold = \"50ms\" }]")
            .await;
    let (code, text) = shop
        .run(&[
            "rollout",
            "start",
            "app",
            "--to",
            "green",
            "--version",
            "2.0",
            "--follow",
        ])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("promoted: green has all requests"), "{text}");
    assert_eq!(
        shop.whole.service().await["pools"]["green"]["version"],
        "2.0"
    );
    let (code, text) = shop.run(&["wait", "app", "rollout"]).await;
    assert_eq!(code, Some(0), "{text}");
    let metrics = shop.whole.ask("/metrics").await;
    for line in [
        "cutover_rollout_state{service=\"app\",state=\"none\"} 1",
        "cutover_rollout_outcomes_total{service=\"app\",outcome=\"succeeded\"} 1",
        "cutover_rollout_duration_seconds_count{service=\"app\",outcome=\"succeeded\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let report: Value =
        serde_json::from_str(&shop.whole.ask("/v1/reports/delivery?window=1d").await).unwrap();
    assert_eq!(report["total"]["deployments"], 1, "{report:#}");
    assert_eq!(report["services"]["app"]["change_failure_rate"], 0.0);
    let (code, text) = shop.run(&["rollout", "report"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("change failure rate") && text.contains("(0 of 1)"),
        "{text}"
    );
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_call_that_comes_once_more_with_its_key_is_followed_once() {
    let shop = shop(ASKS).await;
    let keyed = |path: String, key: &'static str, body: Value| {
        let line = format!("idempotency-key: {key}\r\n");
        let shop = &shop;
        async move { shop.post_with(&path, &line, body).await }
    };
    let start = || "/v1/services/app/rollouts".to_owned();
    let (_, first) = keyed(start(), "one", json!({ "to": "green" })).await;
    let id = first["rollout"]["id"].as_u64().unwrap();
    shop.until_it_asks(id).await;
    let (status, again) = keyed(start(), "one", json!({ "to": "green" })).await;
    assert_eq!(
        (status, &again["rollout"]["id"]),
        (200, &json!(id)),
        "{again:#}"
    );
    let (status, other) = keyed(start(), "one", json!({ "to": "blue" })).await;
    assert_eq!(
        (status, &other["code"]),
        (422, &json!("idempotency-mismatch")),
        "{other:#}"
    );
    let promote = || format!("/v1/rollouts/{id}/promote");
    let (status, _) = keyed(promote(), "two", json!({})).await;
    assert_eq!(status, 200);
    let (status, again) = keyed(promote(), "two", json!({})).await;
    assert_eq!(status, 200, "{again:#}");
    shop.until_state(id, "succeeded").await;
    let (status, late) = keyed(promote(), "two", json!({})).await;
    assert_eq!(
        (status, &late["rollout"]["state"]),
        (200, &json!("succeeded")),
        "{late:#}"
    );
    shop.whole.stop().await;
}

#[tokio::test]
async fn services_that_belong_together_are_moved_and_taken_back_together() {
    let shop = shop(ASKS).await;
    let (blue, green) = (&shop.blue.address, &shop.green.address);
    let api = format!(
        "[services.api]\nhosts = [\"api.example\"]\nprobe = false\nweights = {{ blue = 1, green = 0 }}\n\
         pools.blue.endpoints = [\"{blue}\"]\npools.green.endpoints = [\"{green}\"]\n"
    );
    let text = file(&shop.blue, &shop.green, BLUE, ASKS);
    let text = text.replace(
        "[services.app]\n",
        "[services.app]\nhosts = [\"app.example\"]\n",
    );
    shop.whole.save(&format!("{text}{api}"));
    let weights = async |service: &str| {
        let seen = shop.whole.ask(&format!("/v1/services/{service}")).await;
        let seen: Value = serde_json::from_str(&seen).unwrap();
        seen["weights"]["green"].clone()
    };
    within("the other service", async {
        while weights("api").await != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let words = [
        "rollout",
        "start",
        "app",
        "--to",
        "green",
        "--with",
        "api=green",
    ];
    let (code, text) = shop.run(&words).await;
    assert_eq!(code, Some(0), "{text}");
    let listed = shop.whole.ask("/v1/rollouts?service=api").await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let id = listed["rollouts"][0]["id"].as_u64().unwrap();
    shop.until_it_asks(id).await;
    assert_eq!(
        (weights("app").await, weights("api").await),
        (json!(20), json!(20))
    );
    let (code, text) = shop.run(&["rollout", "abort", "api"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        (weights("app").await, weights("api").await),
        (json!(0), json!(0))
    );
    shop.until_state(id, "failed").await;
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_freeze_of_the_file_holds_whatever_plan_a_start_names() {
    let frozen = "freeze = [\"2020-01-01T00:00/2090-01-01T00:00 UTC\"]";
    let shop = shop(&format!("{ASKS}{frozen}\n")).await;
    let steps = json!([{ "share": "10%", "hold": "1s" }]);
    for body in [
        json!({ "to": "green" }),
        json!({ "to": "green", "preset": "fast" }),
        json!({ "to": "green", "plan": { "steps": steps } }),
    ] {
        let (status, problem) = shop.post("/v1/services/app/rollouts", body.clone()).await;
        assert_eq!(
            (status, &problem["code"]),
            (409, &json!("frozen")),
            "{body}"
        );
    }
    assert_eq!(shop.weights().await, share(100, 0));
}

/// As `ASKS`, with a bake that nobody ends.
const BAKES: &str = r#"
warm_up = "0s"
bake = "10m"
steps = [{ share = "20%", approval = true }]
"#;

/// The file with green, and with a third pool in blue's stead.
fn without_blue(shop: &Shop) -> String {
    let text = file(&shop.blue, &shop.green, "{ green = 100 }", BAKES);
    text.replace("pools.blue.", "pools.next.")
}

async fn baking() -> (Shop, u64) {
    let shop = shop(BAKES).await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    shop.obeys(id, "promote", json!({ "full": true })).await;
    shop.until_state(id, "baking").await;
    (shop, id)
}

/// Why the file that is saved is not in force.
async fn refused_file(shop: &Shop) -> String {
    let seen = async {
        loop {
            let status: Value = serde_json::from_str(&shop.whole.ask("/v1/status").await).unwrap();
            if let Some(problems) = status["config"]["problems"].as_str() {
                return problems.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the refusal", seen).await
}

#[tokio::test]
async fn a_file_that_takes_the_way_back_away_is_refused_until_the_rollout_needs_it_no_more() {
    let (shop, id) = baking().await;
    shop.whole.save(&without_blue(&shop));
    let why = refused_file(&shop).await;
    let needs = format!(
        "the file removes pool `blue` of service `app`, and rollout {id} of app still needs it (baking until"
    );
    assert!(why.starts_with(&needs), "{why}");
    assert_eq!(shop.whole.events("config-rejected").await, 1);
    assert!(shop.whole.service().await["pools"]["next"].is_null());
    shop.obeys(id, "abort", json!({})).await;
    assert_eq!(shop.weights().await, share(100, 0));
    shop.until_state(id, "failed").await;
    // Nobody saves it again.
    shop.whole
        .until("the file to apply", |app| {
            app["weights"]["green"] == 100 && app["pools"]["blue"].is_null()
        })
        .await;
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_service_or_all_endpoints_of_a_pool_that_a_rollout_needs_are_not_removed() {
    let (shop, id) = baking().await;
    let text = file(&shop.blue, &shop.green, "{ green = 100, blue = 0 }", BAKES);
    let blue = format!("pools.blue.endpoints = [\"{}\"]", shop.blue.address);
    shop.whole
        .save(&text.replace(&blue, "pools.blue.endpoints = []"));
    let why = refused_file(&shop).await;
    let what = "the file removes every endpoint of pool `blue`";
    assert!(why.starts_with(what), "{why}");
    shop.whole
        .save(&text.replace("services.app", "services.other"));
    let wait = async {
        while !refused_file(&shop)
            .await
            .starts_with("the file removes service `app`")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the other refusal", wait).await;
    let drain = "/v1/services/app/pools/blue/drain";
    let (status, problem) = shop.post(drain, json!({})).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("last-ready-endpoint")),
        "{problem:#}"
    );
    shop.obeys(id, "abort", json!({})).await;
    assert_eq!(shop.weights().await, share(100, 0));
    shop.whole.stop().await;
}

#[tokio::test]
async fn the_old_pool_stays_while_it_may_be_gone_back_to_unless_the_file_gives_that_up() {
    let plan = BAKES.replace("10m", "0s");
    let shop = shop(&plan).await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    shop.obeys(id, "promote", json!({ "full": true })).await;
    shop.until_state(id, "succeeded").await;
    shop.whole.save(&without_blue(&shop));
    let why = refused_file(&shop).await;
    assert!(
        why.contains(&format!("rollout {id} of app may be undone until")),
        "{why}"
    );
    let given_up =
        without_blue(&shop).replace("bake = \"10m\"", "bake = \"0s\"\nundo_window = \"0s\"");
    shop.whole.save(&given_up);
    shop.whole
        .until("the file to apply", |app| app["pools"]["blue"].is_null())
        .await;
    shop.whole.stop().await;
}
