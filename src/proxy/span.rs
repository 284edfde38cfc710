use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request};
use tokio::time::Instant;

use super::{
    Proxy,
    note::{Note, Outcome},
    progress::Progress,
    trace::{self, Parent},
};
use crate::{
    pool::Seat,
    telemetry::{
        shard::Source,
        span::{Attempt, Span, Spans},
    },
    units::Percent,
};

/// What of a `tracestate` is kept at most: what the recommendation asks everybody to carry (§3.3.1.5).
const STATE_LIMIT: usize = 512;
/// Of what a client chose, no more is exported (bytes).
const PATH_LIMIT: usize = 2048;
const HOST_LIMIT: usize = 255;
const METHOD_LIMIT: usize = 32;

/// A span that is being made of a request. Those whose traces are not sampled have none, and pay nothing.
pub(super) struct Draft {
    spans: Spans,
    parent: Parent,
    /// The trace began with this request.
    root: bool,
    id: u64,
    state: String,
    scheme: &'static str,
    began: Instant,
    attempts: Vec<Attempt>,
    /// The last of them is under way.
    open: bool,
}

impl Proxy {
    /// Passes the trace on or starts one, and begins a span where it is sampled and somebody takes spans.
    pub(super) fn trace<B>(
        &self,
        request: &mut Request<B>,
        progress: &Progress,
        sampled: Percent,
        began: Instant,
    ) {
        let sampled = fastrand::u32(..1_000_000) < sampled.millionths();
        let random = (fastrand::u128(..), fastrand::u64(..));
        let headers = request.headers_mut();
        let root = trace::pass_or_start(headers, sampled, random);
        let Some(spans) = self.spans.as_ref().filter(|_| cfg!(feature = "otlp")) else {
            return;
        };
        let Some(parent) = trace::sampled(headers) else {
            return;
        };
        let draft = Draft {
            spans: spans.clone(),
            parent,
            root,
            // What was started is this span itself.
            id: if root { parent.span } else { new_id() },
            state: trace::state(headers, STATE_LIMIT),
            scheme: progress.client.scheme(),
            began,
            attempts: Vec::new(),
            open: false,
        };
        let note = progress.notebook.take();
        let note = note.unwrap_or_else(|| Note::new(None, request, progress.client.ip(), began));
        progress.notebook.put(note.traced(draft));
    }
}

impl Draft {
    /// It is to go to this endpoint, which is told whose child its work is.
    pub(super) fn tries(&mut self, seat: &Seat, headers: &mut HeaderMap) {
        let id = new_id();
        self.attempts.push(Attempt {
            id,
            endpoint: seat.endpoint.key.clone(),
            began: self.began.elapsed(),
            duration: Duration::ZERO,
            status: None,
            error: None,
        });
        self.open = true;
        trace::name_parent(headers, self.parent, id);
    }

    /// The last attempt is over.
    pub(super) fn tried(&mut self, status: Option<u16>, error: Option<&'static str>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.duration = self.began.elapsed().saturating_sub(attempt.began);
            (attempt.status, attempt.error) = (status, error);
        }
    }

    /// Hands the span to whoever exports it.
    pub(super) fn end(mut self, note: &Note, outcome: &Outcome<'_>) {
        let status = outcome.status.as_u16();
        let of_endpoint = outcome.source == Source::Endpoint;
        self.tried(of_endpoint.then_some(status), outcome.error);
        let endpoint = outcome.seat.map(|seat| &seat.endpoint.key.service);
        self.spans.hand(Span {
            trace: self.parent.trace,
            id: self.id,
            parent: (!self.root).then_some(self.parent.span),
            flags: self.parent.flags,
            state: self.state,
            began: note.at(),
            duration: self.began.elapsed(),
            method: cut(note.method().as_str(), METHOD_LIMIT),
            scheme: self.scheme,
            path: cut(note.target().path(), PATH_LIMIT),
            host: cut(note.host().map_or("", text), HOST_LIMIT),
            client: note.client(),
            protocol: note.protocol(),
            status: outcome.is_answered().then_some(status),
            service: endpoint.or(outcome.service).cloned(),
            error: outcome.error,
            attempts: self.attempts,
        });
    }
}

/// Zeros alone are no id.
fn new_id() -> u64 {
    fastrand::u64(1..)
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("")
}

fn cut(text: &str, limit: usize) -> String {
    text[..text.floor_char_boundary(limit)].to_owned()
}
