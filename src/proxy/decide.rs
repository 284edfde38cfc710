use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, uri::Scheme};
use tokio::time::Instant;

use super::{
    Kind, Proxy, Upload, forwarded,
    handle::Refused,
    rules::{self, Applied, Asking},
    tunnel::Terms,
};
use crate::{
    pool::{Candidates, Draw, Endpoint, Lease, Slot},
    routing::{Head, hash_key as hashed, host_of},
    snapshot::{Pool, Service, Snapshot},
    units::{Retries, Timeouts},
    upstream::Line,
};

/// Who gets a request. Made on one snapshot; holds nothing of it.
pub(super) struct Decision {
    pub line: Rc<Line<Upload>>,
    pub lease: Lease,
    pub timeouts: Timeouts,
    pub retries: Retries,
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
}

/// A field that the app shall not see, and that is needed to decide once more.
pub(super) struct Hidden {
    name: HeaderName,
    value: Cell<Option<HeaderValue>>,
}

impl Hidden {
    fn new(name: HeaderName) -> Self {
        let value = Cell::new(None);
        Self { name, value }
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
        client: Option<IpAddr>,
        avoid: Option<&[Slot]>,
        began: Instant,
    ) -> Result<Decision, Refused> {
        let asking = Asking {
            client,
            now: began.into_std(),
            counted: Cell::new(avoid.is_some()),
        };
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
                let decision = self.decide_on(snapshot, request, &head, &asking, avoid);
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
    ) -> Result<Decision, Refused> {
        let client = asking.client;
        let found = snapshot.router.find(head).ok_or(Kind::NoRoute)?;
        let rules = snapshot.routes[found.route].rules.as_ref();
        if let Some(rules) = rules {
            let service = snapshot.services.get(found.service);
            rules::judge(rules, service.map(|service| &service.stats), head, asking)?;
        }
        let service = &snapshot.services[found.service];
        let (chosen, set_cookie) = choose_pool(service, head, client);
        let (pool, endpoint) = chosen
            .and_then(|pool| self.choose_endpoint(service, pool, head, client, avoid))
            .ok_or_else(|| Refused::of(Kind::NoEndpoint, &service.stats, rules))?;
        let keep = service.weights.get(pool.name().as_str()) > 0;
        let terms = Terms::of(request, service, keep, pool.transport.protocol)
            .map_err(|kind| Refused::of(kind, &service.stats, rules))?;
        let line = self.lines.to(endpoint, &pool.stats, &pool.transport, keep);
        Ok(Decision {
            lease: line.seat().claim(),
            line,
            timeouts: service.plan.timeouts,
            retries: service.plan.retries,
            service: service.stats.slot,
            max_body: service.plan.max_body,
            pool_header: service.plan.pool_header,
            set_cookie,
            terms,
            rules: rules.map(|rules| Box::new(Applied::new(rules))),
            preview: service
                .preview
                .as_ref()
                .map(|preview| Hidden::new(preview.header.clone())),
        })
    }

    /// One of the pool's candidates. Where the only one has just failed, one of another pool that has weight: a pool
    /// without a ready endpoint yields its share, and this is one before its probes have said so.
    fn choose_endpoint<'a>(
        &self,
        service: &'a Service,
        chosen: Choice<'a>,
        head: &Head,
        client: Option<IpAddr>,
        avoid: Option<&[Slot]>,
    ) -> Option<(&'a Pool, &'a Arc<Endpoint>)> {
        let pick = |(pool, candidates): Choice<'a>| {
            let hash_key = candidates.hash_key();
            let draw = Draw {
                cursor: self.cursors.next(pool),
                random: fastrand::u64(..),
                key: hash_key.and_then(|key| hashed(key, head, client)),
            };
            let endpoint = candidates.pick(&draw, Endpoint::in_flight, avoid.unwrap_or(&[]))?;
            Some((pool, endpoint))
        };
        pick(chosen).or_else(|| {
            avoid?;
            let mut pools = service.pools.iter().enumerate();
            pools.find_map(|(index, pool)| {
                let weighted = service.weights.get(pool.name().as_str()) > 0;
                weighted
                    .then(|| pick((pool, service.candidates(index))))
                    .flatten()
            })
        })
    }
}

/// Preview, then what the client is bound to, then one draw.
fn choose_pool<'a>(
    service: &'a Service,
    head: &Head,
    client: Option<IpAddr>,
) -> (Option<Choice<'a>>, Option<HeaderValue>) {
    if let Some(previewed) = service.previewed(head.headers) {
        let pool = &service.pools[previewed];
        return (Some((pool, &pool.ready)), None);
    }
    let key = |key| service.splitter.rendezvous(key);
    let draw = || service.splitter.draw(fastrand::u64(..));
    let (pool, set_cookie) = match &service.affinity {
        None => (draw(), None),
        Some(affinity) => match affinity.key(head, client) {
            Some(bound) => (key(bound), None),
            None => match affinity.mint(
                fastrand::u64(..),
                forwarded::scheme(head.headers) == Scheme::HTTPS,
            ) {
                Some(minted) => (key(minted.key), Some(minted.set_cookie)),
                None => (draw(), None),
            },
        },
    };
    let choice = pool.map(|pool| (&*service.pools[pool], service.candidates(pool)));
    (choice, set_cookie)
}

/// A pool, and whom of it the request may be sent to.
type Choice<'a> = (&'a Pool, &'a Candidates);

/// How many choices this worker has made in each pool, by the pool's slot.
#[derive(Default)]
pub(super) struct Cursors(RefCell<Vec<u64>>);

impl Cursors {
    fn next(&self, pool: &Pool) -> u64 {
        let mut cursors = self.0.borrow_mut();
        let slot = pool.stats.slot;
        if cursors.len() <= slot {
            cursors.resize(slot + 1, 0);
        }
        cursors[slot] = cursors[slot].wrapping_add(1);
        cursors[slot]
    }
}
