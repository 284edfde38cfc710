use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use tokio::time::Instant;

use super::forwarded;
use crate::{
    pool::Seat,
    telemetry::{
        access_log::{Entry, Pen},
        shard::Source,
    },
    units::{Name, Timestamp},
};

/// What the access log will say of a request that is to be logged. Kept beside the request, so that one that is not
/// logged pays nothing.
pub(super) struct Note {
    pen: Rc<RefCell<Pen>>,
    at: Timestamp,
    began: Instant,
    client: IpAddr,
    method: Method,
    target: Uri,
    host: Option<HeaderValue>,
    id: Option<HeaderValue>,
    attempts: u8,
    sent: Option<Instant>,
    endpoint_duration: Option<Duration>,
}

/// How it ended.
pub(super) struct Outcome<'a> {
    pub status: StatusCode,
    pub source: Source,
    pub seat: Option<&'a Seat>,
    /// Where no endpoint was chosen.
    pub service: Option<&'a Name>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub error: Option<&'a str>,
}

impl Note {
    pub(super) fn new<B>(
        pen: &Rc<RefCell<Pen>>,
        request: &Request<B>,
        client: IpAddr,
        began: Instant,
    ) -> Box<Self> {
        Box::new(Self {
            pen: pen.clone(),
            at: Timestamp::now(),
            began,
            client,
            method: request.method().clone(),
            target: request.uri().clone(),
            host: request.headers().get(header::HOST).cloned(),
            id: None,
            attempts: 0,
            sent: None,
            endpoint_duration: None,
        })
    }

    /// What was found out of the request when it was admitted.
    pub(super) fn admitted(&mut self, headers: &HeaderMap, client: IpAddr) {
        self.client = client;
        self.host = headers.get(header::HOST).cloned();
        self.id = headers.get(forwarded::REQUEST_ID).cloned();
    }

    /// It goes to an endpoint.
    pub(super) fn sent(&mut self, now: Instant) {
        self.attempts = self.attempts.saturating_add(1);
        self.sent = Some(now);
    }

    /// The endpoint's answer has begun.
    pub(super) fn answered(&mut self) {
        self.endpoint_duration = self.sent.map(|sent| sent.elapsed());
    }

    /// Lets go of the buffer that the request's head was read into, for a note that is kept long.
    pub(super) fn detach(&mut self) {
        let copied = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
        self.host = self.host.as_ref().and_then(copied);
        self.id = self.id.as_ref().and_then(copied);
        // A target that was read once is read again.
        self.target = self.target.to_string().parse().unwrap_or_default();
    }

    pub(super) fn write(&self, outcome: &Outcome<'_>) {
        let endpoint = outcome.seat.map(|seat| &seat.endpoint.key);
        self.pen.borrow_mut().write(&Entry {
            at: self.at,
            client: self.client,
            method: self.method.as_str(),
            host: self.host.as_ref().map_or(b"", HeaderValue::as_bytes),
            path: self
                .target
                .path_and_query()
                .map_or("", http::uri::PathAndQuery::as_str),
            status: outcome.status.as_u16(),
            source: outcome.source,
            service: endpoint
                .map(|key| &key.service)
                .or(outcome.service)
                .map(Name::as_str),
            pool: endpoint.map(|key| key.pool.as_str()),
            endpoint: endpoint.map(|key| &key.address),
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            duration: self.began.elapsed(),
            endpoint_duration: self.endpoint_duration,
            request_id: self.id.as_ref().map_or(b"", HeaderValue::as_bytes),
            error: outcome.error,
            attempts: self.attempts,
        });
    }
}

/// The note of a connection's request in progress.
#[derive(Default)]
pub(super) struct Notebook(Cell<Option<Box<Note>>>);

impl Notebook {
    pub(super) fn put(&self, note: Box<Note>) {
        self.0.set(Some(note));
    }

    pub(super) fn take(&self) -> Option<Box<Note>> {
        self.0.take()
    }

    /// Adds to the note, if there is one.
    pub(super) fn add(&self, what: impl FnOnce(&mut Note)) {
        if let Some(mut note) = self.0.take() {
            what(&mut note);
            self.0.set(Some(note));
        }
    }
}
