use std::{convert::Infallible, rc::Rc, sync::Arc};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    Body, Kind, Proxy, Upload,
    attempts::Attempts,
    certified, door,
    error::ProxyError,
    faults::Aborted,
    forward::{in_time, pass_on, send},
    forwarded, head, headers, hops, mirror,
    note::{Note, Outcome},
    progress::{Progress, UploadState},
    queue::Asking,
    reply::{Form, reply},
    rules::Applied,
    tunnel::{self, Terms},
};
use crate::{
    pool::{PoolStats, Seat, ServiceStats},
    snapshot::{Rules, Snapshot},
    telemetry::{Injected, Rejection, shard::Source},
};

impl Proxy {
    /// The life of a request. No `async fn`: that would copy what it is given once more, when it is first polled.
    #[expect(
        clippy::inline_always,
        reason = "else all of the future, though hardly begun, is copied to where it lives"
    )]
    #[inline(always)]
    pub fn handle(
        self: Rc<Self>,
        mut request: Request<Incoming>,
        progress: Rc<Progress>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> {
        let began = Instant::now();
        progress.head_read(began);
        self.note(&request, &progress, began);
        let form = Form::preferred(request.headers());
        let connects = *request.method() == Method::CONNECT;
        if connects {
            tunnel::note_protocol(&mut request);
        }
        let mut ours = Some(request.map(|body| Upload::new(body, &progress)));
        async move {
            let mut answer = match self.answer(&mut ours, &progress, began).await {
                Ok(answer) => answer,
                Err(refused) if connects => {
                    self.refuse(refused.without_success(), form, &progress, began)
                }
                Err(refused) => self.refuse(refused, form, &progress, began),
            };
            // After this one the connection speaks another protocol, and ends as that one does.
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                conclude(&mut answer, &progress);
            }
            Ok(answer)
        }
    }

    /// `ours` is the request for as long as nothing of it was written. It stays in its place, and what is decided beside
    /// it: each is a few hundred bytes, which every function they were handed to would copy.
    async fn answer(
        &self,
        ours: &mut Option<Request<Upload>>,
        progress: &Rc<Progress>,
        began: Instant,
    ) -> Result<Response<Body>, Refused> {
        let client = &*progress.client;
        let request = ours.as_mut().ok_or(Kind::Malformed)?;
        let version = request.version();
        let fields = head::check(request, &client.rules())?;
        door::pass(request, client)?;
        if version == Version::HTTP_2 && keeps_its_body_secret(request) {
            // Apart, so that what a request is handled in does not grow by it.
            Box::pin(settle(request.body_mut(), progress)).await?;
        }
        let address = forwarded::client_address(request.headers(), client);
        tunnel::note_asked(request);
        headers::remove_hop_by_hop(request.headers_mut(), fields);
        mirror::believe(request.headers_mut(), fields, client);
        forwarded::write(request.headers_mut(), fields, client);
        certified::write(request.headers_mut(), fields, client);
        hops::pass(request, client, (version, fields))?;
        if let Some(sampled) = client.door.traceparent {
            self.trace(request, progress, sampled, began);
        }
        let notebook = &progress.notebook;
        notebook.add(|note| note.admitted(request.headers(), address));
        let asking = Asking::new(address, began, client.door.preview.get());
        let mut decision = self.decide_in_turn(request, &asking, None).await?;
        notebook.add(|note| note.rehearses(asking.rehearsal.reason()));
        self.budgets.asked(decision.service, began);
        let mut attempts = Attempts::new(request, &mut decision, asking);
        let sent = loop {
            let sent = send(&decision, ours, &mut attempts, progress).await;
            if let Some(helped) = attempts.end(&sent, decision.lease.seat(), progress) {
                self.budgets.learn(decision.service, helped, Instant::now());
            }
            decision = match sent {
                Ok(mut sent) => {
                    let status = sent.answer.status();
                    match self.instead_of(&mut sent, &decision, ours, &mut attempts, progress) {
                        Some(next) => {
                            notebook.add(|note| note.passed_over(status));
                            next
                        }
                        None => break sent,
                    }
                }
                // Apart, so that what a request is handled in does not grow by it.
                Err(error) => {
                    notebook.add(|note| note.failed(error.kind));
                    Box::pin(self.after(error, decision, ours, &mut attempts, progress)).await?
                }
            };
        };
        if Terms::begins(decision.terms.as_deref(), &sent.answer) {
            let endpoint = decision.lease.seat().clone();
            let switched = Box::pin(self.switch(sent, decision, progress, began)).await;
            if switched.is_err()
                && let Some(subject) = &mut attempts.subject
            {
                subject.did_not_switch(&endpoint);
            }
            return switched;
        }
        Ok(pass_on(sent, decision, &mut attempts, progress, began))
    }

    /// Begins an entry of the access log, where this request is to have one.
    fn note<B>(&self, request: &Request<B>, progress: &Progress, began: Instant) {
        if self.pen.borrow().wants(fastrand::u32(..)) {
            let note = Note::new(Some(&self.pen), request, progress.client.ip(), began);
            progress.notebook.put(note);
        }
    }

    /// The service of the endpoint that a refused request was meant for.
    fn service_of(&self, refused: &Refused) -> Option<Arc<ServiceStats>> {
        let name = &refused.seat.as_ref()?.endpoint.key.service;
        let stats = |snapshot: &Snapshot| Some(snapshot.service(name.as_str())?.stats.clone());
        self.reader.with(stats)
    }

    /// What a client is told: the page that its service has for it, or a few words.
    fn reply(
        &self,
        status: StatusCode,
        form: Form,
        service: Option<&ServiceStats>,
    ) -> Response<Body> {
        self.reader.with(|snapshot| {
            let name = service.map(|service| service.key.as_str());
            let service = name.and_then(|name| snapshot.service(name));
            let pages = service.map_or(&*snapshot.errors, |service| &service.plan.errors);
            reply(status, form, pages.find(status))
        })
    }

    /// The page for maintenance, where there is one.
    fn in_maintenance(
        &self,
        status: StatusCode,
        form: Form,
        service: &ServiceStats,
    ) -> Response<Body> {
        let answer = self.reader.with(|snapshot| {
            let service = snapshot.service(service.key.as_str())?;
            let page = service.plan.maintenance.page.as_ref()?;
            Some(reply(status, form, Some(page)))
        });
        answer.unwrap_or_else(|| self.reply(status, form, Some(service)))
    }

    /// What a refusal says, and what went wrong or was injected.
    fn told(
        &self,
        why: Why,
        form: Form,
        service: Option<&ServiceStats>,
        progress: &Progress,
    ) -> (Response<Body>, Option<Kind>, Option<Box<Aborted>>) {
        match why {
            Why::Own(answer) => (*answer, None, None),
            Why::Injected(aborted) => (
                self.reply(aborted.status, form, service),
                None,
                Some(aborted),
            ),
            Why::Error(error) => {
                tracing::debug!(?error, client = ?progress.client.ip(), "request refused");
                let kind = error.kind;
                let answer = match (kind, service) {
                    (Kind::Maintenance(status, _), Some(service)) => {
                        self.in_maintenance(status, form, service)
                    }
                    _ => self.reply(kind.status(), form, service),
                };
                (answer, Some(kind), None)
            }
        }
    }

    /// Our own answer to a request that no endpoint answered, counted for the pool it was meant for.
    fn refuse(
        &self,
        refused: Refused,
        form: Form,
        progress: &Progress,
        began: Instant,
    ) -> Response<Body> {
        let now = Instant::now();
        let service = refused
            .service
            .clone()
            .or_else(|| self.service_of(&refused));
        let (mut answer, kind, injected) =
            self.told(refused.why, form, service.as_deref(), progress);
        let status = match &injected {
            Some(aborted) => aborted.status,
            None => kind.map_or(answer.status(), Kind::status),
        };
        if let Some(seconds) = kind.and_then(Kind::retry_after) {
            answer
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(rules) = &refused.rules {
            rules.to_answer(answer.headers_mut());
        }
        let shard = match &service {
            Some(service) => service.shard(self.worker),
            None => &self.shard,
        };
        let pool = refused.seat.as_ref().map(|seat| seat.pool_shard());
        let pool = injected
            .as_ref()
            .map(|aborted| aborted.pool.shard(self.worker))
            .or(pool);
        pool.unwrap_or(shard.unrouted())
            .answered(status, Source::Proxy, now - began);
        match kind.and_then(rejection) {
            Some(its) if Rejection::BY_A_SERVICE.contains(&its) => shard.rejected(its),
            Some(ours) => self.shard.rejected(ours),
            None => {}
        }
        if let Some(note) = progress.notebook.take() {
            note.write(&Outcome {
                status,
                source: Source::Proxy,
                seat: refused.seat.as_deref(),
                service: service.as_ref().map(|service| &service.key),
                pool: injected.as_ref().map(|aborted| &aborted.pool.key.pool),
                bytes_in: progress.bytes_in(),
                bytes_out: 0,
                error: kind
                    .map(Kind::as_str)
                    .or(injected.as_ref().map(|_| Injected::Abort.reason())),
            });
        }
        progress.idle(now);
        if !progress.shares && kind.is_some_and(ends_connection) {
            announce_close(&mut answer);
        }
        answer
    }
}

/// A request that no endpoint answered.
pub(super) struct Refused {
    pub why: Why,
    /// The endpoint it was meant for, where one had been chosen.
    pub seat: Option<Rc<Seat>>,
    /// The service that refused it.
    pub service: Option<Arc<ServiceStats>>,
    /// Of its route: they hold for our answer too.
    pub rules: Option<Box<Applied>>,
}

pub(super) enum Why {
    Error(ProxyError),
    /// Its route asks no endpoint, or its listener lets none be asked.
    Own(Box<Response<Body>>),
    /// A rehearsal asks none.
    Injected(Box<Aborted>),
}

impl From<ProxyError> for Refused {
    fn from(error: ProxyError) -> Self {
        Self {
            why: Why::Error(error),
            seat: None,
            service: None,
            rules: None,
        }
    }
}

impl From<Kind> for Refused {
    fn from(kind: Kind) -> Self {
        ProxyError::from(kind).into()
    }
}

impl Refused {
    /// The service does not do it, or has nobody to send it to.
    pub(super) fn of(kind: Kind, service: &Arc<ServiceStats>, rules: Option<&Arc<Rules>>) -> Self {
        Self {
            service: Some(service.clone()),
            rules: rules.map(|rules| Box::new(Applied::new(rules))),
            ..kind.into()
        }
    }

    /// The client asks for a tunnel, and would take any success for its beginning.
    fn without_success(mut self) -> Self {
        if let Why::Own(answer) = &self.why
            && answer.status().is_success()
        {
            self.why = Why::Error(Kind::UpgradeNotAllowed.into());
        }
        self
    }

    /// A rehearsal answers it.
    pub(super) fn aborted(
        status: StatusCode,
        service: &Arc<ServiceStats>,
        pool: &Arc<PoolStats>,
        rules: Option<Box<Applied>>,
    ) -> Self {
        let pool = pool.clone();
        Self {
            why: Why::Injected(Box::new(Aborted { status, pool })),
            seat: None,
            service: Some(service.clone()),
            rules,
        }
    }

    /// The listener answers it.
    pub(super) fn at_door(answer: Response<Body>) -> Self {
        Self {
            why: Why::Own(Box::new(answer)),
            seat: None,
            service: None,
            rules: None,
        }
    }

    /// The route refuses it.
    pub(super) fn on(kind: Kind, rules: &Arc<Rules>, service: Option<&Arc<ServiceStats>>) -> Self {
        Self {
            service: service.cloned(),
            rules: Some(Box::new(Applied::new(rules))),
            ..kind.into()
        }
    }

    /// The route answers it.
    pub(super) fn answered(answer: Response<Body>, rules: &Arc<Rules>) -> Self {
        Self {
            why: Why::Own(Box::new(answer)),
            seat: None,
            service: None,
            rules: Some(Box::new(Applied::new(rules))),
        }
    }
}

/// Whether only what follows tells if it has a body, where few have one and an app of HTTP/1.1 may not expect it.
fn keeps_its_body_secret(request: &Request<Upload>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.body().is_end_stream()
        && request.body().size_hint().exact().is_none()
        && request.extensions().get::<head::ForWebsocket>().is_none()
}

async fn settle(body: &mut Upload, progress: &Progress) -> Result<(), Kind> {
    match in_time(body.settle(), progress).await {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) => Err(Kind::ClientGone),
        None => Err(Kind::ClientSlow),
    }
}

/// What each answer is told at last, whoever gave it.
fn conclude(answer: &mut Response<Body>, progress: &Progress) {
    let client = &progress.client;
    door::instruct(answer, client);
    // An answer that overtakes the request's body ends the connection: the client must not send its next request on it.
    // One that streams share is told by itself.
    if !progress.shares && (client.door.closing.get() || progress.upload() != UploadState::Done) {
        announce_close(answer);
    }
}

fn announce_close(answer: &mut Response<Body>) {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
}

/// Whether what the client sends next may not be what it says it is, or would be waited for in vain.
fn ends_connection(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Malformed
            | Kind::UnsupportedCoding
            | Kind::TooManyHeaders
            | Kind::BodyTooLarge
            | Kind::ClientSlow
    )
}

/// The reason to count where a request is refused before an endpoint has seen it.
fn rejection(kind: Kind) -> Option<Rejection> {
    match kind {
        Kind::Malformed => Some(Rejection::Malformed),
        Kind::UnsupportedCoding => Some(Rejection::UnsupportedCoding),
        Kind::NoRoute => Some(Rejection::NoRoute),
        Kind::Forbidden => Some(Rejection::Forbidden),
        Kind::RateLimited(_) => Some(Rejection::RateLimited),
        Kind::Misdirected => Some(Rejection::Misdirected),
        Kind::Loop => Some(Rejection::Loop),
        Kind::MethodNotAllowed => Some(Rejection::MethodNotAllowed),
        Kind::TooManyHeaders => Some(Rejection::HeadTooLarge),
        Kind::NoEndpoint => Some(Rejection::NoEndpoint),
        Kind::QueueFull => Some(Rejection::QueueFull),
        Kind::QueueTimeout => Some(Rejection::QueueTimeout),
        Kind::HoldFull(_) => Some(Rejection::HoldFull),
        Kind::Maintenance(..) => Some(Rejection::Maintenance),
        Kind::Shortage => Some(Rejection::Shortage),
        Kind::ConnectionsFull => Some(Rejection::ConnectionsFull),
        Kind::BodyTooLarge => Some(Rejection::BodyTooLarge),
        _ => None,
    }
}
