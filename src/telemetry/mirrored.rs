use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::histogram::add;

/// What came of a request that was to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mirrored {
    /// The copy's answer was as the request's own in all that is compared.
    Same,
    Differs,
    /// The copy was answered, and nothing is compared.
    Discarded,
    /// The copy was not answered, or not to the end or not in time.
    Failed,
    /// The request's own answer did not come to its end, so there was nothing to compare with.
    Unmatched,
    /// As many copies as may be were under way.
    Skipped,
    /// No endpoint was ready to get the copy.
    Nowhere,
}

impl Mirrored {
    pub const ALL: [Self; 7] = [
        Self::Same,
        Self::Differs,
        Self::Discarded,
        Self::Failed,
        Self::Unmatched,
        Self::Skipped,
        Self::Nowhere,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Discarded => "discarded",
            Self::Failed => "failed",
            Self::Unmatched => "unmatched",
            Self::Skipped => "skipped",
            Self::Nowhere => "nowhere",
        }
    }
}

/// In what a copy's answer is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The class of the status.
    Status,
    Headers,
    Body,
}

impl Difference {
    pub const ALL: [Self; 3] = [Self::Status, Self::Headers, Self::Body];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Headers => "headers",
            Self::Body => "body",
        }
    }
}

/// What one worker has seen of the copies that were meant for one pool.
#[derive(Default)]
pub struct MirrorCounts {
    outcomes: [AtomicU64; Mirrored::ALL.len()],
    differences: [AtomicU64; Difference::ALL.len()],
    under_way: AtomicU64,
    /// Of the pairs that were compared, the nanoseconds to the heads of the requests' own answers, and to those of the copies'.
    took: [AtomicU64; 2],
}

impl MirrorCounts {
    pub fn count(&self, outcome: Mirrored) {
        add(&self.outcomes[outcome as usize], 1);
    }

    pub fn of(&self, outcome: Mirrored) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    pub fn differs(&self, difference: Difference) {
        add(&self.differences[difference as usize], 1);
    }

    pub fn different(&self, difference: Difference) -> u64 {
        self.differences[difference as usize].load(Relaxed)
    }

    pub fn begins(&self) {
        add(&self.under_way, 1);
    }

    pub fn ends(&self) {
        add(&self.under_way, u64::MAX);
    }

    pub fn under_way(&self) -> u64 {
        self.under_way.load(Relaxed)
    }

    /// How long the heads of a pair's answers took: the request's own, and the copy's.
    pub fn took(&self, own: Duration, copy: Duration) {
        for (sum, took) in self.took.iter().zip([own, copy]) {
            add(sum, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// The sums of what they took.
    pub fn times(&self) -> [Duration; 2] {
        [0, 1].map(|side: usize| Duration::from_nanos(self.took[side].load(Relaxed)))
    }
}
