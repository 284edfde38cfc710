use std::{cell::RefCell, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Snapshot;
use crate::units::Generation;

struct Shared {
    current: ArcSwap<Snapshot>,
    /// The generation of `current`, stored after it: a reader that sees the number finds that snapshot or a newer one.
    generation: Generation,
}

/// The writing end: one, and not `Clone`, so there is one writer.
pub struct Publisher {
    shared: Arc<Shared>,
    wake: watch::Sender<u64>,
    /// Snapshots that a worker may still hold. Freed here, so that no worker ever frees one.
    retired: Vec<Arc<Snapshot>>,
}

/// A source of [`Reader`]s that may be sent to other threads.
#[derive(Clone)]
pub struct Readers {
    shared: Arc<Shared>,
    wake: watch::Receiver<u64>,
}

/// A reading end, for one thread: it keeps the snapshot it last saw, so that a read costs one load and one compare.
pub struct Reader {
    source: Readers,
    seen: RefCell<Arc<Snapshot>>,
}

pub fn channel(first: Snapshot) -> (Publisher, Readers) {
    let generation = first.generation;
    let shared = Arc::new(Shared {
        current: ArcSwap::from_pointee(first),
        generation: Generation::new(generation),
    });
    let (sender, receiver) = watch::channel(generation);
    (
        Publisher {
            shared: shared.clone(),
            wake: sender,
            retired: Vec::new(),
        },
        Readers {
            shared,
            wake: receiver,
        },
    )
}

impl Publisher {
    /// Makes `next` what every later decision is made on, in one step.
    pub fn publish(&mut self, next: Snapshot) {
        let generation = next.generation;
        debug_assert!(generation > self.current().generation, "generations grow");
        self.retired.push(self.shared.current.swap(Arc::new(next)));
        self.shared.generation.publish(generation);
        self.wake.send_replace(generation);
        self.sweep();
    }

    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.current.load_full()
    }

    /// Frees retired snapshots that no reader holds any more.
    pub fn sweep(&mut self) {
        self.retired
            .retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }
}

impl Readers {
    pub fn reader(&self) -> Reader {
        Reader {
            source: self.clone(),
            seen: RefCell::new(self.shared.current.load_full()),
        }
    }

    /// For the control plane's rooms, which read now and then.
    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.current.load_full()
    }

    /// Returns when a snapshot newer than the last one waited for has been published; `false` when the writer is gone.
    pub async fn changed(&mut self) -> bool {
        self.wake.changed().await.is_ok()
    }
}

impl Reader {
    /// Decides something on the newest snapshot. The closure is synchronous, so no `await` ever holds a snapshot.
    pub fn with<R>(&self, decide: impl FnOnce(&Snapshot) -> R) -> R {
        if !self.is_current(self.seen.borrow().generation) {
            self.seen.replace(self.source.shared.current.load_full());
        }
        decide(&self.seen.borrow())
    }

    /// Whether no newer snapshot has been published (see `pool::Seat::claim`).
    pub fn is_current(&self, generation: u64) -> bool {
        self.source.shared.generation.is_current(generation)
    }

    /// See [`Readers::changed`].
    pub async fn changed(&mut self) -> bool {
        self.source.changed().await
    }
}
