//! What the steps of a rollout will take, told when it begins.

use crate::{
    config::plan::{Rollout, Then},
    rollout::{
        Counts,
        judge::{Traffic, estimate},
    },
    telemetry::Window,
};

/// A line for each step that is judged, at the traffic that stable had of late.
pub(super) fn outlook(plan: &Rollout, stable: &Window) -> Vec<String> {
    let traffic = Traffic {
        per_second: number(stable.requests) / stable.length.as_secs_f64().max(1.0),
        stable: Counts {
            requests: stable.requests,
            errors: stable.errors,
        },
    };
    let mut share = 0.0;
    let mut lines = Vec::new();
    for (step, number) in plan.steps.iter().zip(1..) {
        if let Some(part) = step.share {
            share = f64::from(part.millionths()) / 1e6;
        }
        if let Then::Judge(hold) = step.then
            && share < 1.0
        {
            let needs = estimate(&plan.judge, &traffic, &stable.latency, share, hold);
            lines.push(format!("step {number}, {needs}"));
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
            outlook(&plan, &window),
            [
                "step 2, 5 %: 14336 requests of the new version, 287s at the traffic now seen, show that it fails at most 0.254 points more often"
            ]
        );
        assert_eq!(
            outlook(&plan, &Window::default()),
            ["step 2, 5 %: can't be judged at the traffic now seen"]
        );
    }
}
