//! `cutover deploy`: from the idle pool to all traffic in one command, and what is left when it fails.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use serde_json::json;

use crate::rollouts_whole::{Shop, shop, shop_with_a_bad_green};

/// Goes on by itself.
const QUICK: &str =
    "warm_up = \"0s\"\nbake = \"0s\"\nsteps = [{ share = \"10%\", hold = \"50ms\" }]";

async fn serves(shop: &Shop, pool: &str) {
    assert_eq!(shop.whole.get("/").await.body, pool);
}

#[tokio::test]
async fn a_deployment_runs_the_command_and_moves_the_traffic() {
    let shop = shop(QUICK).await;
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note").display().to_string();
    let exec = format!("echo {{service}} {{pool}} {{version}} $CUTOVER_POOL > {note}");
    let deploy = [
        "deploy",
        "app",
        "--exec",
        &exec,
        "--version",
        "2.0",
        "--plan",
        "switch",
    ];
    let (code, text) = shop.run(&deploy).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        std::fs::read_to_string(&note).unwrap(),
        "app green 2.0 green\n"
    );
    assert!(text.contains("safe to stop the old one now"), "{text}");
    serves(&shop, "green").await;
    std::fs::remove_file(&note).unwrap();
    // The same again finds that it is done.
    let (code, text) = shop.run(&deploy).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("app serves 2.0 from green already"), "{text}");
    assert!(
        text.contains("blue has no work: it is safe to stop it now"),
        "{text}"
    );
    assert!(
        !std::fs::exists(&note).unwrap(),
        "the command was not run again"
    );
    let (code, text) = shop
        .run(&["deploy", "app", "--version", "2.1", "--plan", "switch"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    serves(&shop, "blue").await;
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_service_with_a_plan_of_its_own_is_deployed_by_it() {
    let shop = shop(QUICK).await;
    let (code, text) = shop.run(&["deploy", "app", "--version", "2.0"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("promoted: green has all requests"), "{text}");
    assert!(
        text.contains("blue has no work: it is safe to stop it now"),
        "{text}"
    );
    serves(&shop, "green").await;
    assert_eq!(shop.whole.events("rollout-succeeded").await, 1);
    shop.whole.stop().await;
}

#[tokio::test]
async fn what_fails_leaves_the_old_version_serving() {
    let shop = shop(QUICK).await;
    let failing = ["deploy", "app", "--exec", "exit 3", "--version", "2.0"];
    let (code, text) = shop.run(&failing).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("the command failed") && text.contains("blue serves on"),
        "{text}"
    );
    let (code, text) = shop
        .run(&["deploy", "app", "--exec", "run {version}"])
        .await;
    assert_eq!(code, Some(2), "{text}");
    let (code, text) = shop.run(&["deploy", "app", "--to", "blue"]).await;
    assert_eq!(code, Some(5), "{text}");
    let (code, text) = shop.run(&["deploy", "app", "--to", "gren"]).await;
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = shop.run(&["deploy", "app", "--plan", "hasty"]).await;
    assert_eq!(code, Some(3), "{text}");
    let (code, text) = shop
        .run(&["deploy", "app", "--dry-run", "--exec", "exit 3"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("would run: exit 3"), "{text}");
    serves(&shop, "blue").await;
    shop.run(&["shift", "app", "green=10%"]).await;
    let (code, text) = shop.run(&["deploy", "app"]).await;
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("no one pool with all traffic"), "{text}");
    assert_eq!(shop.weights().await, json!({ "blue": 90, "green": 10 }));
    shop.whole.stop().await;
}

#[tokio::test]
async fn one_that_is_under_way_is_followed_and_not_begun_twice() {
    let asks = "warm_up = \"0s\"\nbake = \"0s\"\nsteps = [{ share = \"10%\", approval = true }]";
    let shop = shop(asks).await;
    let start = json!({ "to": "green", "version": "2.0" });
    let (status, begun) = shop.post("/v1/services/app/rollouts", start).await;
    assert_eq!(status, 200, "{begun:#}");
    let id = begun["rollout"]["id"].as_u64().unwrap();
    let (code, text) = shop.run(&["deploy", "app", "--version", "2.1"]).await;
    assert_eq!(code, Some(6), "{text}");
    shop.until(id, "it to ask", |seen| seen["phase"] == "waiting")
        .await;
    let same = shop.run(&["deploy", "app", "--version", "2.0"]);
    let said = async {
        // It is followed whether or not it has got so far.
        let path = format!("/v1/rollouts/{id}/promote");
        let (status, answer) = shop.post(&path, json!({})).await;
        assert_eq!(status, 200, "{answer:#}");
    };
    let ((code, text), ()) = tokio::join!(same, said);
    assert_eq!(code, Some(0), "{text}");
    serves(&shop, "green").await;
    let listed = shop.whole.ask("/v1/rollouts").await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["rollouts"].as_array().unwrap().len(), 1);
    shop.whole.stop().await;
}

#[tokio::test]
async fn a_version_that_is_not_proven_in_time_gets_nothing() {
    let plan = format!("ready_timeout = \"300ms\"\n{QUICK}");
    let shop = shop_with_a_bad_green(&plan).await;
    let (code, text) = shop
        .run(&[
            "deploy",
            "app",
            "--plan",
            "switch",
            "--ready-timeout",
            "300ms",
        ])
        .await;
    assert_eq!(code, Some(5), "{text}");
    let (code, text) = shop.run(&["deploy", "app", "--version", "2.0"]).await;
    assert_eq!(code, Some(5), "{text}");
    assert!(
        text.contains("refused, blue has had all requests"),
        "{text}"
    );
    serves(&shop, "blue").await;
    let listed = shop.whole.ask("/v1/rollouts?state=failed").await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["rollouts"][0]["cause"]["kind"], "not-ready");
    shop.whole.stop().await;
}
