use std::{
    f64::consts::LOG2_E,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How long an endpoint takes to answer, as a moving mean that answers which take much longer pull up at once and the others little by
/// little, and that falls towards zero by itself, so that a slow endpoint is asked again after a while (after Finagle's Peak EWMA).
///
/// Finagle's goes by the slowest answers. Where one in a hundred is slow at every endpoint, all have had one just now, and one that has
/// become slow hardly differs. So here no answer counts for more than a part, nor as more than some times what was expected.
///
/// All estimates fall at the same rate. So what is kept is the logarithm of the latency, raised by as much as it will have fallen since the
/// origin of time: that number stays as it is while the estimate falls, and is the greater of two whenever the estimate is. Whoever
/// compares needs no clock, and of many answers few write. That makes one number for all workers cheap, and each knows at once what any
/// has seen.
#[derive(Default)]
pub struct PeakEwma {
    level: AtomicU64,
    /// When that was, in nanoseconds since the origin of time. Not written in one step with it: who reads one that is older weighs an
    /// answer a little too much.
    written: AtomicU64,
}

/// In this time an estimate falls to 1/e; Finagle's and linkerd's default.
const DECAY: Duration = Duration::from_secs(10);

/// What an answer counts for, beside all before it.
const PART: f64 = 0.25;

/// An answer that took so many times what was expected counts at once, as a logarithm: twice.
const PEAK: f64 = 1.0;

/// It counts as no more than so many times what was expected: eight times. Any endpoint may have one that takes for ever; those of
/// one that has become slow follow one another.
const MOST: f64 = 3.0;

/// Of the others one in so many counts, so that workers seldom write what all of them read.
const ONE_IN: u64 = 8;

/// All count where nothing was written for so long.
const RARE: Duration = Duration::from_millis(100);

/// What a failed attempt counts as at least, and what it may count as at most where it has not taken longer.
const PENALTY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(10));

/// No measurement is below that of a latency of a microsecond at the origin of time.
const UNMEASURED: u64 = 0;

impl PeakEwma {
    /// An answer has begun so long after it was asked for, `at` this moment since the origin of time. One for all that are compared.
    /// `draw` is random.
    pub fn observe(&self, latency: Duration, at: Duration, draw: u64) {
        let sample = level(latency, at);
        self.add(sample, at, |before| {
            draw.is_multiple_of(ONE_IN) || before.is_rare() || sample > before.peak()
        });
    }

    /// Nothing had come after so long, when nobody waited any more: an answer would have taken longer still.
    pub fn observe_given_up(&self, latency: Duration, at: Duration) {
        let sample = level(latency, at);
        self.add(sample, at, |before| sample > before.level);
    }

    /// An attempt has failed: it may have been quick, but the endpoint must not look so. It counts as twice what was expected.
    pub fn penalize(&self, at: Duration) {
        let (least, most) = PENALTY;
        self.write(at, |before| {
            let before = before.map_or(0.0, |before| before.level);
            let doubled = (before + 1.0).clamp(level(least, at), level(most, at));
            (doubled > before).then_some(doubled)
        });
    }

    /// What was measured holds no more.
    pub fn forget(&self) {
        self.level.store(UNMEASURED, Relaxed);
    }

    fn add(&self, sample: f64, at: Duration, counts: impl Fn(&Before) -> bool) {
        self.write(at, |before| match before {
            Some(before) => counts(&before).then(|| before.and(sample)),
            None => Some(sample),
        });
    }

    fn write(&self, at: Duration, next: impl Fn(Option<Before>) -> Option<f64>) {
        let written = Duration::from_nanos(self.written.load(Relaxed));
        let changed = self.level.fetch_update(Relaxed, Relaxed, |bits| {
            let before = measured(bits).map(|level| Before {
                level,
                fallen: (decayed(at) - decayed(written)).max(0.0),
                age: at.saturating_sub(written),
            });
            next(before).map(f64::to_bits)
        });
        if changed.is_ok() {
            let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
            self.written.store(nanos, Relaxed);
        }
    }

    fn level(&self) -> Option<f64> {
        measured(self.level.load(Relaxed))
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

/// What was expected when something is observed.
struct Before {
    level: f64,
    /// By how much the estimate has fallen since it was written, as a logarithm.
    fallen: f64,
    age: Duration,
}

impl Before {
    fn is_rare(&self) -> bool {
        self.age >= RARE
    }

    /// Who takes longer than that counts at once.
    fn peak(&self) -> f64 {
        self.level + self.fallen + PEAK
    }

    /// The mean of what was expected and one more. By what has been forgotten of the former, the latter counts for more: an endpoint
    /// that takes the same each time is expected to take just that, however seldom it is asked.
    fn and(&self, sample: f64) -> f64 {
        let sample = sample.min(self.level + self.fallen + MOST);
        let kept = 1.0 - PART;
        let part = 1.0 - kept * (-self.fallen).exp2();
        let greater = sample.max(self.level);
        let mean = kept * (self.level - greater).exp2() + part * (sample - greater).exp2();
        greater + mean.log2()
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

fn measured(bits: u64) -> Option<f64> {
    (bits != UNMEASURED).then(|| f64::from_bits(bits))
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

    /// What was observed, in milliseconds; of answers that count because they are drawn.
    fn of(observed: &[(u64, u64)]) -> PeakEwma {
        let ewma = PeakEwma::default();
        for (latency, at) in observed {
            ewma.observe(ms(*latency), ms(*at), DRAWN);
        }
        ewma
    }

    const DRAWN: u64 = ONE_IN;
    const NOT_DRAWN: u64 = 1;

    fn expects(ewma: &PeakEwma, at: u64, micros: u64) {
        let estimate = ewma.estimate(ms(at)).unwrap();
        assert!(
            near(estimate, Duration::from_micros(micros)),
            "{estimate:?}"
        );
    }

    /// Around five milliseconds, one in a hundred five times that.
    fn with_a_tail(random: &mut Rng) -> Duration {
        let slow = if random.u32(..100) == 0 { 5.0 } else { 1.0 };
        Duration::from_secs_f64(slow * (0.003 + 0.004 * random.f64()))
    }

    /// To within a thousandth, and the nanosecond that a duration is counted in.
    fn near(one: Duration, other: Duration) -> bool {
        one.abs_diff(other) <= other / 1000 + Duration::from_nanos(1)
    }

    #[test]
    fn a_peak_counts_for_a_quarter_at_once_and_falls_by_its_half_in_seven_seconds() {
        let ewma = of(&[(5, 0)]);
        ewma.observe(ms(25), ms(0), NOT_DRAWN);
        expects(&ewma, 0, 10_000);
        ewma.observe(ms(5), ms(1), NOT_DRAWN);
        ewma.observe(ms(19), ms(1), NOT_DRAWN);
        expects(&ewma, 6931, 5_000);
        expects(&ewma, 2 * 6931, 2_500);
    }

    #[test]
    fn an_answer_that_takes_for_ever_counts_as_eight_times_what_was_expected() {
        let ewma = of(&[(4, 0)]);
        ewma.observe(ms(60_000), ms(0), NOT_DRAWN);
        expects(&ewma, 0, 11_000);
        ewma.observe_given_up(ms(60_000), ms(0));
        expects(&ewma, 0, 30_250);
    }

    #[test]
    fn one_that_becomes_ten_times_slower_is_known_by_a_few_answers_and_so_is_its_recovery() {
        let ewma = of(&[(5, 0)]);
        for _ in 0..3 {
            ewma.observe(ms(50), ms(0), NOT_DRAWN);
        }
        assert!(ewma.estimate(ms(0)).unwrap() > ms(25));
        for draw in 0..8 * ONE_IN {
            ewma.observe(ms(5), ms(0), draw);
        }
        assert!(ewma.estimate(ms(0)).unwrap() < ms(10));
    }

    #[test]
    fn who_gives_up_says_nothing_of_endpoints_that_are_expected_to_take_longer() {
        let ewma = of(&[(40, 0)]);
        ewma.observe_given_up(ms(39), ms(0));
        expects(&ewma, 0, 40_000);
        ewma.observe_given_up(ms(80), ms(0));
        expects(&ewma, 0, 50_000);
    }

    #[test]
    fn a_tail_that_all_have_hides_none_that_is_slow() {
        let mut random = Rng::with_seed(7);
        let (quick, slow) = (PeakEwma::default(), PeakEwma::default());
        let mut alike = 0;
        for at in 0..20_000 {
            let now = ms(at);
            quick.observe(with_a_tail(&mut random), now, random.u64(..));
            if at % 20 == 0 {
                slow.observe(with_a_tail(&mut random) * 10, now, random.u64(..));
            }
            let [quick, slow] = [&quick, &slow].map(|it| it.estimate(now).unwrap().as_secs_f64());
            alike += u32::from(slow < 3.0 * quick);
        }
        assert!(alike < 200, "in {alike} of 20000 moments");
        let quick = quick.estimate(ms(20_000)).unwrap();
        assert!((ms(4)..ms(9)).contains(&quick), "{quick:?}");
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
        new.observe(ms(2), ms(5), NOT_DRAWN);
        assert!(new.cost(1, 1) < known.cost(1000, 1));
        new.forget();
        assert_eq!(new.estimate(ms(5)), None);
    }

    #[test]
    fn failures_look_slow_however_quick_they_are() {
        let (failing, sound) = (PeakEwma::default(), of(&[(40, 1000)]));
        failing.observe(ms(1), ms(0), NOT_DRAWN);
        let mut failures = 0;
        while failing.cost(0, 1) < sound.cost(9, 1) {
            failing.observe(Duration::from_micros(50), ms(1000), NOT_DRAWN);
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
        // Ten thousand a second.
        for at in 0..60_000 {
            let before = ewma.level();
            let now = Duration::from_micros(100 * at);
            ewma.observe(with_a_tail(&mut random), now, random.u64(..));
            written += u32::from(ewma.level() != before);
        }
        assert!((6000..9000).contains(&written), "{written} of 60000");
    }

    proptest! {
        #[test]
        fn who_takes_the_same_each_time_is_expected_to_take_that_however_seldom_it_is_asked(
            latency in 1..100_000_u64, pauses in vec(0..100_000_u64, 1..20),
        ) {
            let ewma = PeakEwma::default();
            let mut now = 0;
            for pause in pauses {
                now += pause;
                ewma.observe(ms(latency), ms(now), DRAWN);
                let estimate = ewma.estimate(ms(now)).unwrap();
                prop_assert!(near(estimate, ms(latency)), "{estimate:?}");
            }
        }

        #[test]
        fn an_estimate_is_no_more_than_the_slowest_and_no_less_than_what_is_left_of_the_quickest(
            observed in vec((1..100_000_u64, 0..1_000_000_u64), 1..20),
            later in 0..100_000_u64,
        ) {
            let now = 1_000_000 + later;
            let left = |(latency, at): &(u64, u64)| {
                ms(*latency).mul_f64((-ms(now - at).as_secs_f64() / 10.0).exp())
            };
            let least = observed.iter().map(left).min().unwrap();
            let most = observed.iter().map(|(latency, _)| ms(*latency)).max().unwrap();
            let estimate = of(&observed).estimate(ms(now)).unwrap();
            prop_assert!(estimate < most || near(estimate, most), "{estimate:?}");
            prop_assert!(estimate > least || near(estimate, least), "{estimate:?}");
        }

        #[test]
        fn every_cost_can_be_compared(
            observed in vec(any::<(Duration, Duration, u64)>(), 1..4),
            load: u64,
            weight in 1..=u32::MAX,
            fails: bool,
        ) {
            let ewma = PeakEwma::default();
            let unknown = ewma.cost(load, weight);
            for (latency, at, draw) in observed {
                ewma.observe(latency, at, draw);
                if fails {
                    ewma.observe_given_up(latency, at);
                    ewma.penalize(at);
                }
            }
            let known = ewma.cost(load, weight);
            prop_assert!(known.level.is_finite());
            prop_assert!(known.partial_cmp(&unknown).is_some());
            prop_assert!(ewma.cost(load.saturating_add(1), weight) >= known);
            prop_assert_eq!(known < unknown, load > 0);
        }

        #[test]
        fn neither_a_failure_nor_who_gives_up_makes_an_endpoint_look_quicker(
            first in (0..100_000_u64, 0..100_000_u64),
            second in (0..100_000_u64, 0..100_000_u64),
            fails: bool,
        ) {
            let ewma = of(&[first]);
            let before = ewma.cost(0, 1);
            if fails {
                ewma.penalize(ms(second.1));
            } else {
                ewma.observe_given_up(ms(second.0), ms(second.1));
            }
            prop_assert!(ewma.cost(0, 1) >= before);
        }
    }
}
