use std::{
    f64::consts::LOG2_E,
    sync::atomic::{
        AtomicU64,
        Ordering::{AcqRel, Relaxed},
    },
    time::Duration,
};

/// How long an endpoint takes to answer, as a moving average that peaks pull up at once and that falls towards zero by itself, so that a
/// slow endpoint is asked again after a while (Finagle's Peak EWMA).
///
/// All estimates fall at the same rate. So what is kept is the logarithm of the latency, raised by as much as it will have fallen since the
/// origin of time: that number stays as it is while the estimate falls, is the greater of two whenever the estimate is, and is only ever
/// raised. Whoever compares needs no clock, and of many answers few write: those that are slower than what is left of the slowest. That
/// makes one number for all workers cheap, and each knows at once what any has seen.
#[derive(Default)]
pub struct PeakEwma(AtomicU64);

/// In this time an estimate falls to 1/e; Finagle's and linkerd's default.
const DECAY: Duration = Duration::from_secs(10);

/// What a failed attempt counts as at least, and what it may count as at most where it has not taken longer.
const PENALTY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(10));

/// No measurement is below that of a latency of a microsecond at the origin of time.
const UNMEASURED: u64 = 0;

impl PeakEwma {
    /// An answer has begun so long after it was asked for, `at` this moment since the origin of time. One for all that are compared.
    pub fn observe(&self, latency: Duration, at: Duration) {
        self.raise(level(latency, at));
    }

    /// An attempt has failed: it may have been quick, but the endpoint must not look so. It counts as twice what was expected.
    pub fn penalize(&self, at: Duration) {
        let (least, most) = PENALTY;
        let doubled = self.level().unwrap_or(0.0) + 1.0;
        self.raise(doubled.clamp(level(least, at), level(most, at)));
    }

    /// What was measured holds no more.
    pub fn forget(&self) {
        self.0.store(UNMEASURED, Relaxed);
    }

    fn raise(&self, level: f64) {
        // Of numbers that are not negative the greater one has the greater bits.
        let bits = level.to_bits();
        if bits > self.0.load(Relaxed) {
            self.0.fetch_max(bits, AcqRel);
        }
    }

    fn level(&self) -> Option<f64> {
        let bits = self.0.load(Relaxed);
        (bits != UNMEASURED).then(|| f64::from_bits(bits))
    }

    /// The estimate at a moment since the origin of time; `None` where nothing was measured.
    pub fn estimate(&self, at: Duration) -> Option<Duration> {
        let nanos = (self.level()? - decayed(at)).exp2();
        Duration::try_from_secs_f64(nanos / 1e9).ok()
    }

    /// What one more request would cost at an endpoint that has `load` in flight.
    pub fn cost(&self, load: u64, weight: u32) -> Cost {
        #[expect(clippy::cast_precision_loss, reason = "a cost is an approximation")]
        let share = ((load as f64 + 1.0) / f64::from(weight)).log2();
        match self.level() {
            Some(level) => Cost {
                unproven: false,
                level: level + share,
            },
            // It gets one to be measured by, and no more before that is answered.
            None => Cost {
                unproven: load > 0,
                level: if load == 0 { f64::NEG_INFINITY } else { share },
            },
        }
    }
}

/// What a request costs at an endpoint: how long it takes to answer, times the requests that it would then have, for its weight. Of two the
/// lower one is the better choice.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Cost {
    unproven: bool,
    level: f64,
}

/// The logarithm of a latency, not negative, and the later, the higher.
fn level(latency: Duration, at: Duration) -> f64 {
    let nanos = (latency.as_secs_f64() * 1e9).max(1e3);
    nanos.log2() + decayed(at)
}

/// How far estimates have fallen since the origin of time, as a logarithm.
fn decayed(at: Duration) -> f64 {
    at.as_secs_f64() / DECAY.as_secs_f64() * LOG2_E
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn of(observed: &[(u64, u64)]) -> PeakEwma {
        let ewma = PeakEwma::default();
        for (latency, at) in observed {
            ewma.observe(ms(*latency), ms(*at));
        }
        ewma
    }

    /// To within a thousandth, and the nanosecond that a duration is counted in.
    fn near(one: Duration, other: Duration) -> bool {
        one.abs_diff(other) <= other / 1000 + Duration::from_nanos(1)
    }

    #[test]
    fn a_peak_counts_at_once_and_falls_by_its_half_in_seven_seconds() {
        let ewma = of(&[(5, 0), (80, 1000), (5, 1001)]);
        let half = 1000 + 6931;
        for (at, expected) in [(1000, 80), (half, 40), (half + 6931, 20)] {
            let estimate = ewma.estimate(ms(at)).unwrap();
            assert!(near(estimate, ms(expected)), "{estimate:?} at {at}");
        }
    }

    #[test]
    fn a_slow_endpoint_is_asked_again_once_it_was_left_alone_for_long_enough() {
        let (slow, quick) = (of(&[(50, 0)]), of(&[(5, 20_000)]));
        assert!(slow.cost(0, 1) > quick.cost(0, 1));
        let quick = of(&[(5, 24_000)]);
        assert!(slow.cost(0, 1) < quick.cost(0, 1));
    }

    #[test]
    fn a_request_costs_more_where_there_are_others_and_less_where_there_is_weight() {
        let (one, other) = (of(&[(10, 0)]), of(&[(30, 0)]));
        assert!(one.cost(1, 1) < other.cost(0, 1));
        assert!(one.cost(3, 1) > other.cost(0, 1));
        assert!(one.cost(0, 1) > other.cost(0, 4));
    }

    #[test]
    fn a_new_endpoint_gets_one_request_to_be_measured_by() {
        let (new, known) = (PeakEwma::default(), of(&[(1, 0)]));
        assert!(new.cost(0, 1) < known.cost(0, 1));
        assert!(new.cost(1, 1) > known.cost(1000, 1));
        // Among those of which nothing is known, the fewest requests for the weight.
        assert!(new.cost(1, 1) < new.cost(2, 1) && new.cost(2, 4) < new.cost(1, 1));
        new.observe(ms(2), ms(5));
        assert!(new.cost(1, 1) < known.cost(1000, 1));
        new.forget();
        assert_eq!(new.estimate(ms(5)), None);
    }

    #[test]
    fn failures_look_slow_however_quick_they_are() {
        let (failing, sound) = (PeakEwma::default(), of(&[(40, 1000)]));
        failing.observe(ms(1), ms(0));
        let mut failures = 0;
        while failing.cost(0, 1) < sound.cost(9, 1) {
            failing.observe(Duration::from_micros(50), ms(1000));
            failing.penalize(ms(1000));
            failures += 1;
        }
        assert_eq!(failures, 7, "10, 20, 40 ... 640 ms against ten times 40");
        for _ in 0..100 {
            failing.penalize(ms(1000));
        }
        assert!(near(failing.estimate(ms(1000)).unwrap(), ms(10_000)));
        // One that has taken longer is not made quicker by a failure.
        let slow = of(&[(60_000, 0)]);
        slow.penalize(ms(0));
        assert!(near(slow.estimate(ms(0)).unwrap(), ms(60_000)));
    }

    #[test]
    fn of_many_answers_few_are_written_down() {
        let (ewma, mut random) = (PeakEwma::default(), Rng::with_seed(1));
        let mut written = 0;
        // A thousand a second, with a long tail.
        for millis in 0..60_000 {
            let before = ewma.level();
            let latency = Duration::from_secs_f64(-0.005 * (1.0 - random.f64()).ln());
            ewma.observe(latency, ms(millis));
            written += u32::from(ewma.level() != before);
        }
        assert!((10..300).contains(&written), "{written} of 60000");
    }

    proptest! {
        #[test]
        fn an_estimate_is_what_is_left_of_the_slowest_in_whatever_order_they_came(
            observed in vec((0..100_000_u64, 0..1_000_000_u64), 1..20),
            later in 0..100_000_u64,
        ) {
            let mut reversed = observed.clone();
            reversed.reverse();
            let now = ms(1_000_000 + later);
            let left = observed.iter().map(|(latency, at)| {
                let latency = ms(*latency).max(Duration::from_micros(1));
                let since = ms(1_000_000 + later - at);
                latency.mul_f64((-since.as_secs_f64() / 10.0).exp())
            });
            let estimate = of(&observed).estimate(now).unwrap();
            prop_assert!(near(estimate, left.max().unwrap()), "{estimate:?}");
            prop_assert_eq!(of(&reversed).estimate(now), Some(estimate));
        }

        #[test]
        fn every_cost_can_be_compared(
            latency: Duration, at: Duration, load: u64, weight in 1..=u32::MAX, fails: bool,
        ) {
            let ewma = PeakEwma::default();
            let unknown = ewma.cost(load, weight);
            ewma.observe(latency, at);
            if fails {
                ewma.penalize(at);
            }
            let known = ewma.cost(load, weight);
            prop_assert!(known.level.is_finite());
            prop_assert!(known.partial_cmp(&unknown).is_some());
            prop_assert!(ewma.cost(load.saturating_add(1), weight) >= known);
            prop_assert_eq!(known < unknown, load > 0);
        }

        #[test]
        fn nothing_makes_an_endpoint_look_quicker(
            first in (0..100_000_u64, 0..100_000_u64),
            second in (0..100_000_u64, 0..100_000_u64),
            fails: bool,
        ) {
            let ewma = of(&[first]);
            let before = ewma.cost(0, 1);
            if fails {
                ewma.penalize(ms(second.1));
            } else {
                ewma.observe(ms(second.0), ms(second.1));
            }
            prop_assert!(ewma.cost(0, 1) >= before);
        }
    }
}
