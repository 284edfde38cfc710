use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::{
    Kind, Proxy, Upload, admission, forwarded,
    handle::Refused,
    mirror::Mirroring,
    preview::Sought,
    queue::{Asking, Undecided, Wait},
    rules::{self, Applied},
    trial::{Bound, How, Subject},
    tunnel::Terms,
};
use crate::{
    pool::{Candidates, Draw, Endpoint, Lease, Offset, Permits, Reached, Slot},
    routing::{Head, hash_key as hashed, host_of},
    snapshot::{Pool, Rules, Service, Snapshot},
    units::{Retries, Timeouts},
    upstream::Line,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, uri::Scheme};

/// Who gets a request. Made on one snapshot; holds nothing of it. Boxed: it is handed from one function to the next, and each would
/// copy all of it.
pub(super) struct Decision {
    pub line: Rc<Line<Upload>>,
    pub lease: Lease,
    pub timeouts: Timeouts,
    pub retries: Retries,
    /// How long the endpoint takes to answer is made note of.
    pub timed: bool,
    /// How long it may wait while nobody is ready.
    pub patience: Option<Duration>,
    /// Whose budget an attempt after this one is taken from.
    pub service: Slot,
    pub max_body: Option<u64>,
    /// Makes the client stay with this version, if its answer may carry it.
    pub set_cookie: Option<HeaderValue>,
    /// The preview's header, with its secret: not for the app.
    pub preview: Option<Hidden>,
    /// The client wishes to speak another protocol, and may.
    pub terms: Option<Box<Terms>>,
    /// The answer names its pool.
    pub pool_header: bool,
    /// What its route does to the request and the answer.
    pub rules: Option<Box<Applied>>,
    /// Who gets a copy of it, until that is sent.
    pub mirroring: Cell<Option<Box<Mirroring>>>,
    /// Its listener shows it this pool, and no other.
    pub shown: bool,
    /// It is the first attempt of a request in a trial.
    pub subject: Option<Subject>,
}

/// A field that the app shall not see, and that is needed to decide once more.
pub(super) struct Hidden {
    name: HeaderName,
    value: Cell<Option<HeaderValue>>,
}

impl Hidden {
    fn of(service: &Service) -> Option<Self> {
        let preview = service.preview.as_ref()?;
        Some(Self {
            name: preview.header.clone(),
            value: Cell::new(None),
        })
    }

    pub(super) fn hide(&self, headers: &mut HeaderMap) {
        self.value.set(headers.remove(&self.name));
    }

    fn show(&self, headers: &mut HeaderMap) {
        if let Some(value) = self.value.take() {
            headers.insert(&self.name, value);
        }
    }
}

impl Decision {
    /// Makes a request that was made ready to be sent what it was when it was decided on.
    pub(super) fn restore(&self, request: &mut Request<Upload>) {
        if let Some(preview) = &self.preview {
            preview.show(request.headers_mut());
        }
        if let Some(rules) = &self.rules {
            rules.undo(request);
        }
        if self.terms.is_some() {
            Terms::ask_no_more(request.headers_mut());
        }
    }
}

impl Proxy {
    /// Decides on the newest snapshot who gets the request. `avoid`: where it is decided once more, those that have failed it.
    ///
    /// The claim comes first and the look whether the snapshot is still the published one after it: see
    /// [`crate::pool::Seat::claim`].
    pub(super) fn decide(
        &self,
        request: &Request<Upload>,
        asking: &Asking,
        avoid: Option<&[Slot]>,
    ) -> Result<Box<Decision>, Undecided> {
        let host = request.headers().get(http::header::HOST);
        let host = host_of(host.and_then(|host| host.to_str().ok()).unwrap_or(""));
        let head = Head {
            method: request.method(),
            host: &host,
            path: request.uri().path(),
            query: request.uri().query(),
            headers: request.headers(),
        };
        loop {
            let (decision, generation) = self.reader.with(|snapshot| {
                let decision = self.decide_on(snapshot, request, &head, asking, avoid);
                (decision, snapshot.generation)
            });
            if decision.is_err() || self.reader.is_current(generation) {
                return decision;
            }
        }
    }

    fn decide_on(
        &self,
        snapshot: &Snapshot,
        request: &Request<Upload>,
        head: &Head,
        asking: &Asking,
        avoid: Option<&[Slot]>,
    ) -> Result<Box<Decision>, Undecided> {
        let (service, rules) = route(snapshot, head, asking)?;
        let sought = Sought::of(service, head, asking);
        let patience = sought.patience(service);
        let unready = |patience| Undecided::from(Wait::unready(patience, service, rules));
        if let Some(patience) = patience
            && sought.waits(service, asking)
        {
            return Err(unready(patience));
        }
        let lot = asking.rehearsal.lot();
        let waits = asking.may_wait() && avoid.is_some() && asking.bound.get() != Bound::Rescue;
        let nobody = || match patience {
            // Those that are ready have failed it.
            Some(patience) if waits => unready(patience),
            _ => Refused::of(Kind::NoEndpoint, &service.stats, rules).into(),
        };
        let chosen = choose_pool(service, sought, head, asking, lot).ok_or_else(nobody)?;
        let choice = chosen.choice(service);
        if !service.plan.faults.is_empty() {
            self.inject(service, choice.0, head, asking, (lot, rules))?;
        }
        let (pool, endpoint, permits) =
            match self.choose_endpoint(service, choice, head, asking, avoid) {
                Found::One(pool, endpoint, permits) => (pool, endpoint, permits),
                Found::None => return Err(nobody()),
                Found::Full(reached, pool) => {
                    let wait = Wait::full(reached, service, &pool.stats, rules);
                    return Err(wait.into());
                }
            };
        let keep = service.weights.get(pool.name().as_str()) > 0;
        let terms = Terms::of(request, service, keep, pool.transport.protocol)
            .map_err(|kind| Refused::of(kind, &service.stats, rules))?;
        let line = self.line(service, pool, endpoint, keep);
        let first = avoid.is_none();
        let mirrored = first && terms.is_none() && chosen.how != How::Previewed;
        let mirroring = mirrored.then(|| self.mirror(service, pool, head, request, asking));
        let mirroring = mirroring.flatten();
        let tried = first && (mirroring.is_some() || !service.copies());
        let asked = (request, terms.is_some());
        let subject = tried.then(|| self.subject(service, &chosen, asked, asking, line.seat()));
        Ok(Box::new(Decision {
            lease: line.seat().claim(permits),
            line,
            timeouts: service.plan.timeouts,
            retries: service.plan.retries,
            timed: pool.ready.goes_by_latency(),
            patience,
            service: service.stats.slot,
            max_body: service.plan.max_body,
            pool_header: service.plan.pool_header,
            set_cookie: chosen.set_cookie,
            terms,
            rules: rules.map(|rules| Box::new(Applied::new(rules))),
            preview: Hidden::of(service),
            mirroring: Cell::new(mirroring),
            shown: sought.is_strict(),
            subject: subject.flatten(),
        }))
    }

    pub(super) fn line(
        &self,
        service: &Service,
        pool: &Pool,
        endpoint: &Arc<Endpoint>,
        keep: bool,
    ) -> Rc<Line<Upload>> {
        let most = service.plan.limits.connections;
        let transport = &pool.transport;
        self.lines.to(endpoint, &pool.stats, transport, most, keep)
    }

    /// One of the pool's candidates. Where the only one has just failed, one of another pool that has weight: a pool
    /// without a ready endpoint yields its share, and this is one before its probes have said so.
    fn choose_endpoint<'a>(
        &self,
        service: &'a Service,
        chosen: Choice<'a>,
        head: &Head,
        asking: &Asking,
        avoid: Option<&[Slot]>,
    ) -> Found<'a> {
        let choose = |choice| self.choose_within(service, choice, head, asking, avoid);
        let found = choose(chosen);
        if avoid.is_none() || !matches!(found, Found::None) {
            return found;
        }
        let may_go_to = |place| match (&service.trial, asking.bound.get()) {
            (_, Bound::Pool(_)) => false,
            (None, _) | (_, Bound::Free) => true,
            (_, Bound::Candidate) => false,
            (Some(trial), _) => trial.sparing_the_candidate(place) == place,
        };
        let pools = service.pools.iter().enumerate();
        let weighted = pools.filter(|(place, pool)| {
            service.weights.get(pool.name().as_str()) > 0 && may_go_to(*place)
        });
        let mut others = weighted.map(|(index, pool)| choose((pool, service.candidates(index))));
        let found = others.find(|found| !matches!(found, Found::None));
        found.unwrap_or(Found::None)
    }

    /// What one of the pool's candidates is chosen by.
    pub(super) fn draw(
        &self,
        pool: &Pool,
        candidates: &Candidates,
        head: &Head,
        asking: &Asking,
    ) -> Draw {
        let hash_key = candidates.hash_key();
        Draw {
            cursor: self.cursors.next(pool),
            offset: self.cursors.offset,
            in_flight: if candidates.bounds_loads() {
                pool.stats.in_flight()
            } else {
                0
            },
            random: fastrand::u64(..),
            key: hash_key.and_then(|key| hashed(key, head, asking.client)),
        }
    }

    /// One of the pool's candidates; of those that have room, where requests are limited.
    fn choose_within<'a>(
        &self,
        service: &'a Service,
        (pool, candidates): Choice<'a>,
        head: &Head,
        asking: &Asking,
        avoid: Option<&[Slot]>,
    ) -> Found<'a> {
        let draw = self.draw(pool, candidates, head, asking);
        let avoid = avoided(service, asking, avoid.unwrap_or(&[]));
        let Some(endpoint) = candidates.pick(&draw, Endpoint::in_flight, &avoid) else {
            return Found::None;
        };
        let limits = &service.plan.limits.of_requests(pool.transport.protocol);
        if limits.is_none() {
            return Found::One(pool, endpoint, None);
        }
        let in_turn = asking.is_in_turn();
        let mut permits = match Permits::take(limits, &service.stats, &pool.stats, in_turn) {
            Ok(permits) => Box::new(permits),
            Err(reached) => return Found::Full(reached, pool),
        };
        let mut next = Some(endpoint);
        let mut full = Vec::new();
        while let Some(endpoint) = next {
            if permits.take_endpoint(limits, endpoint) {
                return Found::One(pool, endpoint, Some(permits));
            }
            full.push(endpoint.slot);
            // The one with the least to do of those that are left.
            let left = candidates.iter().filter(|endpoint| {
                !full.contains(&endpoint.slot) && !avoid.contains(&endpoint.slot)
            });
            next = left.min_by_key(|endpoint| endpoint.quota.taken());
        }
        Found::Full(Reached::Pool, pool)
    }
}

/// Who must not get it: those that have failed it, and where it is rescued from a batch of its pool, all of that batch.
fn avoided<'a>(service: &Service, asking: &Asking, failed: &'a [Slot]) -> Cow<'a, [Slot]> {
    match &service.trial {
        Some(trial) if asking.bound.get() == Bound::Rescue => {
            [failed, trial.batch()].concat().into()
        }
        _ => failed.into(),
    }
}

/// The service that the request is for, where its route and the service let it through.
fn route<'a>(
    snapshot: &'a Snapshot,
    head: &Head,
    asking: &Asking,
) -> Result<(&'a Service, Option<&'a Arc<Rules>>), Undecided> {
    let found = snapshot.router.find(head).ok_or(Kind::NoRoute)?;
    let rules = snapshot.routes[found.route].rules.as_ref();
    if let Some(rules) = rules {
        let service = snapshot.services.get(found.service);
        rules::judge(rules, service.map(|service| &service.stats), head, asking)?;
    }
    let service = &*snapshot.services[found.service];
    if !service.admits.is_open() {
        admission::admit(service, asking, rules)?;
    }
    Ok((service, rules))
}

/// Whom a request may be sent to.
enum Found<'a> {
    One(&'a Pool, &'a Arc<Endpoint>, Option<Box<Permits>>),
    Full(Reached, &'a Pool),
    None,
}

/// Which pool a request goes to.
pub(super) struct Chosen {
    pub place: usize,
    pub how: How,
    set_cookie: Option<HeaderValue>,
}

/// Preview, then what the client is bound to, then one draw, of this lot.
fn choose_pool(
    service: &Service,
    sought: Sought,
    head: &Head,
    asking: &Asking,
    lot: u64,
) -> Option<Chosen> {
    match sought {
        Sought::Anyone => {}
        Sought::Nobody => return None,
        Sought::Asked(place) | Sought::Only(place) => {
            return Some(Chosen {
                place,
                how: How::Previewed,
                set_cookie: None,
            });
        }
    }
    let key = |key| service.splitter.rendezvous(key);
    let draw = || service.splitter.draw(lot);
    let (place, how, set_cookie) = match &service.affinity {
        None => (draw(), How::Drawn, None),
        Some(affinity) => match affinity.key(head, asking.client) {
            Some(bound) => {
                let how = How::Kept(affinity.is_by_cookie().then_some(bound));
                (key(bound), how, None)
            }
            None => match affinity.mint(lot, forwarded::scheme(head.headers) == Scheme::HTTPS) {
                Some(minted) => (key(minted.key), How::Drawn, Some(minted.set_cookie)),
                None => (draw(), How::Drawn, None),
            },
        },
    };
    let mut place = place?;
    if let Some(trial) = &service.trial {
        asking.rehearsal.keep(lot);
        place = match asking.bound.get() {
            Bound::Free | Bound::Candidate | Bound::Pool(_) => place,
            Bound::Rescue if !trial.has_stable() => return None,
            Bound::Stable | Bound::Rescue => trial.sparing_the_candidate(place),
        };
    }
    Some(Chosen {
        place,
        how,
        set_cookie,
    })
}

impl Chosen {
    fn choice<'a>(&self, service: &'a Service) -> Choice<'a> {
        let pool = &service.pools[self.place];
        match self.how {
            // It reaches nobody who is not ready.
            How::Previewed => (pool, &pool.ready),
            _ => (pool, service.candidates(self.place)),
        }
    }
}

/// A pool, and whom of it the request may be sent to.
type Choice<'a> = (&'a Pool, &'a Candidates);

/// How many choices this worker has made in each pool, by the pool's slot.
pub(super) struct Cursors {
    offset: Offset,
    made: RefCell<Vec<u64>>,
}

impl Cursors {
    pub(super) fn of(worker: usize) -> Self {
        Self {
            offset: Offset::of(worker),
            made: RefCell::default(),
        }
    }

    fn next(&self, pool: &Pool) -> u64 {
        let mut cursors = self.made.borrow_mut();
        let slot = pool.stats.slot;
        if cursors.len() <= slot {
            cursors.resize(slot + 1, 0);
        }
        cursors[slot] = cursors[slot].wrapping_add(1);
        cursors[slot]
    }
}
