use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{Place, Shared};
use crate::{
    pool::Seat,
    upstream::{DialError, Payload},
};

/// Connections of one worker to one endpoint. Where each takes one request at a time, as many may be on their way.
const MOST_CONNECTIONS: usize = 256;

/// After an attempt has failed while other connections live, none is made for so long: those who wait get a place as soon as
/// one becomes free.
const REST: Duration = Duration::from_millis(250);

/// The connections to one endpoint that requests share, and those that wait for one.
pub struct Set<B: Payload> {
    seat: Rc<Seat>,
    /// Those that take nothing new any more are among them until they are empty.
    connections: RefCell<Vec<Rc<Shared<B>>>>,
    /// Connections that are being opened.
    opening: Cell<usize>,
    /// Requests that wait for a place.
    waiting: Cell<usize>,
    pub wake: Notify,
    /// How many attempts have failed, and how the last did.
    failed: RefCell<(u64, Option<Arc<DialError>>)>,
    rests_until: Cell<Option<Instant>>,
    /// How many requests a new connection is expected to take.
    expected: Cell<usize>,
    /// Whether a connection that has become empty is kept.
    open: Cell<bool>,
    /// The endpoint has chosen HTTP/1.1 last.
    pub chose_h1: Cell<bool>,
}

impl<B: Payload> Set<B> {
    pub fn new(seat: Rc<Seat>) -> Rc<Self> {
        Rc::new(Self {
            seat,
            connections: RefCell::default(),
            opening: Cell::default(),
            waiting: Cell::default(),
            wake: Notify::new(),
            failed: RefCell::default(),
            rests_until: Cell::default(),
            expected: Cell::new(usize::MAX),
            open: Cell::new(true),
            chose_h1: Cell::default(),
        })
    }

    /// A place on the first connection that has one.
    pub fn take(self: &Rc<Self>) -> Option<Place<B>> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| keeps(connection, !connection.is_over()));
        let mut found = connections.iter();
        let found = found.find(|connection| connection.has_room())?;
        Some(Place::new(found.clone(), self.clone()))
    }

    /// Takes note of a request that waits, for as long as the result lives.
    pub fn wait(self: &Rc<Self>) -> Waiter<B> {
        self.waiting.set(self.waiting.get() + 1);
        Waiter(self.clone())
    }

    /// Whether those who wait are more than what is being opened will take, and one more may be, of `most`.
    pub fn wants_another(&self, most: usize) -> bool {
        let (opening, expected) = (self.opening.get(), self.expected.get());
        let live = self.live();
        let rests = self.rests_until.get();
        self.waiting.get() > opening.saturating_mul(expected)
            && live + opening < most.min(MOST_CONNECTIONS)
            && (live == 0 || rests.is_none_or(|until| until <= Instant::now()))
    }

    fn live(&self) -> usize {
        let connections = self.connections.borrow();
        let live = connections
            .iter()
            .filter(|connection| !connection.is_over());
        live.count()
    }

    /// Whether there are as many as there may be that take requests.
    pub fn is_full(&self, most: usize) -> bool {
        self.live() >= most
    }

    /// Whether one carries nothing.
    pub fn has_idle(&self) -> bool {
        self.close(Shared::is_over);
        let connections = self.connections.borrow();
        connections.iter().any(|connection| connection.is_idle())
    }

    /// Closes one that carries nothing.
    pub fn close_one(&self) {
        let mut connections = self.connections.borrow_mut();
        if let Some(idle) = connections.iter().position(|one| one.is_idle()) {
            connections.remove(idle).end();
        }
    }

    /// Lets those above so many take no requests any more.
    pub fn keep_at_most(&self, most: usize) {
        let connections = self.connections.borrow();
        let live = connections.iter().filter(|one| !one.is_over());
        live.skip(most).for_each(|excess| excess.retire());
        drop(connections);
        self.close(Shared::is_over);
    }

    pub fn begins_opening(&self) {
        self.opening.set(self.opening.get() + 1);
    }

    pub fn has_opened(&self) {
        self.opening.set(self.opening.get() - 1);
        self.wake.notify_waiters();
        self.forget_unwanted();
    }

    /// Where no connection is kept and nobody waits, one that has just been opened is for nobody.
    fn forget_unwanted(&self) {
        if !self.open.get() && self.waiting.get() == 0 {
            self.close(|_| true);
        }
    }

    pub fn add(&self, connection: Rc<Shared<B>>) {
        self.chose_h1.set(false);
        self.expected.set(connection.capacity().max(1));
        self.connections.borrow_mut().push(connection);
    }

    pub fn fail(&self, error: DialError) {
        if self.live() > 0 {
            self.rests_until.set(Some(Instant::now() + REST));
            return;
        }
        let mut failed = self.failed.borrow_mut();
        *failed = (failed.0 + 1, Some(Arc::new(error)));
    }

    pub fn failures(&self) -> u64 {
        self.failed.borrow().0
    }

    pub fn failed_since(&self, failures: u64) -> Option<Arc<DialError>> {
        let failed = self.failed.borrow();
        failed.1.clone().filter(|_| failed.0 > failures)
    }

    /// A request has left its place.
    pub(super) fn left(&self, connection: &Rc<Shared<B>>) {
        let closes = || connection.is_over() || !self.open.get() || self.yields();
        if connection.is_idle() && closes() {
            connection.end();
            let mut connections = self.connections.borrow_mut();
            connections.retain(|other| !Rc::ptr_eq(other, connection));
        }
        if self.waiting.get() > 0 {
            self.wake.notify_one();
        }
    }

    /// Whether one that has become empty is given up for a worker that waits for room.
    fn yields(&self) -> bool {
        let yields = self.waiting.get() == 0 && self.seat.endpoint.connections.yields();
        if yields {
            self.seat.pool_shard().connections.reclaimed();
        }
        yields
    }

    /// Closes what is empty; `keep` says whether connections that become empty are kept from now on.
    pub fn keep_idle(&self, keep: bool) {
        self.open.set(keep);
        if !keep {
            self.close(|_| true);
        }
    }

    /// Lets no connection take another request.
    pub fn retire(&self) {
        for connection in self.connections.borrow().iter() {
            connection.retire();
        }
        self.close(|_| true);
    }

    /// Closes every connection, those that carry requests too.
    pub fn cut(&self) {
        for connection in self.connections.take() {
            connection.end();
        }
    }

    /// Closes what was empty too long, and what has been closed by the endpoint.
    pub fn sweep(&self, now: Instant, keep_alive: Duration) {
        let then = now.checked_sub(keep_alive);
        let open = self.open.get();
        self.close(|connection| {
            connection.is_over() || !open || then.is_some_and(|then| connection.is_idle_since(then))
        });
    }

    /// Closes those of the empty ones.
    fn close(&self, which: impl Fn(&Shared<B>) -> bool) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| keeps(connection, !which(connection)));
    }
}

/// Whether it stays: one that carries requests does in any case.
fn keeps<B: Payload>(connection: &Shared<B>, wanted: bool) -> bool {
    let stays = wanted || !connection.is_idle();
    if !stays {
        connection.end();
    }
    stays
}

/// A request that waits for a place.
pub struct Waiter<B: Payload>(Rc<Set<B>>);

impl<B: Payload> Drop for Waiter<B> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
        self.0.forget_unwanted();
    }
}
