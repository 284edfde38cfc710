//! Rollouts as the admin API and the command line tell of them, and what they pass on. Who drives them is played by the test.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
};

use cutover::control::{
    Actor, ActorKind, Change, Code, Handle, Kind, Order, Refusal,
    rollout::{Live, Request, Rollout, Told, Verb},
};
use serde_json::{Value, json};
use tokio::runtime;

use crate::console::{Answer, Console, TWO_SERVICES};

/// One of `shop` from blue to green, in the second of three steps.
fn stepping() -> Value {
    json!({
        "id": 7,
        "members": [{ "service": "shop", "from": "blue", "to": "green",
            "version": "2.0", "version_before": "1.9", "revision": 1 }],
        "plan": { "steps": [{"share": "1%", "hold": "2m"}, {"share": "10%", "judge": "5m"}, {"approval": true}],
            "bake": "10m", "undo_window": "1h" },
        "steps": 3,
        "stage": { "stage": "stepping", "step": 1, "phase": "waiting" },
        "since": "2026-11-20T10:05:00Z",
        "paused": null, "share": 0.1,
        "started": "2026-11-20T10:00:00Z",
        "by": { "name": "ada", "kind": "person", "via": "socket" },
        "reason": "the new checkout", "ended": null, "cause": null, "restored": null, "rescue": null,
        "counts": { "requests": 1200, "errors": 3, "rescued": 2, "felt": 1, "stable_requests": 9000, "stable_errors": 4 },
        "log": [
            entry("10:00:00", &json!({ "stage": "preparing", "phase": "proving" }), 0.0, "begun"),
            entry("10:01:00", &json!({ "stage": "stepping", "step": 0, "phase": "warming-up" }), 0.01, "1% to the new version"),
            entry("10:05:00", &json!({ "stage": "stepping", "step": 1, "phase": "waiting" }), 0.1, "10% to the new version"),
        ],
    })
}

fn entry(at: &str, stage: &Value, share: f64, detail: &str) -> Value {
    let mut entry = json!({ "at": format!("2026-11-20T{at}Z"), "share": share, "detail": detail,
        "by": { "name": "rollout", "kind": "rollout", "via": "rollout" } });
    entry
        .as_object_mut()
        .unwrap()
        .extend(stage.as_object().unwrap().clone());
    entry
}

/// The same with other values.
fn with(changes: Value) -> Value {
    let mut rollout = stepping();
    let Value::Object(changes) = changes else {
        unreachable!()
    };
    rollout.as_object_mut().unwrap().extend(changes);
    rollout
}

fn failed(kind: &str, share: f64) -> Value {
    let log = json!([
        entry(
            "10:01:00",
            &json!({ "stage": "stepping", "step": 0, "phase": "warming-up" }),
            share,
            "first"
        ),
        entry("10:05:00", &json!({ "stage": "failed" }), 0.0, "over"),
    ]);
    with(
        json!({ "stage": { "stage": "failed" }, "share": 0.0, "ended": "2026-11-20T10:06:00Z", "log": log,
        "cause": { "kind": kind, "detail": "5 errors in 9 requests", "at": "2026-11-20T10:05:00Z", "evidence": null } }),
    )
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(work)
}

/// Has control remember a rollout of its services.
fn place(handle: &Handle, rollout: &Value) {
    let rollout: Arc<Rollout> = Arc::new(serde_json::from_value(rollout.clone()).unwrap());
    let changes = rollout.members.iter().map(|member| Change::Rollout {
        service: member.service.clone(),
        rollout: rollout.clone(),
        weights: None,
        told: Kind::RolloutStep,
        force: false,
    });
    let order = Order::by(Actor::new("test", ActorKind::Rollout, "test"));
    wait(handle.change(changes.collect(), order)).unwrap();
}

/// Drives nothing: answers each order by what the test says, and keeps what was asked.
struct Driver {
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Driver {
    fn answering(
        console: &Console,
        answer: impl Fn(&Request) -> Result<Value, Refusal> + Send + 'static,
    ) -> Self {
        let mut asks = console.handle.take_asks().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let (up, is_up) = mpsc::channel();
        // Ends with the console, which holds the other end.
        thread::spawn(move || {
            up.send(()).unwrap();
            while let Some((request, reply)) = asks.blocking_recv() {
                let told = answer(&request).map(|rollout| Told {
                    rollout: serde_json::from_value(rollout).unwrap(),
                    notes: vec!["a note".to_owned()],
                    durable: true,
                });
                heard.lock().unwrap().push(request);
                let _ = reply.send(told);
            }
        });
        is_up.recv().unwrap();
        Self { asked }
    }

    fn last(&self) -> Request {
        self.asked.lock().unwrap().last().cloned().unwrap()
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn post(console: &Console, path: &str, body: impl Into<Value>) -> Answer {
    let body: Value = body.into();
    console.call("POST", path, &body.to_string())
}

fn refused(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.code())
}

#[test]
fn a_rollout_is_shown_where_it_stands_with_what_may_be_said_of_it() {
    let console = Console::start(TWO_SERVICES);
    assert_eq!(
        console.get("/v1/services/shop").json["rollout"],
        Value::Null
    );
    assert_eq!(console.get("/v1/rollouts").json["rollouts"], json!([]));
    place(&console.handle, &stepping());
    console.handle.live().send_modify(|lives| {
        let live = Live {
            findings: vec!["0 errors in 240 requests".to_owned()],
            verdict: Some("not-enough"),
            until: Some("2026-11-20T10:10:00Z".parse().unwrap()),
            ..Live::default()
        };
        lives.insert(7, Arc::new(live));
    });
    let detail = console.get("/v1/rollouts/7").json;
    assert_eq!(
        (
            &detail["state"],
            &detail["step"],
            &detail["steps"],
            &detail["awaits"]
        ),
        (&json!("stepping"), &json!(2), &json!(3), &json!("judge"))
    );
    assert_eq!(detail["members"][0]["version_before"], "1.9");
    assert_eq!(detail["counts"]["felt"], 1);
    assert_eq!(detail["findings"], json!(["0 errors in 240 requests"]));
    assert_eq!(detail["until"], "2026-11-20T10:10:00Z");
    assert_eq!(detail["live"]["candidate"]["requests"], 0);
    assert_eq!(
        detail["verbs"],
        json!(["promote", "pause", "skip", "abort"])
    );
    assert_eq!(detail["log"][1]["step"], 1);
    assert_eq!(detail["plan"]["bake"], "10m");
    for path in ["/v1/services/shop", "/v1/services", "/v1/status"] {
        let answer = console.get(path).json;
        let shop = answer["services"].as_array().map_or(&answer, |services| {
            services
                .iter()
                .find(|service| service["name"] == "shop")
                .unwrap()
        });
        assert_eq!(shop["rollout"]["id"], 7, "{path}");
        assert_eq!(shop["rollout"]["log"], Value::Null, "short, in {path}");
    }
    assert_eq!(console.get("/v1/status").json["rollouts"][0]["id"], 7);
}

#[test]
fn rollouts_are_listed_by_service_and_state_the_newest_first() {
    let console = Console::start(TWO_SERVICES);
    place(&console.handle, &failed("guard", 0.01));
    place(&console.handle, &with(json!({ "id": 8 })));
    let ids = |query: &str| {
        let list = console.get(&format!("/v1/rollouts{query}")).json;
        let list = list["rollouts"].as_array().unwrap().clone();
        list.iter()
            .map(|of| of["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(""), [8, 7]);
    assert_eq!(ids("?service=shop"), [8, 7]);
    assert_eq!(ids("?service=search"), [0; 0]);
    assert_eq!(ids("?state=failed"), [7]);
    assert_eq!(ids("?state=running"), [8]);
    assert_eq!(
        refused(&console.get("/v1/rollouts?service=shob")),
        (404, "unknown-service")
    );
    assert_eq!(
        refused(&console.get("/v1/rollouts?state=fialed")),
        (422, "invalid-request")
    );
    assert_eq!(
        refused(&console.get("/v1/rollouts/9")),
        (404, "unknown-rollout")
    );
    let old = console.get("/v1/rollouts/7").json;
    assert_eq!(old["verbs"], json!([]), "another one has come since");
}

#[test]
fn an_order_is_passed_on_as_it_was_meant() {
    let console = Console::start(TWO_SERVICES);
    place(&console.handle, &stepping());
    let driver = Driver::answering(&console, |_| Ok(stepping()));
    let answer = post(
        &console,
        "/v1/rollouts/7/promote",
        json!({ "full": true, "reason": "seen enough" }),
    );
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        (&answer.json["rollout"]["id"], &answer.json["durable"]),
        (&json!(7), &json!(true))
    );
    let asked = driver.last();
    assert!(matches!(asked.what, Verb::Promote { id: 7, full: true }));
    assert_eq!(asked.reason.as_deref(), Some("seen enough"));
    assert_eq!(asked.by.via, "socket");
    assert!(!asked.dry_run);
    for verb in ["pause", "skip", "abort", "retry", "undo"] {
        let answer = post(
            &console,
            &format!("/v1/rollouts/7/{verb}?dry_run=true"),
            json!({}),
        );
        assert_eq!(
            (answer.status, &answer.json["dry_run"]),
            (200, &json!(true)),
            "{verb}"
        );
        assert_eq!(
            (driver.last().what.as_str(), driver.last().dry_run),
            (verb, true)
        );
    }
    let answer = post(
        &console,
        "/v1/rollouts/7/resume",
        json!({ "how": "restore-step" }),
    );
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(matches!(
        driver.last().what,
        Verb::Resume {
            id: 7,
            how: Some(_)
        }
    ));
}

#[test]
fn an_order_that_makes_no_sense_is_not_passed_on() {
    let console = Console::start(TWO_SERVICES);
    place(&console.handle, &stepping());
    let driver = Driver::answering(&console, |_| Ok(stepping()));
    let order = |verb: &str, body: Value| {
        let answer = post(&console, &format!("/v1/rollouts/7/{verb}"), body);
        (answer.status, answer.code().to_owned())
    };
    let no = |status, code: &str| (status, code.to_owned());
    assert_eq!(
        order("pause", json!({ "full": true })),
        no(422, "invalid-request")
    );
    assert_eq!(
        order("promote", json!({ "how": "from-current" })),
        no(422, "invalid-request")
    );
    assert_eq!(
        order("promote", json!({ "ful": true })),
        no(422, "unknown-key")
    );
    assert_eq!(
        order("promote", json!({ "step": 1 })),
        no(409, "invalid-transition")
    );
    assert_eq!(order("explode", json!({})), no(404, "not-found"));
    let stale = console.call_with(
        "POST",
        "/v1/rollouts/7/promote",
        &[("If-Match", "\"99\"")],
        "{}",
    );
    assert_eq!(refused(&stale), (412, "revision-mismatch"));
    let unknown = post(&console, "/v1/rollouts/99/abort", json!({}));
    assert_eq!(refused(&unknown), (404, "unknown-rollout"));
    assert_eq!(driver.count(), 0);
    assert_eq!(order("promote", json!({ "step": 2 })).0, 200);
}

#[test]
fn a_start_says_what_is_to_be_taken_where() {
    let console = Console::start(TWO_SERVICES);
    let driver = Driver::answering(&console, |request| match &request.what {
        Verb::Start(start) if start.preset.as_deref() == Some("hasty") => Err(Refusal::new(
            Code::InvalidPlan,
            "there is no preset `hasty`",
        )),
        _ => Ok(stepping()),
    });
    let body = json!({ "to": "green", "version": "2.0", "with": { "search": "next" }, "supersede": true,
        "plan": { "bake": "1m" } });
    let answer = post(&console, "/v1/services/shop/rollouts", body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["notes"], json!(["a note"]));
    let Verb::Start(start) = driver.last().what else {
        panic!("a start was asked for")
    };
    let told: Vec<_> = start
        .services
        .iter()
        .map(|part| {
            (
                part.service.as_str(),
                part.to.as_ref().unwrap().as_str(),
                part.version.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("shop", "green", Some("2.0")),
            ("search", "next", Some("2.0"))
        ]
    );
    assert!(start.supersede && start.plan == Some(json!({ "bake": "1m" })));
    let bad = post(
        &console,
        "/v1/services/shop/rollouts",
        json!({ "to": "green", "preset": "hasty" }),
    );
    assert_eq!(refused(&bad), (422, "invalid-plan"));
    let none = post(&console, "/v1/services/shop/rollouts", json!({ "to": 7 }));
    assert_eq!(refused(&none), (422, "invalid-request"));
}

#[test]
fn whoever_may_not_change_all_of_its_services_may_tell_it_nothing() {
    let console = Console::start(TWO_SERVICES);
    let driver = Driver::answering(&console, |_| Ok(stepping()));
    let both = json!([
        { "service": "search", "from": "main", "to": "next", "version": null, "version_before": null, "revision": 1 },
        { "service": "shop", "from": "blue", "to": "green", "version": null, "version_before": null, "revision": 1 },
    ]);
    let ci = |path: &str, body: Value| {
        let headers = [
            ("Host", "127.0.0.1"),
            ("Content-Type", "application/json"),
            ("Authorization", "Bearer secret-of-ci"),
        ];
        console
            .over_tcp("POST", path, &headers, &body.to_string())
            .status
    };
    let start = "/v1/services/shop/rollouts";
    assert_eq!(ci(start, json!({ "to": "green" })), 200);
    assert_eq!(
        ci("/v1/services/search/rollouts", json!({ "to": "next" })),
        403
    );
    assert_eq!(
        ci(
            start,
            json!({ "to": "green", "with": { "search": "next" } })
        ),
        403
    );
    place(&console.handle, &with(json!({ "members": both })));
    for verb in ["promote", "abort", "pause", "undo"] {
        assert_eq!(
            ci(&format!("/v1/rollouts/7/{verb}"), json!({})),
            403,
            "{verb}"
        );
    }
    assert_eq!(
        ci(start, json!({ "to": "green", "supersede": true })),
        403,
        "it would end another's"
    );
    assert_eq!(driver.count(), 1);
    let nobody = console.over_tcp("POST", "/v1/rollouts/7/abort", &[("Host", "127.0.0.1")], "");
    assert_eq!(nobody.status, 401);
    let reads = console.over_tcp("GET", "/v1/rollouts/7", &[("Host", "127.0.0.1")], "");
    assert_eq!(reads.status, 200);
}

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(console: &Console, line: &str) -> Ended {
    let words: Vec<_> = line.split(' ').collect();
    let output = console.cli(&words).output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn the_command_line_shows_a_rollout_with_the_command_to_type_next() {
    let console = Console::start(TWO_SERVICES);
    assert_eq!(run(&console, "rollout list").out, "there are none\n");
    assert_eq!(
        run(&console, "rollout status").out,
        "no rollout is under way\n"
    );
    let none = run(&console, "rollout status shop");
    assert_eq!(none.code, 1);
    assert!(none.err.contains("rollout start shop"), "{}", none.err);
    place(&console.handle, &stepping());
    for line in ["rollout status", "rollout status shop", "rollout status 7"] {
        let shown = run(&console, line);
        assert_eq!(shown.code, 0, "{}", shown.err);
        for part in [
            "rollout 7 shop: blue → green (2.0)  stepping  by ada: the new checkout",
            "step 2 of 3, 10 %, judged",
            "1200 req to the new version, 3 err: 2 made up for, 1 seen by users",
            "10% to the new version",
            "next: cutover rollout status shop --watch",
        ] {
            assert!(shown.out.contains(part), "{part} in {}", shown.out);
        }
    }
    let list = run(&console, "rollout list --service shop");
    assert!(
        list.out.contains("stepping") && list.out.contains("shop: blue → green"),
        "{}",
        list.out
    );
    let status = run(&console, "status");
    assert!(
        status.out.contains("rollout 7 shop: blue → green"),
        "{}",
        status.out
    );
    let json: Value =
        serde_json::from_str(&run(&console, "rollout status shop --json").out).unwrap();
    assert_eq!(json["id"], 7);
    let moved = json!({ "reason": "manual", "since": "2026-11-20T10:06:00Z", "detail": "shop serves blue 100 % by eve" });
    place(&console.handle, &with(json!({ "paused": moved })));
    let status = run(&console, "status");
    assert!(
        status
            .out
            .starts_with("shop: rollout 7 is paused: shop serves blue 100 % by eve"),
        "{}",
        status.out
    );
    assert!(
        status
            .out
            .contains("next: cutover rollout resume shop --restore-step"),
        "{}",
        status.out
    );
}

#[test]
fn a_verb_takes_the_service_and_means_its_last_rollout() {
    let console = Console::start(TWO_SERVICES);
    place(&console.handle, &failed("guard", 0.01));
    place(&console.handle, &with(json!({ "id": 8 })));
    let driver = Driver::answering(&console, |request| match request.what {
        Verb::Skip { .. } => Err(Refusal::new(
            Code::InvalidTransition,
            "it waits for nothing",
        )),
        _ => Ok(stepping()),
    });
    let done = run(&console, "rollout promote shop --full --reason enough");
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(matches!(
        driver.last().what,
        Verb::Promote { id: 8, full: true }
    ));
    assert_eq!(driver.last().reason.as_deref(), Some("enough"));
    assert_eq!(run(&console, "rollout resume shop --from-current").code, 0);
    assert!(matches!(
        driver.last().what,
        Verb::Resume {
            id: 8,
            how: Some(_)
        }
    ));
    assert_eq!(run(&console, "rollout abort 7").code, 0);
    assert!(matches!(driver.last().what, Verb::Abort { id: 7 }));
    assert_eq!(
        run(&console, "rollout skip shop").code,
        5,
        "refused where it stands"
    );
    assert_eq!(
        run(
            &console,
            "rollout resume shop --from-current --restore-step"
        )
        .code,
        2
    );
}

#[test]
fn whoever_follows_a_rollout_is_told_by_the_exit_code_how_it_ended() {
    let console = Console::start(TWO_SERVICES);
    let ended = json!("2026-11-20T10:06:00Z");
    let paused = json!({ "reason": "person", "since": ended, "detail": "paused by eve" });
    let ends = [
        (
            with(json!({ "stage": { "stage": "succeeded" }, "share": 1.0, "ended": ended })),
            0,
            "promoted: green has all requests",
        ),
        (
            failed("guard", 0.01),
            8,
            "rolled back, blue has all requests: 5 errors in 9 requests",
        ),
        (
            failed("not-ready", 0.0),
            5,
            "refused, blue has had all requests",
        ),
        (
            with(json!({ "stage": { "stage": "superseded" }, "ended": ended })),
            6,
            "another rollout was begun",
        ),
        (
            with(json!({ "paused": paused })),
            7,
            "paused: paused by eve",
        ),
    ];
    for (number, (mut record, code, words)) in (20..).zip(ends) {
        record["id"] = json!(number);
        place(&console.handle, &record);
        for line in ["wait shop rollout", "wait shop rollout --timeout 10s"] {
            let waited = run(&console, line);
            assert_eq!(waited.code, code, "{} {}", waited.out, waited.err);
            assert!(waited.out.contains(words), "{}", waited.out);
        }
    }
    let running = run(&console, "wait search rollout");
    assert_eq!(running.code, 1, "there has been none");
}

#[test]
fn a_start_is_followed_line_by_line_until_it_is_over() {
    use std::io::{BufRead, BufReader};
    let console = Console::start(TWO_SERVICES);
    let handle = console.handle.clone();
    let _driver = Driver::answering(&console, move |_| {
        place(&handle, &stepping());
        Ok(stepping())
    });
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cutover"))
        .args("rollout start shop --to green --follow --admin".split(' '))
        .arg(format!("unix:{}", console.socket().display()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    let mut until = |text: &str| {
        while !told.last().is_some_and(|line: &String| line.contains(text)) {
            told.push(lines.next().expect("it goes on").unwrap());
        }
    };
    until("10% to the new version");
    let mut over = failed("guard", 0.1);
    let log = over["log"].as_array().unwrap()[1].clone();
    over["log"] = stepping()["log"].clone();
    over["log"].as_array_mut().unwrap().push(log);
    place(&console.handle, &over);
    until("rolled back, blue has all requests");
    assert_eq!(child.wait().unwrap().code(), Some(8));
    for line in [
        "begun",
        "1% to the new version",
        " 10% to the new version",
        "  over",
    ] {
        let count = told.iter().filter(|told| told.ends_with(line)).count();
        assert_eq!(count, 1, "{line} in {told:#?}");
    }
    assert!(
        told.iter().all(|line| !line.contains('\r')),
        "no line is written anew where there is no terminal"
    );
}

#[test]
fn a_wait_for_a_rollout_that_goes_on_ends_with_its_time() {
    let console = Console::start(TWO_SERVICES);
    place(&console.handle, &stepping());
    let late = run(&console, "wait shop rollout --timeout 300ms");
    assert_eq!(late.code, 7, "{}", late.err);
    assert!(late.out.contains("not over yet"), "{}", late.out);
}

#[test]
fn a_plan_may_stand_in_a_file_of_its_own() {
    let console = Console::start(TWO_SERVICES);
    let driver = Driver::answering(&console, |_| Ok(stepping()));
    let folder = console.config().parent().unwrap().to_owned();
    std::fs::write(folder.join("plan.toml"), "bake = \"1m\"\n").unwrap();
    std::fs::write(folder.join("bad.toml"), "bake = \n").unwrap();
    let done = run(
        &console,
        "rollout start shop --to green --plan plan.toml --with search=next",
    );
    assert_eq!(done.code, 0, "{}", done.err);
    let Verb::Start(start) = driver.last().what else {
        panic!("a start was asked for")
    };
    assert_eq!(
        (start.plan, start.services.len()),
        (Some(json!({ "bake": "1m" })), 2)
    );
    assert_eq!(
        run(&console, "rollout start shop --to green --plan bad.toml").code,
        3
    );
    assert_eq!(
        run(&console, "rollout start shop --to green --plan none.toml").code,
        3
    );
    assert_eq!(
        run(
            &console,
            "rollout start shop --to green --plan plan.toml --preset fast"
        )
        .code,
        2
    );
    assert_eq!(driver.count(), 1);
}

#[test]
fn a_report_tells_what_rollouts_have_come_to() {
    let console = Console::start(TWO_SERVICES);
    let now = cutover::units::Timestamp::now();
    let ago = |seconds: i64| json!(now - jiff::SignedDuration::from_secs(seconds));
    let promoted = with(
        json!({ "id": 1, "stage": { "stage": "succeeded" }, "started": ago(900), "promoted": ago(300),
        "ended": ago(200) }),
    );
    let mut back = failed("guard", 0.01);
    back["started"] = ago(100);
    back["ended"] = ago(50);
    back["cause"]["at"] = ago(58);
    back["restored"] = ago(57);
    back["counts"]["first_error"] = ago(60);
    for record in [&promoted, &back] {
        place(&console.handle, record);
    }
    let report = console.get("/v1/reports/delivery").json;
    assert_eq!(report["complete"], true);
    for of in [&report["total"], &report["services"]["shop"]] {
        assert_eq!(
            (
                &of["deployments"],
                &of["changes"],
                &of["failed"],
                &of["change_failure_rate"]
            ),
            (&json!(1), &json!(2), &json!(1), &json!(0.5)),
            "{report:#}"
        );
        assert_eq!(of["causes"], json!({ "guard": 1 }));
        assert_eq!(of["lead_time_seconds"], Value::Null);
        let seconds = |key: &str| format!("{:.0}", of[key]["median"].as_f64().unwrap());
        let all = ["rollout_seconds", "detect_seconds", "restore_seconds"];
        assert_eq!(all.map(seconds), ["600", "2", "3"]);
        assert_eq!((&of["felt"], &of["rescued"]), (&json!(2), &json!(4)));
    }
    assert_eq!(report["services"]["search"]["deployments"], 0);
    let short = console
        .get("/v1/reports/delivery?service=shop&window=150s")
        .json;
    assert_eq!(
        (&short["total"]["deployments"], &short["total"]["failed"]),
        (&json!(0), &json!(1))
    );
    let unknown = console.get("/v1/reports/delivery?service=shob");
    assert_eq!(refused(&unknown), (404, "unknown-service"));
    let text = run(&console, "rollout report --service shop --window 1h");
    assert_eq!(text.code, 0, "{}", text.err);
    for part in [
        "50 % (1 of 2)",
        "guard 1",
        "2.0 s (median of 1)",
        "6: 4 made up for, 2 seen by users",
    ] {
        assert!(text.out.contains(part), "{part} in {}", text.out);
    }
}
