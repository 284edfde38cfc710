use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::histogram::add;

/// Why a request waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// A limit was reached.
    Full,
    /// No endpoint was ready.
    Unready,
    /// Requests of the service were held.
    Held,
}

impl Queued {
    pub const ALL: [Self; 3] = [Self::Full, Self::Unready, Self::Held];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "limit",
            Self::Unready => "unready",
            Self::Held => "hold",
        }
    }
}

/// How many have waited, and how long in all.
#[derive(Default)]
pub struct Waits {
    count: AtomicU64,
    micros: AtomicU64,
}

impl Waits {
    /// One has, whatever came of it.
    pub fn waited(&self, span: Duration) {
        add(&self.count, 1);
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        add(&self.micros, micros);
    }

    pub fn read(&self) -> (u64, Duration) {
        let micros = self.micros.load(Relaxed);
        (self.count.load(Relaxed), Duration::from_micros(micros))
    }
}
