//! Requests that nobody may be given now: they wait in line, hold nothing meanwhile, and are decided afresh, on the newest snapshot, when something
//! has changed.

use std::{cell::Cell, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use http::Request;
use tokio::time::{Instant, timeout_at};

use super::{
    Kind, Proxy, Upload,
    admission::come_back,
    decide::Decision,
    faults::{Delay, Rehearsal},
    handle::Refused,
    rules::Applied,
    trial::Bound,
};
use crate::{
    pool::{Place, PoolStats, Quota, Reached, ServiceStats, Slot},
    snapshot::{Rules, Service},
    telemetry::Queued,
    units::Admission,
};

/// Who asks, since when, and how often it was asked in vain.
pub(super) struct Asking {
    pub client: Option<IpAddr>,
    /// When the request's head had been read.
    pub began: Instant,
    /// It has come by a listener for previews.
    pub preview: bool,
    /// A request counts once for a rate limit, however often it is decided on.
    pub counted: Cell<bool>,
    pub patience: Cell<Patience>,
    pub rehearsal: Rehearsal,
    pub bound: Cell<Bound>,
    /// Since when it may be sent: its head had been read, and it has waited for all that it had to wait for.
    pub ready: Cell<Instant>,
    /// When it first had to wait.
    waits_since: Cell<Option<Instant>>,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It has just come: those who wait go first.
    Comes,
    /// It is its turn.
    InTurn,
    /// It has waited for as long as it may: it is sent, or refused.
    Spent,
}

impl Asking {
    pub(super) fn new(client: Option<IpAddr>, began: Instant, preview: bool) -> Self {
        Self {
            client,
            began,
            preview,
            counted: Cell::new(false),
            patience: Cell::new(Patience::Comes),
            rehearsal: Rehearsal::default(),
            bound: Cell::default(),
            ready: Cell::new(began),
            waits_since: Cell::new(None),
        }
    }

    pub(super) fn is_in_turn(&self) -> bool {
        self.patience.get() != Patience::Comes
    }

    pub(super) fn may_wait(&self) -> bool {
        self.patience.get() != Patience::Spent
    }

    /// When it first had to wait, which is now unless it was before.
    fn waits_since(&self) -> Instant {
        let since = self.waits_since.get().unwrap_or_else(Instant::now);
        self.waits_since.set(Some(since));
        since
    }

    /// It has waited for nothing yet.
    fn waits_anew(&self) {
        self.waits_since.set(None);
    }
}

/// Why nobody gets a request.
pub(super) enum Undecided {
    Refused(Refused),
    /// Nobody may be given it now.
    Waits(Box<Wait>),
    /// It is kept for a while first.
    Delayed(Delay),
}

impl From<Refused> for Undecided {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Kind> for Undecided {
    fn from(kind: Kind) -> Self {
        Self::Refused(kind.into())
    }
}

impl From<Wait> for Undecided {
    fn from(wait: Wait) -> Self {
        Self::Waits(Box::new(wait))
    }
}

/// What a request waits for, and how.
pub(super) struct Wait {
    why: Queued,
    line: Line,
    service: Arc<ServiceStats>,
    rules: Option<Box<Applied>>,
    /// When it looks again at the latest, if nothing calls it.
    looks: Option<Instant>,
    /// How many may stand in the line.
    length: u32,
    /// For how long it waits at most, the whole of its request's time aside.
    longest: Duration,
    request: Option<Duration>,
}

/// Where it stands in line.
enum Line {
    OfService,
    OfPool(Arc<PoolStats>),
}

impl Wait {
    /// A limit is reached.
    pub(super) fn full(
        reached: Reached,
        service: &Service,
        pool: &Arc<PoolStats>,
        rules: Option<&Arc<Rules>>,
    ) -> Self {
        let line = match reached {
            Reached::Service => Line::OfService,
            Reached::Pool => Line::OfPool(pool.clone()),
        };
        let longest = service.plan.queueing.wait;
        Self::new(Queued::Full, line, longest, service, rules)
    }

    /// Nobody is ready.
    pub(super) fn unready(
        longest: Duration,
        service: &Service,
        rules: Option<&Arc<Rules>>,
    ) -> Self {
        Self::new(Queued::Unready, Line::OfService, longest, service, rules)
    }

    /// The service lets nobody through until then.
    pub(super) fn held(
        ends: Option<Instant>,
        service: &Service,
        rules: Option<&Arc<Rules>>,
    ) -> Self {
        let longest = Admission::Hold.longest();
        Self {
            looks: ends,
            length: service.plan.holding.length,
            ..Self::new(Queued::Held, Line::OfService, longest, service, rules)
        }
    }

    fn new(
        why: Queued,
        line: Line,
        longest: Duration,
        service: &Service,
        rules: Option<&Arc<Rules>>,
    ) -> Self {
        Self {
            why,
            line,
            service: service.stats.clone(),
            rules: rules.map(|rules| Box::new(Applied::new(rules))),
            looks: None,
            length: service.plan.queueing.length,
            longest,
            request: service.plan.timeouts.request,
        }
    }

    fn quota(&self) -> &Quota {
        match &self.line {
            Line::OfService => &self.service.quota,
            Line::OfPool(pool) => &pool.quota,
        }
    }

    /// Whether a request that waits so stays where it is.
    fn is_as(&self, other: &Self) -> bool {
        self.why == other.why && std::ptr::eq(self.quota(), other.quota())
    }

    /// Whether what has come free in the line was taken by this decision.
    fn is_served_by(&self, decision: &Decision) -> bool {
        match &self.line {
            Line::OfService => true,
            Line::OfPool(pool) => Arc::ptr_eq(pool, &decision.lease.seat().pool),
        }
    }

    fn deadline(&self, asking: &Asking) -> Instant {
        let patience = asking.waits_since() + self.longest;
        let whole = self.request.map(|whole| asking.began + whole);
        whole.map_or(patience, |whole| whole.min(patience))
    }

    /// What it is told that finds no place in the line.
    fn no_room(&self) -> Kind {
        let left = self.looks.map(|looks| looks - Instant::now());
        match (self.why, left) {
            (Queued::Held, Some(left)) => Kind::HoldFull(come_back(left)),
            _ => Kind::QueueFull,
        }
    }

    fn refused(self, kind: Kind) -> Refused {
        Refused {
            service: Some(self.service),
            rules: self.rules,
            ..kind.into()
        }
    }
}

/// How often one looks whether an endpoint that could not be reached can be, whatever probes say.
const LOOK: Duration = Duration::from_millis(250);

impl Proxy {
    /// Decides who gets the request, when it is its turn.
    pub(super) async fn decide_in_turn(
        &self,
        request: &Request<Upload>,
        asking: &Asking,
        avoid: Option<&[Slot]>,
    ) -> Result<Box<Decision>, Refused> {
        match self.decide(request, asking, avoid) {
            Ok(decision) => Ok(decision),
            Err(Undecided::Refused(refused)) => Err(refused),
            // Apart, so that what a request is handled in does not grow by it.
            Err(not_yet) => Box::pin(self.decide_later(not_yet, request, asking, avoid)).await,
        }
    }

    async fn decide_later(
        &self,
        mut undecided: Undecided,
        request: &Request<Upload>,
        asking: &Asking,
        avoid: Option<&[Slot]>,
    ) -> Result<Box<Decision>, Refused> {
        loop {
            let decided = match undecided {
                Undecided::Refused(refused) => return Err(refused),
                Undecided::Waits(wait) => self.wait(*wait, request, asking, avoid).await,
                Undecided::Delayed(delay) => {
                    self.delay(delay, asking).await?;
                    self.decide(request, asking, avoid)
                }
            };
            asking.ready.set(Instant::now());
            match decided {
                Ok(decision) => return Ok(decision),
                Err(not_yet) => undecided = not_yet,
            }
        }
    }

    async fn wait(
        &self,
        mut wait: Wait,
        request: &Request<Upload>,
        asking: &Asking,
        avoid: Option<&[Slot]>,
    ) -> Result<Box<Decision>, Undecided> {
        let (stats, why, began) = (wait.service.clone(), wait.why, Instant::now());
        let decided = loop {
            let service = wait.service.clone();
            let pool = match &wait.line {
                Line::OfPool(pool) => Some(pool.clone()),
                Line::OfService => None,
            };
            let quota = pool.as_ref().map_or(&service.quota, |pool| &pool.quota);
            let Some(place) = quota.line_up(wait.length) else {
                let kind = wait.no_room();
                break Err(wait.refused(kind).into());
            };
            match self.stand(&wait, place, request, asking, avoid).await {
                Ok(decision) => break Ok(decision),
                Err(Undecided::Waits(next)) if asking.may_wait() => {
                    if wait.why == Queued::Held && next.why != Queued::Held {
                        // What comes after a hold has a patience of its own.
                        asking.waits_anew();
                    }
                    wait = *next;
                }
                Err(Undecided::Waits(last)) => break Err(last.refused(Kind::QueueTimeout).into()),
                Err(other) => break Err(other),
            }
        };
        stats.shard(self.worker).waited(why, began.elapsed());
        decided
    }

    /// Stands in one line until the request is decided, has to wait for something else, or has waited for as long as it may.
    async fn stand(
        &self,
        wait: &Wait,
        mut place: Place<'_>,
        request: &Request<Upload>,
        asking: &Asking,
        mut avoid: Option<&[Slot]>,
    ) -> Result<Box<Decision>, Undecided> {
        let deadline = wait.deadline(asking);
        let quota = wait.quota();
        let mut looks = wait.looks;
        let mut has_just_come = true;
        loop {
            // Before it is decided: what comes free from here on calls it.
            let mut called = pin!(quota.called());
            called.as_mut().enable();
            let late = Instant::now() >= deadline || self.gives_up.get();
            asking.patience.set(if late {
                Patience::Spent
            } else {
                Patience::InTurn
            });
            match self.decide(request, asking, avoid) {
                // What came free meanwhile is for those who came before; to give it back calls the first of them.
                Ok(decision)
                    if has_just_come && wait.why == Queued::Full && quota.waiting() > 1 =>
                {
                    drop(decision);
                }
                Ok(decision) => {
                    if wait.is_served_by(&decision) {
                        place.is_settled();
                    }
                    return Ok(decision);
                }
                Err(Undecided::Waits(next)) if next.is_as(wait) && !late => looks = next.looks,
                Err(other) => return Err(other),
            }
            has_just_come = false;
            place.is_settled();
            let looks = match wait.why {
                Queued::Unready if avoid.is_some() => Some(Instant::now() + LOOK),
                _ => looks,
            };
            let until = looks.map_or(deadline, |looks| looks.min(deadline));
            if timeout_at(until, called).await.is_ok() {
                place.is_called();
            }
            // Whom it avoided may be well again.
            avoid = avoid.map(|_| &[][..]);
        }
    }
}
