//! The distributions that the tests stand on. Counts are numbers that need not be whole, so that one can ask for what more of the same would prove.

use std::f64::consts::SQRT_2;

use statrs::function::{
    beta::{beta_reg, ln_beta},
    erf::erfc,
};

/// Some of all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    pub(super) some: f64,
    pub(super) of: f64,
}

impl Part {
    /// Never more than all.
    pub(super) fn new(some: f64, of: f64) -> Self {
        Self {
            some: some.min(of),
            of,
        }
    }

    pub(super) fn scaled(self, by: f64) -> Self {
        Self {
            some: self.some * by,
            of: self.of * by,
        }
    }

    pub(super) fn rate(self) -> f64 {
        if self.of > 0.0 {
            self.some / self.of
        } else {
            0.0
        }
    }

    /// Below this the true part lies, but for a chance of `alpha` (Clopper and Pearson). Of nothing nothing is known: 1.
    pub(super) fn upper(self, alpha: f64) -> f64 {
        if self.some >= self.of {
            1.0
        } else {
            beta_quantile(self.some + 1.0, self.of - self.some, 1.0 - alpha)
        }
    }

    /// Above this the true part lies, but for a chance of `alpha`.
    pub(super) fn lower(self, alpha: f64) -> f64 {
        if self.some <= 0.0 {
            0.0
        } else {
            beta_quantile(self.some, self.of - self.some + 1.0, alpha)
        }
    }
}

/// By how much the candidate's true part may exceed stable's, but for a chance of `alpha`: from both parts' exact bounds, by the square
/// of their distances (MOVER). Over all small counts and lopsided shares its error was never above `alpha`, which Newcombe's and
/// Miettinen and Nurminen's is here and there; with a small `alpha` and few errors it asks for less than they do.
pub(super) fn most_above(candidate: Part, stable: Part, alpha: f64) -> f64 {
    let (own, others) = (candidate.rate(), stable.rate());
    own - others + (candidate.upper(alpha) - own).hypot(others - stable.lower(alpha))
}

/// The chance to see the candidate own as many or more of what both have, were its part no greater than stable's: exact given how many
/// there are in all. For the requests above stable's own quantile it is the exceedance test, which knows that the quantile is an estimate.
pub(super) fn owns_so_many(candidate: Part, stable: Part) -> f64 {
    let all = candidate.of + stable.of;
    if candidate.some <= 0.0 || all <= 0.0 {
        return 1.0;
    }
    beta_reg(
        candidate.some,
        stable.some + 1.0,
        (candidate.of / all).clamp(0.0, 1.0),
    )
}

/// The chance to see `some` or more of `of`, were the true part `part`.
pub(super) fn at_least(seen: Part, part: f64) -> f64 {
    if seen.some <= 0.0 {
        1.0
    } else {
        beta_reg(seen.some, seen.of - seen.some + 1.0, part.clamp(0.0, 1.0))
    }
}

/// Below what a variable with the beta distribution is with the chance `below`: Newton's method inside of a bracket, so that it ends whatever
/// it is asked (the inverse that comes with the function does not).
fn beta_quantile(a: f64, b: f64, below: f64) -> f64 {
    if below <= 0.0 {
        return 0.0;
    }
    if below >= 1.0 {
        return 1.0;
    }
    let constant = ln_beta(a, b);
    let (mut low, mut high) = (0.0, 1.0);
    let mut at = a / (a + b);
    for _ in 0..100 {
        let off = beta_reg(a, b, at) - below;
        if off > 0.0 {
            high = at;
        } else {
            low = at;
        }
        let slope = ((a - 1.0) * at.ln() + (b - 1.0) * (-at).ln_1p() - constant).exp();
        let newton = at - off / slope;
        let next = if newton > low && newton < high {
            newton
        } else {
            f64::midpoint(low, high)
        };
        if (next - at).abs() <= 1e-12 * at {
            return next;
        }
        at = next;
    }
    at
}

/// The chance that a standard normal variable is above `z`.
pub(super) fn normal_above(z: f64) -> f64 {
    0.5 * erfc(z / SQRT_2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some(some: f64, of: f64) -> Part {
        Part::new(some, of)
    }

    fn near(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 1e-6
    }

    /// As `scipy.stats` 1.17 has them.
    #[test]
    fn the_distributions_are_those_of_the_textbooks() {
        let pairs = [
            (some(0.0, 240.0).upper(0.05), 0.012_404_638),
            (some(3.0, 999.0).upper(0.005), 0.010_944_678),
            (some(50_000.0, 10_000_000.0).lower(0.005), 0.004_942_732),
            (some(5.0, 5.0).lower(0.05), 0.549_280_271),
            (
                owns_so_many(some(60.0, 1000.0), some(30.0, 3000.0)),
                1.079_705_2e-16,
            ),
            (at_least(some(3.0, 10.0), 0.1), 0.070_190_826),
            (normal_above(6.0), 9.865_876_5e-10),
        ];
        for (value, expected) in pairs {
            assert!(near(value, expected), "{value} is not {expected}");
        }
    }

    proptest! {
        #[test]
        fn a_bound_is_where_the_chance_is_what_it_is_to_be(of in 0.1..1e6_f64, part in 0.0..=1.0_f64, alpha in 1e-9..0.5_f64) {
            let seen = some(of * part, of);
            let (low, high) = (seen.lower(alpha), seen.upper(alpha));
            prop_assert!(0.0 <= low && low <= seen.rate() + 1e-9 && seen.rate() <= high + 1e-9 && high <= 1.0, "{low} {high}");
            if seen.some < of && high < 1.0 - 1e-9 {
                let chance = 1.0 - beta_reg(seen.some + 1.0, of - seen.some, high);
                prop_assert!((chance - alpha).abs() < 1e-6, "{chance} is not {alpha}");
            }
        }
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        let nothing = some(0.0, 0.0);
        assert!(near(nothing.upper(0.05), 1.0));
        assert_eq!(nothing.lower(0.05).to_bits(), 0.0_f64.to_bits());
        assert!(near(owns_so_many(nothing, nothing), 1.0));
        assert!(near(most_above(nothing, nothing, 0.05), 1.0));
        assert!(near(
            most_above(some(0.0, 240.0), nothing, 0.05),
            0.012_404_638
        ));
    }
}
