use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::sync::{Notify, futures::Notified};

/// The connections to one endpoint over all workers, parked, in use or being opened, and those who wait for room for another. Changed when
/// a connection begins and ends, never by a request on one that is there.
#[derive(Default)]
pub struct Connections {
    open: AtomicU64,
    waiting: AtomicU64,
    /// How many that carry nothing are yet to be given up for those who wait.
    wanted: AtomicU64,
    freed: Notify,
}

impl Connections {
    /// One more, if there are fewer than `most`.
    pub fn take(&self, most: Option<u32>) -> bool {
        let more = |open| most.is_none_or(|most| open < u64::from(most));
        let more = |open| more(open).then_some(open + 1);
        self.open.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    /// One has ended: the first who waits looks again. Who sees the lower count has seen all that came before.
    pub fn give_back(&self) {
        self.open.fetch_sub(1, SeqCst);
        if self.are_awaited() {
            self.freed.notify_one();
        }
    }

    pub fn open(&self) -> u64 {
        self.open.load(SeqCst)
    }

    /// Whether there are more than `most`.
    pub fn exceed(&self, most: u32) -> bool {
        self.open() > u64::from(most)
    }

    /// Counts one as waiting for as long as what is returned is held.
    pub fn wait(&self) -> Waits<'_> {
        self.waiting.fetch_add(1, SeqCst);
        Waits(self)
    }

    /// Whether anybody waits for room.
    pub fn are_awaited(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    /// Ends when one that waits is to look again, in the order in which they have come to wait.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// There may be room for any number: all who wait look again.
    pub fn wake_all(&self) {
        self.freed.notify_waiters();
    }

    /// One that carries nothing is to be given up; no more of them than there are who wait.
    pub fn want(&self) {
        let most = self.waiting.load(SeqCst);
        let more = |wanted| (wanted < most).then_some(wanted + 1);
        let _ = self.wanted.fetch_update(SeqCst, SeqCst, more);
    }

    /// Whether the caller is to give one up that carries nothing: each that is wanted is given up by one.
    pub fn yields(&self) -> bool {
        self.wanted.load(SeqCst) > 0 && {
            let fewer = |wanted: u64| wanted.checked_sub(1);
            self.wanted.fetch_update(SeqCst, SeqCst, fewer).is_ok()
        }
    }
}

/// One who waits for room.
pub struct Waits<'a>(&'a Connections);

impl Drop for Waits<'_> {
    /// What was wanted for it alone is not wanted any more.
    fn drop(&mut self) {
        let left = self.0.waiting.fetch_sub(1, SeqCst) - 1;
        let fewer = |wanted| (wanted > left).then_some(left);
        let _ = self.0.wanted.fetch_update(SeqCst, SeqCst, fewer);
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, thread};

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn there_are_never_more_than_there_may_be() {
        let connections = Connections::default();
        let most = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if connections.take(Some(3)) {
                            most.fetch_max(connections.open(), SeqCst);
                            connections.give_back();
                        }
                    }
                });
            }
        });
        assert_eq!(connections.open(), 0);
        assert!((1..=3).contains(&most.into_inner()));
    }

    #[test]
    fn where_there_is_no_limit_all_are_counted_for_the_one_that_comes() {
        let connections = Connections::default();
        for _ in 0..5 {
            assert!(connections.take(None));
        }
        assert!(connections.exceed(4) && !connections.exceed(5));
        assert!(!connections.take(Some(5)) && connections.take(Some(6)));
    }

    #[test]
    fn no_more_are_given_up_than_there_are_who_wait() {
        let connections = Connections::default();
        assert!(!connections.yields());
        let (first, second) = (connections.wait(), connections.wait());
        for _ in 0..3 {
            connections.want();
        }
        assert!(connections.yields() && connections.yields() && !connections.yields());
        connections.want();
        connections.want();
        drop(first);
        assert!(connections.yields() && !connections.yields());
        connections.want();
        drop(second);
        assert!(!connections.yields());
    }

    #[test]
    fn who_waits_looks_again_when_one_has_ended() {
        let connections = Connections::default();
        assert!(connections.take(Some(1)) && !connections.take(Some(1)));
        let _waits = connections.wait();
        let mut freed = pin!(connections.freed());
        freed.as_mut().enable();
        assert!(freed.as_mut().now_or_never().is_none());
        connections.give_back();
        assert!(freed.now_or_never().is_some());
        assert!(connections.take(Some(1)));
    }
}
