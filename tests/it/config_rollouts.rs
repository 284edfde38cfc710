//! The plans of rollouts: what they are without a word, what they inherit, and what can't be one.

use std::{path::Path, time::Duration};

use cutover::{
    config::{
        Outside, Overlay, Plan, Problems, diff, export, load_text,
        plan::{Batch, Bound, HookPoint, NotifyFormat, Preset, Rollout, Step, Strategy, Then},
        problem::Code,
        rollout::{from_json_with, preset, typed},
    },
    units::{ErrorMargin, Percent, Unsure},
};
use serde_json::{Value, json};

use crate::config_files::{SMALL, folder, load};

/// `$TOKEN` and `$URL` are the only variables.
fn outside<T>(ask: impl FnOnce(&Outside<'_>) -> T) -> T {
    ask(&Outside {
        env: &|name| match name {
            "TOKEN" => Some("s3cr3t".into()),
            "URL" => Some("https://hooks.example.com/s3cr3t".into()),
            "TEXT" => Some("no url".into()),
            _ => None,
        },
        secrets: true,
    })
}

fn check(text: &str) -> Result<Plan, Problems> {
    let loaded = outside(|outside| load_text(Path::new("/srv/cutover.toml"), text, outside));
    loaded.map(|loaded| loaded.plan)
}

fn plan(text: &str) -> Plan {
    check(text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// The small file with these lines in its service's plan of a rollout.
fn with(lines: &str) -> String {
    format!("{SMALL}\n[services.app.rollout]\n{lines}\n")
}

fn rollout(text: &str) -> Rollout {
    (*plan(text).services["app"].rollout).clone()
}

fn read(value: &Value, over: Option<&Rollout>) -> Result<Rollout, Problems> {
    outside(|outside| from_json_with(value, over, Path::new("/srv/cutover.toml"), outside))
}

fn percent(text: &str) -> Percent {
    text.parse().expect("a percentage")
}

const fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

#[test]
fn a_service_without_a_word_goes_by_the_standard_preset() {
    let rollout = rollout(SMALL);
    assert_eq!(rollout, Rollout::default());
    assert_eq!(Some(&rollout), preset("standard").as_ref());
    assert_eq!(rollout.strategy, Strategy::Canary);
    let shares: Vec<_> = rollout.steps.iter().filter_map(|step| step.share).collect();
    assert_eq!(shares, ["1%", "5%", "25%", "50%"].map(percent));
    assert_eq!(rollout.steps[0].then, Then::Hold(minutes(2)));
    assert_eq!(rollout.steps[3].then, Then::Judge(minutes(10)));
    assert_eq!(
        (rollout.warm_up, rollout.bake, rollout.undo_window),
        (Duration::from_secs(30), minutes(10), minutes(60))
    );
    assert_eq!(preset("bold"), None);
}

#[test]
fn an_empty_table_is_the_same_as_none() {
    assert_eq!(rollout(&with("")), Rollout::default());
    let tables = "guard = {}\njudge = { latency = {} }\nrescue = {}\nabsolute = {}\nfreeze = []\nmetrics = []\nhooks = []";
    assert_eq!(rollout(&with(tables)), Rollout::default());
}

#[test]
fn every_preset_of_every_strategy_can_be_written() {
    for (word, strategy) in [
        ("canary", Strategy::Canary),
        ("blue-green", Strategy::BlueGreen),
        ("rolling", Strategy::Rolling),
    ] {
        for preset in Preset::ALL {
            let lines = format!("strategy = \"{word}\"\npreset = \"{}\"", preset.as_str());
            let text = with(&lines);
            assert_eq!(rollout(&text), Rollout::preset(strategy, preset), "{lines}");
            let exported = export(&plan(&text), &Overlay::default());
            assert_eq!(plan(&exported), plan(&text), "{exported}");
        }
    }
    let careful = rollout(&with("preset = \"careful\""));
    let last = careful.steps.last().copied().unwrap();
    assert!(
        matches!(last.then, Then::Approval { timeout: None, .. }),
        "{last:?}"
    );
    assert_eq!(careful.steps[0].share, Some(percent("0.1%")));
    let quick = rollout(&with("preset = \"fast\"\nbake = \"1m\""));
    assert_eq!(
        (quick.steps.len(), quick.bake),
        (2, minutes(1)),
        "what is written wins over the preset"
    );
}

#[test]
fn the_plan_of_the_reference_is_read_as_it_is_meant() {
    let rollout = rollout(&with(
        r#"
strategy = "canary"
steps = [ { share = "1%", hold = "2m" }, { share = "10%", judge = "5m" }, { approval = true, timeout = "1h", on_timeout = "pause" } ]
guard    = { alpha = 0.01, min_errors = 7 }
judge    = { interval = "1s", error_margin = "0.5%", latency = false, on_insufficient_data = "pause" }
rescue   = { methods = ["GET", "PUT", "GET"], max_body = "1MiB" }
absolute = { max_error_rate = "1%", max_p95 = "500ms", min_success_for = "2m" }
freeze   = ["Fri 16:00/Mon 08:00 Europe/Berlin"]
[[services.app.rollout.metrics]]
name = "orders"
prometheus = { url = "http://127.0.0.1:9090", query = "sum(rate(orders_total{version=\"{{pool}}\"}[1m]))" }
compare = "stable"
max_drop = "5%"
[[services.app.rollout.hooks]]
at = ["before-promote", "before-start", "before-start"]
url = "https://ci.example.com/smoke"
secret = { env = "TOKEN" }
"#,
    ));
    let approval = Step {
        share: None,
        mirror: None,
        then: Then::Approval {
            timeout: Some(minutes(60)),
            on_timeout: Unsure::Pause,
        },
    };
    assert_eq!(rollout.steps[2], approval);
    assert_eq!(
        (rollout.guard.min_errors, rollout.guard.min_clients),
        (7, 3)
    );
    assert_eq!(
        rollout.judge.error_margin,
        ErrorMargin::Fixed(percent("0.5%"))
    );
    assert_eq!(rollout.judge.latency, None);
    assert_eq!(rollout.rescue.methods.len(), 2);
    assert_eq!(
        rollout.absolute.min_success,
        Some((percent("99%"), minutes(2))),
        "the usual floor where only its time is said"
    );
    assert_eq!(rollout.freeze.len(), 1);
    let bound = Bound::Stable {
        max_drop: Some(percent("5%")),
        max_rise: None,
    };
    assert_eq!(rollout.metrics[0].bound, bound);
    let points = [HookPoint::BeforeStart, HookPoint::BeforePromote];
    assert_eq!(rollout.hooks[0].at, points);
    assert_eq!(
        rollout.hooks[0].secret.as_ref().unwrap().expose(),
        b"s3cr3t"
    );
}

#[test]
fn the_nearer_table_wins_and_takes_what_stands_against_it_off() {
    let both = |far: &str, near: &str| {
        rollout(&format!(
            "[defaults.rollout]\n{far}\n{SMALL}\n[services.app.rollout]\n{near}\n"
        ))
    };
    let steps = "steps = [{ share = \"7%\", judge = \"1m\" }]";
    let seven = rollout(&with(steps)).steps;
    assert_eq!(both("preset = \"fast\"", steps).steps, seven);
    assert_eq!(
        both(steps, "preset = \"fast\""),
        rollout(&with("preset = \"fast\""))
    );
    assert_eq!(both(steps, "warm_up = \"1s\"").steps, seven);
    let rolling = both(&format!("{steps}\nbatch = 2"), "strategy = \"rolling\"");
    assert_eq!(
        rolling.steps,
        Preset::Standard.steps(Strategy::Rolling),
        "a canary's steps are no rolling replacement's"
    );
    assert_eq!(rolling.batch, Batch::Count(2));
    let guarded = both("guard = { alpha = 0.01 }", "guard = { ratio = 2 }").guard;
    assert_eq!((guarded.alpha, guarded.ratio), (0.01, 2.0));
    assert_eq!(both("batch = \"50%\"", "").batch, Batch::Count(1));
}

/// Lines of a plan, and the one problem of them.
const WRONG: &[(&str, Code, &str)] = &[
    (
        "strategy = \"canry\"",
        Code::InvalidValue,
        "`canry` is not valid",
    ),
    (
        "preset = \"bold\"",
        Code::InvalidValue,
        "`bold` is not valid",
    ),
    ("step = []", Code::UnknownKey, "unknown key `step`"),
    (
        "guard = false",
        Code::WrongType,
        "`services.app.rollout.guard` is true or false",
    ),
    (
        "steps = []",
        Code::MissingKey,
        "no step gives the new version a share",
    ),
    (
        "steps = [{ approval = true }]",
        Code::MissingKey,
        "no step gives the new version a share",
    ),
    (
        "preset = \"fast\"\nsteps = [{ share = \"1%\", hold = \"1m\" }]",
        Code::Conflict,
        "`preset` says the steps, and so does `steps`",
    ),
    (
        "steps = [{ share = \"10%\", judge = \"1m\" }, { share = \"5%\", judge = \"1m\" }]",
        Code::InvalidValue,
        "5% after 10%: the shares of steps rise",
    ),
    (
        "steps = [{ share = \"10%\", judge = \"1m\" }, { share = \"10%\", judge = \"1m\" }]",
        Code::InvalidValue,
        "10% after 10%: the shares of steps rise",
    ),
    (
        "steps = [{ share = \"110%\", judge = \"1m\" }]",
        Code::InvalidValue,
        "`110%` is not valid",
    ),
    (
        "steps = [{ share = \"100%\", judge = \"1m\" }]",
        Code::InvalidValue,
        "100% is the promotion, which follows the last step by itself",
    ),
    (
        "steps = [{ share = \"0%\", hold = \"1m\" }]",
        Code::InvalidValue,
        "0% is no share",
    ),
    (
        "steps = [{ share = 10, judge = \"1m\" }]",
        Code::WrongType,
        "`services.app.rollout.steps[0].share` is an integer",
    ),
    (
        "steps = [{ share = \"10%\" }]",
        Code::Conflict,
        "`services.app.rollout.steps[0]` waits for nothing",
    ),
    (
        "steps = [{ share = \"10%\", hold = \"1m\", judge = \"1m\" }]",
        Code::Conflict,
        "`services.app.rollout.steps[0]` waits for 2 things",
    ),
    (
        "steps = [{ judge = \"1m\" }, { share = \"10%\", hold = \"1m\" }]",
        Code::Conflict,
        "the new version has no traffic yet that could be judged",
    ),
    (
        "strategy = \"blue-green\"\nsteps = [{ judge = \"1m\" }]",
        Code::Conflict,
        "the new version has no traffic yet that could be judged",
    ),
    (
        "steps = [{ share = \"10%\", hold = \"1m\" }, { mirror = \"10%\", judge = \"1m\" }]",
        Code::Conflict,
        "copies are for a version without users, and this one has a share by now",
    ),
    (
        "steps = [{ share = \"10%\", mirror = \"10%\", judge = \"1m\" }]",
        Code::Conflict,
        "copies are for a version without users, and this one has a share by now",
    ),
    (
        "strategy = \"rolling\"\nsteps = [{ mirror = \"10%\", judge = \"1m\" }]",
        Code::Conflict,
        "a batch is of the pool that serves: there is nobody else to copy to",
    ),
    (
        "strategy = \"blue-green\"\nsteps = [{ mirror = \"0%\", judge = \"1m\" }]",
        Code::InvalidValue,
        "0% is no copy",
    ),
    (
        "steps = [{ share = \"10%\", judge = \"9s\" }]",
        Code::Conflict,
        "this step is over before the first look, after 10s",
    ),
    (
        "steps = [{ share = \"10%\", judge = \"0s\" }]",
        Code::InvalidValue,
        "0s is out of bounds",
    ),
    (
        "steps = [{ share = \"10%\", approval = false }]",
        Code::InvalidValue,
        "an approval is asked for or not written",
    ),
    (
        "steps = [{ share = \"10%\", approval = true, on_timeout = \"pause\" }]",
        Code::Conflict,
        "without a `timeout` it is waited for as long as it takes",
    ),
    (
        "steps = [{ share = \"10%\", hold = \"1m\", timeout = \"1m\" }]",
        Code::Conflict,
        "`timeout` is of an approval, and this step waits for none",
    ),
    (
        "steps = [{ share = \"10%\", approval = true, timeout = \"1m\", on_timeout = \"abort\" }]",
        Code::InvalidValue,
        "`abort` is not valid",
    ),
    (
        "strategy = \"blue-green\"\nsteps = [{ share = \"10%\", approval = true }]",
        Code::Conflict,
        "only the steps of a canary have shares",
    ),
    (
        "strategy = \"rolling\"\nsteps = [{ share = \"10%\", judge = \"1m\" }]",
        Code::Conflict,
        "only the steps of a canary have shares",
    ),
    (
        "strategy = \"rolling\"\nsteps = [{ judge = \"1m\" }, { approval = true }]",
        Code::InvalidValue,
        "there are 2 steps after each batch",
    ),
    (
        "strategy = \"blue-green\"\nbatch = 2",
        Code::Conflict,
        "`services.app.rollout.batch` is of a rolling replacement, and this is none",
    ),
    (
        "batch = 2",
        Code::Conflict,
        "`services.app.rollout.batch` is of a rolling replacement, and this is none",
    ),
    (
        "strategy = \"rolling\"\nbatch = 0",
        Code::InvalidValue,
        "0 is out of bounds",
    ),
    (
        "strategy = \"rolling\"\nbatch = \"0%\"",
        Code::InvalidValue,
        "0% of the endpoints is none",
    ),
    (
        "strategy = \"rolling\"\nbatch = \"2\"",
        Code::InvalidValue,
        "`2` is not valid",
    ),
    (
        "ready_timeout = \"0s\"",
        Code::InvalidValue,
        "0s is out of bounds",
    ),
    (
        "warm_up = \"2h\"",
        Code::InvalidValue,
        "2h is out of bounds",
    ),
    ("bake = \"8d\"", Code::InvalidValue, "8d is out of bounds"),
    (
        "undo_window = \"soon\"",
        Code::InvalidValue,
        "`soon` is not valid",
    ),
    ("guard.alpha = 0", Code::InvalidValue, "0 is out of bounds"),
    (
        "guard.alpha = 0.2",
        Code::InvalidValue,
        "0.2 is out of bounds",
    ),
    (
        "guard.alpha = nan",
        Code::InvalidValue,
        "NaN is out of bounds",
    ),
    (
        "guard.ratio = 0.9",
        Code::InvalidValue,
        "0.9 is out of bounds",
    ),
    (
        "guard.min_errors = 0",
        Code::InvalidValue,
        "0 is out of bounds",
    ),
    (
        "guard.min_clients = 1001",
        Code::InvalidValue,
        "1001 is out of bounds",
    ),
    (
        "guard.max_excess_failures = 0",
        Code::InvalidValue,
        "0 is out of bounds",
    ),
    (
        "guard.min_error_rate = \"1\"",
        Code::InvalidValue,
        "`1` is not valid",
    ),
    (
        "judge.interval = \"50ms\"",
        Code::InvalidValue,
        "50ms is out of bounds",
    ),
    (
        "judge.min_requests = 0",
        Code::InvalidValue,
        "0 is out of bounds",
    ),
    (
        "judge.error_margin = \"0%\"",
        Code::InvalidValue,
        "`0%` is not valid",
    ),
    (
        "judge.latency = true",
        Code::WrongType,
        "`services.app.rollout.judge.latency` is true or false",
    ),
    (
        "judge.latency.quantile = 0.49",
        Code::InvalidValue,
        "0.49 is out of bounds",
    ),
    (
        "judge.latency.quantile = 1",
        Code::InvalidValue,
        "1 is out of bounds",
    ),
    (
        "judge.on_insufficient_data = \"wait\"",
        Code::InvalidValue,
        "`wait` is not valid",
    ),
    (
        "judge.on_max_hold = \"hold\"",
        Code::InvalidValue,
        "`hold` is not valid",
    ),
    (
        "rescue.methods = []",
        Code::InvalidValue,
        "no request would be rescued",
    ),
    (
        "rescue.methods = [\"CONNECT\"]",
        Code::InvalidValue,
        "CONNECT is never sent twice",
    ),
    (
        "rescue.methods = [\"get\"]",
        Code::InvalidValue,
        "`get` is not valid",
    ),
    (
        "rescue.max_body = \"17MiB\"",
        Code::InvalidValue,
        "17MiB is out of bounds",
    ),
    (
        "absolute.min_success = \"0%\"",
        Code::InvalidValue,
        "0% of the requests always succeed",
    ),
    (
        "absolute.max_p95 = \"0ms\"",
        Code::InvalidValue,
        "0ms is out of bounds",
    ),
    (
        "freeze = [\"Fri 16:00/Mon 08:00\"]",
        Code::InvalidValue,
        "`Fri 16:00/Mon 08:00` is not valid",
    ),
    (
        "freeze = [\"Fri 16:00/Mon 08:00 Europe/Berln\"]",
        Code::InvalidValue,
        "`Fri 16:00/Mon 08:00 Europe/Berln` is not valid",
    ),
];

#[test]
fn plans_that_cannot_be() {
    for &(lines, code, message) in WRONG {
        is_the_only_problem(&with(lines), code, message);
    }
}

fn is_the_only_problem(text: &str, code: Code, message: &str) {
    let problems = match check(text) {
        Ok(plan) => panic!("no problem in\n{text}\n{plan:?}"),
        Err(problems) => problems,
    };
    let told: Vec<_> = problems
        .iter()
        .map(|problem| (problem.code, problem.message.as_str()))
        .collect();
    assert_eq!(told, [(code, message)], "{text}");
    let problem = problems.iter().next().expect("one");
    assert!(problem.line > 1 && !problem.key.is_empty(), "{problem:?}");
    assert!(
        problem.expected.is_some() || problem.nearest.is_some() || problem.also.is_some(),
        "what would have been right: {problem:?}"
    );
}

const METRIC: &str = "name = \"orders\"\nprometheus = { url = \"http://127.0.0.1:9090\", query = \"orders{v='{{pool}}'}\" }\ncompare = \"stable\"\nmax_drop = \"5%\"\n";

/// What stands in the metric in the place of what, and what is told of it.
const WRONG_METRICS: &[(&str, &str, Code, &str)] = &[
    (
        "name = \"orders\"\n",
        "",
        Code::MissingKey,
        "`services.app.rollout.metrics[0].name` is missing",
    ),
    (
        "\"orders\"",
        "\"Orders\"",
        Code::InvalidValue,
        "`Orders` is not valid",
    ),
    (
        "prometheus = {",
        "http = { pointer = \"/n\", url = \"http://a/{{pool}}\" }\nprometheus = {",
        Code::Conflict,
        "`services.app.rollout.metrics[0]` has 2 sources",
    ),
    (
        "http://",
        "ftp://",
        Code::InvalidValue,
        "`ftp://127.0.0.1:9090` is not valid",
    ),
    (
        "http://",
        "http://me:secret@",
        Code::InvalidValue,
        "`http://me:secret@127.0.0.1:9090` is not valid",
    ),
    (
        ":9090",
        ":9090/{{pool}}",
        Code::InvalidValue,
        "names are replaced in the query, not in the URL",
    ),
    (
        "{{pool}}",
        "{{pol}}",
        Code::UnknownName,
        "nothing is put in the place of `{{pol}}`",
    ),
    (
        "{{pool}}",
        "{{service}}",
        Code::Conflict,
        "`services.app.rollout.metrics[0].prometheus.query` asks the same of both versions: there is nothing to compare",
    ),
    (
        ", query = \"orders{v='{{pool}}'}\"",
        "",
        Code::MissingKey,
        "`services.app.rollout.metrics[0].prometheus.query` is missing",
    ),
    (
        "compare = \"stable\"",
        "",
        Code::Conflict,
        "`max_drop` is of a comparison",
    ),
    (
        "max_drop = \"5%\"",
        "",
        Code::MissingKey,
        "`services.app.rollout.metrics[0]` has no bound",
    ),
    (
        "max_drop = \"5%\"",
        "max_drop = \"5%\"\nmin = 1",
        Code::Conflict,
        "`min` is a bound by itself",
    ),
    (
        "max_drop = \"5%\"",
        "max_drop = 5",
        Code::WrongType,
        "`services.app.rollout.metrics[0].max_drop` is an integer",
    ),
    (
        "compare = \"stable\"\nmax_drop = \"5%\"",
        "min = 2\nmax = 1.5",
        Code::Conflict,
        "`min` is above `max`: no figure would do",
    ),
    (
        "compare = \"stable\"\nmax_drop = \"5%\"",
        "max = inf",
        Code::InvalidValue,
        "inf is out of bounds",
    ),
    (
        "name",
        "authorization = { env = \"NONE\" }\nname",
        Code::Unreadable,
        "the secret can't be read: $NONE is not set",
    ),
    (
        "name",
        "interval = \"1ms\"\nname",
        Code::InvalidValue,
        "1ms is out of bounds",
    ),
];

#[test]
fn figures_that_cannot_be() {
    let with = |lines: &str| with(&format!("[[services.app.rollout.metrics]]\n{lines}"));
    assert!(check(&with(METRIC)).is_ok());
    for &(from, to, code, message) in WRONG_METRICS {
        assert!(METRIC.contains(from), "{from}");
        let lines = METRIC.replacen(from, to, 1);
        let problems = check(&with(&lines)).expect_err(&lines);
        let told: Vec<_> = problems
            .iter()
            .map(|p| (p.code, p.message.as_str()))
            .collect();
        assert_eq!(told, [(code, message)], "{lines}");
    }
    let twice = format!("{METRIC}\n[[services.app.rollout.metrics]]\n{METRIC}");
    is_the_only_problem(
        &with(&twice),
        Code::Duplicate,
        "the metric `orders` stands twice",
    );
}

const HOOK: &str = "at = [\"before-start\"]\nurl = \"https://ci.example.com/smoke\"\n";

#[test]
fn a_header_that_is_written_in_two_ways_stands_twice() {
    let lines = "[[services.app.rollout.metrics]]\nname = \"queue\"\nmax = 5\nhttp = { url = \"http://a/n\", pointer = \"\", headers = { Accept = \"a\", accept = \"b\" } }";
    let what = "the header `accept` stands twice";
    is_the_only_problem(&with(lines), Code::Duplicate, what);
}

/// The same of the hook.
const WRONG_HOOKS: &[(&str, &str, Code, &str)] = &[
    (
        "at = [\"before-start\"]\n",
        "",
        Code::MissingKey,
        "`services.app.rollout.hooks[0].at` is missing",
    ),
    (
        "\"before-start\"",
        "",
        Code::InvalidValue,
        "`services.app.rollout.hooks[0]` is never called",
    ),
    (
        "before-start",
        "before-strat",
        Code::InvalidValue,
        "`before-strat` is not valid",
    ),
    (
        "url = \"https://ci.example.com/smoke\"\n",
        "",
        Code::MissingKey,
        "`services.app.rollout.hooks[0].url` is missing",
    ),
    (
        "https://ci.example.com/smoke",
        "ci.example.com",
        Code::InvalidValue,
        "`ci.example.com` is not valid",
    ),
    (
        "https://ci.example.com/smoke",
        "https://",
        Code::InvalidValue,
        "`https://` is not valid",
    ),
    (
        "at",
        "secret = { file = \"/nowhere/hook\" }\nat",
        Code::Unreadable,
        "the secret can't be read: /nowhere/hook: it does not exist",
    ),
    (
        "at",
        "secret = {}\nat",
        Code::Conflict,
        "`services.app.rollout.hooks[0].secret` names 0 sources",
    ),
    (
        "at",
        "secret = \"plain\"\nat",
        Code::WrongType,
        "`services.app.rollout.hooks[0].secret` is a string",
    ),
    (
        "at",
        "timeout = \"0s\"\nat",
        Code::InvalidValue,
        "0s is out of bounds",
    ),
    (
        "at",
        "on_timeout = \"retry\"\nat",
        Code::InvalidValue,
        "`retry` is not valid",
    ),
];

#[test]
fn hooks_that_cannot_be() {
    let with = |lines: &str| with(&format!("[[services.app.rollout.hooks]]\n{lines}"));
    assert!(check(&with(HOOK)).is_ok());
    for &(from, to, code, message) in WRONG_HOOKS {
        let problems = check(&with(&HOOK.replacen(from, to, 1))).expect_err(message);
        let told: Vec<_> = problems
            .iter()
            .map(|p| (p.code, p.message.as_str()))
            .collect();
        assert_eq!(told, [(code, message)]);
    }
}

#[test]
fn two_versions_side_by_side_take_two_pools() {
    let one = SMALL
        .replace("weights = { blue = 100, green = 0 }", "")
        .replace("pools.green.endpoints = [\"127.0.0.1:3002\"]", "");
    let with = |lines: &str| format!("{one}\n[services.app.rollout]\n{lines}\n");
    assert!(check(&one).is_ok() && check(&with("warm_up = \"1s\"")).is_ok());
    assert!(check(&with("strategy = \"rolling\"\npreset = \"fast\"")).is_ok());
    let inherited = format!("[defaults.rollout]\nstrategy = \"blue-green\"\n{one}");
    assert!(check(&inherited).is_ok(), "of the others");
    for lines in ["strategy = \"blue-green\"", "preset = \"fast\""] {
        let what = "`blue` is the only pool: there is none to go to";
        is_the_only_problem(&with(lines), Code::Conflict, what);
    }
}

#[test]
fn as_many_as_nobody_means_are_refused() {
    let step = "{ approval = true },".repeat(101);
    let steps = format!("strategy = \"blue-green\"\nsteps = [{step}]");
    is_the_only_problem(&with(&steps), Code::InvalidValue, "there are 101 steps");
    let hooks = format!("[[services.app.rollout.hooks]]\n{HOOK}").repeat(51);
    let what = "`services.app.rollout.hooks` has 51 items";
    is_the_only_problem(&with(&hooks), Code::InvalidValue, what);
    let windows = "\"Fri 16:00/Mon 08:00 UTC\",".repeat(51);
    let what = "`services.app.rollout.freeze` has 51 items";
    is_the_only_problem(
        &with(&format!("freeze = [{windows}]")),
        Code::InvalidValue,
        what,
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let lines = "strategy = \"canary\"\nbatch = 2\nsteps = [{ share = \"10%\", judge = \"1m\" }, { share = \"5%\", hold = \"1m\" }, {}]\nguard = { alpha = 1, min_eror = 2 }\nfreeze = [\"Mon\"]\n[[services.app.rollout.hooks]]\nat = []\nurl = \"x\"\n[[services.app.rollout.metrics]]\nname = \"a\"\n";
    insta::assert_snapshot!(check(&with(lines)).unwrap_err().render(false));
}

#[test]
fn who_is_told_of_events_is_a_secret() {
    let notify = |lines: &str| format!("{SMALL}\n[[notify]]\n{lines}\n");
    let text = notify(
        "url = { env = \"URL\" }\nformat = \"slack\"\non = [\"weights\", \"switch\", \"weights\"]",
    );
    let plan = plan(&text);
    let told = &plan.notify[0];
    assert_eq!((told.format, told.on.len()), (NotifyFormat::Slack, 2));
    assert_eq!(told.url.expose(), b"https://hooks.example.com/s3cr3t");
    let shown = format!(
        "{plan:?}{}{}",
        export(&plan, &Overlay::default()),
        diff(&self::plan(SMALL), &plan)
    );
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert_eq!(self::plan(&export(&plan, &Overlay::default())), plan);
    for (lines, code, message) in [
        (
            "format = \"json\"",
            Code::MissingKey,
            "`notify[0].url` is missing",
        ),
        (
            "url = \"https://hooks.example.com\"",
            Code::WrongType,
            "`notify[0].url` is a string",
        ),
        (
            "url = { env = \"TEXT\" }",
            Code::InvalidValue,
            "the secret is no URL",
        ),
        (
            "url = { env = \"NONE\" }",
            Code::Unreadable,
            "the secret can't be read: $NONE is not set",
        ),
        (
            "url = { env = \"URL\" }\nformat = \"mail\"",
            Code::InvalidValue,
            "`mail` is not valid",
        ),
        (
            "url = { env = \"URL\" }\non = [\"weigths\"]",
            Code::UnknownName,
            "there is no type of event `weigths`",
        ),
        (
            "url = { env = \"URL\" }\non = []",
            Code::InvalidValue,
            "`notify[0].on` is empty",
        ),
    ] {
        let problems = check(&notify(lines)).expect_err(message);
        let told: Vec<_> = problems
            .iter()
            .map(|p| (p.code, p.message.as_str()))
            .collect();
        assert_eq!(told, [(code, message)]);
        assert!(!problems.render(false).contains("no url"));
    }
}

#[test]
fn the_files_of_secrets_are_part_of_what_is_watched() {
    let folder = folder(&format!(
        "{SMALL}\n[services.app.rollout]\n[[services.app.rollout.hooks]]\n{HOOK}secret = {{ file = \"hook\" }}\n[[notify]]\nurl = {{ file = \"url\" }}\n"
    ));
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("hook", "one");
    write("url", "https://a.example/1");
    let first = load(folder.path()).unwrap();
    write("hook", "two");
    let second = load(folder.path()).unwrap();
    write("url", "https://a.example/2");
    let third = load(folder.path()).unwrap();
    assert!(first.hash != second.hash && second.hash != third.hash);
    let told = diff(&first.plan, &third.plan);
    assert_eq!(
        told.to_string(),
        "notify { file = \"url\" }.url: { file = \"url\" } -> { file = \"url\" } (with other contents)\nservices.app.rollout.hooks https://ci.example.com/smoke.secret: { file = \"hook\" } -> { file = \"hook\" } (with other contents)\n"
    );
}

#[test]
fn an_edit_is_told_in_the_words_of_the_file() {
    let told =
        |before: &str, after: &str| diff(&plan(&with(before)), &plan(&with(after))).to_string();
    for (before, after, said) in [
        (
            "",
            "preset = \"fast\"",
            "services.app.rollout.preset: \"standard\" -> \"fast\"\nservices.app.rollout.bake: \"10m\" -> \"5m\"\n",
        ),
        (
            "",
            "guard.alpha = 0.01",
            "services.app.rollout.guard.alpha: 0.001 -> 0.01\n",
        ),
        (
            "",
            "judge.latency = false",
            "+ services.app.rollout.judge.latency false\n- services.app.rollout.judge.latency {  }\n",
        ),
        (
            "",
            "preset = \"standard\"\nbake = \"10m\"\nguard.ratio = 1.5",
            "",
        ),
        (
            "steps = [{ share = \"1%\", hold = \"1m\" }, { share = \"2%\", hold = \"1m\" }]",
            "steps = [{ share = \"1%\", hold = \"1m\" }, { share = \"3%\", hold = \"1m\" }]",
            "- services.app.rollout.steps { share = \"2%\", hold = \"1m\" }\n+ services.app.rollout.steps { share = \"3%\", hold = \"1m\" }\n",
        ),
    ] {
        assert_eq!(told(before, after), said);
    }
}

#[test]
fn the_body_of_a_call_is_read_as_the_file_is() {
    let read = |value: Value| read(&value, None);
    assert_eq!(read(json!({})).unwrap(), Rollout::default());
    assert_eq!(
        read(json!({ "preset": "fast" })).unwrap(),
        preset("fast").unwrap()
    );
    let body = json!({
        "strategy": "canary", "preset": null, "bake": "1m",
        "steps": [{ "share": "10%", "judge": "2m" }, { "approval": true, "timeout": null }],
        "guard": { "alpha": 0.01 },
    });
    let lines = "bake = \"1m\"\nsteps = [{ share = \"10%\", judge = \"2m\" }, { approval = true }]\nguard.alpha = 0.01";
    assert_eq!(read(body).unwrap(), rollout(&with(lines)));
    for (value, key, code, message) in [
        (
            json!([]),
            "",
            Code::WrongType,
            "the plan of a rollout is an object",
        ),
        (
            json!("fast"),
            "",
            Code::WrongType,
            "the plan of a rollout is an object",
        ),
        (
            json!({ "step": [] }),
            "step",
            Code::UnknownKey,
            "unknown key `step`",
        ),
        (
            json!({ "steps": [{ "share": "5%" }] }),
            "steps[0]",
            Code::Conflict,
            "`steps[0]` waits for nothing",
        ),
        (
            json!({ "guard": { "alpha": "0.1" } }),
            "guard.alpha",
            Code::WrongType,
            "`guard.alpha` is a string",
        ),
        (
            json!({ "guard": { "min_errors": u64::MAX } }),
            "",
            Code::WrongType,
            "the number is too large",
        ),
        (
            json!({ "bake": "x".repeat(2 << 20) }),
            "",
            Code::InvalidValue,
            "the plan is larger than 1024 KiB",
        ),
        (
            json!({ "a\"\n[b]\u{1b}": 1 }),
            "\"a\\\"\\n[b]\\u{1b}\"",
            Code::UnknownKey,
            "unknown key `a\\\"\\n[b]\\u{1b}`",
        ),
    ] {
        let problems = read(value).expect_err(message);
        let told: Vec<_> = problems
            .iter()
            .map(|p| (&*p.key, p.code, p.message.as_str()))
            .collect();
        assert_eq!(told, [(key, code, message)]);
    }
}

#[test]
fn a_call_says_what_differs_from_the_plan_of_the_service() {
    let lines = format!(
        "steps = [{{ share = \"7%\", judge = \"1m\" }}]\nfreeze = [\"Fri 16:00/Mon 08:00 UTC\"]\n[[services.app.rollout.hooks]]\n{HOOK}"
    );
    let service = rollout(&with(&lines));
    let called = read(&json!({ "preset": "fast" }), Some(&service)).unwrap();
    let fast = preset("fast").unwrap();
    assert_eq!((&called.steps, called.bake), (&fast.steps, fast.bake));
    assert_eq!(
        (&called.freeze, &called.hooks),
        (&service.freeze, &service.hooks)
    );
    assert_eq!(read(&json!({}), Some(&service)).unwrap(), service);
    let patient = rollout(&with("bake = \"1h\""));
    let called = read(&json!({ "preset": "fast" }), Some(&patient)).unwrap();
    assert_eq!(called.bake, minutes(60), "as the service says");
    let rolling = read(
        &json!({ "strategy": "rolling", "batch": 3 }),
        Some(&service),
    )
    .unwrap();
    assert_eq!(rolling.steps, Preset::Standard.steps(Strategy::Rolling));
    assert_eq!(rolling.batch, Batch::Count(3));
}

#[test]
fn a_remembered_plan_outlives_presets_and_says_no_secret() {
    let lines = format!(
        "preset = \"careful\"\n[[services.app.rollout.hooks]]\n{HOOK}secret = {{ env = \"TOKEN\" }}\n[[services.app.rollout.metrics]]\n{METRIC}authorization = {{ env = \"TOKEN\" }}\n"
    );
    let plan = rollout(&with(&lines));
    let remembered = typed(&plan);
    assert!(!remembered.to_string().contains("s3cr3t"), "{remembered}");
    assert_eq!(remembered["preset"], Value::Null);
    assert_eq!(remembered["steps"].as_array().unwrap().len(), 7);
    assert_eq!(remembered["guard"]["alpha"], 0.001);
    assert_eq!(remembered["hooks"][0]["secret"], json!({ "env": "TOKEN" }));
    assert_eq!(read(&remembered, None).unwrap(), plan);
    let gone = Outside {
        env: &|_| None,
        secrets: true,
    };
    let problems = from_json_with(&remembered, None, Path::new("/srv/cutover.toml"), &gone);
    let problems = problems.expect_err("the secrets are gone");
    let keys: Vec<_> = problems
        .iter()
        .map(|p| (&*p.key, p.message.as_str()))
        .collect();
    let what = "the secret can't be read: $TOKEN is not set";
    assert_eq!(
        keys.iter().map(|(_, message)| *message).collect::<Vec<_>>(),
        [what, what]
    );
    assert!(keys.contains(&("hooks[0].secret.env", what)), "{keys:?}");
}
