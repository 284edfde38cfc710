use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::add;

/// What was done to a request for a rehearsal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    Delay,
    Abort,
}

impl Injected {
    pub const ALL: [Self; 2] = [Self::Delay, Self::Abort];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Abort => "abort",
        }
    }

    /// In the access log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Delay => "injected-delay",
            Self::Abort => "injected-abort",
        }
    }
}

/// What one worker has injected into one pool's requests.
#[derive(Default)]
pub struct InjectedCounts([AtomicU64; Injected::ALL.len()]);

impl InjectedCounts {
    pub fn count(&self, what: Injected) {
        add(&self.0[what as usize], 1);
    }

    pub fn of(&self, what: Injected) -> u64 {
        self.0[what as usize].load(Relaxed)
    }
}
