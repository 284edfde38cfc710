use std::{sync::Arc, time::Duration};

use super::TrialInForce;
use crate::{
    config::plan,
    pool::{Candidates, Endpoint, PoolStats, ServiceStats, State, Transport},
    routing::{Affinity, Limiter, Preview, Router, Splitter},
    units::{
        Admits, EndpointKey, ErrorPages, Mirror, Name, OwnAnswer, RouteRules, Warmth, Weights,
    },
};

/// Everything a request is decided on, and everything status shows of decisions. Immutable; unchanged services are
/// shared with the snapshot before.
pub struct Snapshot {
    /// Grows with every publication.
    pub generation: u64,
    /// Finds the place in `services`.
    pub router: Arc<Router>,
    /// What `router` was made of, in file order.
    pub routes: Arc<[Route]>,
    /// For answers before a service is known.
    pub errors: Arc<ErrorPages>,
    /// In the order of the plan, which is that of their names.
    pub services: Vec<Arc<Service>>,
    /// The generation of the first snapshot that had services of just these names.
    pub census: u64,
}

/// A route in force.
pub struct Route {
    pub plan: Arc<plan::Route>,
    /// `None` for most: their requests pay one look.
    pub rules: Option<Arc<Rules>>,
}

/// What a route does besides finding the service.
pub struct Rules {
    pub own: Option<OwnAnswer>,
    /// Goes on from snapshot to snapshot while its route's matcher and its rule stay the same.
    pub limiter: Option<Arc<Limiter>>,
    pub typed: RouteRules,
}

/// The app as its users know it, at one moment.
pub struct Service {
    pub plan: Arc<plan::Service>,
    /// The generation of the snapshot it was built for: the later ones share it until something of it changes.
    pub since: u64,
    /// Of requests that reached no pool.
    pub stats: Arc<ServiceStats>,
    /// In force: the file's or an override.
    pub weights: Weights,
    /// Of the last decision.
    pub revision: u64,
    /// How long work may take that is under way on what got no more requests by it.
    pub deadline: Duration,
    /// Whether requests are let through.
    pub admits: Admits,
    /// Every weighted pool is unready, and its once-proven endpoints are tried anyway.
    pub failing_open: bool,
    /// In the order of their names.
    pub pools: Vec<Arc<Pool>>,
    /// Divides requests among those of `pools` that have weight and somebody to send to.
    pub splitter: Splitter,
    /// While one of its pools is on trial beside another.
    pub trial: Option<TrialInForce>,
    /// Who gets copies of its requests: as its file says, or a trial that is before its first user.
    pub mirror: Option<Arc<Mirror>>,
    pub affinity: Option<Arc<Affinity>>,
    pub preview: Option<Preview>,
}

/// One version of the service, at one moment.
pub struct Pool {
    pub stats: Arc<PoolStats>,
    /// Of whichever member.
    pub transport: Arc<Transport>,
    /// In the order in which control names them.
    pub members: Vec<Member>,
    /// The ready members.
    pub ready: Candidates,
    /// So small a part of its members is ready that it fails open, though not all of them are unready.
    pub thin: bool,
    /// When failing open: the members that have been ready before and do not drain.
    pub last_resort: Candidates,
}

pub struct Member {
    pub endpoint: Arc<Endpoint>,
    pub weight: u32,
    /// Of its weight, what it has beside the other ready members.
    pub warmth: Warmth,
    pub state: State,
    /// Has been ready since it was put there: may be tried when failing open, unless it drains.
    pub proven: bool,
    /// Its drain is over its deadline: workers end what is still in flight on it.
    pub cut: bool,
}

impl Snapshot {
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        let found = self
            .services
            .binary_search_by(|service| service.plan.name.as_str().cmp(name));
        found.ok().map(|index| &self.services[index])
    }

    /// What is measured of an endpoint's pool.
    pub fn pool_stats(&self, endpoint: &EndpointKey) -> Option<&Arc<PoolStats>> {
        let service = self.service(endpoint.service.as_str())?;
        let place = service.pool(endpoint.pool.as_str())?;
        Some(&service.pools[place].stats)
    }

    /// The services that are not as they were in the snapshot of that generation. Whoever follows the snapshots looks at
    /// these alone, so that a change of one service costs the same among ten and among ten thousand.
    pub fn changed_since(&self, generation: u64) -> impl Iterator<Item = &Arc<Service>> {
        let services = self.services.iter();
        services.filter(move |service| service.since > generation)
    }
}

impl Service {
    /// The place of the pool of that name in `pools`.
    pub fn pool(&self, name: &str) -> Option<usize> {
        self.pools
            .binary_search_by(|pool| pool.name().as_str().cmp(name))
            .ok()
    }

    /// Requests that wait for their turn.
    pub fn waiting(&self) -> u64 {
        let pools = self.pools.iter().map(|pool| pool.stats.quota.waiting());
        self.stats.quota.waiting() + pools.sum::<u64>()
    }

    /// Has all that wait try again.
    pub fn call_all(&self) {
        self.stats.quota.wake_all();
        for pool in &self.pools {
            pool.stats.quota.wake_all();
        }
    }

    /// Its trial compares requests with their copies, and no others.
    pub fn copies(&self) -> bool {
        let trial = self.trial.as_ref();
        trial.is_some_and(|trial| trial.trial.copies.is_some())
    }

    /// Whether a pool with weight has a ready endpoint.
    pub fn is_ready(&self) -> bool {
        // Stable has its share whoever of it is ready.
        let held = || {
            let ready = |place: usize| !self.pools[place].ready.is_empty();
            (0..self.pools.len()).any(|place| self.splitter.share(place) > 0.0 && ready(place))
        };
        !self.failing_open && !self.splitter.is_empty() && (self.trial.is_none() || held())
    }

    /// Whether endpoints are tried that were ready once, because nobody is who might be asked in their place.
    pub fn fails_open(&self) -> bool {
        let leans = self.trial.as_ref().is_some_and(TrialInForce::leans);
        self.failing_open || leans
    }

    /// Whom a request may be sent to that the splitter gave to this pool.
    pub fn candidates(&self, pool: usize) -> &Candidates {
        let fails_open = match &self.trial {
            None => self.failing_open,
            Some(trial) => trial.fails_open(pool, self.failing_open),
        };
        let pool = &self.pools[pool];
        if fails_open || pool.thin {
            &pool.last_resort
        } else {
            &pool.ready
        }
    }

    /// The pool a preview may reach: it has a ready endpoint.
    pub fn previewed(&self, headers: &http::HeaderMap) -> Option<usize> {
        let name = self.preview.as_ref()?.pool(headers)?;
        self.pool(name)
            .filter(|pool| !self.pools[*pool].ready.is_empty())
    }
}

impl Pool {
    pub fn name(&self) -> &Name {
        &self.stats.key.pool
    }
}
