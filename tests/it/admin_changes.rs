//! Every call of the admin API that changes something.

#![allow(
    clippy::unwrap_used,
    clippy::format_push_string,
    reason = "a test that can't get its value has failed"
)]

use serde_json::{Value, json};

use crate::console::{Answer, Console, TWO_SERVICES};

fn weights(console: &Console, service: &str) -> Value {
    console.get(&format!("/v1/services/{service}")).json["weights"].clone()
}

fn refused(answer: &Answer) -> (u16, &str) {
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.json["status"], answer.status);
    assert_eq!(
        answer.json["type"],
        format!("urn:cutover:problem:{}", answer.code())
    );
    assert!(answer.json["title"].is_string() && answer.json["detail"].is_string());
    (answer.status, answer.code())
}

#[test]
fn weights_are_set_and_told_with_revision_and_shares() {
    let console = Console::start(TWO_SERVICES);
    let before = console.get("/v1/services/shop");
    let body = r#"{"weights":{"blue":90,"green":10},"reason":"canary"}"#;
    let answer = console.call("PUT", "/v1/services/shop/weights", body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["share"], json!({"blue": 0.9, "green": 0.1}));
    assert_eq!(answer.json["durable"], true);
    assert_eq!(answer.json["dry_run"], false);
    let revision = before.json["revision"].as_u64().unwrap() + 1;
    assert_eq!(answer.json["revision"], revision);
    assert_eq!(answer.json["services"][0]["before"], json!({"blue": 100}));
    let after = console.get("/v1/services/shop");
    assert_eq!(after.json["weights"], json!({"blue": 90, "green": 10}));
    assert_eq!(
        after.header("etag"),
        Some(format!("\"{revision}\"").as_str())
    );
    assert_eq!(after.json["drift"][0]["field"], "weights");
    assert_eq!(after.json["drift"][0]["reason"], "canary");
}

#[test]
fn requests_are_held_and_let_through() {
    let console = Console::start(TWO_SERVICES);
    let post =
        |verb: &str, body: &str| console.call("POST", &format!("/v1/services/shop/{verb}"), body);
    let dry = post("hold?dry_run=true", r#"{"for":"30s"}"#);
    assert_eq!((dry.status, &dry.json["dry_run"]), (200, &json!(true)));
    assert_eq!(console.get("/v1/status").json["holds"], json!([]));
    let done = post("hold", r#"{"for":"30s","reason":"migration"}"#);
    assert_eq!(done.status, 200, "{}", done.text);
    let hold = console.get("/v1/status").json["holds"][0].clone();
    assert_eq!(
        (&hold["service"], &hold["admission"]),
        (&json!("shop"), &json!("hold"))
    );
    assert!(hold["until"].is_string() && hold["reason"] == "migration");
    assert_eq!(
        console.get("/v1/drift").json["drift"][0]["field"],
        "admission"
    );
    let export = |console: &Console| console.get("/v1/config?format=toml").text;
    assert!(
        !export(&console).contains("admission"),
        "a hold is not for the file"
    );
    assert_eq!(post("maintenance", "").status, 200);
    assert!(export(&console).contains("admission = \"maintenance\""));
    let hold = console.get("/v1/status").json["holds"][0].clone();
    assert_eq!(
        (&hold["until"], &hold["left_seconds"]),
        (&json!(null), &json!(null))
    );
    let again = post("resume", "");
    assert_eq!(again.json["diff"][0]["after"], "open");
    assert_eq!(console.get("/v1/services/shop").json["admission"], "open");
    for bad in [
        r#"{"for":"0s"}"#,
        r#"{"for":"61m"}"#,
        r#"{"fro":"1s"}"#,
        r#"{"for":5}"#,
    ] {
        let refused = post("hold", bad);
        assert_eq!(refused.status, 422, "{bad}: {}", refused.text);
    }
    let nobody = console.call("POST", "/v1/services/nothing/hold", "");
    assert_eq!(refused(&nobody), (404, "unknown-service"));
    let ci = [
        ("Host", "localhost"),
        ("Authorization", "Bearer secret-of-ci"),
    ];
    let other = console.over_tcp("POST", "/v1/services/search/hold", &ci, "");
    assert_eq!(refused(&other), (403, "forbidden"));
}

#[test]
fn weights_that_make_no_sense_change_nothing() {
    let console = Console::start(TWO_SERVICES);
    let put = |path: &str, body: &str| {
        let answer = console.call("PUT", path, body);
        let (status, code) = refused(&answer);
        (
            status,
            code.to_owned(),
            answer.json["hint"].as_str().unwrap_or("").to_owned(),
        )
    };
    let shop = "/v1/services/shop/weights";
    assert_eq!(
        put(shop, r#"{"weights":{"green":10}}"#).1,
        "incomplete-weights"
    );
    assert_eq!(
        put(shop, r#"{"weights":{"blue":0,"green":0}}"#).1,
        "invalid-weights"
    );
    let (status, code, _) = put(shop, r#"{"weights":{"blue":1,"gren":1}}"#);
    assert_eq!((status, code.as_str()), (422, "unknown-pool"));
    let (status, code, hint) = put(shop, r#"{"weigths":{"blue":1}}"#);
    assert_eq!(
        (status, code.as_str(), hint.as_str()),
        (422, "unknown-key", "did you mean `weights`?")
    );
    let (status, code, _) = put("/v1/services/shap/weights", r#"{"weights":{"blue":1}}"#);
    assert_eq!((status, code.as_str()), (404, "unknown-service"));
    let (status, code, _) = put(
        "/v1/services/shop/weights?dryrun=true",
        r#"{"weights":{"blue":1}}"#,
    );
    assert_eq!((status, code.as_str()), (422, "unknown-key"));
    assert_eq!(weights(&console, "shop"), json!({"blue": 100, "green": 0}));
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let console = Console::start(TWO_SERVICES);
    let before = console.get("/v1/services/shop").json;
    let answer = console.call(
        "PUT",
        "/v1/services/shop/weights?dry_run=true",
        r#"{"weights":{"blue":1,"green":1}}"#,
    );
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["dry_run"], true);
    assert_eq!(answer.json["share"], json!({"blue": 0.5, "green": 0.5}));
    let after = console.get("/v1/services/shop").json;
    assert_eq!(after["revision"], before["revision"]);
    assert_eq!(after["weights"], before["weights"]);
}

#[test]
fn a_change_for_another_revision_is_a_conflict() {
    let console = Console::start(TWO_SERVICES);
    let etag = console
        .get("/v1/services/shop")
        .header("etag")
        .unwrap()
        .to_owned();
    let put = |etag: &str| {
        let headers = [("If-Match", etag)];
        console.call_with(
            "PUT",
            "/v1/services/shop/weights",
            &headers,
            r#"{"weights":{"blue":1,"green":1}}"#,
        )
    };
    assert_eq!(put(&etag).status, 200);
    assert_eq!(refused(&put(&etag)), (412, "revision-mismatch"));
    assert_eq!(refused(&put("\"nonsense\"")), (422, "invalid-request"));
}

#[test]
fn the_same_key_is_applied_once() {
    let console = Console::start(TWO_SERVICES);
    let put = |key: &str, green: u32| {
        let body = format!(r#"{{"weights":{{"blue":90,"green":{green}}}}}"#);
        console.call_with(
            "PUT",
            "/v1/services/shop/weights",
            &[("Idempotency-Key", key)],
            &body,
        )
    };
    let first = put("a", 10);
    assert_eq!(put("b", 20).status, 200);
    let again = put("a", 10);
    assert_eq!(again.json, first.json);
    assert_eq!(weights(&console, "shop")["green"], 20);
    assert_eq!(refused(&put("a", 30)), (422, "idempotency-mismatch"));
    assert_eq!(refused(&put("", 30)), (422, "invalid-request"));
}

#[test]
fn a_switch_moves_everything_and_a_rollback_brings_it_back() {
    let console = Console::start(TWO_SERVICES);
    let body =
        r#"{"to":"green","wait":"drained","deadline":"5s","version":"1.42","reason":"release"}"#;
    let switched = console.call("POST", "/v1/services/shop/switch", body);
    assert_eq!(switched.status, 200, "{}", switched.text);
    assert_eq!(switched.json["share"], json!({"blue": 0.0, "green": 1.0}));
    assert_eq!(
        (&switched.json["drained"], &switched.json["safe_to_stop"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(switched.json["in_flight"], 0);
    let service = console.get("/v1/services/shop").json;
    assert_eq!(
        (&service["active"], &service["idle"]),
        (&json!("green"), &json!("blue"))
    );
    assert_eq!(service["pools"]["green"]["version"], "1.42");
    let back = console.call("POST", "/v1/services/shop/rollback", "");
    assert_eq!(back.status, 200, "{}", back.text);
    assert_eq!(weights(&console, "shop"), json!({"blue": 100, "green": 0}));
    let again = console.call("POST", "/v1/services/shop/rollback", "{}");
    assert_eq!(again.status, 200, "{}", again.text);
    assert!(
        !again.json["notes"].as_array().unwrap().is_empty(),
        "it says that it is there already"
    );
    assert_eq!(weights(&console, "shop"), json!({"blue": 100, "green": 0}));
    let history = console.get("/v1/services/shop/history").json;
    let whats: Vec<_> = history["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["what"].as_str().unwrap())
        .collect();
    assert!(
        whats.iter().any(|what| what.starts_with("switch"))
            && whats.iter().any(|what| what.starts_with("rollback")),
        "{whats:?}"
    );
    let unknown = console.call(
        "POST",
        "/v1/services/shop/rollback",
        r#"{"to_revision":9999}"#,
    );
    assert_eq!(refused(&unknown), (422, "unknown-revision"));
}

#[test]
fn a_pool_that_is_not_ready_gets_no_weight_unless_forced() {
    let console = Console::start_sick(TWO_SERVICES, &["10.0.1.1:3000"]);
    assert!(console.until(|status| status["services"][1]["pools"]["blue"]["ready"] == 2));
    let put = |force: &str| {
        console.call(
            "PUT",
            "/v1/services/shop/weights",
            &format!(r#"{{"weights":{{"blue":1,"green":1}},"force":{force}}}"#),
        )
    };
    let gated = put("false");
    assert_eq!(refused(&gated), (409, "pool-not-ready"));
    let evidence = gated.json["evidence"].as_array().unwrap();
    let sick = evidence
        .iter()
        .find(|seen| seen["endpoint"] == "10.0.1.1:3000")
        .unwrap();
    assert_eq!(sick["probe"]["status"], 503);
    assert!(sick["probe"]["url"].as_str().unwrap().ends_with("/readyz"));
    assert!(
        gated.json["hint"].as_str().unwrap().contains("force"),
        "{}",
        gated.json["hint"]
    );
    assert_eq!(weights(&console, "shop"), json!({"blue": 100, "green": 0}));
    let waited = console.call(
        "POST",
        "/v1/services/shop/switch",
        r#"{"to":"green","ready_timeout":"50ms"}"#,
    );
    assert_eq!(refused(&waited), (409, "pool-not-ready"));
    assert_eq!(put("true").status, 200);
}

#[test]
fn pools_and_endpoints_are_drained_and_restored() {
    let console = Console::start(TWO_SERVICES);
    let pool = "/v1/services/shop/pools/green";
    let drained = console.call(
        "POST",
        &format!("{pool}/drain"),
        r#"{"wait":"drained","deadline":"5s","reason":"upgrade"}"#,
    );
    assert_eq!(drained.status, 200, "{}", drained.text);
    assert_eq!(drained.json["drained"], true);
    assert_eq!(drained.json["in_flight"], 0);
    assert_eq!(drained.json["safe_to_stop"], true);
    let status = console.get("/v1/status").json;
    assert_eq!(status["drains"].as_array().unwrap().len(), 2);
    assert_eq!(status["drains"][0]["reason"], "upgrade");
    let restored = console.call(
        "POST",
        &format!("{pool}/restore"),
        r#"{"wait":"ready","ready_timeout":"5s"}"#,
    );
    assert_eq!(
        (restored.status, &restored.json["ready"]),
        (200, &json!(true)),
        "{}",
        restored.text
    );
    let endpoint = format!("{pool}/endpoints/unix:%2Frun%2Fgreen.sock");
    assert_eq!(
        console
            .call("POST", &format!("{endpoint}/drain"), "")
            .status,
        200
    );
    let green = console.get("/v1/services/shop").json["pools"]["green"]["endpoints"].clone();
    let state = green
        .as_array()
        .unwrap()
        .iter()
        .find(|of| of["id"] == "unix:/run/green.sock")
        .unwrap()["state"]
        .clone();
    assert!(state == "draining" || state == "drained", "{state}");
    assert_eq!(
        console
            .call("POST", &format!("{endpoint}/restore"), "")
            .status,
        200
    );
    assert_eq!(
        refused(&console.call("POST", "/v1/services/shop/pools/grey/drain", "")),
        (404, "unknown-pool")
    );
    assert_eq!(
        refused(&console.call("POST", &format!("{pool}/endpoints/10.9.9.9:1/drain"), "")),
        (404, "unknown-endpoint")
    );
}

#[test]
fn the_last_ready_endpoint_of_a_weighted_pool_stays_unless_forced() {
    let console = Console::start(TWO_SERVICES);
    let gated = console.call("POST", "/v1/services/search/pools/main/drain", "");
    assert_eq!(refused(&gated), (409, "last-ready-endpoint"));
    let endpoint = "/v1/services/search/pools/main/endpoints/10.1.0.1:4000";
    assert_eq!(
        refused(&console.call("DELETE", endpoint, "")),
        (409, "last-ready-endpoint")
    );
    let forced = console.call(
        "POST",
        "/v1/services/search/pools/main/drain",
        r#"{"force":true}"#,
    );
    assert_eq!(forced.status, 200, "{}", forced.text);
}

#[test]
fn endpoints_come_and_go() {
    let console = Console::start(TWO_SERVICES);
    let path = "/v1/services/shop/pools/blue/endpoints/10.0.0.3:3000";
    let added = console.call(
        "PUT",
        path,
        r#"{"weight":2,"wait":"ready","ready_timeout":"5s"}"#,
    );
    assert_eq!(
        (added.status, &added.json["ready"]),
        (200, &json!(true)),
        "{}",
        added.text
    );
    let blue = console.get("/v1/services/shop").json["pools"]["blue"].clone();
    assert_eq!(blue["of"], 3);
    let removed = console.call(
        "DELETE",
        &format!("{path}?wait=drained&deadline=5s&reason=gone"),
        "",
    );
    assert_eq!(
        (removed.status, &removed.json["safe_to_stop"]),
        (200, &json!(true)),
        "{}",
        removed.text
    );
    assert_eq!(
        console.get("/v1/services/shop").json["pools"]["blue"]["of"],
        2
    );
    assert_eq!(
        refused(&console.call("DELETE", path, "")),
        (404, "unknown-endpoint")
    );
    assert_eq!(
        refused(&console.call("DELETE", &format!("{path}?wiat=drained"), "")),
        (422, "unknown-key")
    );
    for odd in [
        "..%2F..%2Fetc%2Fpasswd",
        "http:%2F%2Fevil.example%2F",
        "10.0.0.1:99999",
        "unix:relative",
    ] {
        let answer = console.call(
            "PUT",
            &format!("/v1/services/shop/pools/blue/endpoints/{odd}"),
            "",
        );
        assert_eq!(refused(&answer).0, 404, "{odd}");
    }
}

#[test]
fn several_changes_are_one_or_none() {
    let console = Console::start(TWO_SERVICES);
    let both = r#"{"changes":[{"do":"switch","service":"shop","to":"green"},{"do":"switch","service":"search","to":"next"}],"reason":"release"}"#;
    let answer = console.call("POST", "/v1/changes", both);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["services"].as_array().unwrap().len(), 2);
    assert_eq!(weights(&console, "shop")["green"], 100);
    assert_eq!(weights(&console, "search")["next"], 100);
    let half = r#"{"changes":[{"do":"rollback","service":"shop"},{"do":"switch","service":"search","to":"nowhere"}]}"#;
    assert_eq!(
        refused(&console.call("POST", "/v1/changes", half)),
        (422, "unknown-pool")
    );
    assert_eq!(weights(&console, "shop")["green"], 100);
    assert_eq!(
        refused(&console.call("POST", "/v1/changes", r#"{"changes":[]}"#)),
        (422, "invalid-request")
    );
    let all = r#"{"changes":[
        {"do":"weights","service":"shop","weights":{"blue":1,"green":1}},
        {"do":"drain","service":"search","pool":"main"},
        {"do":"restore","service":"search","pool":"main"},
        {"do":"add-endpoint","service":"search","pool":"next","endpoint":"10.0.0.9:1","weight":3},
        {"do":"remove-endpoint","service":"shop","pool":"blue","endpoint":"10.0.0.2:3000"}]}"#;
    let answer = console.call("POST", "/v1/changes?dry_run=true", all);
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[test]
fn an_override_is_dropped_and_the_file_holds_again() {
    let console = Console::start(TWO_SERVICES);
    assert_eq!(
        console
            .call(
                "PUT",
                "/v1/services/shop/weights",
                r#"{"weights":{"blue":1,"green":1}}"#
            )
            .status,
        200
    );
    let drift = console.get("/v1/drift").json;
    assert_eq!(drift["drift"][0]["field"], "weights");
    assert_eq!(drift["drift"][0]["declared"], json!({"blue": 100}));
    let reverted = console.call(
        "DELETE",
        "/v1/services/shop/overrides/weights?reason=done",
        "",
    );
    assert_eq!(reverted.status, 200, "{}", reverted.text);
    assert_eq!(weights(&console, "shop"), json!({"blue": 100, "green": 0}));
    assert_eq!(console.get("/v1/drift").json["drift"], json!([]));
    assert_eq!(
        refused(&console.call("DELETE", "/v1/services/shop/overrides/wieghts", "")),
        (404, "unknown-field")
    );
}

#[test]
fn conflicting_writers_have_one_winner() {
    let console = Console::start(TWO_SERVICES);
    let etag = console
        .get("/v1/services/shop")
        .header("etag")
        .unwrap()
        .to_owned();
    let outcomes: Vec<u16> = std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=8)
            .map(|green| {
                let (console, etag) = (&console, &etag);
                scope.spawn(move || {
                    let body = format!(r#"{{"weights":{{"blue":100,"green":{green}}}}}"#);
                    console
                        .call_with(
                            "PUT",
                            "/v1/services/shop/weights",
                            &[("If-Match", etag)],
                            &body,
                        )
                        .status
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    assert_eq!(
        outcomes.iter().filter(|status| **status == 200).count(),
        1,
        "{outcomes:?}"
    );
    assert_eq!(
        outcomes.iter().filter(|status| **status == 412).count(),
        7,
        "{outcomes:?}"
    );
}
