use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
    rt::Executor,
};
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;

use super::{Set, head, tasks::Tasks};
use crate::{
    units::Address,
    upstream::{DialError, Payload, Stream, room::Counted, watched::Watched},
};

/// Requests on one connection at a time, however many the endpoint would take: more of them wait for one another on one
/// stream of TCP.
const MOST_STREAMS: usize = 128;

/// What an endpoint may send of one answer before its client has taken any: a millisecond's worth at 2 Gbit/s. It bounds what
/// a slow client costs in memory.
const STREAM_WINDOW: u32 = 256 << 10;

/// As much as all streams may hold, so that slow clients never keep the answers of others waiting.
#[allow(clippy::cast_possible_truncation, reason = "128 fits")]
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MOST_STREAMS as u32;

/// The most of an upload that waits for the endpoint to take it.
const SEND_BUFFER: usize = 256 << 10;

/// The most of an answer's head.
const HEAD: u32 = 64 << 10;

/// A ping that is not answered for so long, or for half of the silence before it, has found a dead connection.
const LONGEST_PING: Duration = Duration::from_secs(10);

type Link<B> = http2::Connection<Watched, B, Tasks>;

/// A connection that requests share.
pub struct Shared<B: Payload> {
    sender: RefCell<http2::SendRequest<B>>,
    /// Drives it; `None` once it takes no requests any more.
    link: Rc<RefCell<Option<Link<B>>>>,
    tasks: Tasks,
    secure: bool,
    streams: Cell<usize>,
    idle_since: Cell<Instant>,
    /// Carries what it carries to the end, and nothing new.
    retired: Cell<bool>,
    used: Cell<bool>,
}

impl<B: Payload> Shared<B> {
    /// Agrees with the endpoint on how to speak. Waits for its settings, so that it is known to speak HTTP/2, and how many
    /// requests it takes, before any of them depends on it. `quiet` is how long nothing may come before it is asked whether it
    /// is still there.
    pub async fn open(
        stream: Stream,
        counted: Counted,
        quiet: Duration,
    ) -> Result<Rc<Self>, DialError> {
        let tasks = Tasks::default();
        let mut abandoned = EndOnDrop(Some(tasks.clone()));
        let secure = stream.is_secure();
        let (watched, watch) = Watched::new(stream, counted);
        let shaken = builder(&tasks, quiet).handshake::<_, B>(watched).await;
        let (sender, mut link) = shaken.map_err(|error| unfit(&error))?;
        poll_fn(|context| {
            // hyper does not say when the other end's settings have come.
            watch.wake_on_move(context);
            match Pin::new(&mut link).poll(context) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(unfit(&error))),
                Poll::Ready(Ok(())) => Poll::Ready(Err(DialError::Protocol(
                    "the endpoint ended the connection before it spoke HTTP/2".into(),
                ))),
                Poll::Pending if link.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        abandoned.0 = None;
        let link = Rc::new(RefCell::new(Some(link)));
        tasks.execute(drive(link.clone()));
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            link,
            tasks,
            secure,
            streams: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            retired: Cell::new(false),
            used: Cell::new(false),
        }))
    }

    /// How many requests it takes at a time.
    pub fn capacity(&self) -> usize {
        let link = self.link.try_borrow();
        let most = link.ok().and_then(|link| {
            let link = link.as_ref()?;
            Some(link.current_max_send_streams())
        });
        most.unwrap_or_default().min(MOST_STREAMS)
    }

    /// Whether the endpoint lets streams become another protocol's (RFC 8441 §3).
    fn may_switch(&self) -> bool {
        let link = self.link.try_borrow();
        link.is_ok_and(|link| {
            let link = link.as_ref();
            link.is_some_and(Link::is_extended_connect_protocol_enabled)
        })
    }

    pub fn has_room(&self) -> bool {
        !self.is_over() && self.streams.get() < self.capacity()
    }

    /// Whether it takes no requests any more.
    pub fn is_over(&self) -> bool {
        self.retired.get() || !self.sender.borrow().is_ready()
    }

    pub fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    pub fn is_idle_since(&self, then: Instant) -> bool {
        self.is_idle() && self.idle_since.get() <= then
    }

    pub fn retire(&self) {
        self.retired.set(true);
    }

    /// Closes it at once, whatever it carries: to let it end in order would wait for an endpoint that takes nothing.
    pub fn end(&self) {
        self.retire();
        self.tasks.end();
        // Hands back what was not sent.
        if let Ok(mut link) = self.link.try_borrow_mut() {
            drop(link.take());
        }
    }
}

/// Its tasks hold one another: they would go on until the endpoint lets go.
impl<B: Payload> Drop for Shared<B> {
    fn drop(&mut self) {
        self.end();
    }
}

fn builder(tasks: &Tasks, quiet: Duration) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks.clone());
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(0)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEAD)
        .keep_alive_interval(quiet)
        .keep_alive_timeout((quiet / 2).min(LONGEST_PING));
    builder
}

/// hyper lets go of requests that it has not sent only where this is dropped.
async fn drive<B: Payload>(link: Rc<RefCell<Option<Link<B>>>>) {
    let ended = poll_fn(|context| match &mut *link.borrow_mut() {
        Some(link) => Pin::new(link).poll(context),
        None => Poll::Ready(Ok(())),
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "connection ended");
    }
    drop(link.take());
}

/// What an endpoint does that does not speak HTTP/2, in words.
fn unfit(error: &hyper::Error) -> DialError {
    let why = std::error::Error::source(error);
    let why = why.map_or_else(|| error.to_string(), ToString::to_string);
    DialError::Protocol(format!("no HTTP/2 from the endpoint: {why}"))
}

struct EndOnDrop(Option<Tasks>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(tasks) = &self.0 {
            tasks.end();
        }
    }
}

/// One request's place on a connection that others share. What is left of the request ends with it.
pub struct Place<B: Payload> {
    connection: Rc<Shared<B>>,
    set: Rc<Set<B>>,
}

impl<B: Payload> Place<B> {
    pub fn new(connection: Rc<Shared<B>>, set: Rc<Set<B>>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self { connection, set }
    }

    /// Whether it carries its first request: the endpoint cannot have closed it in the meantime.
    pub fn is_first_use(&self) -> bool {
        !self.connection.used.replace(true)
    }

    /// Whether the endpoint can be asked to speak another protocol in it.
    pub fn may_switch(&self) -> bool {
        self.connection.may_switch()
    }

    pub fn send(
        &self,
        mut request: Request<B>,
        address: &Address,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + use<B> {
        head::write(&mut request, self.connection.secure, address);
        self.connection
            .sender
            .borrow_mut()
            .try_send_request(request)
    }

    /// Nothing more is sent on its connection.
    pub fn retire(&self) {
        self.connection.retire();
    }
}

impl<B: Payload> Drop for Place<B> {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.streams.set(connection.streams.get() - 1);
        if connection.is_idle() {
            connection.idle_since.set(Instant::now());
        }
        self.set.left(connection);
    }
}
