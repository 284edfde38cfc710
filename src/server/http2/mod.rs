//! HTTP/2 towards clients (RFC 9113).
//!
//! Owns the connection that streams share: its bounds, its age, and its end. Each stream is a request like any other, handled and
//! timed by itself, so that what one does or suffers is no other's affair.

mod streams;
mod tunnel;
mod wire;

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use http::{Method, Request};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;

use self::{
    streams::{Executor, Streams},
    wire::{Outlet, Wire},
};
use super::{
    connection::{Patience, part},
    stream::Stream,
};
use crate::{
    proxy::{Client, Clock, Progress, Proxy},
    telemetry::Rejection,
};

/// Streams that a client may have open at once on a connection, as many as nginx allows.
const STREAMS: u32 = 128;

/// What a client may send before the endpoint has taken it: on one stream, and on all of a connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// What is kept of one stream's answer while the client takes nothing.
const SEND_BUFFER: usize = 32 << 10;

/// The least that is allowed of a request's header list, as it is counted there (RFC 9113 §6.5.2): 32 bytes more for each field.
const HEADER_LIST: u32 = 64 << 10;

/// A client that is silent for so long is asked whether it is there, and has so long to answer.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

/// How long a client may take to close a connection on which nothing is open any more.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much of its age a connection may end earlier or later, so that those of one moment do not all come back at one.
const JITTER: f64 = 0.1;

/// Serves the streams of one connection to its end; `early` was read already.
pub(super) async fn serve(
    stream: Stream,
    early: Bytes,
    client: Rc<Client>,
    proxy: Rc<Proxy>,
    clock: Rc<Clock>,
    header_bytes: usize,
) {
    let wire = Wire::new(stream, early);
    let outlet = wire.outlet();
    converse(wire, client, proxy, clock, header_bytes).await;
    if let Some(stream) = outlet.into_stream(FAREWELL).await {
        part(stream, Patience::SHORT).await;
    }
}

async fn converse(
    wire: Wire,
    client: Rc<Client>,
    proxy: Rc<Proxy>,
    clock: Rc<Clock>,
    header_bytes: usize,
) {
    let (streams, outlet) = (Streams::new(), wire.outlet());
    let service = service_fn({
        let (proxy, client, clock, streams) = (
            proxy.clone(),
            client.clone(),
            clock.clone(),
            streams.clone(),
        );
        move |mut request: Request<Incoming>| {
            let progress = Progress::of_stream(client.clone(), &clock);
            let connects = *request.method() == Method::CONNECT;
            let upgrade = connects.then(|| hyper::upgrade::on(&mut request));
            streams.announce(&progress, upgrade);
            // Apart, since what a stream's task holds is moved from hand to hand before it runs, and again when it has ended.
            let answer = Box::pin(proxy.clone().handle(request, progress.clone()));
            let streams = streams.clone();
            async move { Ok::<_, Infallible>(streams.hand(answer.await?, progress)) }
        }
    });
    let builder = builder(&streams, header_bytes);
    let mut connection = pin!(builder.serve_connection(wire, service));
    let door = &client.door;
    let mut told = pin!(door.closing.told());
    told.as_mut().enable();
    let mut life = Life::new(&client, &streams, &outlet);
    let alarm = clock.alarm();
    if door.closing.get() {
        life.leave();
        connection.as_mut().graceful_shutdown();
    }
    alarm.set(life.next());
    loop {
        tokio::select! {
            biased;
            ended = poll_fn(|context| drive(connection.as_mut(), &outlet, context)) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                    if is_malformed(&error) {
                        proxy.shard().rejected(Rejection::Malformed);
                    }
                }
                return;
            }
            () = &mut told, if life.told.is_none() => {
                life.leave();
                connection.as_mut().graceful_shutdown();
            }
            () = poll_fn(|context| alarm.poll(context)) => {
                if life.is_over() {
                    return;
                }
                if life.is_to_leave() {
                    life.leave();
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        alarm.set(life.next());
    }
}

/// Does what a connection has to do, and sends what it has written before it sleeps.
fn drive<C>(
    connection: Pin<&mut C>,
    outlet: &Outlet,
    context: &mut Context<'_>,
) -> Poll<hyper::Result<()>>
where
    C: Future<Output = hyper::Result<()>>,
{
    if let Poll::Ready(ended) = connection.poll(context) {
        return Poll::Ready(ended);
    }
    outlet.poll_broken(context).map(|error| {
        tracing::debug!(%error, "connection ended");
        Ok(())
    })
}

/// What a connection is bounded by.
fn builder(streams: &Rc<Streams>, header_bytes: usize) -> http2::Builder<Executor> {
    let list = u32::try_from(header_bytes).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(Executor(streams.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(list.max(HEADER_LIST))
        .enable_connect_protocol()
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}

/// How long a connection lasts.
struct Life<'a> {
    client: &'a Client,
    streams: &'a Streams,
    outlet: &'a Outlet,
    began: Instant,
    /// When it is to end whatever is asked on it.
    age: Option<Instant>,
    /// When the client was told that it may begin no more streams.
    told: Option<Instant>,
}

impl<'a> Life<'a> {
    fn new(client: &'a Client, streams: &'a Streams, outlet: &'a Outlet) -> Self {
        let began = Instant::now();
        let jitter = 1.0 + JITTER * (2.0 * fastrand::f64() - 1.0);
        let age = client.door.max_age;
        Self {
            client,
            streams,
            outlet,
            began,
            age: age.and_then(|age| began.checked_add(age.mul_f64(jitter))),
            told: None,
        }
    }

    fn leave(&mut self) {
        self.told = Some(Instant::now());
    }

    /// When nothing has been open for too long; nothing while something is.
    fn idle(&self) -> Option<Instant> {
        let door = &self.client.door;
        let since = self.streams.quiet_since()?;
        Some(match self.told {
            // What it asked for before it heard of it is still served, and what is kept of answers is still its own.
            Some(told) if self.streams.keeps() || self.outlet.keeps() => {
                since.max(told) + door.idle_timeout
            }
            Some(told) => since.max(told) + FAREWELL,
            None if self.streams.begun() > 0 => since + door.idle_timeout,
            // The first request is awaited as long as a head may take.
            None => self.began + door.header_timeout,
        })
    }

    /// When it is to be looked at again.
    fn next(&self) -> Instant {
        // While streams are open: now and then, since their ends wake nobody.
        let again = Instant::now()
            + match self.told {
                Some(_) => FAREWELL,
                None => self.client.door.idle_timeout,
            };
        let age = self.age.filter(|_| self.told.is_none());
        self.idle().into_iter().chain(age).fold(again, Instant::min)
    }

    fn is_to_leave(&self) -> bool {
        let now = Instant::now();
        let due = |moment: Instant| moment <= now;
        self.told.is_none() && (self.idle().is_some_and(due) || self.age.is_some_and(due))
    }

    /// It has been told to end, and nothing is open on it.
    fn is_over(&self) -> bool {
        self.told.is_some() && self.idle().is_some_and(|moment| moment <= Instant::now())
    }
}

/// Whether the client broke the protocol's rules.
fn is_malformed(error: &hyper::Error) -> bool {
    use std::error::Error as _;
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|error| {
        !error.is_remote()
            && !error.is_io()
            && error
                .reason()
                .is_some_and(|reason| reason != Reason::NO_ERROR)
    })
}
