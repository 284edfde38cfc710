//! What an endpoint did of late. Pure: totals and the time are arguments.

use std::{
    collections::VecDeque,
    ops::Sub,
    time::{Duration, Instant},
};

/// Requests, since any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub requests: u64,
    /// Those that it failed.
    pub faults: u64,
    /// Of these, those that did not even reach it.
    pub unreached: u64,
}

impl Sub for Counts {
    type Output = Self;

    /// Workers count one after the other, so a difference can be seen before its whole.
    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            faults: self.faults.saturating_sub(earlier.faults),
            unreached: self.unreached.saturating_sub(earlier.unreached),
        }
    }
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.faults += other.faults;
        self.unreached += other.unreached;
    }
}

/// What is looked back on, and how finely.
const WINDOW: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_secs(1);

/// One endpoint's totals as they were seen.
pub struct Record {
    /// Totals a step apart, the oldest as old as the window.
    marks: VecDeque<(Instant, Counts)>,
    last: Counts,
    /// Failures since it last did what it was asked.
    pub run: Counts,
}

impl Record {
    /// What was before does not count.
    pub fn new(now: Instant, totals: Counts) -> Self {
        Self {
            marks: VecDeque::from([(now, totals)]),
            last: totals,
            run: Counts::default(),
        }
    }

    /// Takes in the totals as they are now, and says whether it has failed since the last look.
    ///
    /// A look that finds a success among failures can't tell which came last: it counts no run.
    pub fn look(&mut self, now: Instant, totals: Counts) -> bool {
        let since = totals - self.last;
        self.last = totals;
        if since.requests > since.faults {
            self.run = Counts::default();
        } else {
            self.run.add(since);
        }
        let newest = self.marks.back().map_or(now, |(at, _)| *at);
        if now.saturating_duration_since(newest) >= STEP {
            self.marks.push_back((now, totals));
        }
        while let [_, (second, _), ..] = self.marks.make_contiguous()
            && now.saturating_duration_since(*second) >= WINDOW
        {
            self.marks.pop_front();
        }
        since.faults > 0
    }

    /// The last ten seconds, or a little more.
    pub fn window(&self) -> Counts {
        let oldest = self.marks.front().map_or(self.last, |(_, totals)| *totals);
        self.last - oldest
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn totals(requests: u64, faults: u64) -> Counts {
        Counts {
            requests,
            faults,
            unreached: 0,
        }
    }

    #[test]
    fn a_run_ends_with_the_first_request_that_is_not_failed() {
        let start = Instant::now();
        let mut record = Record::new(start, totals(100, 50));
        assert!(record.look(start, totals(103, 53)));
        assert!(!record.look(start, totals(103, 53)));
        assert!(record.look(start, totals(105, 55)));
        assert_eq!(record.run, totals(5, 5));
        assert!(record.look(start, totals(107, 56)));
        assert_eq!(record.run, Counts::default());
    }

    proptest! {
        #[test]
        fn the_window_holds_the_last_ten_seconds_and_at_most_one_step_and_one_pause_more(
            looks in vec((1..1500_u64, 0..20_u64, 0..20_u64), 1..200),
        ) {
            let start = Instant::now();
            let mut record = Record::new(start, Counts::default());
            let mut seen = Vec::new();
            let (mut now, mut sum) = (start, Counts::default());
            for (pause, good, bad) in looks {
                now += Duration::from_millis(pause);
                let more = totals(good + bad, bad);
                sum.add(more);
                seen.push((now, more));
                record.look(now, sum);
                let since = |span: Duration| {
                    let recent = seen.iter().filter(|(at, _)| now.duration_since(*at) < span);
                    recent.map(|(_, more)| more.requests).sum::<u64>()
                };
                let window = record.window().requests;
                prop_assert!(window >= since(WINDOW));
                prop_assert!(window <= since(WINDOW + STEP + 2 * Duration::from_millis(1500)));
            }
        }
    }
}
