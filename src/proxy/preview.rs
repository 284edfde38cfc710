//! Requests that are not for whom the weights say: they ask for a pool, by the header and its secret, or come by a listener that shows
//! what has no traffic yet. All others pay one look at a flag.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use crossbeam_utils::CachePadded;

use super::{queue::Asking, trial::Bound};
use crate::{
    routing::Head,
    snapshot::{Service, Shown},
};

/// Whether a listener is for previews. Follows the file for all its connections at one moment, those that are open included.
///
/// On a line of its own: each request reads it, and nobody writes it but an edit.
#[derive(Debug, Default)]
pub struct Previewing(CachePadded<AtomicBool>);

impl Previewing {
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub fn set(&self, previews: bool) {
        self.0.store(previews, Relaxed);
    }
}

/// Whom a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// Whom the weights give it to.
    Anyone,
    /// This pool, which is ready; and whom the weights give it to where that fails it.
    Asked(usize),
    /// This pool, or nobody: a test of a new version must not pass by an old one.
    Only(usize),
    /// A pool, and it can't be told which.
    Nobody,
}

impl Sought {
    pub fn of(service: &Service, head: &Head, asking: &Asking) -> Self {
        if !asking.preview {
            let asked = service.previewed(head.headers);
            return asked.map_or(Self::Anyone, Self::Asked);
        }
        if let Bound::Pool(slot) = asking.bound.get() {
            let mut pools = service.pools.iter();
            let same = pools.position(|pool| pool.stats.slot == slot);
            return same.map_or(Self::Nobody, Self::Only);
        }
        match service.shown(head.headers) {
            Shown::Served => Self::Anyone,
            shown => shown.pool().map_or(Self::Nobody, Self::Only),
        }
    }

    /// It goes to one pool or to none.
    pub fn is_strict(self) -> bool {
        matches!(self, Self::Only(_) | Self::Nobody)
    }

    /// How long it may wait while nobody is ready: a strict one is refused at once.
    pub fn patience(self, service: &Service) -> Option<Duration> {
        let unready = service.plan.queueing.unready;
        unready.filter(|_| !self.is_strict())
    }

    /// Whether it is to wait before it is decided.
    pub fn waits(self, service: &Service, asking: &Asking) -> bool {
        self == Self::Anyone && asking.may_wait() && !service.is_ready()
    }
}
