//! What happened lately, of every pool: totals read now and then, and what they grew by in the last minute.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::histogram::{Reading, Slice};
use crate::units::PoolKey;

/// The longest time a window looks back.
pub const LENGTH: Duration = Duration::from_mins(1);

/// All that was counted of one pool so far.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Of every answer.
    pub latency: Reading,
    /// That its endpoints caused.
    pub errors: u64,
}

/// What one pool did in the window.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// How long it is: [`LENGTH`], less one sample; shorter soon after the start.
    pub length: Duration,
    pub requests: u64,
    pub errors: u64,
    pub latency: Reading,
}

/// The last minute of every pool. Samples are kept as the few buckets that grew, so that what is held grows with the
/// requests of a minute and not with the number of pools.
pub struct Windows {
    /// When the samples that are kept end, and before them the end of the last that was dropped.
    ends: VecDeque<Instant>,
    /// The number of the first of `ends`.
    first: u64,
    pools: HashMap<PoolKey, History, foldhash::fast::RandomState>,
}

#[derive(Default)]
struct History {
    last: Totals,
    samples: VecDeque<Sample>,
    /// Of the last sample that met the pool.
    seen: u64,
}

struct Sample {
    number: u64,
    slice: Slice,
    requests: u64,
    errors: u64,
}

impl Windows {
    /// Whose totals began at 0 at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            ends: VecDeque::from([now]),
            first: 0,
            pools: HashMap::default(),
        }
    }

    /// Takes the totals of every pool there is; one that is missing is forgotten.
    pub fn sample(&mut self, now: Instant, totals: impl IntoIterator<Item = (PoolKey, Totals)>) {
        self.ends.push_back(now);
        // The last sample stays, however long it took.
        while self.ends.len() > 2 && self.ends[0] + LENGTH < now {
            self.ends.pop_front();
            self.first += 1;
        }
        let (first, number) = (self.first, self.first + self.ends.len() as u64 - 1);
        for (pool, totals) in totals {
            let history = self.pools.entry(pool).or_default();
            history.add(number, totals);
            history.samples.retain(|sample| sample.number > first);
        }
        self.pools.retain(|_, history| history.seen == number);
    }

    pub fn window(&self, pool: &PoolKey) -> Window {
        let mut window = Window {
            length: self.ends[self.ends.len() - 1] - self.ends[0],
            ..Window::default()
        };
        for sample in self.samples(pool) {
            window.requests += sample.requests;
            window.errors += sample.errors;
            window.latency.add_slice(&sample.slice);
        }
        window
    }

    /// How many requests the pool had in the window; less work than all of the window.
    pub fn requests(&self, pool: &PoolKey) -> u64 {
        self.samples(pool).map(|sample| sample.requests).sum()
    }

    fn samples(&self, pool: &PoolKey) -> impl Iterator<Item = &Sample> {
        self.pools
            .get(pool)
            .into_iter()
            .flat_map(|history| &history.samples)
    }
}

impl History {
    fn add(&mut self, number: u64, totals: Totals) {
        let requests = totals.latency.count();
        if requests < self.last.latency.count() || totals.errors < self.last.errors {
            // Another pool of the same name: the one before it is gone, and its totals with it.
            self.last = Totals::default();
        }
        let sample = Sample {
            number,
            slice: totals.latency.slice_since(&self.last.latency),
            requests: requests - self.last.latency.count(),
            errors: totals.errors - self.last.errors,
        };
        if sample.requests > 0 || sample.errors > 0 {
            self.samples.push_back(sample);
        }
        self.last = totals;
        self.seen = number;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::Histogram;

    fn pool(name: &str) -> PoolKey {
        PoolKey {
            service: "shop".parse().unwrap(),
            pool: name.parse().unwrap(),
        }
    }

    fn totals(histogram: &Histogram, errors: u64) -> Totals {
        let mut latency = Reading::default();
        latency.add(histogram);
        Totals { latency, errors }
    }

    /// Seconds.
    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_window_forgets_what_is_older_than_a_minute() {
        let start = Instant::now();
        let (mut windows, blue) = (Windows::new(start), Histogram::default());
        for second in 1..=100 {
            for _ in 0..second {
                blue.record(Duration::from_millis(second));
            }
            windows.sample(
                after(start, second),
                [(pool("blue"), totals(&blue, second))],
            );
        }
        let window = windows.window(&pool("blue"));
        assert_eq!(window.length, LENGTH);
        assert_eq!(window.requests, (41..=100).sum::<u64>());
        assert_eq!(window.errors, 60);
        let least = window.latency.quantile(0.0).unwrap();
        assert!(least >= Duration::from_millis(40), "{least:?}");
    }

    #[test]
    fn soon_after_the_start_a_window_says_how_short_it_is() {
        let start = Instant::now();
        let mut windows = Windows::new(start);
        assert_eq!(windows.window(&pool("blue")).length, Duration::ZERO);
        windows.sample(after(start, 3), []);
        assert_eq!(windows.window(&pool("blue")).length, Duration::from_secs(3));
    }

    #[test]
    fn a_sampler_that_was_held_up_loses_nothing() {
        let start = Instant::now();
        let (mut windows, blue) = (Windows::new(start), Histogram::default());
        blue.record(Duration::from_millis(1));
        windows.sample(after(start, 500), [(pool("blue"), totals(&blue, 0))]);
        let window = windows.window(&pool("blue"));
        assert_eq!(
            (window.requests, window.length),
            (1, Duration::from_secs(500))
        );
    }

    #[test]
    fn a_pool_that_is_gone_is_forgotten_and_one_that_returns_starts_afresh() {
        let start = Instant::now();
        let (mut windows, blue) = (Windows::new(start), Histogram::default());
        for _ in 0..10 {
            blue.record(Duration::from_millis(1));
        }
        windows.sample(after(start, 1), [(pool("blue"), totals(&blue, 0))]);
        let again = Histogram::default();
        again.record(Duration::from_millis(1));
        windows.sample(after(start, 2), [(pool("blue"), totals(&again, 0))]);
        assert_eq!(
            windows.requests(&pool("blue")),
            11,
            "counters never go backwards"
        );
        windows.sample(after(start, 3), []);
        assert_eq!(windows.requests(&pool("blue")), 0);
        assert!(windows.pools.is_empty());
    }

    proptest! {
        #[test]
        fn a_window_holds_what_a_list_of_all_requests_would(
            steps in prop::collection::vec((1u64..20, prop::collection::vec((0usize..3, 1u64..10_000_000), 0..6)), 1..60),
        ) {
            let names = ["blue", "green", "red"].map(pool);
            let histograms: [Histogram; 3] = Default::default();
            let (start, mut now) = (Instant::now(), 0);
            let mut windows = Windows::new(start);
            // (end of the sample, start of the sample, pool, micros)
            let mut all = Vec::new();
            for (pause, requests) in steps {
                let from = now;
                now += pause;
                for (index, micros) in requests {
                    histograms[index].record(Duration::from_micros(micros));
                    all.push((from, index, micros));
                }
                windows.sample(
                    after(start, now),
                    names.iter().cloned().zip(histograms.iter().map(|histogram| totals(histogram, 0))),
                );
                for (index, name) in names.iter().enumerate() {
                    let expected: Vec<_> = all
                        .iter()
                        .filter(|(from, of, _)| *of == index && from + 60 >= now)
                        .map(|(_, _, micros)| *micros)
                        .collect();
                    let window = windows.window(name);
                    prop_assert_eq!(window.requests, expected.len() as u64);
                    prop_assert_eq!(window.requests, windows.requests(name));
                    prop_assert_eq!(window.requests, window.latency.count());
                    prop_assert_eq!(window.latency.sum(), Duration::from_micros(expected.iter().sum()));
                    prop_assert!(window.length <= LENGTH);
                }
            }
        }
    }
}
