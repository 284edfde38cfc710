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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pool::State,
        snapshot::testing::{World, endpoint, service},
    };

    fn snapshot(generation: u64) -> Snapshot {
        let blue = vec![endpoint(1, 1, State::Ready, true)];
        let first = World::new([service("shop", &["blue"], &[1], vec![blue])]).build();
        Snapshot {
            generation,
            ..first
        }
    }

    #[test]
    fn every_reader_decides_on_what_was_published_last() {
        let (mut publisher, readers) = channel(snapshot(1));
        let (one, other) = (readers.reader(), readers.clone().reader());
        let generation = |reader: &Reader| reader.with(|snapshot| snapshot.generation);
        assert_eq!(generation(&one), 1);
        publisher.publish(snapshot(2));
        assert!(!one.is_current(1) && one.is_current(2));
        publisher.publish(snapshot(3));
        assert_eq!((generation(&one), generation(&other)), (3, 3));
        assert_eq!(readers.reader().with(|snapshot| snapshot.generation), 3);
    }

    #[test]
    fn an_old_snapshot_is_freed_by_the_publisher_once_no_reader_holds_it() {
        let (mut publisher, readers) = channel(snapshot(1));
        let reader = readers.reader();
        let first = Arc::downgrade(&publisher.current());
        publisher.publish(snapshot(2));
        assert!(first.upgrade().is_some(), "the reader has not looked yet");
        reader.with(|_| ());
        assert!(first.upgrade().is_some(), "a worker frees nothing");
        publisher.sweep();
        assert!(first.upgrade().is_none());
    }

    #[tokio::test]
    async fn whoever_waits_wakes_at_a_publication_and_at_the_end() {
        let (mut publisher, mut readers) = channel(snapshot(1));
        let mut reader = readers.reader();
        let before = readers.changed();
        publisher.publish(snapshot(2));
        assert!(before.await && reader.changed().await);
        drop(publisher);
        assert!(!readers.changed().await);
        assert_eq!(reader.with(|snapshot| snapshot.generation), 2);
    }
}
