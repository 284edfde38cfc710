//! How often a request has been sent, to whom in vain, and whether it may be sent once more.

use std::{rc::Rc, time::Duration};

use http::{HeaderName, Method, Request};
use http_body::Body as _;

use super::{
    Kind, Upload,
    decide::Decision,
    error::{Fault, ProxyError, Resend},
    forward::Answered,
    mirror::Witness,
    progress::Progress,
    queue::Asking,
    trial::{Bound, Subject},
};
use crate::{
    pool::{AVOIDED, Seat, Slot},
    telemetry::Retry,
    units::{Retries, Timeouts},
};

/// A client's promise that a request with the same key is run once, however often it comes.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The attempts at one request.
pub(super) struct Attempts {
    /// Each attempt is decided on it.
    pub asking: Asking,
    /// How long it may wait while nobody is ready.
    patience: Option<Duration>,
    retries: Retries,
    /// It may be sent once more though an endpoint may have run it.
    repeatable: bool,
    /// Attempts that were begun.
    made: u32,
    /// The endpoints that have failed it.
    failed: [Slot; AVOIDED],
    failures: usize,
    /// For whose sake the attempt under way is made.
    instead_of: Option<Instead>,
    /// The connection of the last attempt had carried a request before.
    pub reused: bool,
    /// Sees the answer, where a copy's is compared with it.
    pub witness: Option<Box<Witness>>,
    /// The next attempt is to be on a new connection: one that was parked may be about to be closed, as the last one was.
    pub afresh: bool,
    /// What it is in a trial.
    pub subject: Option<Subject>,
}

/// Why an attempt is made that is not the first.
struct Instead {
    /// The endpoint of the one before.
    failed: Rc<Seat>,
    /// From the service's budget.
    paid: bool,
}

impl Attempts {
    pub(super) fn new(
        request: &Request<Upload>,
        decision: &mut Decision,
        mut asking: Asking,
    ) -> Self {
        // What its first attempt was it stays.
        asking.preview = decision.shown;
        if decision.shown {
            asking
                .bound
                .set(Bound::Pool(decision.lease.seat().pool.slot));
        }
        let subject = decision.subject.take();
        if let Some(subject) = &subject {
            subject.begin(&asking, decision.lease.seat());
        }
        let retries = decision.retries;
        let body = request.body().size_hint();
        let largest = body.upper().unwrap_or(body.lower());
        Self {
            asking,
            patience: decision.patience,
            repeatable: retries.attempts > 1
                && decision.terms.is_none()
                && is_idempotent(request)
                && largest <= retries.max_body,
            retries,
            made: 0,
            failed: [0; AVOIDED],
            failures: 0,
            instead_of: None,
            reused: false,
            witness: None,
            afresh: false,
            subject,
        }
    }

    pub(super) fn begin(&mut self) {
        self.made += 1;
    }

    /// The attempt that was begun last is over. Tells whether it has helped, where it was made from the budget.
    pub(super) fn end(
        &mut self,
        sent: &Result<Answered, ProxyError>,
        endpoint: &Rc<Seat>,
        progress: &Progress,
    ) -> Option<bool> {
        if self.made == 1
            && let Some(subject) = &mut self.subject
            && !subject.observe(sent, (endpoint, self.reused), progress)
        {
            self.subject = None;
        }
        let answer = sent.as_ref().ok().map(|sent| sent.answer.status());
        let instead = self.instead_of.take()?;
        let outcome = Retry::of(answer.is_some());
        instead.failed.pool_shard().retried(outcome);
        let fails = |status: http::StatusCode| self.retries.statuses.contains(status.as_u16());
        instead.paid.then(|| !answer.is_none_or(fails))
    }

    /// Whether one more may follow the attempt under way, though the endpoint may run the request.
    pub(super) fn may_repeat(&self) -> bool {
        self.repeatable && self.made < self.retries.attempts
    }

    /// The largest body with which stable may answer in a candidate's place, after this attempt of the candidate's.
    fn rescue(&self) -> Option<u64> {
        let subject = self.subject.as_ref().filter(|_| self.made == 1);
        subject.and_then(Subject::rescue)
    }

    /// Whether that may be, with what was sent of the body.
    pub(super) fn may_be_rescued(&self, sent: u64) -> bool {
        self.rescue().is_some_and(|most| sent <= most)
    }

    /// Whether the request is kept, in case it is to be sent again.
    pub(super) fn is_kept(&self) -> bool {
        self.may_repeat() || self.rescue().is_some()
    }

    /// The largest body that is kept to be sent again.
    pub(super) fn max_body(&self) -> u64 {
        let rescue = self.rescue().unwrap_or(0);
        self.retries.max_body.max(rescue)
    }

    /// Stable is asked in the candidate's place.
    pub(super) fn is_rescued(&mut self) {
        if let Some(subject) = &mut self.subject {
            subject.is_rescued();
        }
    }

    /// Whom the next attempt may go to that rescues nobody; `written` where the last one may have run the request.
    pub(super) fn bind(&self, written: bool) {
        let bound = &self.asking.bound;
        let stays = |subject: &Subject| written && subject.stays();
        let stays = self.subject.as_ref().is_some_and(stays);
        bound.set(match bound.get() {
            Bound::Stable => Bound::Stable,
            // Stable has failed it, too.
            Bound::Rescue if self.made > 1 => Bound::Rescue,
            Bound::Candidate => Bound::Candidate,
            Bound::Pool(slot) => Bound::Pool(slot),
            Bound::Free | Bound::Rescue if stays => Bound::Candidate,
            Bound::Free | Bound::Rescue => Bound::Free,
        });
    }

    /// How long the parts of the attempt under way may take.
    pub(super) fn bound(&self, mut timeouts: Timeouts) -> Timeouts {
        if let Some(per_try) = self.retries.per_try
            && self.may_repeat()
        {
            timeouts.response = timeouts.response.min(per_try);
        }
        timeouts
    }

    /// Whether one more may follow an attempt that has failed so, where the request is kept.
    pub(super) fn may_follow(&self, kind: Kind) -> bool {
        let rescued = !kind.is_timeout() && self.rescue().is_some();
        (self.may_repeat() || rescued)
            && kind.fault() == Fault::Endpoint
            && kind != Kind::RequestTimeout
    }

    /// Whether the request is to be sent again after an attempt that failed.
    pub(super) fn is_due(&self, resend: Resend) -> bool {
        match resend {
            // What nobody has seen goes once more in any case, and again while it may wait for somebody who is ready.
            Resend::Safe => self.made < self.retries.attempts.max(2) || self.waits_on(),
            Resend::Repeatable => true,
            Resend::Unsafe => false,
        }
    }

    /// Whether it costs none of the budget: nobody else has had work with it.
    pub(super) fn is_free(&self, resend: Resend) -> bool {
        resend == Resend::Safe && (self.made == 1 || self.waits_on())
    }

    fn waits_on(&self) -> bool {
        self.patience.is_some() && self.asking.may_wait()
    }

    /// Whether an answer is not passed on while there is somebody else to ask.
    pub(super) fn is_trouble(&self, status: http::StatusCode) -> bool {
        self.may_repeat() && self.retries.statuses.contains(status.as_u16())
    }

    /// An endpoint has failed it.
    pub(super) fn failed(&mut self, seat: &Seat) {
        if let Some(place) = self.failed.get_mut(self.failures) {
            *place = seat.endpoint.slot;
            self.failures += 1;
        }
    }

    /// Who has failed it.
    pub(super) fn avoided(&self) -> &[Slot] {
        &self.failed[..self.failures]
    }

    /// One more attempt is made because this one's has failed; `paid` from the budget.
    pub(super) fn goes_on(&mut self, failed: Rc<Seat>, paid: bool) {
        self.instead_of = Some(Instead { failed, paid });
        // What was passed over though it was no failure is over: the next attempt's fate is not the first's.
        self.subject = self.subject.take().filter(Subject::has_failed);
    }

    /// The longest pause before the next attempt: none before the first that goes elsewhere.
    pub(super) fn backoff(&self, elsewhere: bool) -> Duration {
        let doublings = match (self.made, elsewhere) {
            (0 | 1, true) => return Duration::ZERO,
            (made, true) => made - 2,
            (_, false) if self.reused => return Duration::ZERO,
            (made, false) => made.saturating_sub(1),
        };
        let pause = self.retries.backoff * (1 << doublings.min(8));
        pause.min(Retries::LONGEST_BACKOFF)
    }
}

fn is_idempotent(request: &Request<Upload>) -> bool {
    // RFC 9110 §9.2.2; TRACE is never sent on.
    match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE => true,
        _ => request.headers().contains_key(IDEMPOTENCY_KEY),
    }
}
