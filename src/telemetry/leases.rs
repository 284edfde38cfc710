use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::add;

/// How many leases one worker holds on a pool's endpoints: for balancing, not for the proof that a drain is complete. So that worker
/// alone writes it, plainly.
#[derive(Default)]
pub struct Leases(AtomicU64);

impl Leases {
    pub fn claimed(&self) {
        add(&self.0, 1);
    }

    pub fn released(&self) {
        add(&self.0, u64::MAX);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
