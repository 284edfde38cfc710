//! The two numbers by which a drain is proven complete. `tests/it/claim_and_drain.rs` runs this very file under loom.
//!
//! Whoever claims adds to its own [`InFlight`], *then* looks whether the [`Generation`] it decided on is still the published
//! one, and if not takes the claim back and decides again. Whoever drains publishes a generation in which nothing more is to be
//! chosen, *then* sums the counts. Both sides write, then read, in sequentially consistent order: either the claim sees the newer
//! generation, or the drain sees the claim. So a sum of 0 after publishing is a proof that there is and will be no claim.

use super::{AtomicU64, Ordering};

/// The number of what is published. It grows.
pub struct Generation(AtomicU64);

impl Generation {
    pub fn new(first: u64) -> Self {
        Self(AtomicU64::new(first))
    }

    /// To be called once the thing with that number is in its place, so that whoever sees the number finds it there.
    pub fn publish(&self, generation: u64) {
        self.0.store(generation, Ordering::SeqCst);
    }

    /// Whether nothing newer has been published.
    pub fn is_current(&self, generation: u64) -> bool {
        self.0.load(Ordering::SeqCst) <= generation
    }
}

/// How many claims one thread holds. That thread alone changes it; anybody may read it.
pub struct InFlight(AtomicU64);

impl Default for InFlight {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl InFlight {
    pub fn claim(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Released, so that whoever reads the lower count sees all that was done under the claim.
    pub fn release(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
