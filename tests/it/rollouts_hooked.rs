//! Hooks of rollouts in a whole proxy: what they are told, and what they cannot hold up.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use serde_json::{Value, json};

use crate::{
    rollouts_whole::shop,
    support::{App, endpoint},
};

fn told(hook: &App) -> Vec<Value> {
    let requests = hook.requests();
    let bodies = requests.iter().map(|request| {
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    });
    bodies.collect()
}

fn plan(hook: &App, at: &str, steps: &str) -> String {
    let url = format!("http://{}/", hook.address);
    format!(
        "warm_up = \"0s\"\nbake = \"0s\"\nsteps = [{steps}]\nhooks = [{{ at = [{at}], url = \"{url}\", timeout = \"10m\" }}]\n"
    )
}

#[tokio::test]
async fn who_is_asked_before_a_step_that_copies_is_told_how_much_of_the_requests() {
    let hook = endpoint("hook").reply(200).start().await;
    let steps = "{ mirror = \"10%\", hold = \"10ms\" }, { share = \"50%\", hold = \"10ms\" }";
    let at = "\"before-start\", \"before-step\", \"before-promote\"";
    let shop = shop(&plan(&hook, at, steps)).await;
    let id = shop.start().await;
    shop.until_state(id, "succeeded").await;
    let said: Vec<_> = told(&hook)
        .iter()
        .map(|body| {
            let [point, share, copies] = ["point", "next_share", "copies"].map(|key| &body[key]);
            json!([point, share, copies])
        })
        .collect();
    let due = json!([
        ["before-start", null, null],
        ["before-step", null, 0.1],
        ["before-step", 0.5, null],
        ["before-promote", 1.0, null],
    ]);
    assert_eq!(Value::from(said), due);
    shop.whole.stop().await;
}

#[tokio::test]
async fn an_abort_goes_through_while_a_hook_hangs() {
    for (at, share) in [
        ("before-start", 0),
        ("before-step", 0),
        ("before-promote", 50),
        ("after-promote", 100),
    ] {
        let hook = endpoint("hook").silent().start().await;
        let steps = "{ share = \"50%\", hold = \"10ms\" }";
        let plan = plan(&hook, &format!("{at:?}"), steps);
        // What is told is heard while it bakes.
        let shop = shop(&plan.replace("bake = \"0s\"", "bake = \"10m\"")).await;
        let id = shop.start().await;
        // A request whose body was not read yet is not seen by the app.
        crate::support::until(at, || hook.connections() == 1).await;
        let weights = shop.weights().await;
        let all = weights["blue"].as_u64().unwrap() + weights["green"].as_u64().unwrap();
        assert_eq!(
            weights["green"].as_u64().unwrap() * 100 / all,
            share,
            "{at}"
        );
        let aborted = shop.obeys(id, "abort", json!({})).await;
        assert_eq!(aborted["rollout"]["share"], 0.0, "{at}");
        assert_eq!(shop.weights().await["green"], 0, "{at}");
        let over = shop.until_state(id, "failed").await;
        assert_eq!(over["cause"]["kind"], "abort", "{at}");
        hook.until_closed().await;
        shop.whole.stop().await;
    }
}
