use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, Release},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use tokio::{sync::oneshot, task::AbortHandle, time::Instant};

use super::{
    Switched,
    dial::{DialError, dial},
    switch::Switch,
};
use crate::pool::Seat;

/// Idle connections one worker keeps to one endpoint. As many as were in use at once, up to this: what is above it
/// costs a connect at the next peak, not a failure.
const IDLE_CAP: usize = 1024;

/// The most that is read from an endpoint at a time, and the most of an answer's head. hyper begins with 8 KiB and doubles
/// while reads fill the buffer, so only large bodies see it. CPU per request at 64 connections, medians of interleaved
/// rounds, at 64, 128, 256, 512 and 1024 KiB: 883, 753, 475, 510 and 551 us for 1 MiB; 36.1, 31.5 and 31.4 us for 64 KiB at
/// the first three. A body of just 64 KiB and its head no longer take two reads, and each read wakes the endpoint once.
const BUFFER: usize = 256 << 10;

/// One worker's way to one endpoint: its seat there and its idle set. `B` is the body of the requests it carries.
pub struct Line<B> {
    seat: Rc<Seat>,
    /// Oldest first; taken from the end.
    idle: RefCell<Vec<Parked<B>>>,
    /// Whether a connection that has become free is kept.
    open: Cell<bool>,
    keep_alive: Cell<Duration>,
    /// The tasks that drive its connections, those that have ended included until the next sweep.
    drivers: RefCell<Vec<AbortHandle>>,
}

/// A connection that is waiting for a request.
struct Parked<B> {
    connection: Connection<B>,
    since: Instant,
}

/// A connection that carries a request. Closed when it is dropped.
pub struct Connection<B> {
    sender: http1::SendRequest<B>,
    driver: AbortHandle,
    /// Of a connection that may switch protocols.
    switch: Option<Switch>,
    /// Has carried a request before, so the endpoint may have closed it in the meantime.
    pub reused: bool,
}

impl<B> Line<B>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub fn new(seat: Seat) -> Rc<Self> {
        Rc::new(Self {
            seat: Rc::new(seat),
            idle: RefCell::default(),
            open: Cell::new(true),
            keep_alive: Cell::new(Duration::MAX),
            drivers: RefCell::default(),
        })
    }

    pub fn seat(&self) -> &Rc<Seat> {
        &self.seat
    }

    /// The connection parked last, if one is still open and younger than `keep_alive`.
    pub fn take(&self, now: Instant, keep_alive: Duration) -> Option<Connection<B>> {
        self.keep_alive.set(keep_alive);
        let mut idle = self.idle.borrow_mut();
        while let Some(parked) = idle.pop() {
            if now.saturating_duration_since(parked.since) >= keep_alive {
                // All below it are older still.
                idle.clear();
            } else if parked.connection.sender.is_ready() {
                return Some(parked.connection);
            }
        }
        None
    }

    /// Opens a new connection.
    pub async fn dial(&self, timeout: Duration) -> Result<Connection<B>, DialError> {
        let stream = dial(&self.seat.endpoint.key.address, timeout).await?;
        let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(stream);
        let (sender, connection) = handshake.await.map_err(std::io::Error::other)?;
        let counted = Counted::new(self.seat.clone());
        // A task of its own, not driven by the request: it sees at once when the endpoint closes a parked connection,
        // and an upload goes on while a client does not read its answer. Driving it inline saved nothing at 1 KiB.
        let driver = tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(endpoint = %counted.0.endpoint.key, %error, "connection ended");
            }
            drop(counted);
        });
        let driver = driver.abort_handle();
        self.drivers.borrow_mut().push(driver.clone());
        Ok(Connection {
            sender,
            driver,
            switch: None,
            reused: false,
        })
    }

    /// Opens a new connection that may switch to another protocol. Until it does, and if it does not, it is one as any.
    pub async fn dial_to_switch(&self, timeout: Duration) -> Result<Connection<B>, DialError> {
        let stream = dial(&self.seat.endpoint.key.address, timeout).await?;
        let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(stream);
        let (sender, connection) = handshake.await.map_err(std::io::Error::other)?;
        let counted = Counted::new(self.seat.clone());
        let (hand_over, switch) = oneshot::channel();
        let driver = tokio::task::spawn_local(async move {
            match connection.without_shutdown().await {
                // Nobody takes it unless the endpoint has switched.
                Ok(parts) => drop(hand_over.send(Switched {
                    stream: parts.io,
                    early: parts.read_buf,
                    counted,
                })),
                Err(error) => {
                    tracing::debug!(endpoint = %counted.0.endpoint.key, %error, "connection ended");
                }
            }
        });
        let driver = driver.abort_handle();
        self.drivers.borrow_mut().push(driver.clone());
        Ok(Connection {
            sender,
            driver,
            switch: Some(switch),
            reused: false,
        })
    }

    /// Keeps a connection whose request and answer have ended for the next request.
    pub fn park(self: &Rc<Self>, mut connection: Connection<B>, now: Instant) {
        connection.reused = true;
        if connection.sender.is_ready() {
            self.keep(connection, now);
        } else if self.open.get() && !connection.sender.is_closed() {
            // Its task has not run since.
            let line = self.clone();
            tokio::task::spawn_local(async move {
                if connection.sender.ready().await.is_ok() {
                    line.keep(connection, Instant::now());
                }
            });
        }
    }

    fn keep(&self, connection: Connection<B>, since: Instant) {
        let mut idle = self.idle.borrow_mut();
        if self.open.get() && idle.len() < IDLE_CAP {
            idle.push(Parked { connection, since });
        }
    }

    /// Closes what is parked; `keep` says whether connections that become free are parked from now on.
    pub(super) fn keep_idle(&self, keep: bool) {
        self.open.set(keep);
        if !keep {
            self.idle.borrow_mut().clear();
        }
    }

    /// Closes every connection, those that carry a request too.
    pub(super) fn cut(&self) {
        for driver in self.drivers.take() {
            driver.abort();
        }
    }

    /// Closes what was parked too long or has been closed by the endpoint.
    pub(super) fn sweep(&self, now: Instant) {
        let keep_alive = self.keep_alive.get();
        self.idle.borrow_mut().retain(|parked| {
            parked.connection.sender.is_ready()
                && now.saturating_duration_since(parked.since) < keep_alive
        });
        self.drivers
            .borrow_mut()
            .retain(|driver| !driver.is_finished());
    }
}

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + 'static,
{
    /// Sends a request. An error that gives the request back says that nothing of it was written.
    pub fn send(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + use<B> {
        self.sender.try_send_request(request)
    }

    /// What is left of it once the endpoint has answered 101; `None` where it broke, or was not dialled for that.
    pub async fn switched(mut self) -> Option<Switched> {
        self.switch.take()?.await.ok()
    }
}

/// Closed at once: to let it end in order would wait for an endpoint that takes nothing.
impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Counts a connection as open until its task has ended, which is when its socket is closed.
pub struct Counted(Rc<Seat>);

impl Counted {
    fn new(seat: Rc<Seat>) -> Self {
        change(&seat.shard().connections, 1);
        Self(seat)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        change(&self.0.shard().connections, -1);
    }
}

/// This thread alone writes the counter. Released, so that whoever sees the count has seen what came before.
fn change(counter: &AtomicU64, by: i64) {
    counter.store(counter.load(Relaxed).wrapping_add_signed(by), Release);
}
