//! The first attempt of a request that is divided between a stable pool and one on trial: what is counted of it, what is told of its
//! failure, and whether stable may answer in the candidate's place. Requests of services without a trial never come here.

use std::{net::IpAddr, rc::Rc};

use http::{Request, Response, StatusCode, header};
use http_body::Body as _;

use super::{
    Kind, Proxy, Upload,
    decide::Chosen,
    error::{Fault, ProxyError},
    forward::Answered,
    progress::{Progress, UploadState},
    queue::Asking,
};
use crate::{
    pool::{FaultEvent, FaultReport, Faults, Seat, Slot},
    routing::hash_ip,
    snapshot::Service,
    telemetry::TrialCounts,
    units::Arm,
};

/// How a request's pool was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It asked for it.
    Previewed,
    /// By chance, or by a key that its client has just been given.
    Drawn,
    /// By what its client has brought; the key, where that is a cookie of ours.
    Kept(Option<u64>),
}

/// To whom a request may go that has been sent before: while there is a trial, and where it is a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Bound {
    #[default]
    Free,
    /// It was stable's: it goes to no candidate.
    Stable,
    /// A candidate has failed it, and stable is to answer, or nobody.
    Rescue,
    /// A candidate may have run it, and it changes things: no other version gets it.
    Candidate,
    /// Its listener showed it this pool: it sees no other, whatever becomes of the weights meanwhile.
    Pool(Slot),
}

/// A request that belongs to an arm of a trial. Not boxed, and made of nothing that a good one need not have: that was a third of
/// what a trial cost a request (`cargo bench --bench trial`).
pub(super) struct Subject {
    trial: u64,
    /// The candidate's, in force when it was decided.
    share: f64,
    how: How,
    client: Option<IpAddr>,
    faults: Rc<Faults>,
    /// Stable may answer in the candidate's place, where its body is not larger.
    rescue: Option<u64>,
    arm: Arm,
    tunnel: bool,
    /// Another version may get what the candidate may have run.
    crosses: bool,
    /// Its pool is one arm, and what becomes of it is counted there.
    counted: bool,
    stage: Stage,
}

/// What has become of the first attempt.
enum Stage {
    /// Or well answered, so far.
    UnderWay,
    /// It has failed there.
    Failed(Rc<Seat>),
    /// And stable is asked instead.
    Rescued(Rc<Seat>),
}

impl Proxy {
    /// What a request is in the trial of its service, if it is in one. `tunnel`: it asks for one.
    pub(super) fn subject(
        &self,
        service: &Service,
        chosen: &Chosen,
        (request, tunnel): (&Request<Upload>, bool),
        asking: &Asking,
        seat: &Seat,
    ) -> Option<Subject> {
        let trial = service.trial.as_ref()?;
        let how = chosen.how;
        let arm = trial.arm_of(chosen.place, seat.endpoint.slot);
        let arm = arm.filter(|_| how != How::Previewed)?;
        let in_one_pool = !trial.batch().is_empty();
        let method = request.method();
        // Nobody answers in stable's place.
        let rule = trial.trial.rescue.as_ref();
        let rule = rule.filter(|_| arm == Arm::Candidate);
        let listed = rule.filter(|rule| rule.methods.iter().any(|one| one == method.as_str()));
        let again = service.plan.retries.attempts > 1 && !tunnel;
        let rescue = listed.filter(|_| again).map(|rule| rule.max_body);
        let rescue = rescue.filter(|most| {
            let body = request.body().size_hint();
            body.upper().unwrap_or(body.lower()) <= *most
        });
        Some(Subject {
            trial: trial.trial.id,
            share: trial.share,
            how,
            client: asking.client,
            faults: self.faults.clone(),
            rescue,
            arm,
            tunnel,
            crosses: listed.is_some() || method.is_safe() || in_one_pool,
            counted: !in_one_pool,
            stage: Stage::UnderWay,
        })
    }
}

impl Subject {
    /// It is about to be sent for the first time.
    pub(super) fn begin(&self, asking: &Asking, seat: &Seat) {
        if self.how == How::Drawn {
            self.count(seat, TrialCounts::assigned);
        }
        if self.arm == Arm::Stable {
            asking.bound.set(Bound::Stable);
        }
    }

    /// The first attempt has come to this. Whether it was the endpoint's doing: what a client or this machine made of it says nothing.
    pub(super) fn observe(
        &mut self,
        sent: &Result<Answered, ProxyError>,
        (endpoint, reused): (&Rc<Seat>, bool),
        progress: &Progress,
    ) -> bool {
        match sent {
            Ok(sent) if !sent.answer.status().is_server_error() => {
                self.count(endpoint, TrialCounts::requested);
                let status = sent.answer.status();
                let good = counts_latency(status);
                // Neither a handshake of TLS nor what a tunnel or a stream begins with says how fast the app works.
                let comparable = good && reused && !self.tunnel;
                if comparable
                    && progress.upload() == UploadState::Done
                    && !is_event_stream(&sent.answer)
                {
                    let took = progress.now().saturating_duration_since(progress.sent());
                    self.count(endpoint, |counts| counts.answered_in(took));
                }
            }
            Err(error) if error.fault != Fault::Endpoint => return false,
            _ => {
                self.count(endpoint, TrialCounts::requested);
                self.failed(endpoint);
            }
        }
        true
    }

    fn count(&self, seat: &Seat, add: impl FnOnce(&TrialCounts)) {
        if self.counted {
            add(&seat.pool_shard().trial);
        }
    }

    fn failed(&mut self, seat: &Rc<Seat>) {
        self.stage = Stage::Failed(seat.clone());
        self.count(seat, TrialCounts::failed);
        self.report(seat, FaultEvent::Failed);
    }

    fn felt(&self, seat: &Seat) {
        self.count(seat, TrialCounts::felt);
        self.report(seat, FaultEvent::Felt);
    }

    /// The largest body with which stable may answer in the candidate's place.
    pub(super) fn rescue(&self) -> Option<u64> {
        self.rescue
    }

    /// Stable is asked instead.
    pub(super) fn is_rescued(&mut self) {
        if let Stage::Failed(seat) = &self.stage {
            self.stage = Stage::Rescued(seat.clone());
        }
    }

    /// Its first attempt has failed, whoever is asked now.
    pub(super) fn has_failed(&self) -> bool {
        !matches!(self.stage, Stage::UnderWay)
    }

    /// Whether only the candidate may get it again, once that may have run it.
    pub(super) fn stays(&self) -> bool {
        self.arm == Arm::Candidate && !self.crosses
    }

    /// The client gets an answer. What is left may still fail: its body, if it is the first attempt's.
    pub(super) fn answered(self, status: StatusCode) -> Option<Self> {
        match &self.stage {
            Stage::UnderWay => return Some(self),
            Stage::Failed(seat) | Stage::Rescued(seat) if status.is_server_error() => {
                self.felt(seat);
            }
            Stage::Failed(_) => {}
            Stage::Rescued(seat) => {
                self.count(seat, TrialCounts::rescued);
                if !self.counted {
                    self.report(seat, FaultEvent::Rescued);
                }
            }
        }
        None
    }

    /// The client is refused.
    pub(super) fn refused(&self, kind: Kind) {
        if let Stage::Failed(seat) | Stage::Rescued(seat) = &self.stage
            && kind.fault() != Fault::Client
        {
            self.felt(seat);
        }
    }

    /// The endpoint has broken off what it had begun.
    pub(super) fn broke(&mut self, seat: &Rc<Seat>) {
        self.failed(seat);
        self.felt(seat);
    }

    /// The endpoint has agreed to a tunnel that came to nothing.
    pub(super) fn did_not_switch(&mut self, endpoint: &Rc<Seat>) {
        match &self.stage {
            Stage::UnderWay => self.broke(endpoint),
            Stage::Failed(seat) | Stage::Rescued(seat) => self.felt(seat),
        }
    }

    fn report(&self, seat: &Seat, event: FaultEvent) {
        let address = || self.client.map(|client| hash_ip(self.faults.seed, client));
        self.faults.report(FaultReport {
            trial: self.trial,
            pool: seat.pool.clone(),
            arm: self.arm,
            share: self.share,
            client: match self.how {
                How::Kept(Some(key)) => Some(key),
                _ => address(),
            },
            event,
        });
    }
}

/// Whether an answer says how fast the app works: one that refuses may have done little.
pub(super) fn counts_latency(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Whether the app answers at once and says what it has to say later.
pub(super) fn is_event_stream<B: http_body::Body>(answer: &Response<B>) -> bool {
    // A stream has no length.
    if answer.body().size_hint().exact().is_some() {
        return false;
    }
    let kind = answer.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| {
        let name = kind.as_bytes().get(..EVENT_STREAM.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(EVENT_STREAM))
    })
}

const EVENT_STREAM: &[u8] = b"text/event-stream";
