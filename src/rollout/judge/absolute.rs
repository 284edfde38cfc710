//! Bounds that hold whatever stable does: at 100 % there is nobody else to compare with.

use serde::{Deserialize, Serialize};

use super::{
    distributions::{Part, at_least},
    latency::slower_than,
    sample::Sample,
};
use crate::{
    rollout::figures::{Counts, number, percent},
    units::Absolute,
};

/// The chance of what was seen, were the bound kept, below which it is broken: one is looked at often.
const BY_CHANCE: f64 = 1e-4;
/// Probes below which nothing is said of them.
const PROBES: u64 = 10;

/// One bound at one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub on: On,
    #[serde(flatten)]
    pub kept: Kept,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    ErrorRate,
    P95,
    /// The part that succeeds, which may be too low for a while: whoever asks knows for how long it was.
    Success,
    Probes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kept")]
pub enum Kept {
    /// Too little was seen.
    Unknown {
        /// How many more there must be.
        more: u64,
    },
    Yes,
    /// Not as measured, though that may be chance.
    Doubtful,
    No,
}

/// All bounds that are set, on what the candidate did in the last minute or so.
pub fn absolute(bounds: &Absolute, sample: &Sample, probes: Counts) -> Vec<Bound> {
    let errors = (sample.errors, sample.requests.max(sample.errors));
    let least = bounds.min_requests;
    let mut found = Vec::new();
    if let Some(most) = bounds.max_error_rate {
        found.push(bound(
            On::ErrorRate,
            errors,
            least,
            most.part(),
            "requests failed",
        ));
    }
    if let Some(most) = bounds.max_p95 {
        let slower = (slower_than(&sample.latency, most), sample.latency.count());
        let what = format!("requests were slower than {most:?}");
        found.push(bound(On::P95, slower, least, 0.05, &what));
    }
    if let Some((floor, _)) = bounds.min_success {
        let most = 1.0 - floor.part();
        found.push(bound(On::Success, errors, least, most, "requests failed"));
    }
    if let Some(most) = bounds.probe_failures {
        let failed = (probes.errors, probes.requests.max(probes.errors));
        found.push(bound(
            On::Probes,
            failed,
            PROBES,
            most.part(),
            "probes failed",
        ));
    }
    found
}

fn bound(on: On, (some, of): (u64, u64), least: u64, most: f64, what: &str) -> Bound {
    let seen = Part::new(number(some), number(of));
    let kept = if of < least {
        Kept::Unknown { more: least - of }
    } else if seen.rate() <= most {
        Kept::Yes
    } else if at_least(seen, most) < BY_CHANCE {
        Kept::No
    } else {
        Kept::Doubtful
    };
    let text = match kept {
        Kept::Unknown { .. } => {
            format!("{some} of {of} {what}: nothing is concluded below {least}")
        }
        _ => format!(
            "{some} of {of} {what} ({}), {} may",
            percent(seen.rate()),
            percent(most)
        ),
    };
    Bound { on, kept, text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(requests: u64, errors: u64, slow: u64) -> Sample {
        let good = requests - errors;
        Sample {
            requests,
            errors,
            latency: [
                (Duration::from_millis(20), good - slow),
                (Duration::from_millis(900), slow),
            ]
            .into_iter()
            .collect(),
            failing_clients: None,
        }
    }

    fn bounds() -> Absolute {
        Absolute {
            max_error_rate: Some("1%".parse().unwrap()),
            max_p95: Some(Duration::from_millis(500)),
            min_success: Some(("99%".parse().unwrap(), Duration::from_mins(3))),
            probe_failures: Some("10%".parse().unwrap()),
            ..Absolute::default()
        }
    }

    fn kept(sample: &Sample, probes: (u64, u64)) -> Vec<Kept> {
        let (requests, errors) = probes;
        let found = absolute(&bounds(), sample, Counts { requests, errors });
        found.iter().map(|bound| bound.kept).collect()
    }

    #[test]
    fn a_bound_is_broken_only_by_what_is_no_chance() {
        assert_eq!(kept(&sample(1000, 5, 20), (20, 1)), [Kept::Yes; 4]);
        assert_eq!(kept(&sample(1000, 15, 60), (20, 3)), [Kept::Doubtful; 4]);
        assert_eq!(kept(&sample(1000, 40, 120), (20, 12)), [Kept::No; 4]);
    }

    #[test]
    fn of_little_nothing_is_concluded() {
        let unknown = |more| Kept::Unknown { more };
        assert_eq!(
            kept(&sample(199, 99, 0), (9, 9)),
            [unknown(1), unknown(100), unknown(1), unknown(1)]
        );
    }

    #[test]
    fn what_is_not_bounded_is_not_looked_at_and_what_is_says_so_in_words() {
        assert_eq!(
            absolute(
                &Absolute::default(),
                &sample(900, 900, 0),
                Counts::default()
            ),
            []
        );
        let found = absolute(&bounds(), &sample(1000, 40, 120), Counts::default());
        assert_eq!(found[0].text, "40 of 1000 requests failed (4 %), 1 % may");
        assert_eq!(
            found[1].text,
            "120 of 960 requests were slower than 500ms (12.5 %), 5 % may"
        );
    }
}
