use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use tokio::time::Instant;

use super::{Kind, Proxy, forwarded, span::Draft};
use crate::{
    pool::Seat,
    telemetry::{
        Rejection,
        access_log::{Entry, Pen},
        shard::Source,
    },
    units::{Name, Timestamp},
};

/// What is logged where no answer was given, since nobody would have read it; nginx has made it customary.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What the access log will say of a request that is to be logged, and the span of one that is traced. Kept beside the request,
/// so that one that is neither pays nothing.
pub(super) struct Note {
    /// Where it is to be logged.
    pen: Option<Rc<RefCell<Pen>>>,
    /// Where its trace is sampled.
    span: Option<Box<Draft>>,
    at: Timestamp,
    began: Instant,
    client: Option<IpAddr>,
    method: Method,
    target: Uri,
    version: Version,
    host: Option<HeaderValue>,
    id: Option<HeaderValue>,
    /// The endpoint that it was meant for last.
    seat: Option<Rc<Seat>>,
    attempts: u8,
    /// What a rehearsal has done to it.
    rehearsal: Option<&'static str>,
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
    /// Likewise, where a pool was.
    pub pool: Option<&'a Name>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub error: Option<&'static str>,
}

impl Outcome<'_> {
    pub(super) fn is_answered(&self) -> bool {
        self.status.as_u16() != CLIENT_CLOSED_REQUEST
    }
}

impl Note {
    pub(super) fn new<B>(
        pen: Option<&Rc<RefCell<Pen>>>,
        request: &Request<B>,
        client: Option<IpAddr>,
        began: Instant,
    ) -> Box<Self> {
        Box::new(Self {
            pen: pen.cloned(),
            span: None,
            at: Timestamp::now(),
            began,
            client,
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
            host: request.headers().get(header::HOST).cloned(),
            id: None,
            seat: None,
            attempts: 0,
            rehearsal: None,
            sent: None,
            endpoint_duration: None,
        })
    }

    /// What was found out of the request when it was admitted.
    pub(super) fn admitted(&mut self, headers: &HeaderMap, client: Option<IpAddr>) {
        self.client = client;
        self.host = headers.get(header::HOST).cloned();
        self.id = headers.get(forwarded::REQUEST_ID).cloned();
    }

    /// A rehearsal has done this to it.
    pub(super) fn rehearses(&mut self, what: Option<&'static str>) {
        self.rehearsal = what;
    }

    /// The request's span is made, too.
    pub(super) fn traced(mut self: Box<Self>, span: Draft) -> Box<Self> {
        self.span = Some(Box::new(span));
        self
    }

    /// It is to go to this endpoint.
    pub(super) fn tries(&mut self, seat: &Rc<Seat>, headers: &mut HeaderMap) {
        if let Some(span) = &mut self.span {
            span.tries(seat, headers);
        }
        self.attempts = self.attempts.saturating_add(1);
        self.seat = Some(seat.clone());
    }

    /// That endpoint did not answer it.
    pub(super) fn failed(&mut self, why: Kind) {
        if let Some(span) = &mut self.span {
            span.tried(None, Some(why.as_str()));
        }
    }

    /// That endpoint's answer is not passed on.
    pub(super) fn passed_over(&mut self, status: StatusCode) {
        if let Some(span) = &mut self.span {
            span.tried(Some(status.as_u16()), None);
        }
    }

    /// It goes on its way there.
    pub(super) fn sent(&mut self, now: Instant) {
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

    /// Nobody waits for its answer any more.
    pub(super) fn abandoned(self: Box<Self>, bytes_in: u64) {
        let seat = self.seat.clone();
        self.write(&Outcome {
            status: StatusCode::from_u16(CLIENT_CLOSED_REQUEST).unwrap_or_default(),
            source: Source::Proxy,
            seat: seat.as_deref(),
            service: None,
            pool: None,
            bytes_in,
            bytes_out: 0,
            error: Some("abandoned"),
        });
    }

    /// It has ended like this.
    pub(super) fn write(mut self: Box<Self>, outcome: &Outcome<'_>) {
        if let Some(pen) = &self.pen {
            self.log(&mut pen.borrow_mut(), outcome);
        }
        if let Some(span) = self.span.take() {
            span.end(&self, outcome);
        }
    }

    fn log(&self, pen: &mut Pen, outcome: &Outcome<'_>) {
        let endpoint = outcome.seat.map(|seat| &seat.endpoint.key);
        pen.write(&Entry {
            at: self.at,
            client: self.client,
            method: self.method.as_str(),
            host: self.host.as_ref().map_or(b"", HeaderValue::as_bytes),
            path: self
                .target
                .path_and_query()
                .map_or("", http::uri::PathAndQuery::as_str),
            protocol: self.protocol(),
            status: outcome.status.as_u16(),
            source: outcome.source,
            service: endpoint
                .map(|key| &key.service)
                .or(outcome.service)
                .map(Name::as_str),
            pool: endpoint
                .map(|key| &key.pool)
                .or(outcome.pool)
                .map(Name::as_str),
            endpoint: endpoint.map(|key| &key.address),
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            duration: self.began.elapsed(),
            endpoint_duration: self.endpoint_duration,
            request_id: self.id.as_ref().map_or(b"", HeaderValue::as_bytes),
            error: outcome.error.or(self.rehearsal),
            attempts: self.attempts,
        });
    }
}

/// What is known of it, for its span.
impl Note {
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn target(&self) -> &Uri {
        &self.target
    }

    pub(super) fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    pub(super) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// As logs write it.
    pub(super) fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }
}

impl Proxy {
    /// Counts and logs a request that could not be read: nothing is known of it but who sent it, and what came is not to be
    /// trusted with a line.
    pub fn unread(&self, client: Option<IpAddr>, status: StatusCode, why: Rejection) {
        self.shard.rejected(why);
        self.shard
            .unrouted()
            .answered(status, Source::Proxy, Duration::ZERO);
        let mut pen = self.pen.borrow_mut();
        if !pen.wants(fastrand::u32(..)) {
            return;
        }
        pen.write(&Entry {
            at: Timestamp::now(),
            client,
            method: "",
            host: b"",
            path: "",
            protocol: "",
            status: status.as_u16(),
            source: Source::Proxy,
            service: None,
            pool: None,
            endpoint: None,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            endpoint_duration: None,
            request_id: b"",
            error: Some(match why {
                Rejection::HeadTimeout => "head-timeout",
                Rejection::HeadTooLarge => "head-too-large",
                _ => Kind::Malformed.as_str(),
            }),
            attempts: 0,
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
