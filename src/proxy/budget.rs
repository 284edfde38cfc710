//! How many requests a worker may send once more. Pure: what time it is, is an argument.

use std::cell::RefCell;

use tokio::time::Instant;

use crate::{
    pool::Slot,
    units::{Percent, Retries},
};

/// Of each service, by its slot, what this worker has sent in the last seconds. Every worker keeps to the part of its own requests, so
/// that all of them keep to the part of all.
pub(super) struct Budgets {
    origin: Instant,
    of: RefCell<Vec<Budget>>,
}

impl Budgets {
    pub fn new(now: Instant) -> Self {
        Self {
            origin: now,
            of: RefCell::default(),
        }
    }

    /// A request has come.
    pub fn asked(&self, service: Slot, now: Instant) {
        self.with(service, now, Budget::asked);
    }

    /// Whether one more of its requests may be sent again; if so it counts as sent.
    pub fn spend(&self, service: Slot, part: Percent, now: Instant) -> bool {
        self.with(service, now, |budget, second| budget.spend(part, second))
    }

    /// One that was sent again has been answered well, or has failed again.
    pub fn learn(&self, service: Slot, helped: bool, now: Instant) {
        self.with(service, now, |budget, second| budget.learn(helped, second));
    }

    fn with<T>(&self, service: Slot, now: Instant, then: impl FnOnce(&mut Budget, u64) -> T) -> T {
        let second = now.saturating_duration_since(self.origin).as_secs();
        let mut budgets = self.of.borrow_mut();
        if budgets.len() <= service {
            budgets.resize_with(service + 1, Budget::default);
        }
        then(&mut budgets[service], second)
    }
}

/// Seconds that are looked back on.
const SECONDS: usize = 10;
const _: () = assert!(
    Retries::WINDOW.as_secs() == SECONDS as u64,
    "a place for each second"
);

/// The requests of the last ten seconds, and how many of them were sent once more. A part of a count over a window, not of what is in
/// flight: what is refused at once is never in flight for long, and would be asked twice without bound.
#[derive(Default)]
struct Budget {
    asked: Window,
    again: Window,
    /// Those of them that have failed again.
    vain: Window,
    row: Row,
    /// When the last was sent.
    last: u64,
}

/// What came since one that was sent again failed again, and none has helped. Begun anew with each window.
#[derive(Default)]
struct Row {
    began: u64,
    vain: u32,
    asked: u32,
    /// Those that were to be sent again.
    failed: u32,
}

/// What one that failed again costs on top: where most fail, sending them again helps few. At four, a budget of a fifth adds a twenty-fifth
/// where all do.
const VAIN: u64 = 4;

/// So many in a row that failed again say that nobody of the service can answer, where half of all that came meanwhile had failed: one a
/// second finds out when somebody can. Where every second one helps, chance makes such a row of one in a thousand. A request that fails
/// whoever is asked makes rows, too; others may need what it can't use, and they are most.
const LOST: u32 = 10;

impl Budget {
    fn asked(&mut self, second: u64) {
        self.asked.count(second);
        self.row.asked = self.row.asked.saturating_add(1);
    }

    fn spend(&mut self, part: Percent, second: u64) -> bool {
        self.row.failed = self.row.failed.saturating_add(1);
        let is_lost = self.row.vain >= LOST && self.row.failed >= self.row.asked / 2;
        if part == Percent::NONE || (is_lost && self.last == second) {
            return false;
        }
        let asked = u64::from(self.asked.sum(second));
        let again = u64::from(self.again.sum(second));
        let cost = again + 1 + VAIN * u64::from(self.vain.sum(second));
        let part = u64::from(part.millionths());
        let may = again < u64::from(Retries::LEAST)
            || cost * u64::from(Percent::WHOLE.millionths()) <= asked * part;
        if may {
            self.again.count(second);
            self.last = second;
        }
        may
    }

    fn learn(&mut self, helped: bool, second: u64) {
        if helped {
            self.row = Row::default();
            return;
        }
        self.vain.count(second);
        if self.row.vain == 0 || second.saturating_sub(self.row.began) >= SECONDS as u64 {
            self.row = Row {
                began: second,
                ..Row::default()
            };
        }
        self.row.vain += 1;
    }
}

/// A count per second of the last so many.
#[derive(Default)]
struct Window {
    counts: [u32; SECONDS],
    sum: u32,
    /// The one that is being counted.
    second: u64,
}

impl Window {
    fn count(&mut self, second: u64) {
        self.turn_to(second);
        let count = &mut self.counts[place_of(self.second)];
        *count = count.saturating_add(1);
        self.sum = self.sum.saturating_add(1);
    }

    fn sum(&mut self, second: u64) -> u32 {
        self.turn_to(second);
        self.sum
    }

    /// Forgets what is too long ago.
    fn turn_to(&mut self, second: u64) {
        if second <= self.second {
            return;
        }
        if second - self.second >= SECONDS as u64 {
            (self.counts, self.sum) = ([0; SECONDS], 0);
        } else {
            for begins in self.second + 1..=second {
                let gone = std::mem::take(&mut self.counts[place_of(begins)]);
                self.sum = self.sum.saturating_sub(gone);
            }
        }
        self.second = second;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "less than ten")]
fn place_of(second: u64) -> usize {
    (second % SECONDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use std::time::Duration;

    fn percent(text: &str) -> Percent {
        text.parse().unwrap()
    }

    #[test]
    fn a_service_that_is_asked_seldom_has_a_few_retries_all_the_same() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let budgets = Budgets::new(start);
        let part = percent("20%");
        budgets.asked(3, after(100));
        let spent = (0..10).filter(|_| budgets.spend(3, part, after(100)));
        assert_eq!(spent.count(), Retries::LEAST as usize);
        assert!(
            budgets.spend(2, part, after(100)),
            "another service has its own"
        );
        assert!(!budgets.spend(3, part, after(109)));
        assert!(
            budgets.spend(3, part, after(110)),
            "the window has moved on"
        );
    }

    #[test]
    fn without_a_part_nothing_is_sent_again() {
        let mut budget = Budget::default();
        budget.asked(1);
        assert!(!budget.spend(Percent::NONE, 1));
    }

    #[test]
    fn when_every_request_fails_a_fifth_is_sent_again_and_no_more() {
        let mut budget = Budget::default();
        let again = (0..60_000).filter(|milli| {
            budget.asked(milli / 1000);
            budget.spend(percent("20%"), milli / 1000)
        });
        let again = again.count();
        assert!((11_900..=12_000).contains(&again), "{again} of 60 000");
    }

    #[test]
    fn where_sending_again_seldom_helps_little_of_it_is_done() {
        let mut budget = Budget::default();
        let mut sent = 0;
        for milli in 0..60_000 {
            let second = milli / 1000;
            budget.asked(second);
            if budget.spend(percent("20%"), second) {
                sent += 1;
                budget.learn(sent % 8 == 0, second);
            }
        }
        // Of a fifth the part that a row of one that costs 1 and seven that cost 5 leaves.
        assert!((2_600..=2_700).contains(&sent), "{sent} of 60 000");
    }

    #[test]
    fn where_sending_again_never_helps_it_is_tried_once_a_second_until_it_does() {
        let (mut budget, fifth) = (Budget::default(), percent("20%"));
        let mut in_second = |second, helps| {
            let asked = (0..1000).filter(|_| {
                budget.asked(second);
                let again = budget.spend(fifth, second);
                if again {
                    budget.learn(helps, second);
                }
                again
            });
            asked.count()
        };
        assert_eq!(in_second(100, false), LOST as usize);
        for second in 101..110 {
            assert_eq!(in_second(second, false), 1);
        }
        for second in 110..160 {
            assert!(in_second(second, false) <= LOST as usize);
        }
        assert!(in_second(160, true) > 100);
    }

    #[test]
    fn one_that_fails_whoever_is_asked_takes_nobody_else_s_attempts() {
        let (mut budget, fifth) = (Budget::default(), percent("20%"));
        for second in 100..200 {
            for number in 0..1000 {
                budget.asked(second);
                if number == 0 && budget.spend(fifth, second) {
                    budget.learn(false, second);
                }
            }
        }
        // One of three endpoints is killed.
        let saved = (0..999).filter(|number| {
            budget.asked(200);
            number % 3 == 0 && budget.spend(fifth, 200)
        });
        assert_eq!(saved.count(), 333);
    }

    #[test]
    fn what_was_in_vain_is_forgotten_with_its_window() {
        let mut budget = Budget::default();
        for _ in 0..100 {
            budget.asked(0);
            if budget.spend(percent("20%"), 0) {
                budget.learn(false, 0);
            }
        }
        (0..100).for_each(|_| budget.asked(10));
        let again = (0..100).filter(|_| budget.spend(percent("20%"), 10));
        assert_eq!(again.count(), 20);
    }

    proptest! {
        #[test]
        fn in_any_ten_seconds_no_more_than_the_part_or_the_least_is_sent_again(
            steps in vec((0..4_u64, any::<bool>()), 1..400),
            part in 1..=100_u64,
        ) {
            let percent = percent(&format!("{part}%"));
            let mut budget = Budget::default();
            let mut now = 0;
            let (mut asked, mut again) = (Vec::new(), Vec::new());
            for (pause, fails) in steps {
                now += pause / 2 * pause;
                let recent = |seconds: &[u64]| {
                    seconds.iter().filter(|second| **second + 10 > now).count() as u64
                };
                budget.asked(now);
                asked.push(now);
                if fails {
                    let may = recent(&again) < u64::from(Retries::LEAST)
                        || (recent(&again) + 1) * 100 <= recent(&asked) * part;
                    prop_assert_eq!(budget.spend(percent, now), may);
                    if may {
                        again.push(now);
                    }
                }
            }
        }
    }
}
