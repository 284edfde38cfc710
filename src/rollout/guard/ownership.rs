//! Who owns this error? A test that may be looked at after every error, and is right at all of them together.
//!
//! Given that a request failed while the candidate had the share `w`, it was the candidate's with a chance of at most
//! `r·w / (r·w + 1 − w)` if the candidate fails at most `r` times as often as stable. What each error says is multiplied up; under that
//! assumption the product exceeds `1/α` *ever* with a chance of at most `α` (Ville's inequality), however often one looks and however the
//! share changes: each error is weighed by the share that was in force for it.

/// The ratios that are bet on, as multiples of the one that is tolerated: 2, 3, 5, 10, 30 and 100 where that is 1.5.
const BETS: [f64; 6] = [4.0 / 3.0, 2.0, 10.0 / 3.0, 20.0 / 3.0, 20.0, 200.0 / 3.0];

/// What is staked on a version that is bad from its first error. The rest is staked on one that becomes bad later, a part of it before
/// each error, so that a long good time does not have to be made up for first.
const AT_ONCE: f64 = 0.85;

/// The evidence against "at most `ratio` times as often as stable".
#[derive(Debug, Clone)]
pub(super) struct Ownership {
    ratio: f64,
    /// Of each bet the logarithm of what its stakes have become.
    wealth: [f64; BETS.len()],
    /// Errors so far.
    errors: f64,
}

impl Ownership {
    pub(super) fn new(ratio: f64) -> Self {
        Self {
            ratio,
            wealth: [f64::NEG_INFINITY; BETS.len()],
            errors: 0.0,
        }
    }

    /// One error, while the candidate had `share`: above 0 and below 1.
    pub(super) fn error(&mut self, candidate: bool, share: f64) {
        self.errors += 1.0;
        let stake = self.stake().ln();
        let odds = self.ratio * share / (1.0 - share);
        for (wealth, bet) in self.wealth.iter_mut().zip(BETS) {
            // ln(t/t₀) and ln((1−t)/(1−t₀)) of t₀ = odds/(1+odds) and t = bet·odds/(1+bet·odds).
            let less = odds.ln_1p() - (bet * odds).ln_1p();
            let says = if candidate { bet.ln() + less } else { less };
            *wealth = sum(*wealth, stake) + says;
        }
    }

    /// What is staked before the error that has just been counted. All stakes together come to 1.
    fn stake(&self) -> f64 {
        if self.errors < 2.0 {
            AT_ONCE
        } else {
            (1.0 - AT_ONCE) / (self.errors * (self.errors - 1.0))
        }
    }

    /// The logarithm of the evidence: of the mean over the bets.
    pub(super) fn evidence(&self) -> f64 {
        let all = self.wealth.iter().copied().fold(f64::NEG_INFINITY, sum);
        #[expect(clippy::cast_precision_loss, reason = "there are six")]
        let bets = BETS.len() as f64;
        all - bets.ln()
    }
}

/// `ln(eᵃ + eᵇ)`.
fn sum(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY {
        high
    } else {
        high + (low - high).exp().ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Errors of the candidate alone until the evidence is as much.
    fn errors_until(evidence: f64, share: f64) -> u32 {
        let mut test = Ownership::new(1.5);
        for errors in 1..1000 {
            test.error(true, share);
            if test.evidence() >= evidence.ln() {
                return errors;
            }
        }
        panic!("never at {share}")
    }

    #[test]
    fn a_handful_of_errors_that_are_all_the_candidates_is_enough_at_a_small_share() {
        let shares = [0.01, 0.05, 0.1, 0.25, 0.5, 0.8];
        let at = |evidence| shares.map(|share| errors_until(evidence, share));
        assert_eq!(at(100.0), [2, 3, 4, 6, 12, 37]);
        assert_eq!(at(1000.0), [3, 4, 5, 8, 17, 53]);
    }

    #[test]
    fn a_long_good_time_has_not_to_be_made_up_for() {
        let mut test = Ownership::new(1.5);
        for error in 0..10_000 {
            test.error(error % 4 == 0, 0.25);
        }
        let mut more = 0;
        while test.evidence() < 1000_f64.ln() {
            test.error(true, 0.25);
            more += 1;
        }
        assert!(more < 60, "{more} errors more");
    }

    /// A fair game: whatever the share, an error at the tolerated ratio leaves the bets as they were, on average.
    #[test]
    fn what_an_error_says_is_worth_nothing_on_average_at_the_tolerated_ratio() {
        for share in [1e-9, 0.01, 0.25, 0.5, 0.99, 1.0 - 1e-9] {
            let mut expected = [0.0; BETS.len()];
            let odds = 1.5 * share / (1.0 - share);
            for (candidate, chance) in [(true, odds / (1.0 + odds)), (false, 1.0 / (1.0 + odds))] {
                let mut test = Ownership::new(1.5);
                test.error(candidate, share);
                for (mean, wealth) in expected.iter_mut().zip(test.wealth) {
                    *mean += chance * wealth.exp() / AT_ONCE;
                }
            }
            assert!(
                expected.iter().all(|mean| (mean - 1.0).abs() < 1e-6),
                "{share}: {expected:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_evidence_is_a_number_whatever_comes(errors in proptest::collection::vec((any::<bool>(), 1e-12..1.0_f64), 1..400)) {
            let mut test = Ownership::new(1.5);
            for (candidate, share) in errors {
                let before = test.evidence();
                test.error(candidate, share);
                prop_assert!(!test.evidence().is_nan());
                prop_assert!(candidate || test.evidence() <= sum(before, test.stake().ln()) + 1e-9);
            }
        }
    }
}
