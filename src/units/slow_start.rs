use std::time::Duration;

use super::Percent;

/// How an endpoint that has become ready comes to its share: by steps over a window, as Envoy's slow start does it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    pub window: Duration,
    /// 1: as fast in the end as in the beginning; above 1: most of it at once; below 1: most of it in the end.
    pub aggression: f64,
    /// Of its weight, what it has from the beginning.
    pub min_weight: Percent,
}

/// Percent of its weight that an endpoint has.
pub type Warmth = u8;

/// That of an endpoint that is not coming to its share.
pub const WARM: Warmth = 100;

/// A ramp has so many steps, so that it is that many publications at most.
const STEPS: u32 = 20;

/// Nobody gets more than so many times its share because others are coming to theirs.
const MOST: u64 = 2;

impl SlowStart {
    /// How much of its weight an endpoint has that has been ready for so long.
    pub fn warmth(&self, ready_for: Duration) -> Warmth {
        if ready_for >= self.window {
            return WARM;
        }
        let step = f64::from(self.step(ready_for));
        let part = (step / f64::from(STEPS)).powf(self.aggression.recip());
        let least = self.min_weight.part();
        let percent = (part.max(least) * f64::from(WARM)).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 1 to 100"
        )]
        let percent = percent.clamp(1.0, f64::from(WARM)) as Warmth;
        percent
    }

    /// After how long it has more than after so long; `None` when it has all.
    pub fn next_step(&self, ready_for: Duration) -> Option<Duration> {
        let next = || self.window * (self.step(ready_for) + 1) / STEPS;
        (ready_for < self.window).then(next)
    }

    /// The steps it has taken.
    fn step(&self, ready_for: Duration) -> u32 {
        let taken = ready_for.as_nanos() * u128::from(STEPS) / self.window.as_nanos().max(1);
        // A window's twentieth is cut to nanoseconds: where the next step is due it has been taken.
        let taken = u32::try_from(taken).unwrap_or(STEPS);
        if ready_for >= self.window * (taken + 1) / STEPS {
            taken + 1
        } else {
            taken
        }
    }
}

/// Lifts the warmths of endpoints with these weights, where they are too little: until nobody has more than twice the share that it
/// has when all are there and warm, as far as that can be. Those that are alike are as good as warm.
///
/// `whole`: the weights of all of the pool's endpoints, those included that are out for the moment. Where they are restarted one after the
/// other it is just then that the few that are warm have the most to bear.
pub fn lift(members: &mut [(u32, Warmth)], whole: u64) {
    let least = least(members, whole);
    for (_, warmth) in &mut *members {
        *warmth = (*warmth).max(least);
    }
    if members.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        for (_, warmth) in members {
            *warmth = WARM;
        }
    }
}

/// The least warmth with which it comes to enough.
fn least(members: &[(u32, Warmth)], whole: u64) -> Warmth {
    let sum = |least: Warmth| -> u64 {
        let weights = members.iter();
        let weights =
            weights.map(|(weight, warmth)| u64::from(*weight) * u64::from((*warmth).max(least)));
        weights.sum()
    };
    let enough = (whole * u64::from(WARM)).div_ceil(MOST).min(sum(WARM));
    let (mut low, mut high) = (0, WARM);
    while low < high {
        let middle = low.midpoint(high);
        if sum(middle) >= enough {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn slow_start(window: u64, aggression: f64, min_weight: &str) -> SlowStart {
        SlowStart {
            window: Duration::from_millis(window),
            aggression,
            min_weight: min_weight.parse().unwrap(),
        }
    }

    fn warmths(slow_start: &SlowStart, at: &[u64]) -> Vec<Warmth> {
        let at = at.iter().copied().map(Duration::from_millis);
        at.map(|at| slow_start.warmth(at)).collect()
    }

    #[test]
    fn an_endpoint_comes_to_its_share_by_steps_from_the_least_on() {
        let even = slow_start(20_000, 1.0, "10%");
        let at = [0, 1999, 2000, 2999, 3000, 10_000, 19_999, 20_000, 90_000];
        assert_eq!(warmths(&even, &at), [10, 10, 10, 10, 15, 50, 95, 100, 100]);
    }

    #[test]
    fn aggression_says_when_most_of_it_comes() {
        let at = [5_000, 10_000, 15_000];
        assert_eq!(warmths(&slow_start(20_000, 2.0, "1%"), &at), [50, 71, 87]);
        assert_eq!(warmths(&slow_start(20_000, 0.5, "1%"), &at), [6, 25, 56]);
    }

    /// With so much weight out.
    fn lifted(members: &[(u32, Warmth)], out: u64) -> Vec<Warmth> {
        let mut members = members.to_vec();
        let weights = members.iter().map(|(weight, _)| u64::from(*weight));
        let whole = weights.sum::<u64>() + out;
        lift(&mut members, whole);
        members.into_iter().map(|(_, warmth)| warmth).collect()
    }

    #[test]
    fn one_new_among_others_is_not_lifted() {
        assert_eq!(lifted(&[(1, 100), (1, 100), (1, 10)], 0), [100, 100, 10]);
        assert_eq!(lifted(&[(1, 100), (1, 10)], 0), [100, 10]);
    }

    #[test]
    fn the_last_that_is_warm_gets_no_more_than_twice_its_share() {
        // 100 of 150 is twice a third.
        assert_eq!(lifted(&[(1, 100), (1, 10), (1, 10)], 0), [100, 25, 25]);
        assert_eq!(lifted(&[(1, 100), (1, 40), (1, 10)], 0), [100, 40, 10]);
        // While the third is out: 100 of 150 as well.
        assert_eq!(lifted(&[(1, 100), (1, 10)], 1), [100, 50]);
        assert_eq!(lifted(&[(1, 100), (1, 10)], 10), [100, 100]);
    }

    #[test]
    fn those_that_are_alike_have_all() {
        assert_eq!(lifted(&[(1, 10), (5, 10)], 0), [100, 100]);
        assert_eq!(lifted(&[(1, 25), (1, 10)], 0), [100, 100]);
        assert_eq!(lifted(&[(7, 35)], 7), [100]);
        assert_eq!(lifted(&[], 7), [0; 0]);
    }

    proptest! {
        #[test]
        fn a_ramp_never_falls_and_ends_in_time(
            window in 1..10_000_000_u64,
            aggression in 0.1..10.0_f64,
            least in 0..=100_u32,
        ) {
            let slow_start = slow_start(window, aggression, &format!("{least}%"));
            let (mut at, mut steps, mut before) = (Duration::ZERO, 0, 0);
            loop {
                let warmth = slow_start.warmth(at);
                prop_assert!(warmth >= before && warmth >= 1 && u32::from(warmth) >= least);
                before = warmth;
                let Some(next) = slow_start.next_step(at) else {
                    break;
                };
                prop_assert!(next > at && next <= slow_start.window);
                prop_assert_eq!(slow_start.warmth(next.checked_sub(Duration::from_nanos(1)).unwrap()), warmth);
                at = next;
                steps += 1;
            }
            prop_assert_eq!((at, before), (slow_start.window, WARM));
            prop_assert!(steps <= STEPS);
        }

        #[test]
        fn nobody_is_lowered_and_nobody_gets_more_than_twice_its_share(
            members in vec((1..=u32::MAX, 1..=WARM), 1..20),
            out in 0..u64::from(u32::MAX),
        ) {
            let after = lifted(&members, out);
            let sum = |of: &dyn Fn(usize) -> u64| (0..members.len()).map(of).sum::<u64>();
            let weight = |n: usize| u64::from(members[n].0);
            let total = sum(&weight);
            // As far as that can be.
            let whole = (total + out).min(2 * total);
            let in_force = sum(&|n| weight(n) * u64::from(after[n]));
            for (n, (_, warmth)) in members.iter().enumerate() {
                prop_assert!(after[n] >= *warmth && after[n] <= WARM);
                // weight × warmth / in_force <= 2 × weight / whole, multiplied out.
                prop_assert!(u64::from(after[n]) * whole <= 2 * in_force);
            }
        }
    }
}
