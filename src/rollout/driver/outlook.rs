//! What the steps of a rollout will take, told when it begins.

use crate::{
    config::plan::{Rollout, Strategy, Then},
    rollout::{
        Counts,
        figures::percent,
        judge::{Traffic, estimate},
    },
    telemetry::Window,
};

/// A line for each step that is judged, at the traffic that stable had of late. `share`: what the new version has before a step says so.
pub(super) fn outlook(plan: &Rollout, stable: &Window, mut share: f64) -> Vec<String> {
    let traffic = Traffic {
        per_second: number(stable.requests) / stable.length.as_secs_f64().max(1.0),
        stable: Counts {
            requests: stable.requests,
            errors: stable.errors,
        },
    };
    let mut lines = Vec::new();
    let mut settings = plan.judge;
    let rolling = plan.strategy == Strategy::Rolling;
    if rolling {
        // Batches are judged by errors alone.
        settings.latency = None;
    }
    for (step, number) in plan.steps.iter().zip(1..) {
        if let Some(part) = step.share {
            share = part.part();
        }
        let Then::Judge(hold) = step.then else {
            continue;
        };
        let which = match step.mirror {
            _ if rolling => format!("each batch, {}", percent(share)),
            Some(part) => format!("step {number}, copies of {part}"),
            None => format!("step {number}, {}", percent(share)),
        };
        let (traffic, share) = match step.mirror {
            // Each copied request is one of both.
            Some(part) => {
                let per_second = traffic.per_second * part.part() * 2.0;
                (
                    Traffic {
                        per_second,
                        ..traffic
                    },
                    0.5,
                )
            }
            None => (traffic, share),
        };
        if share < 1.0 {
            let needs = estimate(&settings, &traffic, &stable.latency, share, hold);
            lines.push(format!("{which}: {needs}"));
        }
    }
    lines
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody counts to 2^53 in a minute"
)]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::plan::Step;

    #[test]
    fn each_step_that_is_judged_says_what_it_needs() {
        let step = |share: &str, then| Step {
            share: Some(share.parse().unwrap()),
            mirror: None,
            then,
        };
        let minutes = Duration::from_mins;
        let plan = Rollout {
            steps: vec![
                step("1%", Then::Hold(minutes(2))),
                step("5%", Then::Judge(minutes(5))),
                step("100%", Then::Judge(minutes(5))),
            ],
            ..Rollout::default()
        };
        let window = Window {
            length: minutes(1),
            requests: 60_000,
            errors: 300,
            latency: (1..=1000)
                .map(|rank| (Duration::from_micros(10_000 + 90 * rank), 60))
                .collect(),
        };
        assert_eq!(
            outlook(&plan, &window, 0.0),
            [
                "step 2, 5 %: 14336 requests of the new version, 287s at the traffic now seen, show that it fails at most 0.254 points more often"
            ]
        );
        assert_eq!(
            outlook(&plan, &Window::default(), 0.0),
            ["step 2, 5 %: can't be judged at the traffic now seen"]
        );
    }

    #[test]
    fn a_batch_says_what_it_needs_at_its_part_of_the_pool() {
        let minutes = Duration::from_mins;
        let plan = Rollout {
            strategy: Strategy::Rolling,
            steps: vec![Step {
                share: None,
                mirror: None,
                then: Then::Judge(minutes(2)),
            }],
            ..Rollout::default()
        };
        let window = Window {
            length: minutes(1),
            requests: 60_000,
            errors: 300,
            ..Window::default()
        };
        let [line] = &outlook(&plan, &window, 0.25)[..] else {
            panic!("one line for all batches");
        };
        assert!(line.starts_with("each batch, 25 %: "), "{line}");
        assert!(!line.contains("can't"), "{line}");
    }
}
