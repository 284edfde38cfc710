//! One conversation with an endpoint over a fresh connection, in whichever version of HTTP it speaks.

use std::{
    error::Error as _,
    fmt,
    future::Future,
    io,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::Executor,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::failure::{Failure, Reason};
use crate::{telemetry::Escaped, upstream::dial::Stream};

/// hyper's read buffer, which bounds the head of an answer.
const HEAD_LIMIT: usize = 64 * 1024;

/// What a question is sent by.
pub enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::H1(sender) => sender.send_request(request).await,
            Self::H2(sender) => sender.send_request(request).await,
        }
    }
}

/// Speaks over the stream until the conversation is over. Afterwards the connection has `courtesy` to end in order.
pub async fn talk<T, F: Future<Output = T>>(
    stream: Stream,
    h2: bool,
    courtesy: Duration,
    conversation: impl FnOnce(Sender) -> F,
) -> Result<T, Failure> {
    if !h2 {
        let mut builder = http1::Builder::new();
        let shaken = builder.max_buf_size(HEAD_LIMIT).handshake(stream).await;
        let (sender, connection) = shaken.map_err(|error| broken(&error))?;
        return Ok(beside(conversation(Sender::H1(sender)), connection).await);
    }
    let tasks = Tasks::default();
    let ended = EndOnDrop(tasks.clone());
    let shaken = http2::Builder::new(tasks.clone()).handshake(stream).await;
    let (sender, connection) = shaken.map_err(|error| broken(&error))?;
    let told = beside(conversation(Sender::H2(sender)), connection).await;
    let mut left = std::mem::take(&mut *tasks.lock());
    let _ = timeout_at(Instant::now() + courtesy, async {
        while left.join_next().await.is_some() {}
    })
    .await;
    drop(ended);
    Ok(told)
}

async fn beside<T>(
    conversation: impl Future<Output = T>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> T {
    let (mut conversation, mut connection) = (pin!(conversation), pin!(connection));
    tokio::select! {
        told = &mut conversation => told,
        // Everything it had to give has been handed over; its error, if any, reaches the conversation.
        _ = &mut connection => conversation.await,
    }
}

/// The tasks that a connection of HTTP/2 runs in. They end with the set.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn lock(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        self.lock().spawn(future);
    }
}

/// The tasks themselves hold the set.
struct EndOnDrop(Tasks);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.lock().abort_all();
    }
}

/// What is left of an answer.
pub struct Rest {
    pub bytes: Vec<u8>,
    /// Whether that was all of it.
    pub whole: bool,
    pub trailers: http::HeaderMap,
}

/// At most `limit` bytes of a body, and what stands after it.
pub async fn read(mut body: Incoming, limit: usize) -> Result<Rest, hyper::Error> {
    let mut rest = Rest {
        bytes: Vec::new(),
        whole: true,
        trailers: http::HeaderMap::new(),
    };
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                let room = limit - rest.bytes.len();
                rest.bytes.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    rest.whole = false;
                    break;
                }
            }
            Err(frame) => rest.trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(rest)
}

pub fn broken(error: &hyper::Error) -> Failure {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    if error.is_parse() || error.is_parse_too_large() {
        Failure::new(
            Reason::Malformed,
            format!("not an HTTP/1.1 answer: {}", plain(error)),
        )
    } else if let Some(cause) = cause {
        let detail = match cause.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "connection reset before the answer was complete".to_owned()
            }
            _ => format!("connection broken: {}", plain(cause)),
        };
        Failure::new(Reason::Reset, detail)
    } else if let Some(cause) = error.source() {
        // Of HTTP/2, which says what is wrong.
        Failure::new(Reason::Reset, format!("HTTP/2: {}", plain(&cause)))
    } else {
        Failure::new(
            Reason::Reset,
            "connection closed before the answer was complete",
        )
    }
}

pub fn plain(error: &impl fmt::Display) -> String {
    Escaped::new(&error.to_string(), 200).to_string()
}
