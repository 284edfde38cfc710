use super::{
    distributions::{Part, at_least, most_above},
    looks,
    sample::Baseline,
};
use crate::{
    rollout::figures::{Counts, number},
    units::ErrorMargin,
};

/// Less than a tenth of a percentage point, or a fifth of stable's own rate, is nothing that a margin asks to be shown.
const LEAST: f64 = 0.001;
const LEAST_OF_STABLE: f64 = 0.2;
/// What shows less than this shows nothing.
const MOST: f64 = 0.05;
/// Against what stable did before.
const LEAST_OF_FROZEN: f64 = 0.005;

/// What a step has to reckon with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Of the service, in a second.
    pub per_second: f64,
    /// What stable did lately.
    pub stable: Counts,
}

impl Traffic {
    /// Half an error more than there were, so that none is not taken for never.
    pub(super) fn rate(&self) -> f64 {
        (number(self.stable.errors) + 0.5) / (number(self.stable.requests) + 1.0)
    }
}

/// How much more often than stable the candidate may fail, of 1: as it is set, or as small as that many of its requests, at that share, can
/// prove in nine of ten good versions.
pub fn margin(set: ErrorMargin, traffic: &Traffic, requests: f64, share: f64) -> f64 {
    let part = match set {
        ErrorMargin::Fixed(part) => return part.part(),
        ErrorMargin::Auto => traffic.rate(),
    };
    let share = share.clamp(1e-6, 1.0);
    let stable = requests * (1.0 - share) / share;
    let candidate = Part::new(unlucky(requests, part), requests);
    let provable = most_above(
        candidate,
        Part::new(part * stable, stable),
        looks::AT_THE_END,
    );
    provable.clamp(least(part), MOST.max(least(part)))
}

/// From what difference on harm is harm.
pub(super) fn tolerated(set: ErrorMargin, stable: f64, baseline: Baseline) -> f64 {
    let least = match set {
        ErrorMargin::Fixed(part) => part.part(),
        ErrorMargin::Auto => least(stable),
    };
    match baseline {
        Baseline::Now => least,
        Baseline::Frozen => least.max(LEAST_OF_FROZEN),
    }
}

fn least(stable: f64) -> f64 {
    LEAST.max(stable * LEAST_OF_STABLE)
}

/// How many errors one good version in ten has more of.
pub(super) fn unlucky(requests: f64, part: f64) -> f64 {
    let (mut low, mut high) = (0.0, requests);
    while high - low > 0.5 {
        let middle = f64::midpoint(low, high);
        if at_least(Part::new(middle + 1.0, requests), part) > 0.1 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high.round()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provable(requests: f64, errors: u64) -> f64 {
        let traffic = Traffic {
            per_second: 1000.0,
            stable: Counts {
                requests: 100_000,
                errors,
            },
        };
        margin(ErrorMargin::Auto, &traffic, requests, 0.05) * 100.0
    }

    #[test]
    fn the_margin_is_what_the_steps_traffic_can_prove() {
        let margins = [50.0, 300.0, 1200.0, 15_000.0, 1e7].map(|requests| provable(requests, 500));
        assert_eq!(
            margins.map(|margin| format!("{margin:.2}")),
            ["5.00", "3.12", "1.17", "0.25", "0.10"]
        );
        assert!(provable(1200.0, 0) < 0.5);
        // A fifth of what stable fails itself.
        assert!((provable(1e7, 10_000) - 2.0).abs() < 0.01);
    }

    #[test]
    fn a_margin_that_is_set_stays() {
        let set = ErrorMargin::Fixed("0.5%".parse().unwrap());
        let traffic = Traffic {
            per_second: 1.0,
            stable: Counts::default(),
        };
        assert!((margin(set, &traffic, 10.0, 0.5) - 0.005).abs() < 1e-12);
    }
}
