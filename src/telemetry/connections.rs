use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::add;

/// What one worker has seen of the limit on connections to a pool's endpoints.
#[derive(Default)]
pub struct ConnectionCounts {
    waits: AtomicU64,
    reclaims: AtomicU64,
}

impl ConnectionCounts {
    /// One had to wait until there was room for a new connection.
    pub fn waited(&self) {
        add(&self.waits, 1);
    }

    /// One that carried nothing was closed, so that there is room for another.
    pub fn reclaimed(&self) {
        add(&self.reclaims, 1);
    }

    pub fn waits(&self) -> u64 {
        self.waits.load(Relaxed)
    }

    pub fn reclaims(&self) -> u64 {
        self.reclaims.load(Relaxed)
    }
}
