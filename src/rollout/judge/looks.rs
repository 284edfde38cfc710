use std::time::Duration;

/// The chance of each of the two wrong answers in a whole rollout.
const ALPHA: f64 = 0.01;
/// What the look at which a step's time is over may spend on its promise.
pub(super) const AT_THE_END: f64 = ALPHA / 2.0;
/// Looks before the first interval of a step is over.
const FIRST: u32 = 3;
/// A step that waits is asked for its promise each time it has lasted this much longer than when it was asked before: two looks at nearly
/// the same requests would spend twice to learn once.
const LONGER: f64 = 1.25;

/// When a rollout is looked at, and how the chance of a wrong answer is spread over its looks: each spends some, all of them together never
/// more than 1 % on finding harm where there is none, and in each step 1 % on finding none where there is (all steps must be passed).
///
/// Of harm half is spread evenly over the looks that are planned, so that gross harm is seen at once; a quarter over the last looks of the
/// steps, where most is known; a quarter is left for steps that wait, each look with less than the one before it. Of a promise half is for
/// the look at which the step's time is over, the rest for those after it.
#[derive(Debug, Clone)]
pub struct Looks {
    interval: Duration,
    max_hold: Duration,
    /// Before the times of all steps are over.
    planned: f64,
    steps: f64,
    /// Of this step: how long it takes at least, when it was looked at, and when asked for its promise.
    hold: Duration,
    last: Duration,
    promised: Duration,
    /// Looks of steps that waited.
    waits: f64,
}

/// What one look may spend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// On finding harm where there is none.
    pub harm: f64,
    /// On finding none where there is.
    pub promise: f64,
    /// Whether the step may be passed with it. Of others a promise is only shown.
    pub decides: bool,
}

impl Looks {
    /// Of steps that take these times at least.
    pub fn new(
        steps: impl IntoIterator<Item = Duration>,
        interval: Duration,
        max_hold: Duration,
    ) -> Self {
        let interval = interval.max(Duration::from_millis(100));
        let (mut planned, mut count) = (0.0, 0.0);
        for step in steps {
            count += 1.0;
            planned += (step.as_secs_f64() / interval.as_secs_f64()).floor() + f64::from(FIRST);
        }
        Self {
            interval,
            max_hold,
            planned: f64::max(planned, 1.0),
            steps: f64::max(count, 1.0),
            hold: Duration::ZERO,
            last: Duration::ZERO,
            promised: Duration::ZERO,
            waits: 0.0,
        }
    }

    /// The next step begins.
    pub fn begin(&mut self, hold: Duration) {
        self.hold = hold;
        self.last = Duration::ZERO;
        self.promised = Duration::ZERO;
    }

    /// When the next look is due, since the step's begin: after an eighth, a quarter, a half of the interval, then after each, and when the
    /// step's time is over.
    pub fn next(&self) -> Duration {
        let mut early = (1..=FIRST)
            .rev()
            .map(|halvings| self.interval / 2_u32.pow(halvings));
        let next = early.find(|look| *look > self.last).unwrap_or_else(|| {
            let passed = self.last.as_nanos() / self.interval.as_nanos() + 1;
            self.interval
                .saturating_mul(u32::try_from(passed).unwrap_or(u32::MAX))
        });
        if self.last < self.hold && self.hold < next {
            self.hold
        } else {
            next
        }
    }

    /// The look that is made now, `at` since the step's begin.
    pub fn look(&mut self, at: Duration) -> Look {
        self.last = at;
        if at < self.hold {
            return Look {
                harm: ALPHA / 2.0 / self.planned,
                promise: AT_THE_END,
                decides: false,
            };
        }
        if self.promised.is_zero() {
            self.promised = at.max(Duration::from_nanos(1));
            return Look {
                harm: ALPHA / 4.0 / self.steps,
                promise: AT_THE_END,
                decides: true,
            };
        }
        self.waits += 1.0;
        let decides = at >= self.promised.mul_f64(LONGER);
        if decides {
            self.promised = at;
        }
        Look {
            harm: ALPHA / 4.0 / (self.waits * (self.waits + 1.0)),
            promise: ALPHA / 2.0 / self.promises(),
            decides,
        }
    }

    /// At how many looks a step that waits as long as it may can be asked for its promise.
    fn promises(&self) -> f64 {
        let first = self.hold.max(self.interval / 2_u32.pow(FIRST));
        let times = (first + self.max_hold).as_secs_f64() / first.as_secs_f64();
        (times.ln() / LONGER.ln()).ceil().max(1.0)
    }
}

impl Look {
    /// Shared by two looks at once.
    pub(super) fn halved(self) -> Self {
        Self {
            harm: self.harm / 2.0,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);
    const MAX_HOLD: Duration = Duration::from_mins(30);

    #[test]
    fn a_step_is_looked_at_early_then_each_interval_and_when_its_time_is_over() {
        let mut looks = Looks::new([Duration::from_secs(25)], INTERVAL, MAX_HOLD);
        looks.begin(Duration::from_secs(25));
        let made: Vec<_> = std::iter::repeat_with(|| {
            let at = looks.next();
            (at.as_millis(), looks.look(at).decides)
        })
        .take(9)
        .collect();
        assert_eq!(
            made,
            [
                (1250, false),
                (2500, false),
                (5000, false),
                (10_000, false),
                (20_000, false),
                (25_000, true),
                (30_000, false),
                (40_000, true),
                (50_000, true)
            ]
        );
    }

    proptest! {
        #[test]
        fn all_looks_together_spend_no_more_than_there_is(
            steps in proptest::collection::vec((0..900_u64, 0..1800_u64), 1..8), interval in 1..60_u64,
        ) {
            let holds = steps.iter().map(|(hold, _)| Duration::from_secs(*hold));
            let mut looks = Looks::new(holds, Duration::from_secs(interval), MAX_HOLD);
            let mut harm = 0.0;
            for (hold, wait) in steps {
                looks.begin(Duration::from_secs(hold));
                let mut promise = 0.0;
                loop {
                    let at = looks.next();
                    if at > Duration::from_secs(hold + wait) {
                        break;
                    }
                    let look = looks.look(at);
                    harm += look.harm;
                    promise += if look.decides { look.promise } else { 0.0 };
                }
                prop_assert!(promise <= ALPHA + 1e-12, "{promise}");
            }
            prop_assert!(harm <= ALPHA + 1e-12, "{harm}");
        }
    }
}
