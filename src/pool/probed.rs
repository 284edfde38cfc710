use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Probes of a pool's endpoints, as whoever decides by them has counted them.
#[derive(Default)]
pub struct Probed {
    probes: AtomicU64,
    failed: AtomicU64,
}

impl Probed {
    pub fn count(&self, passed: bool) {
        self.probes.fetch_add(1, Relaxed);
        self.failed.fetch_add(u64::from(!passed), Relaxed);
    }

    /// How many there were, and how many of them failed.
    pub fn read(&self) -> (u64, u64) {
        (self.probes.load(Relaxed), self.failed.load(Relaxed))
    }
}
