//! Sends a request once more that an endpoint has failed: elsewhere, decided afresh on the newest snapshot, within its attempts
//! ([`Attempts`]) and its service's budget.

use std::{rc::Rc, time::Duration};

use http::Request;

use super::{
    Kind, Proxy, Upload,
    attempts::Attempts,
    decide::Decision,
    error::{Fault, ProxyError, Resend},
    forward::Answered,
    handle::Refused,
    progress::{Progress, UploadState},
    trial::Bound,
};
use crate::{
    pool::Seat,
    telemetry::{Failure, Retry},
};

impl Proxy {
    /// Who gets the request next after an attempt that came to nothing; or that it is refused.
    pub(super) async fn after(
        &self,
        error: ProxyError,
        decision: Box<Decision>,
        ours: &mut Option<Request<Upload>>,
        attempts: &mut Attempts,
        progress: &Progress,
    ) -> Result<Box<Decision>, Refused> {
        let kind = error.kind;
        let next = self.next(error, decision, ours, attempts, progress).await;
        if next.is_err()
            && let Some(subject) = &attempts.subject
        {
            subject.refused(kind);
        }
        next
    }

    async fn next(
        &self,
        error: ProxyError,
        decision: Box<Decision>,
        ours: &mut Option<Request<Upload>>,
        attempts: &mut Attempts,
        progress: &Progress,
    ) -> Result<Box<Decision>, Refused> {
        let (kind, fault, resend) = (error.kind, error.fault, error.resend);
        let failed = decision.lease.seat().clone();
        if let Some(request) = ours {
            decision.restore(request);
        }
        // Whoever waits holds no lease.
        let Decision { lease, rules, .. } = *decision;
        drop(lease);
        let refused = Refused {
            seat: Some(failed.clone()),
            rules,
            ..error.into()
        };
        let Some(request) = ours.as_ref().filter(|_| attempts.is_due(resend)) else {
            return Err(refused);
        };
        if fault == Fault::Endpoint {
            self.nudge.send(&failed.endpoint);
        }
        let rescued = fault == Fault::Endpoint
            && !kind.is_timeout()
            && attempts.may_be_rescued(progress.bytes_in());
        attempts.failed(&failed);
        attempts.afresh = resend == Resend::Repeatable;
        pause(attempts.backoff(true)).await;
        if rescued {
            attempts.asking.bound.set(Bound::Rescue);
            let (asking, avoided) = (&attempts.asking, attempts.avoided());
            let next = self.decide_in_turn(request, asking, Some(avoided)).await;
            if let Ok(next) = next {
                attempts.is_rescued();
                let granted = self.granted(Some(next), &failed, resend, attempts);
                return granted.ok_or(refused);
            }
        }
        let mut next = None;
        if resend == Resend::Safe || attempts.may_repeat() {
            attempts.bind(resend == Resend::Repeatable);
            next = self.elsewhere(request, kind, attempts).await;
        }
        self.granted(next, &failed, resend, attempts).ok_or(refused)
    }

    /// Somebody who has not failed the request; else the one that has, where that may have been the connection's fault.
    async fn elsewhere(
        &self,
        request: &Request<Upload>,
        kind: Kind,
        attempts: &Attempts,
    ) -> Option<Box<Decision>> {
        let (asking, avoided) = (&attempts.asking, attempts.avoided());
        let mut next = self.decide_in_turn(request, asking, Some(avoided)).await;
        if next.is_err() && matches!(kind, Kind::EndpointRefused | Kind::EndpointBroke) {
            // Nobody else may have it; the endpoint has failed in nothing but this.
            pause(attempts.backoff(false)).await;
            next = self.decide_in_turn(request, asking, Some(&[])).await;
        }
        next.ok()
    }

    /// Who is asked instead of an endpoint that answers that it is in trouble; nobody, where the answer has to do.
    pub(super) fn instead_of(
        &self,
        sent: &mut Answered,
        decision: &Decision,
        ours: &mut Option<Request<Upload>>,
        attempts: &mut Attempts,
        progress: &Progress,
    ) -> Option<Box<Decision>> {
        let status = sent.answer.status();
        let trouble = attempts.is_trouble(status);
        let rescued = status.is_server_error() && attempts.may_be_rescued(progress.bytes_in());
        // An answer that overtakes its request's body is passed on: the rest of the body is on its way.
        if !(trouble || rescued) || progress.upload() != UploadState::Done {
            return None;
        }
        let request = ours.insert(sent.again.take()?.back(&sent.connection, None)?);
        decision.restore(request);
        let failed = decision.lease.seat();
        attempts.failed(failed);
        attempts.afresh = false;
        let mut next = None;
        if rescued {
            attempts.asking.bound.set(Bound::Rescue);
            next = self
                .decide(request, &attempts.asking, Some(attempts.avoided()))
                .ok();
            if next.is_some() {
                attempts.is_rescued();
            }
        }
        if next.is_none() && trouble {
            attempts.bind(true);
            next = self
                .decide(request, &attempts.asking, Some(attempts.avoided()))
                .ok();
        }
        let next = self.granted(next, failed, Resend::Repeatable, attempts)?;
        failed.shard().answered(status);
        failed.failed(Failure::Status);
        Some(next)
    }

    /// The attempt, where the service's budget allows it.
    fn granted(
        &self,
        next: Option<Box<Decision>>,
        failed: &Rc<Seat>,
        resend: Resend,
        attempts: &mut Attempts,
    ) -> Option<Box<Decision>> {
        let Some(next) = next else {
            failed.pool_shard().retried(Retry::Nowhere);
            return None;
        };
        let now = tokio::time::Instant::now();
        let paid = !attempts.is_free(resend);
        if paid && !self.budgets.spend(next.service, next.retries.budget, now) {
            failed.pool_shard().retried(Retry::OverBudget);
            return None;
        }
        attempts.goes_on(failed.clone(), paid);
        Some(next)
    }
}

async fn pause(longest: Duration) {
    if !longest.is_zero() {
        tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
    }
}
