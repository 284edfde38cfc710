//! What a step's judgement will take, before it begins.

use std::{fmt, time::Duration};

use super::{
    distributions::{Part, most_above},
    latency, looks,
    margin::{Traffic, margin, unlucky},
    sample::Baseline,
};
use crate::{
    rollout::figures::{number, part, percent},
    telemetry::Reading,
    units::{JudgeSettings, LatencyMargin, Span},
};

/// What nobody waits for.
const FOREVER: f64 = 1e9;

/// What nine of ten good versions need to pass a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub hold: Duration,
    /// How much more often than stable it may fail, of 1.
    pub margin: f64,
    /// Of the candidate; `None`: no number of them can prove it, or none come.
    pub requests: Option<u64>,
    pub takes: Option<Duration>,
    /// What the step has at most, with its waiting.
    pub at_most: Duration,
}

/// `latency`: stable's of late.
pub fn estimate(
    settings: &JudgeSettings,
    traffic: &Traffic,
    latency: &Reading,
    share: f64,
    hold: Duration,
) -> Estimate {
    let per_second = traffic.per_second * share;
    let margin = margin(
        settings.error_margin,
        traffic,
        per_second * hold.as_secs_f64(),
        share,
    );
    let beside = Beside {
        of_stable: (1.0 - share) / share.max(1e-6),
    };
    let rate = traffic.rate();
    let errors = beside.least(rate, rate, looks::AT_THE_END, margin);
    let tail = match &settings.latency {
        Some(allowed) => slow(allowed, latency, &beside),
        None => Some(0.0),
    };
    let needed = errors
        .zip(tail)
        .map(|(errors, tail)| errors.max(tail).max(number(settings.min_requests)));
    let takes = needed
        .filter(|_| per_second > 0.0)
        .and_then(|needed| Duration::try_from_secs_f64((needed / per_second).ceil()).ok());
    Estimate {
        hold,
        margin,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rounded estimate below FOREVER"
        )]
        requests: needed.map(|needed| needed.ceil() as u64),
        takes,
        at_most: hold + settings.max_hold,
    }
}

/// Requests until the tail can be told from one that is slower than allowed.
fn slow(allowed: &LatencyMargin, latency: &Reading, beside: &Beside) -> Option<f64> {
    let least = number(latency::least(allowed.quantile));
    let Some(edge) = latency.quantile(allowed.quantile) else {
        return Some(least);
    };
    let limit = latency::limit(allowed, edge, Baseline::Now);
    let beyond = part(latency::slower_than(latency, limit), latency.count());
    let needed = beside.least(
        beyond,
        1.0 - allowed.quantile,
        latency::promised(looks::AT_THE_END),
        0.0,
    )?;
    Some(needed.max(least).max(least / beside.of_stable.max(1e-6)))
}

struct Beside {
    /// Stable's requests, as a multiple of the candidate's.
    of_stable: f64,
}

impl Beside {
    /// How many of the candidate's requests prove its part to be at most `margin` above stable's, or hardly more.
    fn least(&self, own: f64, others: f64, alpha: f64, margin: f64) -> Option<f64> {
        let proves = |requests: f64| {
            let stable = requests * self.of_stable;
            let candidate = Part::new(unlucky(requests, own), requests);
            most_above(candidate, Part::new(others * stable, stable), alpha) <= margin * 1.02
        };
        let mut high = 16.0;
        while !proves(high) {
            high *= 2.0;
            if high > FOREVER {
                return None;
            }
        }
        let mut low = high / 2.0;
        while high / low > 1.01 {
            let middle = f64::midpoint(low, high);
            if proves(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high)
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let margin = percent(self.margin);
        let (Some(requests), Some(takes)) = (self.requests, self.takes) else {
            return f.write_str("can't be judged at the traffic now seen");
        };
        write!(
            f,
            "{requests} requests of the new version, {} at the traffic now seen, show that it fails at most {} points more often",
            Span(takes),
            margin.trim_end_matches(" %")
        )?;
        if takes > self.at_most {
            write!(f, "; longer than the {} it has", Span(self.at_most))
        } else if takes > self.hold {
            write!(f, "; longer than its {}, so it will wait", Span(self.hold))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::figures::Counts;

    fn told(per_second: f64, share: f64, minutes: u64) -> String {
        let traffic = Traffic {
            per_second,
            stable: Counts {
                requests: 60_000,
                errors: 300,
            },
        };
        let latency = (1..=1000)
            .map(|rank| (Duration::from_micros(10_000 + 90 * rank), 60))
            .collect();
        let hold = Duration::from_mins(minutes);
        estimate(&JudgeSettings::default(), &traffic, &latency, share, hold).to_string()
    }

    #[test]
    fn what_a_step_takes_is_told_before_it_begins() {
        let first = [
            told(1000.0, 0.25, 5),
            told(100.0, 0.01, 2),
            told(1.0, 0.01, 2),
        ];
        assert_eq!(
            first,
            [
                "72704 requests of the new version, 291s at the traffic now seen, show that it fails at most 0.114 points more often",
                "200 requests of the new version, 200s at the traffic now seen, show that it fails at most 5 points more often; longer \
                 than its 2m, so it will wait",
                "200 requests of the new version, 20000s at the traffic now seen, show that it fails at most 5 points more often; longer \
                 than the 32m it has"
            ]
        );
        assert_eq!(
            told(0.0, 0.5, 10),
            "can't be judged at the traffic now seen"
        );
    }
}
