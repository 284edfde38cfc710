//! Whatever the plan of a rollout says, it is remembered, exported and read as the same.

use std::{path::Path, time::Duration};

use cutover::{
    config::{
        Outside, Overlay, export, load_text,
        plan::{
            Batch, Bound, Hook, HookPoint, Metric, MetricSource, Rescue, Rollout, Step, Strategy,
            Then,
        },
        rollout::{from_json_with, typed},
    },
    units::{
        Absolute, ErrorMargin, GuardSettings, Insufficient, JudgeSettings, LatencyMargin, Percent,
        Secret, SecretSource, Unsure,
    },
};
use http::{HeaderName, HeaderValue, Method};
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::{select, subsequence},
    strategy::Strategy as Any,
};

use crate::config_files::SMALL;

fn outside<T>(ask: impl FnOnce(&Outside<'_>) -> T) -> T {
    ask(&Outside {
        env: &|name| (name == "TOKEN").then(|| "s3cr3t".into()),
        secrets: true,
    })
}

fn span(least: u64, most: u64) -> impl Any<Value = Duration> {
    (least..=most).prop_map(Duration::from_millis)
}

fn part(least: u32) -> impl Any<Value = Percent> {
    (least..=1_000_000).prop_map(Percent::from_millionths)
}

fn secret() -> impl Any<Value = Option<Secret>> {
    let secret = Secret::from(SecretSource::Env("TOKEN".into()), b"s3cr3t".to_vec());
    option::of(Just(secret))
}

fn unsure() -> impl Any<Value = Unsure> {
    select(vec![Unsure::Promote, Unsure::Pause, Unsure::Rollback])
}

/// A number as people write it: JSON's reader is exact for those, and for longer ones to the last bit but one.
fn number(thousandths: std::ops::Range<i64>) -> impl Any<Value = f64> {
    #[expect(clippy::cast_precision_loss, reason = "none is near 2^53")]
    thousandths.prop_map(|count| count as f64 / 1e3)
}

/// Letters that a text may have and a name in TOML may not.
fn text() -> impl Any<Value = String> {
    "[ -~é🦀\u{7f}\\\\\"\n]{1,20}".prop_filter("said", |text| !text.trim().is_empty())
}

fn then(interval: u64) -> impl Any<Value = Then> {
    prop_oneof![
        span(1, 86_400_000).prop_map(Then::Hold),
        span(interval, 86_400_000).prop_map(Then::Judge),
        (option::of(span(1, 86_400_000)), unsure()).prop_map(|(timeout, on_timeout)| {
            Then::Approval {
                timeout,
                on_timeout: timeout.map_or(Unsure::Rollback, |_| on_timeout),
            }
        }),
    ]
}

/// How it goes, with steps that go with it.
fn way(interval: u64) -> impl Any<Value = (Strategy, Vec<Step>, Batch)> {
    let shares = btree_set(1..1_000_000_u32, 1..5);
    let canary = (shares, vec(then(interval), 10)).prop_map(|(shares, thens)| {
        let mut thens = thens.into_iter();
        let mut steps = Vec::new();
        for share in shares {
            let share = Some(Percent::from_millionths(share));
            for share in [share, None] {
                steps.extend(thens.next().map(|then| Step {
                    share,
                    mirror: None,
                    then,
                }));
            }
        }
        (Strategy::Canary, steps, Batch::Count(1))
    });
    let plain = move |most, mirror| {
        let parts = if mirror { 0..1_000_001_u32 } else { 0..1 };
        vec((then(interval), parts), 0..=most).prop_map(|steps| {
            let step = |(then, part)| Step {
                share: None,
                mirror: (part > 0).then(|| Percent::from_millionths(part)),
                then,
            };
            steps.into_iter().map(step).collect::<Vec<_>>()
        })
    };
    let batch = prop_oneof![
        (1..10_000_u32).prop_map(Batch::Count),
        part(1).prop_map(Batch::Part)
    ];
    prop_oneof![
        canary,
        plain(3, true).prop_map(|steps| (Strategy::BlueGreen, steps, Batch::Count(1))),
        (plain(1, false), batch).prop_map(|(steps, batch)| (Strategy::Rolling, steps, batch)),
    ]
}

fn guard() -> impl Any<Value = GuardSettings> {
    (
        number(1..101),
        number(1000..100_001),
        1..10_000_u32,
        1..1000_u32,
        part(0),
        1..1_000_000_u64,
    )
        .prop_map(
            |(alpha, ratio, min_errors, min_clients, min_error_rate, most)| GuardSettings {
                alpha,
                ratio,
                min_errors,
                min_clients,
                min_error_rate,
                max_excess_failures: most,
            },
        )
}

fn judge() -> impl Any<Value = JudgeSettings> {
    let latency =
        (number(500..1000), part(0), span(0, 60_000)).prop_map(|(quantile, increase, floor)| {
            LatencyMargin {
                quantile,
                increase,
                floor,
            }
        });
    let margin = prop_oneof![
        Just(ErrorMargin::Auto),
        part(1).prop_map(ErrorMargin::Fixed)
    ];
    let insufficient = select(vec![
        Insufficient::Hold,
        Insufficient::Promote,
        Insufficient::Pause,
        Insufficient::Rollback,
    ]);
    (
        span(100, 10_000),
        1..1_000_000_u64,
        margin,
        option::of(latency),
        insufficient,
        span(1, 86_400_000),
        unsure(),
    )
        .prop_map(
            |(interval, min_requests, error_margin, latency, insufficient, max_hold, then)| {
                JudgeSettings {
                    interval,
                    min_requests,
                    error_margin,
                    latency,
                    on_insufficient_data: insufficient,
                    max_hold,
                    on_max_hold: then,
                }
            },
        )
}

fn absolute() -> impl Any<Value = Absolute> {
    (
        1..1_000_000_u64,
        option::of(part(0)),
        option::of(span(1, 3_600_000)),
        option::of((part(1), span(1, 86_400_000))),
        option::of(part(0)),
    )
        .prop_map(
            |(min_requests, max_error_rate, max_p95, min_success, probe_failures)| Absolute {
                min_requests,
                max_error_rate,
                max_p95,
                min_success,
                probe_failures,
            },
        )
}

fn metric() -> impl Any<Value = Metric> {
    let headers = subsequence(vec!["accept", "file", "x-a"], 0..3).prop_map(|names| {
        let value = HeaderValue::from_static("a \"quoted\" \\ value");
        let names = names.into_iter().map(HeaderName::from_static);
        names.map(|name| (name, value.clone())).collect()
    });
    let source = prop_oneof![
        text().prop_map(|query| MetricSource::Prometheus {
            url: "http://127.0.0.1:9090".into(),
            query: format!("{{{{pool}}}}{}", query.replace("{{", "")),
        }),
        headers.prop_map(|headers| MetricSource::Http {
            url: "https://a.example/{{pool}}?of={{service}}".into(),
            pointer: "/a b/\"".into(),
            headers,
        }),
    ];
    let bound = prop_oneof![
        (part(0), option::of(part(0))).prop_map(|(drop, max_rise)| Bound::Stable {
            max_drop: drop.into(),
            max_rise,
        }),
        (
            number(-1_000_000_000_000..1),
            option::of(number(0..1_000_000_000_000))
        )
            .prop_map(|(min, max)| Bound::Between {
                min: Some(min),
                max,
            }),
    ];
    (
        source,
        secret(),
        bound,
        span(100, 3_600_000),
        span(1, 3_600_000),
        any::<bool>(),
    )
        .prop_map(
            |(source, authorization, bound, interval, timeout, dry_run)| Metric {
                name: "orders".parse().expect("a name"),
                source,
                authorization,
                bound,
                interval,
                timeout,
                dry_run,
            },
        )
}

fn hook() -> impl Any<Value = Hook> {
    let at = subsequence(HookPoint::ALL.to_vec(), 1..5);
    (at, secret(), span(1, 86_400_000), unsure()).prop_map(|(at, secret, timeout, on_timeout)| {
        Hook {
            at,
            url: "https://ci.example.com/smoke?a=%22b".into(),
            secret,
            timeout,
            on_timeout,
        }
    })
}

fn rescue() -> impl Any<Value = Rescue> {
    let methods = subsequence(vec![Method::GET, Method::HEAD, Method::PUT], 0..3);
    (methods, 0..16_000_000_u64).prop_map(|(methods, max_body)| Rescue { methods, max_body })
}

fn rollout() -> impl Any<Value = Rollout> {
    let windows = [
        "Fri 16:00/Mon 08:00 Europe/Berlin",
        "2026-12-24T00:00/2026-12-27T08:00 UTC",
    ];
    let freeze = subsequence(windows.to_vec(), 0..=2).prop_map(|texts| {
        let texts = texts.into_iter();
        texts.map(|text| text.parse().expect("a window")).collect()
    });
    let times = (
        span(1, 86_400_000),
        span(0, 3_600_000),
        span(0, 604_800_000),
        span(0, 604_800_000),
    );
    let measures = (guard(), judge(), rescue(), absolute());
    let others = (freeze, option::of(metric()), vec(hook(), 0..3));
    (way(10_000), times, measures, others).prop_map(|(way, times, measures, others)| Rollout {
        strategy: way.0,
        steps: way.1,
        batch: way.2,
        ready_timeout: times.0,
        warm_up: times.1,
        bake: times.2,
        undo_window: times.3,
        guard: measures.0,
        judge: measures.1,
        rescue: measures.2,
        absolute: measures.3,
        freeze: others.0,
        metrics: others.1.into_iter().collect(),
        hooks: others.2,
    })
}

proptest! {
    #[test]
    fn a_plan_is_remembered_as_it_is(rollout in rollout()) {
        let remembered = typed(&rollout);
        prop_assert!(!remembered.to_string().contains("s3cr3t"));
        // As it comes back from the disk.
        let remembered: serde_json::Value = serde_json::from_str(&remembered.to_string()).expect("JSON");
        let path = Path::new("/srv/cutover.toml");
        let read = outside(|outside| from_json_with(&remembered, None, path, outside));
        prop_assert_eq!(read.map_err(|problems| problems.render(false)), Ok(rollout.clone()));
        let nothing = serde_json::json!({});
        let read = outside(|outside| from_json_with(&nothing, Some(&rollout), path, outside));
        prop_assert_eq!(read.map_err(|problems| problems.render(false)), Ok(rollout));
    }

    #[test]
    fn a_plan_that_is_exported_is_the_same(rollout in rollout()) {
        let load = |text: &str| outside(|outside| load_text(Path::new("/srv/cutover.toml"), text, outside));
        let mut plan = load(SMALL).expect("the file is right").plan;
        for service in plan.services.values_mut() {
            let service = std::sync::Arc::make_mut(service);
            service.rollout = rollout.clone().into();
            service.rolls_out = true;
        }
        let text = export(&plan, &Overlay::default());
        prop_assert!(!text.contains("s3cr3t"));
        let read = load(&text).map(|loaded| loaded.plan);
        prop_assert_eq!(read.map_err(|problems| problems.render(false)), Ok(plan));
    }
}
