//! Room for one more connection, where an endpoint may have no more than so many over all workers.

use std::{cell::Cell, pin::pin, rc::Rc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{DialError, Line, Payload};
use crate::pool::Seat;

/// For what a connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Where there is no room it waits for some.
    Request,
    /// Where there is no room there is none for it.
    Copy,
}

/// Counts a connection from before it is dialled until its socket is closed.
pub struct Counted(Rc<Seat>);

impl Counted {
    pub(super) fn take(seat: &Rc<Seat>, most: Option<u32>) -> Option<Self> {
        let taken = seat.endpoint.connections.take(most);
        taken.then(|| Self(seat.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.endpoint.connections.give_back();
    }
}

/// One who waits for room.
struct HeldBack<'a>(&'a Cell<usize>);

impl<'a> HeldBack<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for HeldBack<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<B: Payload> Line<B> {
    /// Room for one more connection, if there is some. A copy has none while others wait for it.
    pub(super) fn room(&self, errand: Errand) -> Option<Counted> {
        let most = self.most.get();
        let comes_last = errand == Errand::Copy && most.is_some();
        if comes_last && self.seat.endpoint.connections.are_awaited() {
            return None;
        }
        Counted::take(&self.seat, most)
    }

    pub(super) async fn room_for(
        &self,
        errand: Errand,
        longest: Duration,
    ) -> Result<Counted, DialError> {
        match self.room(errand) {
            Some(room) => Ok(room),
            None if errand == Errand::Copy => Err(DialError::Full),
            // Apart, so that what most requests are handled in does not grow by it.
            None => Box::pin(self.wait_for_room(longest)).await,
        }
    }

    /// Waits until a connection has ended: one that carries nothing is given up here or, where there is none, by another worker.
    async fn wait_for_room(&self, longest: Duration) -> Result<Counted, DialError> {
        let deadline = Instant::now() + longest;
        let connections = &self.seat.endpoint.connections;
        let _waits = (connections.wait(), HeldBack::new(&self.held_back));
        self.seat.pool_shard().connections.waited();
        loop {
            // Before it looks: what ends from here on wakes it.
            let mut freed = pin!(connections.freed());
            freed.as_mut().enable();
            if let Some(room) = self.room(Errand::Request) {
                return Ok(room);
            }
            if !self.give_up() {
                connections.want();
                self.recalls.ask_others(&self.seat.endpoint);
            }
            if timeout_at(deadline, freed).await.is_err() {
                return Err(DialError::Full);
            }
        }
    }

    /// Whether it is for want of room that there is no other connection.
    pub(super) fn is_held_back(&self) -> bool {
        self.held_back.get() > 0 || self.most.get().is_some() && self.shared.is_full(self.share())
    }

    /// Somebody waits for room at another worker: what carries nothing here is given up for it.
    pub(super) fn recall(&self) {
        while self.has_idle() && self.seat.endpoint.connections.yields() {
            self.give_up();
        }
    }

    /// Whether a connection that has become free is closed, not kept: there are too many, or somebody waits for it.
    pub(super) fn is_yielded(&self) -> bool {
        let Some(most) = self.most.get() else {
            return false;
        };
        let connections = &self.seat.endpoint.connections;
        let yielded = connections.exceed(most) || connections.yields();
        if yielded {
            self.seat.pool_shard().connections.reclaimed();
        }
        yielded
    }

    /// No more than so many connections from now on. Those that are too many are closed as they become free.
    pub(super) fn limit_to(&self, most: Option<u32>) {
        if self.most.replace(most) == most {
            return;
        }
        let connections = &self.seat.endpoint.connections;
        connections.wake_all();
        if let Some(most) = most {
            self.shared.keep_at_most(self.share());
            let excess = connections.open().saturating_sub(u64::from(most));
            for _ in 0..excess {
                if !self.give_up() {
                    break;
                }
            }
        }
    }

    /// How many connections that requests share this worker may have: each worker has at least one, whatever the others do.
    pub(super) fn share(&self) -> usize {
        let workers = self.recalls.workers();
        let share = |most: u32| (most as usize / workers).max(1);
        self.most.get().map_or(usize::MAX, share)
    }

    /// Closes a connection that carries nothing, the one that was parked first; tells whether there was one.
    fn give_up(&self) -> bool {
        let gives_up = self.has_idle();
        if gives_up {
            let mut idle = self.idle.borrow_mut();
            if idle.is_empty() {
                self.shared.close_one();
            } else {
                idle.remove(0);
            }
            self.seat.pool_shard().connections.reclaimed();
        }
        gives_up
    }

    /// Whether there is one that carries nothing. Those that have ended are not counted any more.
    fn has_idle(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|parked| parked.is_open(false));
        !idle.is_empty() || self.shared.has_idle()
    }
}
