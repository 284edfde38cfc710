use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::histogram::{Histogram, Reading, add};

/// What one worker has seen of one pool's requests while the pool was an arm of a trial: of first attempts only, and only of those
/// that the split sent there.
#[derive(Default)]
pub struct TrialCounts {
    requests: AtomicU64,
    errors: AtomicU64,
    rescued: AtomicU64,
    felt: AtomicU64,
    assigned: AtomicU64,
    response: OnceLock<Histogram>,
}

impl TrialCounts {
    /// The endpoint has answered, or has failed to.
    pub fn requested(&self) {
        add(&self.requests, 1);
    }

    pub fn failed(&self) {
        add(&self.errors, 1);
    }

    pub fn rescued(&self) {
        add(&self.rescued, 1);
    }

    pub fn felt(&self) {
        add(&self.felt, 1);
    }

    pub fn assigned(&self) {
        add(&self.assigned, 1);
    }

    pub fn answered_in(&self, response: Duration) {
        let histogram = self.response.get_or_init(Histogram::default);
        histogram.record(response);
    }
}

/// The counts of both a pool's arms and moments are compared by: added up over workers, or what they grew by.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// That an endpoint has answered, or has failed to. Neither those that their clients gave up nor those that this machine failed.
    pub requests: u64,
    /// Those of them that the endpoint has failed, be it after its answer had begun.
    pub errors: u64,
    /// Those of the errors that the stable version has answered instead.
    pub rescued: u64,
    /// Those of the errors after which the client got a failure.
    pub felt: u64,
    /// That chance has sent there: no client has come back with them to a version that it had before.
    pub assigned: u64,
    /// From the request written to the answer's head, of answers below 400 on connections that were open before; neither tunnels nor
    /// streams of events.
    pub response: Reading,
}

impl Tried {
    pub fn add(&mut self, counts: &TrialCounts) {
        self.requests += counts.requests.load(Relaxed);
        self.errors += counts.errors.load(Relaxed);
        self.rescued += counts.rescued.load(Relaxed);
        self.felt += counts.felt.load(Relaxed);
        self.assigned += counts.assigned.load(Relaxed);
        if let Some(histogram) = counts.response.get() {
            self.response.add(histogram);
        }
    }

    /// What was counted since `earlier`, of the same pool.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            rescued: self.rescued.saturating_sub(earlier.rescued),
            felt: self.felt.saturating_sub(earlier.felt),
            assigned: self.assigned.saturating_sub(earlier.assigned),
            response: self.response.since(&earlier.response),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_readings_differ_by_is_what_was_counted_between_them() {
        let counts = TrialCounts::default();
        let read = || {
            let mut tried = Tried::default();
            tried.add(&counts);
            tried
        };
        counts.requested();
        counts.answered_in(Duration::from_millis(1));
        let earlier = read();
        counts.requested();
        counts.failed();
        counts.answered_in(Duration::from_millis(100));
        let grown = read().since(&earlier);
        let numbers = (grown.requests, grown.errors, grown.rescued, grown.felt);
        assert_eq!(numbers, (1, 1, 0, 0));
        assert_eq!(grown.response.count(), 1);
        assert!(grown.response.quantile(0.5).unwrap() > Duration::from_millis(90));
        assert_eq!(earlier.since(&Tried::default()).requests, 1);
    }
}
