//! Endpoints of one pool that are replaced in batches while it serves.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use serde_json::{Value, json};

use crate::support::{Answer, App, Client, Whole, answer, endpoint, until, whole, within};

/// The SHA-256 of `secret`.
const TOKEN: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// An app that is well, whatever it answers; `/slow` takes as long as its client waits.
async fn app(at: Option<SocketAddr>, name: &'static str, status: u16) -> App {
    let app = endpoint(name).serve(move |mut peer| async move {
        while let Ok(request) = peer.request().await {
            if request.starts_with("GET /slow ") {
                return peer.until_closed().await;
            }
            let well = request.starts_with("GET /healthz ");
            let status = if well { 200 } else { status };
            peer.write(&answer(status, &[], name.as_bytes())).await;
        }
    });
    match at {
        Some(at) => app.start_at(at).await,
        None => app.start().await,
    }
}

type Apps = BTreeMap<String, App>;

/// Four old apps in one pool, and a plan of batches of two.
async fn four() -> (Apps, Whole) {
    let mut apps = Apps::new();
    for _ in 0..4 {
        let old = app(None, "old", 200).await;
        apps.insert(old.address.to_string(), old);
    }
    let addresses: Vec<_> = apps.keys().map(|address| format!("{address:?}")).collect();
    let shop = whole(&format!(
        "admin.tokens = [{{ name = \"ops\", role = \"operator\", sha256 = \"{TOKEN}\" }}]\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n[services.app]\nprobe.path = \"/healthz\"\nprobe.interval = \"50ms\"\n\
         drain.deadline = \"1m\"\npools.blue.endpoints = [{}]\n[services.app.rollout]\nstrategy = \"rolling\"\nbatch = \"50%\"\nwarm_up = \"0ms\"\n\
         ready_timeout = \"5s\"\nsteps = [{{ judge = \"1s\" }}]\n\
         judge = {{ interval = \"1s\", min_requests = 50, error_margin = \"20%\" }}\n",
        addresses.join(", ")
    ))
    .await;
    shop.until("four to be ready", |service| {
        service["pools"]["blue"]["ready"] == 4
    })
    .await;
    (apps, shop)
}

async fn post(shop: &Whole, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let mut operator = shop.operator().await;
    operator
        .send(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    operator.answer().await
}

async fn begin(shop: &Whole) {
    let begun = post(
        shop,
        "/v1/services/app/rollouts",
        &json!({ "version": "2.0" }),
    )
    .await;
    assert_eq!(begun.status, 200, "{}", begun.body);
}

/// In the place of these.
async fn put_new(apps: &mut Apps, batch: &[String], status: u16) {
    for address in batch {
        let at = apps.remove(address).unwrap().stop().await;
        apps.insert(address.clone(), app(Some(at), "new", status).await);
    }
}

/// The batch that waits to be replaced, with what the API says of it.
async fn replaced(shop: &Whole, apps: &mut Apps, step: usize, status: u16) -> Vec<String> {
    shop.until("a batch to be empty", |service| {
        let rollout = &service["rollout"];
        rollout["phase"] == "replacing" && rollout["step"] == step
    })
    .await;
    let service = shop.service().await;
    let batch: Vec<String> = serde_json::from_value(service["rollout"]["batch"].clone()).unwrap();
    let out = service["pools"]["blue"]["endpoints"].as_array().unwrap();
    let out = out.iter().filter(|held| held["state"] != "ready").count();
    assert_eq!((out, batch.len()), (2, 2), "{service:#}");
    put_new(apps, &batch, status).await;
    let id = &service["rollout"]["id"];
    let told = post(
        shop,
        &format!("/v1/rollouts/{id}/skip"),
        &json!({ "step": step }),
    )
    .await;
    assert_eq!(told.status, 200, "{}", told.body);
    batch
}

#[tokio::test]
async fn a_pool_is_replaced_in_batches_under_load_and_nobody_meets_an_error() {
    let (mut apps, shop) = four().await;
    begin(&shop).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut client = shop.client().await;
    let ends = over.clone();
    let load = tokio::spawn(async move {
        let mut answers = 0;
        while !ends.load(SeqCst) {
            assert_eq!(client.get("/").await.status, 200);
            answers += 1;
        }
        answers
    });
    let first = replaced(&shop, &mut apps, 1, 200).await;
    let second = replaced(&shop, &mut apps, 2, 200).await;
    assert!(first.iter().all(|address| !second.contains(address)));
    shop.until("the end", |service| {
        service["rollout"]["stage"] == "succeeded"
    })
    .await;
    over.store(true, SeqCst);
    assert!(load.await.unwrap() > 100);
    let service = shop.service().await;
    assert_eq!(service["pools"]["blue"]["ready"], 4);
    assert_eq!(service["pools"]["blue"]["version"], "2.0");
    for _ in 0..8 {
        assert_eq!(shop.get("/").await.body, "new");
    }
    shop.stop().await;
}

#[tokio::test]
async fn a_bad_batch_stops_stays_drained_and_is_the_first_of_the_next_try() {
    let (mut apps, shop) = four().await;
    begin(&shop).await;
    let batch = replaced(&shop, &mut apps, 1, 500).await;
    within("it to be judged", async {
        let mut client = shop.client().await;
        while shop.service().await["rollout"]["stage"] != "failed" {
            for _ in 0..50 {
                client.get("/").await;
            }
        }
    })
    .await;
    shop.until("the batch to be drained", |service| {
        let held = service["pools"]["blue"]["endpoints"].as_array().unwrap();
        held.iter().all(|held| held["state"] != "draining")
    })
    .await;
    let service = shop.service().await;
    // One client is one too few for the guard's test, but may spend its budget before the judge has looked.
    let kind = service["rollout"]["cause"]["kind"].as_str().unwrap();
    assert!(["judge", "guard"].contains(&kind), "{service:#}");
    assert_eq!(service["rollout"]["batch"], json!(batch));
    for held in service["pools"]["blue"]["endpoints"].as_array().unwrap() {
        let bad = batch
            .iter()
            .any(|address| held["address"] == json!(address));
        let state = if bad { "drained" } else { "ready" };
        assert_eq!(held["state"], state, "{service:#}");
    }
    for _ in 0..8 {
        assert_eq!(shop.get("/").await.body, "old");
    }
    let id = &service["rollout"]["id"];
    let undo = post(&shop, &format!("/v1/rollouts/{id}/undo"), &json!({})).await;
    assert_eq!(undo.status, 409, "{}", undo.body);
    let again = post(&shop, &format!("/v1/rollouts/{id}/retry"), &json!({})).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(replaced(&shop, &mut apps, 1, 200).await, batch);
    shop.stop().await;
}

#[tokio::test]
async fn what_somebody_else_drains_or_puts_back_is_theirs() {
    let (mut apps, shop) = four().await;
    begin(&shop).await;
    let phase = async |step: usize, phase: &str| {
        shop.until(phase, |service| {
            service["rollout"]["phase"] == phase && service["rollout"]["step"] == step
        })
        .await;
        let service = shop.service().await;
        let batch: Vec<String> =
            serde_json::from_value(service["rollout"]["batch"].clone()).unwrap();
        (service["rollout"]["id"].as_u64().unwrap(), batch)
    };
    let tell = async |path: String| {
        let told = post(&shop, &path, &json!({})).await;
        assert_eq!(told.status, 200, "{path}: {}", told.body);
    };
    let (id, batch) = phase(1, "replacing").await;
    let mut others = apps.keys().filter(|address| !batch.contains(address));
    let of = |address: &str| format!("/v1/services/app/pools/blue/endpoints/{address}");
    let theirs = others.next().unwrap().clone();
    tell(format!("{}/drain", of(&theirs))).await;
    tell(format!("{}/restore", of(&batch[0]))).await;
    shop.until("a pause", |service| {
        service["rollout"]["paused"]["reason"] == "manual"
    })
    .await;
    let detail = shop.service().await["rollout"]["paused"]["detail"].clone();
    let said = format!("{} was put back by ops (token)", batch[0]);
    assert_eq!(detail, json!(said));
    tell(format!("/v1/rollouts/{id}/resume")).await;
    assert_eq!(phase(1, "replacing").await.1, batch);
    put_new(&mut apps, &batch, 200).await;
    tell(format!("/v1/rollouts/{id}/skip")).await;
    phase(1, "waiting").await;
    tell(format!("/v1/rollouts/{id}/promote")).await;
    let (_, second) = phase(2, "replacing").await;
    assert!(second.len() == 1 && second[0] != theirs, "{second:?}");
    tell(format!("/v1/rollouts/{id}/skip")).await;
    phase(2, "waiting").await;
    tell(format!("/v1/rollouts/{id}/promote")).await;
    shop.until("the end", |service| {
        service["rollout"]["stage"] == "succeeded"
    })
    .await;
    let service = shop.service().await;
    let held = service["pools"]["blue"]["endpoints"].as_array().unwrap();
    let out: Vec<_> = held
        .iter()
        .filter(|held| held["state"] != "ready")
        .collect();
    assert_eq!(out.len(), 1, "{service:#}");
    assert_eq!(out[0]["address"], json!(theirs));
    shop.stop().await;
}

/// A request on each endpoint that ends with its client.
async fn slow_requests(apps: &Apps, shop: &Whole) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..apps.len() {
        let mut client = shop.client().await;
        client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
    }
    for app in apps.values() {
        let is_slow = |request: &String| request.starts_with("GET /slow ");
        until("a slow request", || app.requests().iter().any(is_slow)).await;
    }
    clients
}

/// Where the first batch stands, and who is in it.
async fn stands(shop: &Whole, phases: &[&str]) -> (u64, Vec<String>) {
    shop.until(&phases.join(" or "), |service| {
        let rollout = &service["rollout"];
        let phase = rollout["phase"].as_str();
        rollout["step"] == 1 && phase.is_some_and(|phase| phases.contains(&phase))
    })
    .await;
    let rollout = shop.service().await["rollout"].clone();
    let batch = serde_json::from_value(rollout["batch"].clone()).unwrap();
    (rollout["id"].as_u64().unwrap(), batch)
}

async fn say(shop: &Whole, id: u64, verb: &str) {
    let path = format!("/v1/rollouts/{id}/{verb}");
    let told = post(shop, &path, &json!({})).await;
    assert_eq!(told.status, 200, "{verb}: {}", told.body);
}

/// The endpoints of the pool that are in these states.
async fn held(shop: &Whole, states: &[&str]) -> Vec<String> {
    let service = shop.service().await;
    let held = service["pools"]["blue"]["endpoints"].as_array().unwrap();
    let held = held
        .iter()
        .filter(|held| states.contains(&held["state"].as_str().unwrap()));
    held.map(|held| held["address"].as_str().unwrap().to_owned())
        .collect()
}

async fn until_held(shop: &Whole, state: &str, count: usize) {
    within(state, async {
        while held(shop, &[state]).await.len() != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

const JUDGED: [&str; 2] = ["waiting", "extending"];

#[tokio::test]
async fn a_pause_holds_it_in_every_phase_and_it_goes_on_from_there() {
    let (mut apps, shop) = four().await;
    let slow = slow_requests(&apps, &shop).await;
    begin(&shop).await;
    let (id, batch) = stands(&shop, &["emptying"]).await;
    say(&shop, id, "pause").await;
    drop(slow);
    until_held(&shop, "drained", 2).await;
    assert_eq!(stands(&shop, &["emptying"]).await.1, batch);
    say(&shop, id, "resume").await;
    stands(&shop, &["replacing"]).await;
    say(&shop, id, "pause").await;
    assert_eq!(held(&shop, &["drained"]).await, batch);
    say(&shop, id, "resume").await;
    let at = apps.remove(&batch[0]).unwrap().stop().await;
    say(&shop, id, "skip").await;
    stands(&shop, &["proving"]).await;
    say(&shop, id, "pause").await;
    apps.insert(batch[0].clone(), app(Some(at), "new", 200).await);
    until_held(&shop, "ready", 4).await;
    assert_eq!(shop.service().await["rollout"]["phase"], "proving");
    say(&shop, id, "resume").await;
    stands(&shop, &JUDGED).await;
    say(&shop, id, "pause").await;
    assert_eq!(shop.service().await["rollout"]["state"], "paused");
    say(&shop, id, "resume").await;
    stands(&shop, &JUDGED).await;
    say(&shop, id, "promote").await;
    replaced(&shop, &mut apps, 2, 200).await;
    shop.stop().await;
}

#[tokio::test]
async fn an_abort_leaves_its_batch_drained_in_every_phase_and_no_other() {
    for phase in ["emptying", "replacing", "proving", "waiting"] {
        let (mut apps, shop) = four().await;
        let slow = slow_requests(&apps, &shop).await;
        begin(&shop).await;
        let (id, batch) = stands(&shop, &["emptying"]).await;
        if phase != "emptying" {
            drop(slow);
            stands(&shop, &["replacing"]).await;
        }
        if phase == "proving" {
            apps.remove(&batch[0]).unwrap().stop().await;
        }
        if ["proving", "waiting"].contains(&phase) {
            say(&shop, id, "skip").await;
            let next = if phase == "proving" {
                &["proving"][..]
            } else {
                &JUDGED
            };
            stands(&shop, next).await;
        }
        say(&shop, id, "abort").await;
        assert_eq!(
            held(&shop, &["draining", "drained"]).await,
            batch,
            "{phase}"
        );
        if phase == "emptying" {
            // What it has been given it may end.
            let stage = shop.service().await["rollout"]["stage"].clone();
            assert_eq!(stage, "rolling-back");
            continue;
        }
        shop.until("the end", |service| service["rollout"]["stage"] == "failed")
            .await;
        until_held(&shop, "drained", 2).await;
        assert_eq!(held(&shop, &["ready"]).await.len(), 2, "{phase}");
        shop.stop().await;
    }
}

#[tokio::test]
async fn a_batch_of_all_endpoints_or_of_another_pool_is_refused() {
    let (apps, shop) = four().await;
    let rolling = |batch: Value| json!({ "strategy": "rolling", "batch": batch });
    for (body, why) in [
        (
            json!({ "plan": rolling(json!(4)) }),
            "would leave none of the 4 endpoints",
        ),
        (
            json!({ "plan": rolling(json!("100%")) }),
            "would leave none of the 4 endpoints",
        ),
        (json!({ "to": "green" }), "app serves blue=100"),
        (json!({ "from": "green" }), "app serves blue=100"),
        (json!({ "plan": { "strategy": "canary" } }), "isn't said"),
    ] {
        let refused = post(&shop, "/v1/services/app/rollouts", &body).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.body);
        assert!(refused.body.contains(why), "{body}: {}", refused.body);
    }
    assert_eq!(shop.service().await["pools"]["blue"]["ready"], apps.len());
    shop.stop().await;
}
