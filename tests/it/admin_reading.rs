//! Every call of the admin API that tells something.

#![allow(
    clippy::unwrap_used,
    clippy::format_push_string,
    reason = "a test that can't get its value has failed"
)]

use std::io::{BufRead, BufReader, Write};

use serde_json::{Value, json};

use crate::console::{Console, PATIENCE, TWO_SERVICES};

/// The keys of an object, in order.
fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .map(|object| object.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

#[test]
fn a_service_has_the_promised_shape() {
    let console = Console::start(TWO_SERVICES);
    let shop = console.get("/v1/services/shop");
    assert_eq!(shop.status, 200);
    let json = &shop.json;
    assert_eq!(
        keys(json),
        [
            "name",
            "revision",
            "generation",
            "state",
            "admission",
            "active",
            "idle",
            "weights",
            "pending",
            "share",
            "waiting",
            "settled",
            "pools",
            "rolls_out",
            "rollout",
            "drift"
        ]
    );
    assert_eq!(json["name"], "shop");
    assert_eq!(json["state"], "serving");
    assert_eq!(
        (&json["active"], &json["idle"]),
        (&json!("blue"), &json!("green"))
    );
    assert_eq!(json["weights"], json!({"blue": 100, "green": 0}));
    assert_eq!(
        json["share"]["requested"],
        json!({"blue": 1.0, "green": 0.0})
    );
    assert_eq!(
        keys(&json["share"]),
        ["requested", "observed", "requests", "seconds"]
    );
    assert_eq!(json["settled"]["weights"], json!({"blue": 100, "green": 0}));
    assert_eq!(
        keys(&json["settled"]),
        ["weights", "revision", "at", "by", "reason"]
    );
    assert_eq!(
        (&json["pending"], &json["rollout"], &json["drift"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
    let revision = json["revision"].as_u64().unwrap();
    assert_eq!(
        shop.header("etag"),
        Some(format!("\"{revision}\"").as_str())
    );
}

#[test]
fn a_pool_and_its_endpoints_have_the_promised_shape() {
    let console = Console::start(TWO_SERVICES);
    let blue = &console.get("/v1/services/shop").json["pools"]["blue"];
    assert_eq!(
        keys(blue),
        [
            "state",
            "version",
            "ready",
            "of",
            "needed",
            "in_flight",
            "tunnels",
            "connections",
            "window",
            "discovery",
            "endpoints"
        ]
    );
    assert_eq!(
        (&blue["state"], &blue["ready"], &blue["of"]),
        (&json!("active"), &json!(2), &json!(2))
    );
    assert_eq!(
        keys(&blue["window"]),
        ["seconds", "requests", "errors", "latency_ms"]
    );
    assert_eq!(keys(&blue["window"]["latency_ms"]), ["p50", "p95", "p99"]);
    let endpoint = &blue["endpoints"][0];
    assert_eq!(
        keys(endpoint),
        [
            "id",
            "address",
            "state",
            "since",
            "weight",
            "found",
            "in_flight",
            "tunnels",
            "connections",
            "probe",
            "ejection",
            "slow_start"
        ]
    );
    assert_eq!(
        (&endpoint["id"], &endpoint["state"]),
        (&json!("10.0.0.1:3000"), &json!("ready"))
    );
    assert_eq!(
        keys(&endpoint["probe"]),
        ["at", "url", "status", "latency_ms", "error", "streak"]
    );
    assert_eq!(endpoint["probe"]["url"], "http://10.0.0.1:3000/readyz");
}

#[test]
fn all_services_are_listed() {
    let console = Console::start(TWO_SERVICES);
    let list = console.get("/v1/services").json;
    let names: Vec<_> = list["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| service["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["search", "shop"]);
    assert!(list["generation"].as_u64().unwrap() > 0);
    let unknown = console.get("/v1/services/nothing");
    assert_eq!((unknown.status, unknown.code()), (404, "unknown-service"));
    assert_eq!(
        console.get("/v1/services/nothing/history").code(),
        "unknown-service"
    );
}

#[test]
fn status_tells_what_is_in_force_beside_the_file() {
    let console = Console::start(TWO_SERVICES);
    console.call(
        "PUT",
        "/v1/services/shop/weights",
        r#"{"weights":{"blue":9,"green":1},"reason":"canary"}"#,
    );
    let status = console.get("/v1/status").json;
    assert_eq!(
        keys(&status),
        [
            "version",
            "started",
            "uptime_seconds",
            "generation",
            "phase",
            "config",
            "durability",
            "overrides",
            "holds",
            "drains",
            "services",
            "rollouts",
            "events"
        ]
    );
    assert_eq!(status["phase"], "serving");
    assert_eq!(status["config"]["state"], "ok");
    assert_eq!(
        status["config"]["path"],
        console.config().display().to_string()
    );
    assert_eq!(status["durability"]["writable"], true);
    let over = &status["overrides"][0];
    assert_eq!(
        (&over["service"], &over["field"], &over["reason"]),
        (&json!("shop"), &json!("weights"), &json!("canary"))
    );
    assert_eq!(over["value"], json!({"blue": 9, "green": 1}));
    assert!(over["by"]["name"].is_string() && over["by"]["via"] == "socket");
    assert!(!status["events"].as_array().unwrap().is_empty());
}

#[test]
fn a_file_that_is_wrong_shows_until_it_is_mended() {
    let console = Console::start(TWO_SERVICES);
    console.save(&TWO_SERVICES.replace("weights = { blue = 100", "weigths = { blue = 100"));
    let checked = console.call("POST", "/v1/config/check", "");
    assert_eq!(
        (checked.status, &checked.json["valid"]),
        (200, &json!(false))
    );
    assert!(checked.json["report"].as_str().unwrap().contains("weigths"));
    let unknown = |problems: &Value| {
        let problem = problems.as_array().unwrap().iter();
        let mut unknown = problem.filter(|problem| problem["code"] == "unknown-key");
        unknown.any(|problem| problem["nearest"] == "weights")
    };
    assert!(unknown(&checked.json["problems"]), "{}", checked.text);
    assert_eq!(console.get("/v1/status").json["config"]["state"], "ok");
    let refused = console.call("POST", "/v1/config/reload", r#"{"reason":"try"}"#);
    assert_eq!((refused.status, refused.code()), (422, "invalid-config"));
    assert!(unknown(&refused.json["problems"]), "{}", refused.text);
    let status = console.get("/v1/status").json;
    assert_eq!(status["config"]["state"], "rejected");
    assert!(
        status["config"]["problems"]
            .as_str()
            .unwrap()
            .contains("weigths")
    );
    console.save(TWO_SERVICES);
    assert_eq!(console.call("POST", "/v1/config/reload", "").status, 200);
    assert_eq!(console.get("/v1/status").json["config"]["state"], "ok");
}

#[test]
fn a_reload_tells_what_it_would_change_and_changes_it() {
    let console = Console::start(TWO_SERVICES);
    console.save(&TWO_SERVICES.replace("blue = 100, green = 0", "blue = 80, green = 20"));
    let checked = console.call("POST", "/v1/config/check", "").json;
    assert_eq!(checked["valid"], true);
    assert!(
        checked["diff"]
            .as_array()
            .unwrap()
            .iter()
            .any(|field| field["service"] == "shop"),
        "{checked}"
    );
    let dry = console.call("POST", "/v1/config/reload?dry_run=true", "");
    assert_eq!(
        (dry.status, &dry.json["dry_run"]),
        (200, &json!(true)),
        "{}",
        dry.text
    );
    assert_eq!(console.get("/v1/services/shop").json["weights"]["green"], 0);
    let reloaded = console.call("POST", "/v1/config/reload", r#"{"reason":"canary"}"#);
    assert_eq!(reloaded.status, 200, "{}", reloaded.text);
    assert_eq!(
        console.get("/v1/services/shop").json["weights"]["green"],
        20
    );
}

#[test]
fn explain_tells_the_way_a_request_would_take() {
    let console = Console::start(TWO_SERVICES);
    let explain = |query: &str| console.get(&format!("/v1/explain?{query}"));
    let shop = explain("method=GET&url=http%3A%2F%2FShop.Example.com%3A8080%2Fcart%3Fa%3Db").json;
    assert_eq!(
        (&shop["service"], &shop["pool"]),
        (&json!("shop"), &json!("blue")),
        "{shop}"
    );
    assert_eq!(shop["chances"], json!({"blue": 1.0}));
    assert!(shop["route"].as_str().unwrap().contains("shop.example.com"));
    assert!(shop["steps"].as_array().unwrap().len() >= 4);
    console.call(
        "PUT",
        "/v1/services/shop/weights",
        r#"{"weights":{"blue":3,"green":1}}"#,
    );
    let split = explain("url=%2Fcart&header=Host%3A%20shop.example.com").json;
    assert_eq!(split["chances"], json!({"blue": 0.75, "green": 0.25}));
    assert_eq!(split["pool"], Value::Null);
    assert_eq!(explain("url=http%3A%2F%2Felsewhere%2F").json["answer"], 404);
    for (query, status) in [
        ("method=GET", 422),
        ("uri=%2F", 422),
        ("url=%2F&header=x", 422),
        ("url=%2F&client=x", 422),
        ("url=%2F&method=%20", 422),
    ] {
        assert_eq!(explain(query).status, status, "{query}");
    }
}

#[test]
fn explain_takes_a_path_in_the_form_in_which_it_is_matched() {
    let text = "[[listeners]]\naddress = \"127.0.0.1:1\"\n[[routes]]\npath = \"/api\"\nservice = \"shop\"\n\
                [services.shop]\nprobe = false\nendpoints = [\"10.0.0.1:80\"]\n";
    let console = Console::start(text);
    let answer = |url: &str| {
        let explained = console.get(&format!("/v1/explain?url={url}")).json;
        explained["answer"].clone()
    };
    for same in ["/api/x", "/x/../api/x", "/%2561pi", "/./api"] {
        assert_eq!(answer(same), Value::Null, "{same}");
    }
    assert_eq!(answer("/api/../x"), 404);
    for refused in ["/../api", "/api/..%252fx"] {
        assert_eq!(answer(refused), 400, "{refused}");
    }
}

#[test]
fn explain_tells_what_a_route_changes_and_answers() {
    let file = format!(
        "{TWO_SERVICES}\n[[routes]]\npath = \"/api\"\nservice = \"shop\"\nstrip_prefix = true\n\
         request_headers = {{ set = {{ x-a = \"1\" }}, remove = [\"x-b\"] }}\n\
         rate_limit = {{ requests = 100, per = \"1m\", burst = 20 }}\nallow = [\"10.0.0.0/8\"]\n\
         [[routes]]\npath = \"/old\"\nredirect = {{ to = \"https://new.test{{path}}\", status = 301 }}\n"
    );
    let console = Console::start(&file);
    let api = console.get("/v1/explain?url=%2Fapi%2Fx").json;
    let steps = api["steps"].to_string();
    assert!(steps.contains("/api becomes /"), "{steps}");
    assert!(
        steps.contains("the request: sets x-a, removes x-b"),
        "{steps}"
    );
    let told = [
        "for clients of 10.0.0.0/8 only",
        "100 requests in 1m of each client, 20 at once",
    ];
    assert!(told.iter().all(|told| steps.contains(told)), "{steps}");
    for (client, answer) in [("10.0.0.1", Value::Null), ("11.0.0.1", json!(403))] {
        let explained = console.get(&format!("/v1/explain?url=%2Fapi%2Fx&client={client}"));
        assert_eq!(explained.json["answer"], answer, "{client}");
    }
    let old = console.get("/v1/explain?url=%2Fold").json;
    assert_eq!(
        (&old["answer"], &old["service"]),
        (&json!(301), &Value::Null)
    );
    let steps = old["steps"].to_string();
    assert!(
        steps.contains("redirects to https://new.test{path}"),
        "{steps}"
    );
}

#[test]
fn events_are_listed_and_filtered() {
    let console = Console::start(TWO_SERVICES);
    console.call(
        "PUT",
        "/v1/services/shop/weights",
        r#"{"weights":{"blue":9,"green":1},"reason":"canary"}"#,
    );
    let all = console.get("/v1/events?limit=1000").json["events"].clone();
    let ids: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_u64().unwrap())
        .collect();
    assert!(ids.is_sorted() && ids.len() > 3, "{ids:?}");
    let weights = console.get("/v1/events?type=weights&service=shop").json["events"].clone();
    assert_eq!(weights.as_array().unwrap().len(), 1, "{weights}");
    let event = &weights[0];
    assert_eq!(
        keys(event),
        [
            "id",
            "at",
            "type",
            "service",
            "pool",
            "endpoint",
            "actor",
            "reason",
            "before",
            "after",
            "generation"
        ]
    );
    assert_eq!(
        (&event["type"], &event["reason"]),
        (&json!("weights"), &json!("canary"))
    );
    assert_eq!(event["actor"]["kind"], "person");
    assert_eq!(event["actor"]["via"], "socket");
    let id = event["id"].as_u64().unwrap();
    assert_eq!(
        console
            .get(&format!("/v1/events?type=weights&after={id}"))
            .json["events"],
        json!([])
    );
    assert_eq!(
        console
            .get(&format!("/v1/events?after={}&limit=1", ids[0]))
            .json["events"][0]["id"],
        ids[1]
    );
    let near = console.get("/v1/events?type=wieghts");
    assert_eq!(
        (near.status, near.json["hint"].as_str()),
        (422, Some("did you mean `weights`?"))
    );
    assert_eq!(console.get("/v1/events?after=-1").status, 422);
}

/// The `data` lines of the stream, until `count` are there.
fn stream(console: &Console, path: &str, last: Option<u64>, count: usize) -> (String, Vec<Value>) {
    let mut stream = std::os::unix::net::UnixStream::connect(console.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n"
    )
    .unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    console.call(
        "PUT",
        "/v1/services/shop/weights",
        r#"{"weights":{"blue":7,"green":3}}"#,
    );
    let data = lines.filter_map(|line| {
        line.strip_prefix("data: ")
            .map(|data| serde_json::from_str(data).unwrap())
    });
    (head.join("\n"), data.take(count).collect())
}

#[test]
fn events_are_followed_from_now_on_or_from_where_one_left_off() {
    let console = Console::start(TWO_SERVICES);
    let (head, events) = stream(&console, "/v1/events/stream?type=weights", None, 1);
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"),
        "{head}"
    );
    assert_eq!(
        events[0]["after"]["weights"],
        json!({"blue": 7, "green": 3})
    );
    console.call(
        "PUT",
        "/v1/services/shop/weights",
        r#"{"weights":{"blue":6,"green":4}}"#,
    );
    let last = events[0]["id"].as_u64();
    let (_, events) = stream(&console, "/v1/events/stream?type=weights", last, 2);
    assert_eq!(
        events[0]["after"]["weights"],
        json!({"blue": 6, "green": 4})
    );
    assert_eq!(
        events[1]["after"]["weights"],
        json!({"blue": 7, "green": 3})
    );
    let (_, events) = stream(&console, "/v1/events/stream?type=phase", Some(u64::MAX), 1);
    assert_eq!(
        events[0]["type"], "phase",
        "an id that is not yet is of a state that was lost"
    );
    let bad = console.call_with("GET", "/v1/events/stream", &[("Last-Event-ID", "x")], "");
    assert_eq!(bad.code(), "invalid-request");
}

#[test]
fn history_tells_who_decided_what_and_why() {
    let console = Console::start(TWO_SERVICES);
    console.call(
        "PUT",
        "/v1/services/shop/weights",
        r#"{"weights":{"blue":9,"green":1},"reason":"canary"}"#,
    );
    let history = console.get("/v1/services/shop/history").json;
    let last = history["revisions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        keys(last),
        [
            "revision", "at", "what", "by", "reason", "weights", "settled"
        ]
    );
    assert_eq!(
        (&last["reason"], &last["settled"]),
        (&json!("canary"), &json!(false))
    );
    assert_eq!(last["weights"], json!({"blue": 9, "green": 1}));
}

#[test]
fn health_and_figures_are_told_on_both_listeners() {
    let console = Console::start(TWO_SERVICES);
    for path in ["/livez", "/readyz"] {
        assert_eq!(
            (console.get(path).status, console.scrape("GET", path).status),
            (200, 200),
            "{path}"
        );
    }
    let scraped = console.scrape("GET", "/metrics");
    assert!(
        scraped.text.contains("cutover_generation"),
        "{}",
        scraped.text
    );
    assert!(
        scraped
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    assert_eq!(console.get("/metrics").status, 200);
    for path in ["/v1/status", "/openapi.json", "/"] {
        assert_eq!(console.scrape("GET", path).status, 404, "{path}");
    }
    assert_eq!(console.scrape("POST", "/metrics").status, 405);
    assert_eq!(console.scrape("HEAD", "/readyz").status, 200);
    let described = console.get("/openapi.json").json;
    assert!(described["paths"]["/v1/services/{service}/weights"]["put"].is_object());
}

#[test]
fn readyz_turns_503_when_the_process_ends() {
    let console = Console::start(TWO_SERVICES);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(console.handle.enter(cutover::control::Phase::LameDuck));
    assert!(console.until(|status| status["phase"] == "lame-duck"));
    let answer = console.scrape("GET", "/readyz");
    assert_eq!(
        (answer.status, &answer.json["status"]),
        (503, &json!("lame-duck"))
    );
    assert_eq!(console.scrape("GET", "/livez").status, 200);
}

#[test]
fn the_file_that_would_say_what_runs_says_it() {
    let console = Console::start(TWO_SERVICES);
    console.call(
        "PUT",
        "/v1/services/shop/weights",
        r#"{"weights":{"blue":9,"green":1}}"#,
    );
    console.call(
        "PUT",
        "/v1/services/shop/pools/blue/endpoints/10.0.0.3:3000",
        r#"{"weight":2}"#,
    );
    let told = console.get("/v1/config").json;
    let toml = told["toml"].as_str().unwrap();
    assert!(
        toml.contains("10.0.0.3:3000") && !toml.contains("secret-of"),
        "{toml}"
    );
    assert_eq!(told["path"], console.config().display().to_string());
    let text = console.get("/v1/config?format=toml");
    assert_eq!(
        (text.header("content-type"), text.text.as_str()),
        (Some("application/toml"), toml)
    );
    // Loaded in place of the file, it makes what was decided at run time the file's own.
    std::fs::write(console.config(), toml).unwrap();
    let reloaded = console.call("POST", "/v1/config/reload", "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.text);
    let shop = console.get("/v1/services/shop").json;
    assert_eq!(shop["weights"], json!({"blue": 9, "green": 1}));
    assert_eq!(shop["pools"]["blue"]["of"], 3);
    assert_eq!(console.get("/v1/config?format=yaml").status, 422);
}
