use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::sync::{Notify, futures::Notified};

/// The connections to one endpoint over all workers, parked, in use or being opened, and those who wait for room for another. Changed when
/// a connection begins and ends, never by a request on one that is there.
#[derive(Default)]
pub struct Connections {
    open: AtomicU64,
    sought: AtomicU64,
    freed: Notify,
}

/// Those who wait, and how many connections that carry nothing are yet to be given up for them, never more than they are. Kept in one
/// number, so that who goes takes nothing away from who comes.
#[derive(Clone, Copy)]
struct Sought {
    waiting: u32,
    wanted: u32,
}

impl From<u64> for Sought {
    fn from(both: u64) -> Self {
        let part = |bits| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self {
            waiting: part(both >> 32),
            wanted: part(both),
        }
    }
}

impl From<Sought> for u64 {
    fn from(sought: Sought) -> Self {
        Self::from(sought.waiting) << 32 | Self::from(sought.wanted)
    }
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
        self.seek(|mut sought| {
            sought.waiting += 1;
            Some(sought)
        });
        Waits(self)
    }

    /// Whether anybody waits for room.
    pub fn are_awaited(&self) -> bool {
        Sought::from(self.sought.load(SeqCst)).waiting > 0
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
        self.seek(|mut sought| {
            sought.wanted += 1;
            (sought.wanted <= sought.waiting).then_some(sought)
        });
    }

    /// Whether the caller is to give one up that carries nothing: each that is wanted is given up by one.
    pub fn yields(&self) -> bool {
        let wanted = Sought::from(self.sought.load(SeqCst)).wanted;
        wanted > 0
            && self.seek(|mut sought| {
                sought.wanted = sought.wanted.checked_sub(1)?;
                Some(sought)
            })
    }

    fn seek(&self, change: impl Fn(Sought) -> Option<Sought>) -> bool {
        let change = |both: u64| change(both.into()).map(u64::from);
        self.sought.fetch_update(SeqCst, SeqCst, change).is_ok()
    }
}

/// One who waits for room.
pub struct Waits<'a>(&'a Connections);

impl Drop for Waits<'_> {
    /// What was wanted for it alone is not wanted any more.
    fn drop(&mut self) {
        self.0.seek(|mut sought| {
            sought.waiting -= 1;
            sought.wanted = sought.wanted.min(sought.waiting);
            Some(sought)
        });
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
    fn who_goes_takes_nothing_away_from_who_has_just_come() {
        let connections = Connections::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..50_000 {
                    drop(connections.wait());
                }
            });
            for _ in 0..50_000 {
                let _waits = connections.wait();
                connections.want();
                assert!(connections.yields());
            }
        });
        assert!(!connections.are_awaited() && !connections.yields());
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
