//! Mann and Whitney's test over the buckets of two histograms: those of one bucket are ties.

use super::distributions::normal_above;
use crate::{rollout::figures::number, telemetry::Reading};

/// What the ranks of all requests say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranks {
    /// The chance that one of the candidate's requests is slower than one of stable's, ties by half: 0.5 where they are alike.
    pub(super) slower: f64,
    /// The chance of as much or more, were they alike.
    pub(super) by_chance: f64,
}

pub(super) fn compare(candidate: &Reading, stable: &Reading) -> Option<Ranks> {
    let (own, others) = (number(candidate.count()), number(stable.count()));
    if own == 0.0 || others == 0.0 {
        return None;
    }
    let (mut below, mut won, mut ties) = (0.0, 0.0, 0.0);
    for (one, other) in candidate.buckets().zip(stable.buckets()) {
        let (one, other) = (number(one.count), number(other.count));
        won += one * (below + other / 2.0);
        below += other;
        let alike: f64 = one + other;
        ties += alike.powi(3) - alike;
    }
    let all = own + others;
    let untied = 1.0 - ties / (all.powi(3) - all).max(1.0);
    let deviation =
        ((own.recip() + others.recip() + (own * others).recip()) * untied / 12.0).sqrt();
    let slower = won / (own * others);
    let by_chance = if deviation > 0.0 {
        normal_above((slower - 0.5) / deviation)
    } else {
        1.0
    };
    Some(Ranks { slower, by_chance })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reading(micros: &[u64]) -> Reading {
        micros
            .iter()
            .map(|micros| (Duration::from_micros(*micros), 1))
            .collect()
    }

    /// As `scipy.stats` has it: `mannwhitneyu(x, y, alternative="greater", use_continuity=False, method="asymptotic")`.
    #[test]
    fn ranks_are_those_of_the_textbooks_with_ties() {
        let ranks = compare(
            &reading(&[3, 5, 5, 7, 9, 9, 12]),
            &reading(&[1, 2, 3, 5, 5, 6]),
        )
        .unwrap();
        assert!((ranks.slower - 34.5 / 42.0).abs() < 1e-12, "{ranks:?}");
        assert!((ranks.by_chance - 0.024_929_64).abs() < 1e-6, "{ranks:?}");
    }

    #[test]
    fn what_is_all_alike_is_no_slower() {
        let alike = reading(&[5; 100]);
        let ranks = compare(&alike, &alike).unwrap();
        assert!((ranks.slower - 0.5).abs() < 1e-12 && ranks.by_chance > 0.4);
        assert_eq!(compare(&alike, &reading(&[])), None);
    }
}
