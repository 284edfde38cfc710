use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Connection, Own, Payload, Stream,
    connection::{Single, Way},
    dial::{DialError, dial, dial_with},
    h1::Wire,
    h2::{Set, Shared},
    room::{Counted, Errand},
};
use crate::{
    pool::{Recalls, Seat, Transport},
    units::{Preamble, PreambleVersion, Protocol, Timeouts},
};

/// Idle connections one worker keeps to one endpoint. As many as were in use at once, up to this: what is above it
/// costs a connect at the next peak, not a failure.
const IDLE_CAP: usize = 1024;

/// One worker's way to one endpoint: its seat there, its idle set, and the connections that requests share. `B` is the body
/// of the requests it carries.
pub struct Line<B: Payload> {
    pub(super) seat: Rc<Seat>,
    pub(super) recalls: Recalls,
    /// How many connections there may be over all workers.
    pub(super) most: Cell<Option<u32>>,
    /// How many wait for room for another.
    pub(super) held_back: Cell<usize>,
    transport: RefCell<Arc<Transport>>,
    protocol: Cell<Protocol>,
    preamble: Cell<Option<PreambleVersion>>,
    /// Grows when the transport changes.
    era: Cell<u32>,
    /// Oldest first; taken from the end.
    pub(super) idle: RefCell<Vec<Parked<B>>>,
    pub(super) shared: Rc<Set<B>>,
    /// Whether a connection that has become free is kept.
    open: Cell<bool>,
    keep_alive: Cell<Duration>,
    /// Its connections of HTTP/1.1, those that have ended included until the next sweep.
    wires: RefCell<Vec<Weak<Wire<B>>>>,
    /// Told when something comes on one that is parked.
    news: Arc<Notify>,
    /// Closes it then.
    keeper: RefCell<Option<AbortHandle>>,
}

/// A connection that is waiting for a request.
pub(super) struct Parked<B: Payload> {
    pub(super) single: Single<B>,
    since: Instant,
}

impl<B: Payload> Parked<B> {
    /// Whether it can carry another.
    fn is_fit(&self, now: Instant, keep_alive: Duration) -> bool {
        self.is_open(false) && now.saturating_duration_since(self.since) < keep_alive
    }

    /// Whether the endpoint has neither closed it nor sent what nobody has asked for.
    pub(super) fn is_open(&self, surely: bool) -> bool {
        self.single.wire.is_quiet(surely)
    }
}

/// The client that a connection is opened for, where the endpoint is told.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// No two clients of a worker have the same.
    pub id: u64,
    pub preamble: Preamble,
}

/// What an endpoint was found to speak.
enum Opened<B: Payload> {
    Single(Single<B>),
    Shared(Rc<Shared<B>>),
}

impl<B: Payload> Line<B> {
    pub fn new(seat: Seat, transport: Arc<Transport>, recalls: Recalls) -> Rc<Self> {
        let seat = Rc::new(seat);
        Rc::new(Self {
            shared: Set::new(seat.clone()),
            seat,
            recalls,
            most: Cell::default(),
            held_back: Cell::default(),
            protocol: Cell::new(transport.protocol),
            preamble: Cell::new(transport.preamble),
            transport: RefCell::new(transport),
            era: Cell::default(),
            idle: RefCell::default(),
            open: Cell::new(true),
            keep_alive: Cell::new(Duration::MAX),
            wires: RefCell::default(),
            news: Arc::default(),
            keeper: RefCell::default(),
        })
    }

    pub fn seat(&self) -> &Rc<Seat> {
        &self.seat
    }

    /// Opens connections this way from now on. Those that were made another way end with what they carry.
    pub(super) fn go_by(&self, transport: &Arc<Transport>) {
        if Arc::ptr_eq(&self.transport.borrow(), transport) {
            return;
        }
        self.transport.replace(transport.clone());
        self.protocol.set(transport.protocol);
        self.preamble.set(transport.preamble);
        self.era.set(self.era.get().wrapping_add(1));
        self.idle.borrow_mut().clear();
        self.shared.retire();
        self.shared.chose_h1.set(false);
    }

    /// Whether the endpoint is told who the client is, so that connections are opened and taken for a [`Caller`].
    pub fn announces(&self) -> bool {
        self.preamble.get().is_some()
    }

    /// The connection that a caller's own request was last on, under the conditions of [`Line::take`].
    pub fn take_for(
        &self,
        caller: &Caller,
        now: Instant,
        keep_alive: Duration,
        surely: bool,
    ) -> Option<Connection<B>> {
        self.keep_alive.set(keep_alive);
        let mut idle = self.idle.borrow_mut();
        idle.retain(|parked| parked.is_fit(now, keep_alive));
        let own = idle
            .iter()
            .rposition(|parked| parked.single.caller == Some(caller.id))?;
        let parked = idle.remove(own);
        if surely && !parked.is_open(true) {
            return None;
        }
        Some(self.connection(Way::Single(parked.single), true))
    }

    /// A place on a connection that others share, or the connection parked last, if one is still open and younger than
    /// `keep_alive`. `surely`: the kernel is asked whether it is open, for what cannot be sent twice.
    pub fn take(&self, now: Instant, keep_alive: Duration, surely: bool) -> Option<Connection<B>> {
        self.keep_alive.set(keep_alive);
        if self.protocol.get() != Protocol::H1
            && let Some(place) = self.shared.take()
        {
            let reused = !place.is_first_use();
            return Some(self.connection(Way::Shared(place), reused));
        }
        let mut idle = self.idle.borrow_mut();
        while let Some(parked) = idle.pop() {
            if now.saturating_duration_since(parked.since) >= keep_alive {
                // All below it are older still.
                idle.clear();
            } else if parked.is_open(surely) {
                return Some(self.connection(Way::Single(parked.single), true));
            }
        }
        None
    }

    fn connection(&self, way: Way<B>, reused: bool) -> Connection<B> {
        Connection {
            way,
            reused,
            era: self.era.get(),
        }
    }

    /// Opens a new connection for a caller, and tells the endpoint who that is.
    pub async fn dial_for(
        &self,
        caller: &Caller,
        errand: Errand,
        timeouts: &Timeouts,
    ) -> Result<Connection<B>, DialError> {
        let room = self.room_for(errand, timeouts.connect).await?;
        let (stream, _) = Box::pin(self.announced(Some(caller), false, timeouts)).await?;
        let mut single = self.carry(stream, room);
        single.caller = Some(caller.id);
        Ok(self.connection(Way::Single(single), false))
    }

    /// A stream on which the caller is announced, where endpoints are told.
    async fn announced(
        &self,
        caller: Option<&Caller>,
        to_switch: bool,
        timeouts: &Timeouts,
    ) -> Result<(Stream, bool), DialError> {
        let transport = self.transport.borrow().clone();
        let tls = transport.tls.as_ref();
        let tls = tls.map(|tls| {
            if to_switch {
                &tls.to_switch
            } else {
                &tls.usual
            }
        });
        let preamble = transport.preamble.map(|version| {
            let preamble = caller.map_or(Preamble::OURS, |caller| caller.preamble);
            preamble.write(version)
        });
        let address = &self.seat.endpoint.key.address;
        dial_with(
            address,
            &preamble.unwrap_or_default(),
            tls,
            timeouts.connect,
        )
        .await
    }

    /// Opens a new connection, or waits for one that several share.
    pub async fn dial(
        self: &Rc<Self>,
        errand: Errand,
        timeouts: &Timeouts,
    ) -> Result<Connection<B>, DialError> {
        if self.protocol.get() == Protocol::H1 && self.transport.borrow().tls.is_none() {
            let room = self.room_for(errand, timeouts.connect).await?;
            let stream = dial(&self.seat.endpoint.key.address, timeouts.connect).await?;
            let single = self.carry(stream, room);
            return Ok(self.connection(Way::Single(single), false));
        }
        // Apart, so that what most requests are handled in does not grow by it.
        Box::pin(self.clone().join(errand, *timeouts)).await
    }

    /// Opens a new connection that may switch to another protocol. Until it does, and if it does not, it is one as any.
    pub async fn dial_to_switch(
        &self,
        caller: Option<&Caller>,
        timeouts: &Timeouts,
    ) -> Result<Connection<B>, DialError> {
        let room = self.room_for(Errand::Request, timeouts.connect).await?;
        let dialled = Box::pin(self.announced(caller, true, timeouts)).await?;
        let mut single = self.carry(dialled.0, room);
        single.may_switch = true;
        Ok(self.connection(Way::Single(single), false))
    }

    /// Speaks HTTP/1.1 over a stream.
    fn carry(&self, stream: Stream, room: Counted) -> Single<B> {
        let wire = Wire::new(Own::new(stream, room), &self.news);
        self.wires.borrow_mut().push(Rc::downgrade(&wire));
        Single {
            wire,
            may_switch: false,
            caller: None,
        }
    }

    /// A connection that has become free or that was opened for all who wait.
    async fn join(
        self: Rc<Self>,
        errand: Errand,
        timeouts: Timeouts,
    ) -> Result<Connection<B>, DialError> {
        let deadline = Instant::now() + timeouts.connect;
        let failures = self.shared.failures();
        let _waits = self.shared.wait();
        loop {
            let mut woken = pin!(self.shared.wake.notified());
            woken.as_mut().enable();
            if self.protocol.get() != Protocol::H1
                && let Some(connection) = self.take(Instant::now(), timeouts.keep_alive, true)
            {
                return Ok(connection);
            }
            if let Some(error) = self.shared.failed_since(failures) {
                return Err(DialError::Shared(error));
            }
            if self.protocol.get() == Protocol::H1 || self.shared.chose_h1.get() {
                // Each opens one of its own, which it needs for itself.
                let left = deadline.saturating_duration_since(Instant::now());
                let room = self.room_for(errand, left).await?;
                match self.open(room, &timeouts).await? {
                    Opened::Single(single) => {
                        return Ok(self.connection(Way::Single(single), false));
                    }
                    Opened::Shared(shared) => self.shared.add(shared),
                }
                continue;
            }
            if self.shared.wants_another(self.share()) {
                let room = self.room(errand);
                if room.is_none() && errand == Errand::Copy {
                    return Err(DialError::Full);
                }
                self.begin(room, timeouts);
            }
            if timeout_at(deadline, woken).await.is_err() {
                return Err(if self.is_held_back() {
                    DialError::Full
                } else {
                    DialError::Timeout
                });
            }
        }
    }

    /// Opens a connection for all who wait, in a task that does not end with any of them. Where there is no room it waits for some.
    fn begin(self: &Rc<Self>, room: Option<Counted>, timeouts: Timeouts) {
        self.shared.begins_opening();
        let (line, era) = (self.clone(), self.era.get());
        tokio::task::spawn_local(async move {
            let room = match room {
                Some(room) => Ok(room),
                None => line.room_for(Errand::Request, timeouts.connect).await,
            };
            let opened = match room {
                Ok(room) => line.open(room, &timeouts).await,
                Err(full) => Err(full),
            };
            let current = line.era.get() == era;
            match opened {
                // Made in a way that does not hold any more.
                Ok(_) if !current => {}
                Ok(Opened::Shared(shared)) => line.shared.add(shared),
                Ok(Opened::Single(single)) => {
                    line.shared.chose_h1.set(true);
                    line.keep(single, Instant::now());
                }
                Err(error) => line.shared.fail(error),
            }
            line.shared.has_opened();
        });
    }

    async fn open(&self, room: Counted, timeouts: &Timeouts) -> Result<Opened<B>, DialError> {
        let (protocol, safe) = (self.protocol.get(), self.transport.borrow().tls.is_some());
        let opening = async {
            let (stream, agreed) = self.announced(None, false, timeouts).await?;
            let h2 = match protocol {
                Protocol::H1 => false,
                Protocol::Auto => agreed,
                Protocol::H2 if safe && !agreed => {
                    let why = "the endpoint did not choose HTTP/2 in the handshake of TLS (ALPN)";
                    return Err(DialError::Protocol(why.into()));
                }
                Protocol::H2 => true,
            };
            if !h2 {
                return Ok(Opened::Single(self.carry(stream, room)));
            }
            // Half of the time that a client would wait, so that there is time left to try again.
            let quiet = timeouts.response.max(timeouts.idle) / 2;
            Shared::open(stream, room, quiet).await.map(Opened::Shared)
        };
        let opened = timeout(timeouts.connect, opening).await;
        opened.unwrap_or(Err(DialError::Timeout))
    }

    /// Keeps a connection whose request and answer have ended for the next request.
    pub fn park(self: &Rc<Self>, connection: Connection<B>, now: Instant) {
        let era = connection.era;
        // A place that is shared is left by dropping it.
        if let Way::Single(single) = connection.way
            && era == self.era.get()
            && single.wire.rest()
        {
            self.keep(single, now);
        }
    }

    fn keep(self: &Rc<Self>, single: Single<B>, since: Instant) {
        if !self.open.get() || self.is_yielded() {
            return;
        }
        if self.keeper.borrow().is_none() {
            let keeping = tokio::task::spawn_local(look_after(Rc::downgrade(self)));
            self.keeper.replace(Some(keeping.abort_handle()));
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_CAP {
            idle.push(Parked { single, since });
        }
    }

    /// Closes what is parked; `keep` says whether connections that become free are parked from now on.
    pub(super) fn keep_idle(&self, keep: bool) {
        self.open.set(keep);
        self.shared.keep_idle(keep);
        if !keep {
            self.idle.borrow_mut().clear();
        }
    }

    /// Closes every connection, those that carry a request too.
    pub(super) fn cut(&self) {
        for wire in self.wires.take().iter().filter_map(Weak::upgrade) {
            wire.cut();
        }
        self.shared.cut();
    }

    /// Closes what was parked too long or has been closed by the endpoint.
    pub(super) fn sweep(&self, now: Instant) {
        let keep_alive = self.keep_alive.get();
        let mut idle = self.idle.borrow_mut();
        idle.retain(|parked| parked.is_fit(now, keep_alive));
        drop(idle);
        self.shared.sweep(now, keep_alive);
        self.wires
            .borrow_mut()
            .retain(|wire| wire.strong_count() > 0);
    }
}

/// Closes what is parked when its endpoint does, not only when it is to be used or was parked too long.
async fn look_after<B: Payload>(line: Weak<Line<B>>) {
    while let Some(news) = line.upgrade().map(|line| line.news.clone()) {
        news.notified().await;
        if let Some(line) = line.upgrade() {
            let mut idle = line.idle.borrow_mut();
            idle.retain(|parked| parked.is_open(false));
        }
    }
}

impl<B: Payload> Drop for Line<B> {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
    }
}
