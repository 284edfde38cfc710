use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
};

use tokio::sync::{Notify, futures::Notified};

/// What is limited of one identity, over all workers, and those who wait for a part of it. Exact: it is never taken more often than it may
/// be. What is not limited never comes here.
#[derive(Default)]
pub struct Quota {
    taken: AtomicU64,
    waiting: AtomicU64,
    wake: Notify,
}

impl Quota {
    /// Takes one of `most`, if one is left.
    pub fn take(&self, most: u32) -> bool {
        let more = |taken| (taken < u64::from(most)).then_some(taken + 1);
        self.taken.fetch_update(AcqRel, Acquire, more).is_ok()
    }

    /// Gives one back. Who waits is not woken by it.
    pub fn give_back(&self) {
        self.taken.fetch_sub(1, AcqRel);
    }

    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// How many requests stand in line.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(SeqCst)
    }

    /// A place at the end of the line, which `most` have at once.
    pub fn line_up(&self, most: u32) -> Option<Place<'_>> {
        let more = |waiting| (waiting < u64::from(most)).then_some(waiting + 1);
        let joined = self.waiting.fetch_update(SeqCst, SeqCst, more);
        joined.is_ok().then(|| Place {
            quota: self,
            owes: false,
        })
    }

    /// Ends when one in line is called to try again, in the order in which they have come to wait for it.
    pub fn called(&self) -> Notified<'_> {
        self.wake.notified()
    }

    /// Something was given back: the first in line tries again.
    pub fn wake_first(&self) {
        if self.waiting() > 0 {
            self.wake.notify_one();
        }
    }

    /// Anything may have changed: all in line try again.
    pub fn wake_all(&self) {
        if self.waiting() > 0 {
            self.wake.notify_waiters();
        }
    }
}

/// A request's place in line.
pub struct Place<'a> {
    quota: &'a Quota,
    /// It was woken by what it has not taken yet.
    owes: bool,
}

impl Place<'_> {
    /// It is its turn: unless it takes what has come free, the next in line is called in its place when it leaves.
    pub fn is_called(&mut self) {
        self.owes = true;
    }

    /// It has taken what it was called for, or stays in line behind the others.
    pub fn is_settled(&mut self) {
        self.owes = false;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.quota.waiting.fetch_sub(1, SeqCst);
        if self.owes {
            self.quota.wake_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, thread};

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn it_is_never_taken_more_often_than_it_may_be() {
        let quota = Quota::default();
        let most = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if quota.take(3) {
                            most.fetch_max(quota.taken(), SeqCst);
                            quota.give_back();
                        }
                    }
                });
            }
        });
        assert_eq!(quota.taken(), 0);
        assert!((1..=3).contains(&most.into_inner()));
    }

    #[test]
    fn a_line_is_no_longer_than_it_may_be() {
        let quota = Quota::default();
        assert!(quota.line_up(0).is_none());
        let place = quota.line_up(1);
        assert!(place.is_some() && quota.line_up(1).is_none());
        drop(place);
        assert!(quota.line_up(1).is_some());
        assert_eq!(quota.waiting(), 0);
    }

    #[test]
    fn who_came_first_is_called_first_and_who_leaves_without_taking_calls_the_next() {
        let quota = Quota::default();
        let mut first = quota.line_up(2).unwrap();
        let _second = quota.line_up(2).unwrap();
        let (mut of_first, mut of_second) = (pin!(quota.called()), pin!(quota.called()));
        of_first.as_mut().enable();
        of_second.as_mut().enable();
        quota.wake_first();
        assert!(of_second.as_mut().now_or_never().is_none());
        assert!(of_first.as_mut().now_or_never().is_some());
        first.is_called();
        drop(first);
        assert!(of_second.now_or_never().is_some());
        assert_eq!(quota.waiting(), 1);
    }

    #[test]
    fn who_is_called_and_goes_away_before_it_knows_leaves_its_turn_to_the_next() {
        let quota = Quota::default();
        let _both = (quota.line_up(2).unwrap(), quota.line_up(2).unwrap());
        let mut next = pin!(quota.called());
        {
            let mut called = pin!(quota.called());
            called.as_mut().enable();
            next.as_mut().enable();
            quota.wake_first();
        }
        assert!(next.now_or_never().is_some());
    }
}
