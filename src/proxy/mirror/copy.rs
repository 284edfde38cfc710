use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use super::{Sample, Witness};
use crate::{
    pool::{Endpoint, Lease, Seat},
    proxy::{Client, Kind, Proxy, Upload, body::SIP, forward, forwarded, head, queue::Asking},
    routing::Head,
    snapshot::{Pool, Service},
    telemetry::Mirrored,
    units::{Mirror, Timeouts},
    upstream::{Caller, Connection, Content, DialError, Errand, Line},
};

/// Tells an app that nobody waits for its answer.
pub(in crate::proxy) const MARK: HeaderName = HeaderName::from_static("cutover-mirror");

/// A request's copy, yet to be made, and who gets it.
pub(in crate::proxy) struct Mirroring {
    mirror: Arc<Mirror>,
    line: Rc<Line<Upload>>,
    lease: Lease,
    timeouts: Timeouts,
    /// It is compared in a trial, too.
    sample: Option<Sample>,
    _under_way: UnderWay,
}

/// Counts a copy for as long as there is one.
struct UnderWay {
    seat: Rc<Seat>,
    /// Its worker's.
    copies: Rc<Cell<u64>>,
}

impl UnderWay {
    fn new(seat: &Rc<Seat>, copies: &Rc<Cell<u64>>) -> Self {
        seat.pool_shard().mirrored.begins();
        copies.set(copies.get() + 1);
        Self {
            seat: seat.clone(),
            copies: copies.clone(),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.seat.pool_shard().mirrored.ends();
        self.copies.set(self.copies.get() - 1);
    }
}

impl Proxy {
    /// Who gets a copy of a request that was decided for the pool `chosen`, if anybody does. Only of one that is safe to be run twice
    /// whatever it says (RFC 9110 §9.2.1), and that has no body.
    pub(in crate::proxy) fn mirror(
        &self,
        service: &Service,
        chosen: &Pool,
        head: &Head,
        request: &Request<Upload>,
        asking: &Asking,
    ) -> Option<Box<Mirroring>> {
        let mirror = service.mirror.as_ref()?;
        let safe = matches!(*head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let chosen_too = *chosen.name() == mirror.pool;
        if !safe
            || chosen_too
            || !request.body().is_end_stream()
            || !mirror.draws(fastrand::u64(..))
        {
            return None;
        }
        let pool = &service.pools[service.pool(mirror.pool.as_str())?];
        let counts = &pool.stats.shard(self.worker).mirrored;
        let under_way = pool.stats.shards().map(|shard| shard.mirrored.under_way());
        if under_way.sum::<u64>() >= mirror.most {
            counts.count(Mirrored::Skipped);
            return None;
        }
        let draw = self.draw(pool, &pool.ready, head, asking);
        let Some(endpoint) = pool.ready.pick(&draw, Endpoint::in_flight, &[]) else {
            counts.count(Mirrored::Nowhere);
            return None;
        };
        let line = self.line(service, pool, endpoint, true);
        Some(Box::new(Mirroring {
            mirror: mirror.clone(),
            lease: line.seat().claim(None),
            sample: service.copies().then(|| Sample::new(line.seat().clone())),
            _under_way: UnderWay::new(line.seat(), &self.copies),
            line,
            timeouts: service.plan.timeouts,
        }))
    }
}

impl Mirroring {
    /// Copies a request that is about to be sent, and sends the copy. What is returned is to see the request's own answer.
    pub(in crate::proxy) fn begin(
        self,
        request: &Request<Upload>,
        client: &Client,
    ) -> Option<Box<Witness>> {
        let copy = Copy {
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
            headers: marked(request.headers()),
            caller: self.line.announces().then(|| client.caller()),
        };
        let id = request.headers().get(forwarded::REQUEST_ID);
        let pair = Witness::pair(&self.mirror, self.line.seat(), id);
        let (own, other) = pair.unzip();
        tokio::task::spawn_local(self.send(copy, other));
        // Apart, so that what a request is handled in does not grow by it.
        own.map(Box::new)
    }

    async fn send(self, copy: Copy, witness: Option<Witness>) {
        let compares = witness.is_some();
        let answered = timeout(self.mirror.timeout, self.answer(copy, witness)).await;
        if let Some(sample) = &self.sample
            && answered.is_err()
        {
            sample.late();
        }
        if !compares {
            let whole = matches!(answered, Ok(Some(())));
            let outcome = if whole {
                Mirrored::Discarded
            } else {
                Mirrored::Failed
            };
            self.lease.seat().pool_shard().mirrored.count(outcome);
        }
    }

    /// The copy's answer, to its end or as far as it matters; `None` where it does not come to that.
    async fn answer(&self, copy: Copy, mut witness: Option<Witness>) -> Option<()> {
        let asked = self.ask(copy).await;
        if let Some(sample) = &self.sample {
            sample.answered(&asked);
        }
        let Asked {
            answer, connection, ..
        } = asked.ok()?;
        if let Some(witness) = &mut witness {
            witness.answered(answer.status(), answer.headers());
        }
        let mut body = answer.into_body();
        let whole = loop {
            let Some(frame) = body.frame().await else {
                break true;
            };
            let Ok(frame) = frame else {
                self.broke();
                return None;
            };
            if let Some(data) = frame.data_ref()
                && let Some(witness) = &mut witness
                && !witness.passed(data)
            {
                // The rest is not read: it ends with the connection.
                break false;
            }
        };
        if whole {
            // A stream that was reset without an error in the middle of the answer ends like one that is whole.
            if connection.is_shared() && !body.is_end_stream() {
                self.broke();
                return None;
            }
            self.line.park(connection, Instant::now());
        }
        if let Some(witness) = witness {
            witness.ended();
        }
        Some(())
    }

    /// The endpoint has broken off its answer.
    fn broke(&self) {
        if let Some(sample) = &self.sample {
            sample.broke();
        }
    }

    /// The head of the copy's answer. A parked connection that the endpoint has closed is nobody's failure.
    async fn ask(&self, copy: Copy) -> Result<Asked, Kind> {
        let address = &self.line.seat().endpoint.key.address;
        let mut afresh = false;
        loop {
            let opened = self.open(copy.caller.as_ref(), afresh).await;
            let connection = opened.map_err(|error| forward::dial_error(error).kind)?;
            connection.read_at_most(SIP);
            let sent = Instant::now();
            match connection.send(&mut Some(copy.request()), address).await {
                Ok(mut answer) => {
                    head::check_answer(&mut answer).map_err(|_| Kind::EndpointMalformed)?;
                    return Ok(Asked {
                        answer,
                        took: sent.elapsed(),
                        connection,
                    });
                }
                Err(_) if connection.reused && !afresh => afresh = true,
                Err(_) => return Err(Kind::EndpointBroke),
            }
            connection.retire();
        }
    }

    async fn open(
        &self,
        caller: Option<&Caller>,
        afresh: bool,
    ) -> Result<Connection<Upload>, DialError> {
        let (line, timeouts) = (&self.line, &self.timeouts);
        let (now, keep_alive) = (Instant::now(), timeouts.keep_alive);
        let parked = match caller {
            _ if afresh => None,
            Some(caller) => line.take_for(caller, now, keep_alive, false),
            None => line.take(now, keep_alive, false),
        };
        match (parked, caller) {
            (Some(parked), _) => Ok(parked),
            (None, Some(caller)) => line.dial_for(caller, Errand::Copy, timeouts).await,
            (None, None) => line.dial(Errand::Copy, timeouts).await,
        }
    }
}

/// The head of a copy's answer, and how long it took since the copy was written.
pub(super) struct Asked {
    pub answer: Response<Content<Upload>>,
    pub took: Duration,
    pub connection: Connection<Upload>,
}

/// What a request is copied of.
struct Copy {
    method: Method,
    target: Uri,
    version: Version,
    headers: HeaderMap,
    /// Where the endpoint is told who asks.
    caller: Option<Caller>,
}

impl Copy {
    fn request(&self) -> Request<Upload> {
        let mut request = Request::new(Upload::none());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn marked(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.insert(MARK, HeaderValue::from_static("1"));
    headers
}
