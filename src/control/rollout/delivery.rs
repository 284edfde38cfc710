//! What rollouts have come to: how often, how many of them went wrong, and how soon that was put right.

use std::collections::BTreeMap;

use super::{Rollout, Stage};
use crate::units::Timestamp;

/// Of the rollouts within a span of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delivery {
    /// New versions that got all requests.
    pub deployments: u64,
    /// Changes that met users and are over: new versions that have had a request.
    pub changes: u64,
    /// Of them, those that were taken back, whoever did.
    pub failed: u64,
    /// Of those, what they were taken back for.
    pub causes: BTreeMap<String, u64>,
    /// Ended before the new version had a request.
    pub refused: u64,
    /// Ended because another one was begun.
    pub superseded: u64,
    /// Under way.
    pub running: u64,
    /// From the first error to the decision, of those that failed with one.
    pub detect: Spread,
    /// From the first error to the moment when the old version had everything.
    pub restore: Spread,
    /// From the start to all requests.
    pub rollout: Spread,
    /// Errors of new versions.
    pub errors: u64,
    /// Of them, those that the stable version made up for, and those that users saw.
    pub rescued: u64,
    pub felt: u64,
    /// How long rollouts were paused.
    pub paused_seconds: f64,
}

/// Of several spans of time, in seconds; `None`: there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    pub count: u64,
    pub median: Option<f64>,
    pub worst: Option<f64>,
}

impl Delivery {
    /// Of changes that met users, the part that was taken back; `None` where there was none.
    pub fn change_failure_rate(&self) -> Option<f64> {
        (self.changes > 0).then(|| part(self.failed, self.changes))
    }

    pub fn deployments_per_day(&self, since: Timestamp, until: Timestamp) -> f64 {
        let days = until.duration_since(since).as_secs_f64() / 86_400.0;
        if days > 0.0 {
            part(self.deployments, 1) / days
        } else {
            0.0
        }
    }
}

/// What these have come to from `since` to `until`.
pub fn delivery<'a>(
    rollouts: impl Iterator<Item = &'a Rollout>,
    since: Timestamp,
    until: Timestamp,
) -> Delivery {
    let within = |at: Option<Timestamp>| at.is_some_and(|at| since <= at && at <= until);
    let mut sum = Delivery::default();
    let (mut detect, mut restore, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for rollout in rollouts {
        if within(rollout.promoted) {
            sum.deployments += 1;
            took.extend(between(Some(rollout.started), rollout.promoted));
        }
        let over = rollout.is_over();
        let is_in = if over {
            within(rollout.ended)
        } else {
            rollout.started <= until
        };
        if !is_in {
            continue;
        }
        sum.errors += rollout.counts.errors;
        sum.rescued += rollout.counts.rescued;
        sum.felt += rollout.counts.felt;
        sum.paused_seconds += paused(rollout, until);
        match rollout.stage {
            _ if !over => sum.running += 1,
            Stage::Superseded => sum.superseded += 1,
            _ if !rollout.has_met_users() => sum.refused += 1,
            Stage::Failed => {
                sum.changes += 1;
                sum.failed += 1;
                let cause = rollout.cause.as_ref();
                let kind = cause.map_or_else(|| "unknown".to_owned(), |cause| cause.kind.clone());
                *sum.causes.entry(kind).or_default() += 1;
                let first = rollout.counts.first_error;
                detect.extend(between(first, cause.map(|cause| cause.at)));
                restore.extend(between(first, rollout.restored));
            }
            _ => sum.changes += 1,
        }
    }
    sum.detect = spread(detect);
    sum.restore = spread(restore);
    sum.rollout = spread(took);
    sum
}

fn paused(rollout: &Rollout, now: Timestamp) -> f64 {
    let still = rollout.paused.as_ref();
    let still = still.and_then(|paused| between(Some(paused.since), Some(now)));
    std::time::Duration::from_millis(rollout.paused_ms).as_secs_f64() + still.unwrap_or(0.0)
}

/// In seconds; none of less than none, for a clock that was set back.
fn between(first: Option<Timestamp>, then: Option<Timestamp>) -> Option<f64> {
    let span = then?.duration_since(first?);
    Some(span.as_secs_f64().max(0.0))
}

fn spread(mut spans: Vec<f64>) -> Spread {
    spans.sort_by(f64::total_cmp);
    let middle = spans.len() / 2;
    let median = match spans.get(middle) {
        Some(upper) if spans.len().is_multiple_of(2) => {
            Some(f64::midpoint(spans[middle - 1], *upper))
        }
        median => median.copied(),
    };
    Spread {
        count: spans.len() as u64,
        median,
        worst: spans.last().copied(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a part is shown, never decided on"
)]
fn part(some: u64, of: u64) -> f64 {
    some as f64 / of as f64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const DAY: &str = "2026-11-20T";

    fn at(time: &str) -> Timestamp {
        format!("{DAY}{time}Z").parse().unwrap()
    }

    /// Begun at 10:00, over at 11:00; a share was given unless the changes say otherwise.
    fn over(stage: &str, changes: &Value) -> Rollout {
        let by = json!({ "name": "ada", "kind": "person", "via": "socket" });
        let mut rollout = json!({
            "id": 1,
            "members": [{ "service": "shop", "from": "blue", "to": "green", "version": null,
                "version_before": null, "revision": 1 }],
            "plan": {}, "steps": 2, "stage": { "stage": stage }, "since": at("11:00:00"), "paused": null,
            "share": 0.0, "started": at("10:00:00"), "by": by, "reason": null, "ended": at("11:00:00"),
            "cause": null, "restored": null, "rescue": null,
            "counts": { "requests": 100, "errors": 0, "rescued": 0, "felt": 0, "stable_requests": 900,
                "stable_errors": 1 },
            "log": [{ "at": at("10:10:00"), "stage": "baking", "share": 0.5, "by": by, "detail": "half" }],
        });
        let changes = changes.as_object().unwrap().clone();
        rollout.as_object_mut().unwrap().extend(changes);
        serde_json::from_value(rollout).unwrap()
    }

    fn succeeded(promoted: &str) -> Rollout {
        over("succeeded", &json!({ "promoted": at(promoted) }))
    }

    fn failed(kind: &str, first: &str, decided: &str, restored: &str) -> Rollout {
        let counts = json!({ "requests": 50, "errors": 5, "rescued": 4, "felt": 1, "stable_requests": 900,
            "stable_errors": 1, "first_error": at(first) });
        let cause = json!({ "kind": kind, "detail": "", "at": at(decided), "evidence": null });
        over(
            "failed",
            &json!({ "counts": counts, "cause": cause, "restored": at(restored) }),
        )
    }

    fn of(rollouts: &[Rollout]) -> Delivery {
        delivery(rollouts.iter(), at("00:00:00"), at("23:59:59"))
    }

    #[test]
    fn deployments_are_new_versions_that_got_all_requests() {
        let sum = of(&[
            succeeded("10:20:00"),
            succeeded("10:40:00"),
            failed("guard", "10:11:00", "10:11:02", "10:11:03"),
        ]);
        assert_eq!((sum.deployments, sum.changes, sum.failed), (2, 3, 1));
        assert_eq!(sum.rollout.median, Some(1800.0));
        let per_day = sum.deployments_per_day(at("00:00:00"), at("12:00:00"));
        assert!((per_day - 4.0).abs() < 1e-9);
    }

    #[test]
    fn one_that_was_promoted_and_undone_is_a_deployment_and_a_failure() {
        let mut undone = failed("undo", "10:11:00", "10:50:00", "10:50:00");
        undone.promoted = Some(at("10:30:00"));
        let sum = of(&[undone]);
        assert_eq!((sum.deployments, sum.changes, sum.failed), (1, 1, 1));
        assert_eq!(sum.change_failure_rate(), Some(1.0));
    }

    #[test]
    fn how_soon_it_was_noticed_and_put_right_counts_from_the_first_error() {
        let sum = of(&[
            failed("guard", "10:11:00", "10:11:02", "10:11:03"),
            failed("judge", "10:11:00", "10:11:10", "10:11:20"),
            failed("guard", "10:11:00", "10:11:04", "10:11:05"),
        ]);
        assert_eq!(
            (sum.detect.median, sum.detect.worst, sum.detect.count),
            (Some(4.0), Some(10.0), 3)
        );
        assert_eq!(
            (sum.restore.median, sum.restore.worst),
            (Some(5.0), Some(20.0))
        );
        assert_eq!(
            sum.causes,
            [("guard".to_owned(), 2), ("judge".to_owned(), 1)].into()
        );
        assert_eq!((sum.errors, sum.rescued, sum.felt), (15, 12, 3));
        let even = of(&[
            failed("guard", "10:11:00", "10:11:02", "10:11:03"),
            failed("guard", "10:11:00", "10:11:04", "10:11:05"),
        ]);
        assert_eq!(even.detect.median, Some(3.0));
    }

    #[test]
    fn what_never_met_a_user_is_no_change() {
        let none = json!({ "requests": 0, "errors": 0, "rescued": 0, "felt": 0, "stable_requests": 9, "stable_errors": 0 });
        let refused = over("failed", &json!({ "log": [], "counts": none }));
        let sum = of(&[refused, over("superseded", &json!({}))]);
        assert_eq!(
            (sum.changes, sum.failed, sum.refused, sum.superseded),
            (0, 0, 1, 1)
        );
        assert_eq!(sum.change_failure_rate(), None);
    }

    #[test]
    fn only_what_falls_into_the_span_counts() {
        let rollouts = [succeeded("10:20:00")];
        let sum = delivery(rollouts.iter(), at("10:30:00"), at("23:00:00"));
        assert_eq!(
            (sum.deployments, sum.changes),
            (0, 1),
            "it ended in it, and was promoted before"
        );
        let sum = delivery(rollouts.iter(), at("11:30:00"), at("23:00:00"));
        assert_eq!(sum, Delivery::default());
    }

    #[test]
    fn pauses_count_until_now_where_they_last() {
        let paused = json!({ "reason": "person", "since": at("12:00:00"), "detail": "" });
        let running = over(
            "baking",
            &json!({ "ended": null, "paused": paused, "paused_ms": 1500 }),
        );
        let sum = delivery([&running].into_iter(), at("00:00:00"), at("12:00:10"));
        assert_eq!(sum.running, 1);
        assert!((sum.paused_seconds - 11.5).abs() < 1e-9);
    }
}
