//! What is in force: the plan, what was decided at run time over it, and what serves on until its successor is proven.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{
    Code, Evidence, Readiness, Refusal,
    eligibility::{Place, Roster},
    found::Found,
    health::Health,
    memory::{Memory, ServiceMemory},
};
use crate::{
    config::{Plan, plan},
    pool::State,
    snapshot::{Decided, DecidedEndpoint, Standing},
    units::{Address, EndpointKey, Name, PoolKey, WARM, Weights},
};

/// Cheap to clone: a change copies the one service it touches.
#[derive(Clone)]
pub(super) struct Book {
    pub plan: Arc<Plan>,
    pub memory: Memory,
    pub kept: BTreeMap<Name, Kept>,
    pub found: BTreeMap<PoolKey, Arc<Found>>,
}

/// What the file no longer names and serves on. Not remembered over a restart, which proves everything afresh anyway.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Kept {
    pub pools: BTreeMap<Name, plan::Pool>,
    /// Of pools that the file still names.
    pub endpoints: BTreeMap<Name, Vec<plan::Endpoint>>,
}

impl Kept {
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty() && self.endpoints.values().all(Vec::is_empty)
    }

    /// As `pending` shows it.
    pub fn names(&self) -> Vec<String> {
        let pools = self.pools.keys().map(ToString::to_string);
        let endpoints = self.endpoints.iter().flat_map(|(pool, endpoints)| {
            endpoints
                .iter()
                .map(move |endpoint| format!("{pool}/{}", endpoint.address))
        });
        pools.chain(endpoints).collect()
    }
}

impl Book {
    /// Ends the keeping of one endpoint; whether it was kept.
    pub fn keep_no_more(&mut self, key: &EndpointKey) -> bool {
        let kept = self.kept.get_mut(&key.service);
        let endpoints = kept.and_then(|kept| kept.endpoints.get_mut(&key.pool));
        endpoints.is_some_and(|endpoints| {
            let before = endpoints.len();
            endpoints.retain(|endpoint| endpoint.address != key.address);
            endpoints.len() < before
        })
    }
}

/// How far a pool is on its way to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub ready: usize,
    /// Endpoints that are not drained.
    pub of: usize,
    pub needed: usize,
}

impl Count {
    pub fn is_enough(self) -> bool {
        self.ready >= self.needed
    }
}

/// Endpoints that a change has put back: whatever was thought of them counts no more.
pub(super) type Fresh = BTreeSet<EndpointKey>;

impl Book {
    pub fn service(&self, name: &Name) -> Result<(&Arc<plan::Service>, &ServiceMemory), Refusal> {
        let plan = self.plan.services.get(name);
        let memory = self.memory.services.get(name);
        plan.zip(memory)
            .map(|(plan, memory)| (plan, &**memory))
            .ok_or_else(|| unknown_service(name))
    }

    /// In force; none for a service that is not there.
    pub fn service_weights(&self, name: &Name) -> Weights {
        let memory = self.memory.services.get(name);
        memory
            .map(|memory| memory.weights.clone())
            .unwrap_or_default()
    }

    /// To be changed; the copy is made here.
    pub fn memory_mut(&mut self, name: &Name) -> Result<&mut ServiceMemory, Refusal> {
        let memory = self.memory.services.get_mut(name);
        memory
            .map(Arc::make_mut)
            .ok_or_else(|| unknown_service(name))
    }

    /// A pool that the file names.
    pub fn pool(&self, service: &Name, pool: &Name) -> Result<&plan::Pool, Refusal> {
        let (plan, _) = self.service(service)?;
        plan.pools.get(pool).ok_or_else(|| unknown_pool(plan, pool))
    }

    /// A pool that the file names, or one that is kept.
    pub fn any_pool(&self, service: &Name, pool: &Name) -> Result<&plan::Pool, Refusal> {
        let kept = self.kept.get(service).and_then(|kept| kept.pools.get(pool));
        kept.map_or_else(|| self.pool(service, pool), Ok)
    }

    /// As the file says, with the pools that are kept.
    pub fn effective(&self, service: &Name) -> Option<Arc<plan::Service>> {
        let plan = self.plan.services.get(service)?;
        let kept = self.kept.get(service).filter(|kept| !kept.pools.is_empty());
        Some(match kept {
            None => plan.clone(),
            Some(kept) => {
                let mut plan = (**plan).clone();
                plan.pools.extend(
                    kept.pools
                        .iter()
                        .map(|(name, pool)| (name.clone(), pool.clone())),
                );
                Arc::new(plan)
            }
        })
    }

    /// The endpoints in force: in file order, those that are kept, those that were found, those added at run time.
    pub fn members(&self, service: &Name, pool: &Name) -> Vec<(Address, u32)> {
        let Ok(plan) = self.any_pool(service, pool) else {
            return Vec::new();
        };
        let none = BTreeMap::new();
        let memory = self.memory.services.get(service);
        let overrides = memory.and_then(|memory| memory.endpoints.get(pool));
        let overrides = overrides.unwrap_or(&none);
        let kept = self.kept.get(service);
        let kept = kept.and_then(|kept| kept.endpoints.get(pool));
        let mut members: Vec<(Address, u32)> = Vec::new();
        let written = || plan.endpoints.iter().chain(kept.into_iter().flatten());
        let found = self.found.get(&pool_key(service, pool));
        let found = found.into_iter().flat_map(|found| found.all());
        let found = found.filter(|found| written().all(|held| held.address != found.address));
        for endpoint in written().chain(found) {
            let weight = overrides
                .get(&endpoint.address)
                .map_or(Some(endpoint.weight), |decided| decided.value);
            if let Some(weight) = weight {
                members.push((endpoint.address.clone(), weight));
            }
        }
        for (address, decided) in overrides {
            let named = members.iter().any(|(held, _)| held == address);
            if let Some(weight) = decided.value.filter(|_| !named) {
                members.push((address.clone(), weight));
            }
        }
        members
    }

    /// Whether an endpoint is there because a source names it, or did: neither the file does, nor anybody at run time.
    pub fn is_found(&self, key: &PoolKey, address: &Address) -> bool {
        let found = self.found.get(key);
        let found = found.is_some_and(|found| found.all().any(|held| held.address == *address));
        found && !self.is_held(key, address)
    }

    /// Whether a source names it, whoever else does.
    pub fn is_in_sight(&self, key: &EndpointKey) -> bool {
        let found = self.found.get(&key.pool_key());
        found.is_some_and(|found| found.all().any(|held| held.address == key.address))
    }

    /// Whether it ends its work because the source no longer names it.
    pub fn is_leaving(&self, key: &PoolKey, address: &Address) -> bool {
        let found = self.found.get(key);
        found.is_some_and(|found| found.is_leaving(address)) && !self.is_held(key, address)
    }

    /// The file names it, or somebody at run time does.
    fn is_held(&self, key: &PoolKey, address: &Address) -> bool {
        let pool = self.any_pool(&key.service, &key.pool);
        let named =
            pool.is_ok_and(|pool| pool.endpoints.iter().any(|held| held.address == *address));
        let memory = self.memory.services.get(&key.service);
        let decided = memory.and_then(|memory| memory.endpoints.get(&key.pool)?.get(address));
        named || decided.is_some_and(|decided| decided.value.is_some())
    }

    /// What the roster shall hold of a service.
    pub fn places(&self, service: &Name) -> Vec<Place> {
        let (Some(plan), Ok((_, memory))) = (self.effective(service), self.service(service)) else {
            return Vec::new();
        };
        let of_pool = |pool: &plan::Pool| {
            let members = self.members(service, &pool.name);
            let key = pool_key(service, &pool.name);
            let place = |(address, _): (Address, u32)| {
                let drain = memory.drain(pool.name.as_str(), &address);
                Place {
                    pool: pool.name.clone(),
                    probed: pool.probe.is_some(),
                    draining: drain.is_some() || self.is_leaving(&key, &address),
                    cut: memory.is_cut(&pool.name, &address),
                    address,
                }
            };
            members.into_iter().map(place).collect::<Vec<_>>()
        };
        plan.pools.values().flat_map(of_pool).collect()
    }

    /// What the snapshot of a service is built of.
    pub fn decided(&self, service: &Name, roster: &Roster, now: Instant) -> Option<Decided> {
        let plan = self.effective(service)?;
        let memory = self.memory.services.get(service)?;
        let endpoint = |pool: &plan::Pool, (address, weight): (Address, u32)| {
            let health = roster.get(service.as_str(), pool.name.as_str(), &address);
            let slow_start = pool.slow_start.as_ref();
            DecidedEndpoint {
                standing: health.map_or(UNPROVEN, Health::standing),
                warmth: health.map_or(WARM, |health| health.warmth(slow_start, now)),
                address,
                weight,
            }
        };
        let pools = plan.pools.iter().map(|(name, pool)| {
            let members = self.members(service, name);
            let members = members.into_iter().map(|member| endpoint(pool, member));
            (name.clone(), members.collect())
        });
        Some(Decided {
            pools: pools.collect(),
            weights: memory.weights.clone(),
            revision: memory.revision,
            deadline: memory.deadline.unwrap_or(plan.drain_deadline),
            admits: memory.admits(),
            trial: memory.trial(service).map(Arc::new),
            plan,
        })
    }

    /// When the next endpoint of a service comes to more of its share.
    pub fn next_step(&self, service: &Name, roster: &Roster, now: Instant) -> Option<Instant> {
        let plan = self.effective(service)?;
        let steps = plan.pools.iter().flat_map(|(name, pool)| {
            let of = pool.slow_start.map(|slow_start| {
                let members = self.members(service, name).into_iter();
                members.filter_map(move |(address, _)| {
                    let health = roster.get(service.as_str(), name.as_str(), &address)?;
                    health.next_step(&slow_start, now)
                })
            });
            of.into_iter().flatten()
        });
        steps.min()
    }

    /// How many endpoints of a pool are ready; with `since`, by passes begun after it.
    pub fn count(
        &self,
        roster: &Roster,
        fresh: &Fresh,
        key: &PoolKey,
        since: Option<Instant>,
    ) -> Count {
        let stands = self.stands(roster, fresh, key, since);
        let of = stands.len();
        let share = self.plan.services.get(&key.service);
        let needed = share.map_or(of, |plan| plan.min_ready.of(of)).max(1);
        Count {
            ready: stands.iter().filter(|(_, ready)| *ready).count(),
            of,
            needed,
        }
    }

    /// The endpoints of a pool that are not drained, and whether each is ready.
    fn stands(
        &self,
        roster: &Roster,
        fresh: &Fresh,
        key: &PoolKey,
        since: Option<Instant>,
    ) -> Vec<(EndpointKey, bool)> {
        let Ok(pool) = self.any_pool(&key.service, &key.pool) else {
            return Vec::new();
        };
        let memory = self.memory.services.get(&key.service);
        let drained = |address: &Address| {
            memory.is_some_and(|memory| memory.drain(key.pool.as_str(), address).is_some())
                || self.is_leaving(key, address)
        };
        let ready = |endpoint: &EndpointKey| {
            let Some(probe) = &pool.probe else {
                return true;
            };
            let health = roster.get(key.service.as_str(), key.pool.as_str(), &endpoint.address);
            !fresh.contains(endpoint)
                && health.is_some_and(|health| {
                    health.is_fit()
                        && since.is_none_or(|since| health.is_proven_since(since, probe.rise))
                })
        };
        let members = self.members(&key.service, &key.pool).into_iter();
        members
            .filter(|(address, _)| !drained(address))
            .map(|(address, _)| {
                let endpoint = endpoint(key, address);
                let ready = ready(&endpoint);
                (endpoint, ready)
            })
            .collect()
    }

    /// The endpoints of a pool that keep it from being ready, with their last probes.
    pub fn evidence(
        &self,
        roster: &Roster,
        fresh: &Fresh,
        key: &PoolKey,
        since: Option<Instant>,
    ) -> Vec<Evidence> {
        let stands = self.stands(roster, fresh, key, since).into_iter();
        let lacking = stands.filter(|(_, ready)| !ready);
        lacking
            .map(|(endpoint, _)| {
                let health = roster.get(key.service.as_str(), key.pool.as_str(), &endpoint.address);
                let state = if fresh.contains(&endpoint) {
                    State::Unproven
                } else {
                    health.map_or(State::Unproven, Health::state)
                };
                Evidence {
                    endpoint,
                    state: state.as_str().to_owned(),
                    probe: health.and_then(|health| health.last.clone()),
                }
            })
            .collect()
    }

    pub fn readiness(
        &self,
        roster: &Roster,
        key: &PoolKey,
        since: Option<Instant>,
    ) -> Result<Readiness, Refusal> {
        self.any_pool(&key.service, &key.pool)?;
        let fresh = Fresh::new();
        let count = self.count(roster, &fresh, key, since);
        Ok(Readiness {
            pool: key.clone(),
            ready: count.ready,
            needed: count.needed,
            evidence: self.evidence(roster, &fresh, key, since),
        })
    }
}

const UNPROVEN: Standing = Standing {
    state: State::Unproven,
    proven: false,
    cut: false,
};

pub(super) fn pool_key(service: &Name, pool: &Name) -> PoolKey {
    PoolKey {
        service: service.clone(),
        pool: pool.clone(),
    }
}

fn endpoint(key: &PoolKey, address: Address) -> EndpointKey {
    EndpointKey {
        service: key.service.clone(),
        pool: key.pool.clone(),
        address,
    }
}

pub(super) fn unknown_service(name: &Name) -> Refusal {
    Refusal::new(
        Code::UnknownService,
        format!("there is no service `{name}`"),
    )
    .hint("`cutover status` lists the services")
}

fn unknown_pool(plan: &plan::Service, pool: &Name) -> Refusal {
    let pools: Vec<&str> = plan.pools.keys().map(Name::as_str).collect();
    Refusal::new(
        Code::UnknownPool,
        format!("service `{}` has no pool `{pool}` in the file", plan.name),
    )
    .hint(format!("its pools are {}", pools.join(", ")))
}
