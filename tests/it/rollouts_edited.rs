//! Edits of the file, and questions, while a rollout is under way: what they change, and what they leave alone.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    rollouts_whole::{ASKS, BLUE, Shop, file, shop},
    support::{App, Client, Site, endpoint, until, whole, within},
};

async fn json(shop: &Shop, path: &str) -> Value {
    serde_json::from_str(&shop.whole.ask(path).await).unwrap()
}

const RELOAD: &str = "/v1/config/reload";

/// The file with these weights; who has the token may have it read.
fn text(shop: &Shop, weights: &str) -> String {
    file(&shop.blue, &shop.green, weights, ASKS).replace("\"operator\"", "\"admin\"")
}

/// A shop whose file may be read again by whoever says so.
async fn reloadable() -> Shop {
    let shop = shop(ASKS).await;
    shop.whole.save(&text(&shop, BLUE));
    within("the admin", async {
        while shop.post(RELOAD, json!({})).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    shop
}

/// Saves the file with these lines at its end, and returns once they are in force.
async fn edit(shop: &Shop, more: &str) {
    shop.whole.save(&format!("{}{more}", text(shop, BLUE)));
    shop.done(RELOAD, json!({})).await;
}

/// A receiver of the events of rollouts, and the lines that name it.
async fn receiver(folder: &Path, name: &str) -> (App, String) {
    let app = endpoint("told").reply(200).start().await;
    let file = folder.join(name);
    fs::write(&file, format!("http://{}/", app.address)).unwrap();
    let lines = format!("[[notify]]\nurl = {{ file = \"{}\" }}\n", file.display());
    (app, lines)
}

fn heard(app: &App) -> Vec<String> {
    let requests = app.requests();
    let lines = requests.iter().flat_map(|request| request.lines());
    lines
        .filter_map(|line| line.strip_prefix("cutover-event: "))
        .map(str::to_owned)
        .collect()
}

async fn hears(app: &App, events: &[&str]) {
    let last = events.last().unwrap();
    until(last, || heard(app).len() >= events.len()).await;
    assert_eq!(heard(app), events);
}

#[tokio::test]
async fn who_is_told_may_be_named_moved_and_left_out_while_a_rollout_goes_on() {
    let shop = reloadable().await;
    let folder = tempfile::tempdir().unwrap();
    let (first, first_lines) = receiver(folder.path(), "first").await;
    let (moved, moved_lines) = receiver(folder.path(), "moved").await;
    let (never, never_lines) = receiver(folder.path(), "never").await;
    let (last, last_lines) = receiver(folder.path(), "last").await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    edit(&shop, &first_lines).await;
    shop.obeys(id, "pause", json!({})).await;
    hears(&first, &["rollout-paused"]).await;
    edit(&shop, &moved_lines).await;
    shop.obeys(id, "resume", json!({})).await;
    hears(&moved, &["rollout-resumed"]).await;
    // Of an edit with a mistake nothing counts, of what is right in it neither.
    let wrong = text(&shop, "{ blue = 50, green = 50 }");
    let wrong = format!("{wrong}{never_lines}format = \"pigeon\"\n");
    shop.whole.save(&wrong);
    let (status, problem) = shop.post(RELOAD, json!({})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("invalid-config")));
    shop.obeys(id, "pause", json!({})).await;
    hears(&moved, &["rollout-resumed", "rollout-paused"]).await;
    assert_eq!(shop.weights().await, json!({ "blue": 80, "green": 20 }));
    assert_eq!(shop.rollout(id).await["paused"]["reason"], "person");
    edit(&shop, &last_lines).await;
    shop.obeys(id, "resume", json!({})).await;
    shop.obeys(id, "pause", json!({})).await;
    hears(&last, &["rollout-resumed", "rollout-paused"]).await;
    for (app, count) in [(first, 1), (moved, 2), (never, 0)] {
        assert_eq!(app.requests().len(), count);
    }
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_reload_without_change_leaves_the_rollout_alone() {
    let shop = reloadable().await;
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    let mut user = shop.whole.client().await;
    user.get("/").await;
    let stands = async || {
        let rollout = shop.rollout(id).await;
        let keys = ["stage", "phase", "step", "since", "share", "paused", "log"];
        (
            keys.map(|key| rollout[key].clone()),
            shop.weights().await,
            json(&shop, "/v1/status").await["generation"].clone(),
        )
    };
    let before = stands().await;
    edit(&shop, "# the same in other words\n").await;
    shop.done(RELOAD, json!({})).await;
    assert_eq!(stands().await, before);
    assert_eq!(user.get("/").await.status, 200);
    shop.obeys(id, "promote", json!({})).await;
    shop.until_state(id, "succeeded").await;
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_plan_of_usual_values_that_is_written_down_changes_nothing() {
    let (blue, green) = (
        endpoint("blue").start().await,
        endpoint("green").start().await,
    );
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nprobe = false\nweights = {{ blue = 70, green = 30 }}\n\
         pools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"{}\"]\n",
        blue.address, green.address
    );
    let whole = whole(&text).await;
    whole
        .until("both to be ready", |app| {
            app["pools"]["blue"]["ready"] == 1 && app["pools"]["green"]["ready"] == 1
        })
        .await;
    let stands = async || {
        let app = whole.service().await;
        let mut pools = app["pools"].clone();
        for pool in pools.as_object_mut().unwrap().values_mut() {
            // What they did of late.
            pool.as_object_mut().unwrap().remove("window");
        }
        let keys = ["weights", "pending", "settled", "rollout", "drift"];
        (keys.map(|key| app[key].clone()), pools)
    };
    let mut user = whole.client().await;
    for _ in 0..20 {
        assert_eq!(user.get("/").await.status, 200);
    }
    let (before, dialled) = (stands().await, blue.connections() + green.connections());
    for plan in ["", "preset = \"standard\"\n"] {
        whole.save(&format!("{text}[services.app.rollout]\n{plan}"));
        whole
            .until("the edit", |app| app["rolls_out"] == true)
            .await;
        for _ in 0..20 {
            assert_eq!(user.get("/").await.status, 200);
        }
        assert_eq!(stands().await, before);
        whole.save(&text);
        whole
            .until("the way back", |app| app["rolls_out"] == false)
            .await;
    }
    assert_eq!(blue.connections() + green.connections(), dialled);
    assert_eq!(whole.events("rollout-started").await, 0);
    assert_eq!(whole.events("weights").await, 0);
    whole.stop().await;
}

#[tokio::test]
async fn explain_tells_whose_a_request_may_be_while_a_version_is_on_trial() {
    let shop = shop(ASKS).await;
    let explained = async |method: &str| {
        let path = format!("/v1/explain?method={method}&url=http%3A%2F%2Fa%2F");
        let seen = json(&shop, &path).await;
        let steps = seen["steps"].as_array().unwrap().clone();
        let trial = steps.iter().filter(|step| step["of"] == "trial");
        let trial: Vec<_> = trial.map(|step| step["because"].clone()).collect();
        (seen["chances"].clone(), Value::from(trial))
    };
    let nothing = (json!({ "blue": 1.0 }), json!([]));
    assert_eq!(explained("GET").await, nothing);
    let id = shop.start().await;
    shop.until_it_asks(id).await;
    let divided = "green is on trial beside blue, and gets none of its share";
    let rescued = "what green fails is asked of blue once, with a body of up to 65536 bytes";
    let both = json!({ "blue": 0.8, "green": 0.2 });
    assert_eq!(
        explained("GET").await,
        (both.clone(), json!([divided, rescued]))
    );
    // It changes things, so nobody else is asked.
    assert_eq!(explained("POST").await, (both, json!([divided])));
    let (code, text) = shop.run(&["explain", "GET", "http://a/"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(divided) && text.contains(rescued), "{text}");
    shop.obeys(id, "abort", json!({})).await;
    shop.until_state(id, "failed").await;
    assert_eq!(explained("GET").await, nothing);
    shop.whole.stop().await;
}

/// Two services that go together, one half of which a file may leave out.
struct Pair {
    site: Site,
    whole: String,
    _apps: [App; 2],
}

impl Pair {
    /// Both at 20 %.
    async fn at_its_step() -> Self {
        let apps = [
            endpoint("blue").start().await,
            endpoint("green").start().await,
        ];
        let service = |name: &str| {
            format!(
                "[services.{name}]\nhosts = [\"{name}.example\"]\nweights = {{ blue = 100, green = 0 }}\nprobe = {{ interval = \"50ms\", timeout = \"50ms\" }}\n\
                 pools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"{}\"]\n[services.{name}.rollout]\n{ASKS}\n",
                apps[0].address, apps[1].address
            )
        };
        let site = Site::start(&format!("{}{}", service("app"), service("api"))).await;
        let pair = Self {
            whole: fs::read_to_string(site.file()).unwrap(),
            site,
            _apps: apps,
        };
        pair.until_ready(&["app", "api"]).await;
        let start = json!({ "to": "green", "with": { "api": "green" } });
        pair.site.post("/v1/services/app/rollouts", &start).await;
        pair.site
            .until("its step", "/v1/rollouts/1", |seen| {
                seen["phase"] == "waiting"
            })
            .await;
        pair
    }

    async fn until_ready(&self, names: &[&str]) {
        for name in names {
            self.site
                .until("both to be ready", &format!("/v1/services/{name}"), |app| {
                    app["pools"]["blue"]["ready"] == 1 && app["pools"]["green"]["ready"] == 1
                })
                .await;
        }
    }

    /// The file without one of them.
    fn without(&self, name: &str) -> String {
        let begins = |name: &str| self.whole.find(&format!("[services.{name}]")).unwrap();
        let (app, api) = (begins("app"), begins("api"));
        match name {
            "api" => self.whole[..api].to_owned(),
            _ => format!("{}{}", &self.whole[..app], &self.whole[api..]),
        }
    }

    async fn green(&self, name: &str) -> Value {
        let seen = self.site.ask(&format!("/v1/services/{name}")).await;
        seen["weights"]["green"].clone()
    }
}

#[tokio::test]
async fn a_service_is_not_taken_out_of_a_group_whose_rollout_is_paused() {
    let pair = Pair::at_its_step().await;
    pair.site.post("/v1/rollouts/1/pause", &json!({})).await;
    fs::write(pair.site.file(), pair.without("api")).unwrap();
    let status = pair
        .site
        .until("the refusal", "/v1/status", |status| {
            status["config"]["problems"].is_string()
        })
        .await;
    let why = status["config"]["problems"].as_str().unwrap();
    assert!(why.contains("the file removes service `api`"), "{why}");
    assert!(why.contains("rollout 1 of app still needs it"), "{why}");
    pair.site.post("/v1/rollouts/1/abort", &json!({})).await;
    assert_eq!(
        (pair.green("app").await, pair.green("api").await),
        (json!(0), json!(0))
    );
}

#[tokio::test]
async fn a_group_of_which_one_was_taken_out_while_nobody_looked_moves_no_half_of_it() {
    for (gone, left) in [("api", "app"), ("app", "api")] {
        let mut pair = Pair::at_its_step().await;
        pair.site.kill().await;
        fs::write(pair.site.file(), pair.without(gone)).unwrap();
        pair.site.run().await;
        pair.until_ready(&[left]).await;
        let (status, answer) = pair.site.asks("/v1/rollouts/1/promote", &json!({})).await;
        assert_eq!((status, &answer["code"]), (404, &json!("unknown-service")));
        assert_eq!(pair.green(left).await, 20, "nothing rises without {gone}");
        // The way back needs nobody who is gone.
        pair.site.post("/v1/rollouts/1/abort", &json!({})).await;
        assert_eq!(pair.green(left).await, 0);
        pair.site
            .until("its end", "/v1/rollouts/1", |seen| {
                seen["state"] == "failed"
            })
            .await;
        fs::write(pair.site.file(), &pair.whole).unwrap();
        pair.until_ready(&["app", "api"]).await;
        assert_eq!(
            (pair.green("app").await, pair.green("api").await),
            (json!(0), json!(0))
        );
        let mut user = Client::connect(pair.site.address).await;
        user.send(format!("GET / HTTP/1.1\r\nhost: {left}.example\r\n\r\n"))
            .await;
        assert_eq!(user.answer().await.body, "blue");
    }
}
