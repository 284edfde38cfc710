//! What was counted of the two versions, and how it is written for people.

use serde::{Deserialize, Serialize};

/// Requests of one version, first attempts only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub requests: u64,
    /// Those that the version itself has failed.
    pub errors: u64,
}

impl Counts {
    /// The part that failed. Errors may be counted before their requests are: never more than the whole.
    pub fn rate(self) -> f64 {
        part(self.errors, self.requests.max(self.errors))
    }
}

/// Both versions over the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    pub candidate: Counts,
    pub stable: Counts,
}

/// A count as a number to reckon with: exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "nobody counts to 2^53 in a rollout"
)]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

/// Of nothing, nothing.
pub(super) fn part(some: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        number(some) / number(of)
    }
}

/// A part as people read it, to three digits: `1.25 %`.
pub(super) fn percent(part: f64) -> String {
    let value = part * 100.0;
    let decimals = match value.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text} %")
}

/// A chance as people read it: `1 of 2300`.
pub(super) fn one_in(chance: f64) -> String {
    if chance < 1e-9 {
        "less than 1 of 1000000000".to_owned()
    } else {
        format!("1 of {:.0}", 1.0 / chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_written_as_people_read_it() {
        let parts = [0.0, 0.000_01, 0.001_25, 0.0125, 0.05, 0.123_45, 1.0, 1.5];
        assert_eq!(
            parts.map(percent),
            [
                "0 %", "0.001 %", "0.125 %", "1.25 %", "5 %", "12.3 %", "100 %", "150 %"
            ]
        );
    }

    #[test]
    fn an_error_that_comes_before_its_request_is_counted_makes_no_rate_above_one() {
        let counts = |requests, errors| Counts { requests, errors };
        let rates = [counts(0, 0), counts(0, 2), counts(4, 1)].map(Counts::rate);
        assert_eq!(rates.map(|rate| format!("{rate}")), ["0", "1", "0.25"]);
    }
}
