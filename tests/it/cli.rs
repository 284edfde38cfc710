//! The command line, on a running instance and without one: what it prints, and how it exits.

#![allow(
    clippy::unwrap_used,
    clippy::format_push_string,
    reason = "a test that can't get its value has failed"
)]

use serde_json::Value;

use crate::{
    console::{Console, TWO_SERVICES, bare_cli},
    support,
};

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

fn ended(mut command: assert_cmd::Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(console: &Console, line: &str) -> Ended {
    let words: Vec<_> = line.split(' ').collect();
    ended(console.cli(&words))
}

fn bare(line: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let words: Vec<_> = line.split(' ').collect();
    ended(bare_cli(folder.path(), &words))
}

#[test]
fn status_is_plain_text_with_a_verdict_and_the_next_command() {
    let console = Console::start(TWO_SERVICES);
    let status = run(&console, "status");
    assert_eq!(status.code, 0, "{}", status.err);
    assert!(status.out.starts_with("All is well."), "{}", status.out);
    assert!(status.out.contains("next: cutover shift"), "{}", status.out);
    assert!(
        !status.out.contains('\x1b'),
        "no colours where there is no terminal"
    );
    let one = run(&console, "status shop --json").json();
    assert_eq!(one["name"], "shop");
    assert_eq!(run(&console, "status --check").code, 0);
    assert_eq!(run(&console, "status nothing").code, 1);
}

#[test]
fn status_begins_with_what_is_worst() {
    let console = Console::start(TWO_SERVICES);
    console.make_sick("10.1.0.1:4000");
    assert!(console.until(|status| status["services"][0]["state"] == "failing-open"));
    let status = run(&console, "status --check");
    assert_eq!(status.code, 1);
    assert!(
        status.out.starts_with("search: no weighted pool is ready"),
        "{}",
        status.out
    );
    let (search, shop) = (
        status.out.find("\nsearch").unwrap(),
        status.out.find("\nshop").unwrap(),
    );
    assert!(search < shop, "{}", status.out);
    console.heal("10.1.0.1:4000");
    assert!(console.until(|status| status["services"][0]["state"] == "serving"));
    assert_eq!(run(&console, "status --check").code, 0);
}

#[test]
fn a_shift_is_of_the_whole_and_prints_the_shares() {
    let console = Console::start(TWO_SERVICES);
    let dry = run(&console, "shift shop green=10% --dry-run");
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(
        dry.out.contains("would get blue 90 %, green 10 %") && dry.out.contains("dry run"),
        "{}",
        dry.out
    );
    let shifted = run(&console, "shift shop green=10% --reason canary");
    assert_eq!(shifted.code, 0, "{}", shifted.err);
    assert!(
        shifted
            .out
            .contains("shop: blue 90 %, green 10 % (was blue 100 %)"),
        "{}",
        shifted.out
    );
    let whole = run(&console, "shift shop blue=1 green=3 --json");
    assert_eq!(whole.json()["share"]["green"], 0.75);
    let status = run(&console, "status");
    assert!(
        status.out.contains("In force beside the file") && status.out.contains("shop.weights"),
        "{}",
        status.out
    );
    let history = run(&console, "history shop");
    assert!(history.out.contains("canary"), "{}", history.out);
    assert_eq!(
        run(&console, "history shop --json").json()["service"],
        "shop"
    );
}

#[test]
fn exit_codes_say_what_became_of_it() {
    let console = Console::start_sick(TWO_SERVICES, &["10.0.1.1:3000"]);
    assert!(console.until(|status| status["services"][1]["pools"]["blue"]["ready"] == 2));
    let gated = run(&console, "shift shop green=10%");
    assert_eq!(gated.code, 5, "{}", gated.err);
    assert!(
        gated.err.contains("10.0.1.1:3000")
            && gated.err.contains("hint:")
            && gated.err.contains("--force"),
        "{}",
        gated.err
    );
    assert_eq!(
        run(&console, "switch shop green --ready-timeout 20ms").code,
        5
    );
    assert_eq!(
        run(&console, "shift shop green=10% --if-match 99999").code,
        6
    );
    assert_eq!(
        run(&console, "shift shop green=10").code,
        1,
        "the map is not whole"
    );
    for usage in [
        "shift shop green=101%",
        "shift shop green",
        "shift shop",
        "switch shop",
        "drain shop",
        "status --nonsense",
        "frobnicate",
        "endpoint add shop/blue",
    ] {
        assert_eq!(run(&console, usage).code, 2, "{usage}");
    }
    assert_eq!(run(&console, "shift shop green=10% --force").code, 0);
    assert_eq!(
        run(&console, "wait shop ready --pool green --timeout 20ms").code,
        7
    );
    console.save("nonsense");
    let reload = run(&console, "reload");
    assert_eq!(reload.code, 3, "{}", reload.err);
    assert!(reload.err.contains("nonsense"), "{}", reload.err);
    let nobody = bare("status --admin unix:/nowhere/admin.sock");
    assert_eq!(nobody.code, 4);
    assert!(nobody.err.contains("/nowhere/admin.sock"), "{}", nobody.err);
    assert_eq!(bare("status").code, 4);
}

#[test]
fn switch_rollback_drain_and_restore_are_told_in_words() {
    let console = Console::start(TWO_SERVICES);
    let switched = run(
        &console,
        "switch shop green --wait --deadline 5s --version 1.42",
    );
    assert_eq!(switched.code, 0, "{}", switched.err);
    assert!(switched.out.contains("safe to stop"), "{}", switched.out);
    assert_eq!(run(&console, "rollback shop --reason slow").code, 0);
    let both = run(&console, "switch shop=green search=next");
    assert_eq!(both.code, 0, "{}", both.err);
    assert!(
        both.out.contains("shop: green 100 %") && both.out.contains("search: next 100 %"),
        "{}",
        both.out
    );
    let drained = run(&console, "drain search/main --wait");
    assert_eq!(drained.code, 0, "{}", drained.err);
    assert!(drained.out.contains("safe to stop"), "{}", drained.out);
    assert!(
        run(&console, "status")
            .out
            .contains("search/main/10.1.0.1:4000")
    );
    assert_eq!(run(&console, "restore search/main --wait").code, 0);
    assert_eq!(run(&console, "wait search ready").code, 0);
    assert_eq!(
        run(&console, "wait search drained --json").json()["done"],
        true
    );
}

#[test]
fn endpoints_are_added_and_removed() {
    let console = Console::start(TWO_SERVICES);
    let added = run(
        &console,
        "endpoint add shop/blue/unix:/run/third.sock --weight 2 --wait",
    );
    assert_eq!(added.code, 0, "{}", added.err);
    assert_eq!(
        run(&console, "status shop --json").json()["pools"]["blue"]["of"],
        3
    );
    let drift = run(&console, "config diff");
    assert!(
        drift
            .out
            .contains("pools.blue.endpoints.unix:/run/third.sock"),
        "{}",
        drift.out
    );
    assert_eq!(
        run(
            &console,
            "endpoint remove shop/blue/unix:/run/third.sock --wait"
        )
        .code,
        0
    );
    assert_eq!(
        run(&console, "endpoint remove search/main/10.1.0.1:4000").code,
        5
    );
}

#[test]
fn reload_and_revert_bring_the_file_back() {
    let console = Console::start(TWO_SERVICES);
    assert_eq!(run(&console, "shift shop green=50%").code, 0);
    assert_eq!(
        run(&console, "config revert shop.weights --reason enough").code,
        0
    );
    assert_eq!(
        run(&console, "status shop --json").json()["weights"]["green"],
        0
    );
    console.save(&TWO_SERVICES.replace("blue = 100, green = 0", "blue = 80, green = 20"));
    let diff = run(&console, "config diff --json").json();
    assert_eq!(diff["file"]["valid"], true);
    assert!(
        !diff["file"]["diff"].as_array().unwrap().is_empty(),
        "{diff}"
    );
    assert_eq!(run(&console, "reload").code, 0);
    assert_eq!(
        run(&console, "status shop --json").json()["weights"]["green"],
        20
    );
}

#[test]
fn explain_and_events_are_told_in_words_and_as_json() {
    let console = Console::start(TWO_SERVICES);
    let explained = run(&console, "explain GET http://shop.example.com/cart");
    assert_eq!(explained.code, 0, "{}", explained.err);
    assert!(
        explained.out.contains("→ shop: blue 100 %"),
        "{}",
        explained.out
    );
    assert_eq!(
        run(&console, "explain GET http://nowhere/ --json").json()["answer"],
        404
    );
    assert_eq!(run(&console, "shift shop green=1%").code, 0);
    let events = run(&console, "events --type weights");
    assert!(
        events.out.contains("weights shop") && events.out.lines().count() == 1,
        "{}",
        events.out
    );
    assert_eq!(
        run(&console, "events --type weights --json").json()["events"][0]["type"],
        "weights"
    );
    assert_eq!(run(&console, "events --type nonsense").code, 1);
}

#[test]
fn followed_events_come_as_they_happen() {
    use std::io::{BufRead, BufReader};
    let console = Console::start(TWO_SERVICES);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cutover"))
        .args([
            "events", "--follow", "--json", "--type", "weights", "--admin",
        ])
        .arg(format!("unix:{}", console.socket().display()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    // The first may come before it follows, and then it is listed; the second comes as a stream.
    for green in [1, 2] {
        assert_eq!(
            run(&console, &format!("shift shop blue=9 green={green}")).code,
            0
        );
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        told.push(event["after"]["weights"]["green"].as_u64().unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(told, [1, 2]);
}

#[tokio::test]
async fn an_event_between_the_list_and_the_stream_is_not_lost() {
    let list = support::answer(
        200,
        &[("content-type", "application/json")],
        br#"{"events": []}"#,
    );
    let admin = support::endpoint("admin").bytes(list).start().await;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cutover"))
        .args(["events", "--follow", "--admin", &admin.address.to_string()])
        .env("CUTOVER_TOKEN", "secret")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    admin.until_requests(2).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let requests = admin.requests();
    assert!(requests[0].starts_with("GET /v1/events?"), "{requests:?}");
    assert!(
        requests[1].starts_with("GET /v1/events/stream")
            && requests[1].contains("last-event-id: 0\r\n"),
        "{requests:?}"
    );
}

#[test]
fn several_instances_are_all_tried_before_any_is_changed() {
    let (first, second) = (Console::start(TWO_SERVICES), Console::start(TWO_SERVICES));
    let both = |line: &str| {
        let mut command = first.cli(&line.split(' ').collect::<Vec<_>>());
        let admins = format!(
            "unix:{},unix:{}",
            first.socket().display(),
            second.socket().display()
        );
        ended({
            command.env("CUTOVER_ADMIN", admins);
            command
        })
    };
    let shifted = both("shift shop green=10% --json");
    assert_eq!(shifted.code, 0, "{}", shifted.err);
    assert_eq!(shifted.json().as_array().unwrap().len(), 2);
    second.make_sick("10.0.1.1:3000");
    assert!(second.until(|status| status["services"][1]["pools"]["green"]["ready"] == 1));
    let refused = both("shift shop green=50%");
    assert_eq!(refused.code, 5, "{}", refused.err);
    assert!(
        refused.out.contains("nothing was changed anywhere"),
        "{}",
        refused.out
    );
    assert_eq!(
        run(&first, "status shop --json").json()["weights"]["green"],
        10
    );
    assert_eq!(both("status").code, 0);
    assert_eq!(both("history shop").code, 2, "asks one");
}

#[test]
fn tokens_are_read_from_the_environment_or_a_file() {
    let console = Console::start(TWO_SERVICES);
    let over_tcp = |token: Option<&str>| {
        let mut command = console.cli(&["shift", "shop", "green=10%"]);
        command.env("CUTOVER_ADMIN", console.tcp.to_string());
        if let Some(token) = token {
            command.env("CUTOVER_TOKEN", token);
        }
        ended(command)
    };
    let refused = over_tcp(None);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("CUTOVER_TOKEN"), "{}", refused.err);
    assert_eq!(over_tcp(Some("secret-of-watcher")).code, 1);
    assert_eq!(over_tcp(Some("secret-of-ci")).code, 0);
    let file = console.config().with_file_name("token");
    std::fs::write(&file, "secret-of-root\n").unwrap();
    let mut command = console.cli(&["reload"]);
    command
        .env("CUTOVER_ADMIN", console.tcp.to_string())
        .env("CUTOVER_TOKEN_FILE", file);
    assert_eq!(ended(command).code, 0);
}

#[test]
fn the_instance_that_runs_here_is_found_by_its_file() {
    let console = Console::start(TWO_SERVICES);
    let folder = console.config().parent().unwrap().to_owned();
    assert_eq!(ended(bare_cli(&folder, &["status"])).code, 0);
    let mut by_runtime = bare_cli(std::path::Path::new("/"), &["status"]);
    by_runtime.env("RUNTIME_DIRECTORY", &folder);
    assert_eq!(ended(by_runtime).code, 0);
}

#[test]
fn a_file_is_checked_with_all_its_problems() {
    let folder = tempfile::tempdir().unwrap();
    let check = |args: &[&str]| ended(bare_cli(folder.path(), args));
    let none = check(&["check"]);
    assert_eq!(none.code, 3);
    assert!(none.err.contains("cutover init"), "{}", none.err);
    assert_eq!(check(&["init", "cutover.toml"]).code, 0);
    assert_eq!(check(&["check"]).code, 0);
    assert_eq!(
        check(&["init", "cutover.toml"]).code,
        1,
        "an existing file is left alone"
    );
    let path = folder.path().join("cutover.toml");
    std::fs::write(
        &path,
        TWO_SERVICES
            .replace("rise", "rize")
            .replace("weights", "weigths"),
    )
    .unwrap();
    let wrong = check(&["check", "cutover.toml"]);
    assert_eq!(wrong.code, 3);
    assert!(
        wrong.out.contains("rize") && wrong.out.contains("weigths"),
        "{}",
        wrong.out
    );
    let listed = check(&["check", "--format", "json"]);
    assert_eq!(
        (listed.code, &listed.json()["valid"]),
        (3, &Value::Bool(false))
    );
    assert!(listed.json()["problems"].as_array().unwrap().len() >= 2);
    assert_eq!(check(&["check", "--config", "elsewhere.toml"]).code, 3);
    assert!(check(&["init"]).out.contains("[[listeners]]"));
    assert!(check(&["schema"]).json()["properties"]["services"].is_object());
}

#[test]
fn a_token_is_shown_once_and_its_digest_is_for_the_file() {
    let made = bare("token new --name ci --role operator --services shop,search --json").json();
    let token = made["token"].as_str().unwrap();
    assert!(token.len() >= 43, "256 bits");
    assert!(!made["line"].as_str().unwrap().contains(token));
    assert!(
        made["line"]
            .as_str()
            .unwrap()
            .contains(made["sha256"].as_str().unwrap())
    );
    let again = bare("token new --name ci --json").json();
    assert_ne!(again["token"], made["token"]);
    assert_eq!(bare("token new").code, 2);
}

#[test]
fn completions_and_manual_pages_are_made_of_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let script = bare(&format!("completions {shell}"));
        assert!(
            script.code == 0 && script.out.contains("rollback"),
            "{shell}"
        );
    }
    let page = bare("man");
    assert!(
        page.code == 0 && page.out.contains(".TH cutover"),
        "{}",
        page.err
    );
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        ended(bare_cli(folder.path(), &["man", "--dir", "pages"])).code,
        0
    );
    assert!(folder.path().join("pages/cutover-shift.1").exists());
    assert!(bare("--version").out.starts_with("cutover "));
    assert_eq!(bare("--help").code, 0);
}
