//! Spans: what workers know of requests whose traces are sampled, on its way to whoever exports it.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use crate::units::{EndpointKey, Name, Timestamp};

/// Requests that wait to be exported; more are dropped. At some KiB each, 10 MB at most.
const WAITING: usize = 4096;

/// A request with its answer, and within it every attempt at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace: u128,
    pub id: u64,
    /// Of the span that the client named; `None`: the trace began here.
    pub parent: Option<u64>,
    /// Of the trace, as they stand in `traceparent`.
    pub flags: u8,
    /// What `tracestate` said.
    pub state: String,
    pub began: Timestamp,
    pub duration: Duration,
    pub method: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Without the query, which may hold secrets.
    pub path: String,
    /// As the client named it, with the port.
    pub host: String,
    /// `None`: it has come by a Unix socket.
    pub client: Option<IpAddr>,
    /// The version of HTTP that the client spoke, such as `HTTP/1.1`.
    pub protocol: &'static str,
    /// `None`: nothing was answered.
    pub status: Option<u16>,
    pub service: Option<Name>,
    /// What went wrong, by kind.
    pub error: Option<&'static str>,
    pub attempts: Vec<Attempt>,
}

/// One endpoint that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub id: u64,
    pub endpoint: EndpointKey,
    /// Since the request's begin.
    pub began: Duration,
    pub duration: Duration,
    /// `None`: it gave no answer.
    pub status: Option<u16>,
    pub error: Option<&'static str>,
}

impl Span {
    /// How many spans it is to those who count them.
    pub fn count(&self) -> u64 {
        1 + self.attempts.len() as u64
    }
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct SpanCounts {
    pub exported: AtomicU64,
    /// The queue was full.
    pub dropped: AtomicU64,
    /// The collector could not be reached for too long, or did not take them.
    pub failed: AtomicU64,
}

/// The workers' end of the queue. Cheap to clone; every clone is the same queue.
#[derive(Clone)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    counts: Arc<SpanCounts>,
}

/// The exporter's end.
pub type Finished = mpsc::Receiver<Span>;

impl Spans {
    pub fn new() -> (Self, Finished) {
        let (queue, finished) = mpsc::channel(WAITING);
        let counts = Arc::default();
        (Self { queue, counts }, finished)
    }

    /// Never waits.
    pub fn hand(&self, span: Span) {
        let count = span.count();
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.fetch_add(count, Relaxed);
        }
    }

    pub fn counts(&self) -> Arc<SpanCounts> {
        self.counts.clone()
    }
}
