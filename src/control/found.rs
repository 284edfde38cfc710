//! Endpoints that sources name: who comes, who goes, and which source is failing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    Actor, ActorKind, Discovered, Kind,
    book::Book,
    controller::Controller,
    health::Health,
    stage::Draft,
    view::{Failing, Source},
};
use crate::{
    config::plan::{Discover, Endpoint},
    pool::State,
    snapshot::Snapshot,
    units::{Address, PoolKey, Timestamp},
};

/// So many that are no longer named are shown while their work ends; that of more ends unseen.
const LEAVING: usize = 1024;

/// What the source of a pool names. Not remembered over a restart, which asks afresh.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Found {
    endpoints: Vec<Endpoint>,
    /// No longer named; there until they are proven empty.
    leaving: Vec<Leaving>,
}

#[derive(Debug, Clone, PartialEq)]
struct Leaving {
    endpoint: Endpoint,
    since: Timestamp,
    /// Nobody who is named is ready yet, so it does not drain yet either.
    serves: bool,
}

impl Found {
    /// Those that leave too.
    pub fn all(&self) -> impl Iterator<Item = &Endpoint> {
        let leaving = self.leaving.iter().map(|leaving| &leaving.endpoint);
        self.endpoints.iter().chain(leaving)
    }

    /// It drains.
    pub fn is_leaving(&self, address: &Address) -> bool {
        let mut leaving = self.leaving.iter();
        leaving.any(|leaving| !leaving.serves && leaving.endpoint.address == *address)
    }

    fn names(&self, address: &Address) -> bool {
        let mut named = self.endpoints.iter();
        named.any(|endpoint| endpoint.address == *address)
    }

    pub fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Takes in what is named now. Returns each difference: the address, its weight before, and after.
    fn take(
        &mut self,
        named: Vec<Endpoint>,
        at: Timestamp,
    ) -> Vec<(Address, Option<u32>, Option<u32>)> {
        let weights = |endpoints: &[Endpoint]| -> BTreeMap<Address, u32> {
            let pairs = endpoints.iter();
            pairs
                .map(|endpoint| (endpoint.address.clone(), endpoint.weight))
                .collect()
        };
        let (before, after) = (weights(&self.endpoints), weights(&named));
        let came = after.iter().filter_map(|(address, weight)| {
            let was = before.get(address).copied();
            (was != Some(*weight)).then(|| (address.clone(), was, Some(*weight)))
        });
        let went = before
            .iter()
            .filter(|(address, _)| !after.contains_key(address));
        let went = went.map(|(address, weight)| (address.clone(), Some(*weight), None));
        let differences: Vec<_> = came.chain(went).collect();
        if differences.is_empty() {
            return differences;
        }
        let gone = std::mem::replace(&mut self.endpoints, named).into_iter();
        let gone = gone.filter(|endpoint| !after.contains_key(&endpoint.address));
        self.leaving
            .retain(|leaving| !after.contains_key(&leaving.endpoint.address));
        self.leaving.extend(gone.map(|endpoint| Leaving {
            endpoint,
            since: at,
            serves: true,
        }));
        let over = self.leaving.len().saturating_sub(LEAVING);
        self.leaving.drain(..over);
        differences
    }
}

/// Forgets what was found for pools that look for nothing any more.
pub(super) fn forget(book: &mut Book) {
    let plan = book.plan.clone();
    book.found.retain(|key, _| {
        let service = plan.services.get(&key.service);
        let pool = service.and_then(|service| service.pools.get(&key.pool));
        pool.is_some_and(|pool| pool.discover.is_some())
    });
}

/// How each source does.
#[derive(Default)]
pub(super) struct Sources(BTreeMap<PoolKey, (Discover, Source)>);

impl Sources {
    /// That of a pool, as it is or before it has said anything.
    pub fn of(&self, book: &Book, pool: &PoolKey) -> Option<Source> {
        let planned = book.any_pool(&pool.service, &pool.pool).ok()?;
        let discover = planned.discover.as_ref()?;
        let known = self.0.get(pool).filter(|(by, _)| by == discover);
        Some(known.map_or_else(|| unheard(discover), |(_, source)| source.clone()))
    }

    /// Of pools that look for nothing any more.
    pub fn forget(&mut self, book: &Book) {
        self.0.retain(|pool, _| {
            let pool = book.any_pool(&pool.service, &pool.pool);
            pool.is_ok_and(|pool| pool.discover.is_some())
        });
    }

    fn of_mut(&mut self, pool: &PoolKey, by: &Discover) -> &mut Source {
        let unheard = || (by.clone(), unheard(by));
        let known = self.0.entry(pool.clone()).or_insert_with(unheard);
        if known.0 != *by {
            *known = unheard();
        }
        &mut known.1
    }
}

fn unheard(discover: &Discover) -> Source {
    Source {
        source: discover.source.clone(),
        last: None,
        failing: None,
        looks: 0,
        failures: 0,
    }
}

fn draft(kind: Kind, pool: &PoolKey, by: &Discover) -> Draft {
    let actor = Actor::new(by.source.to_string(), ActorKind::System, "discovery");
    Draft::new(kind, &actor).of(&pool.service).pool(&pool.pool)
}

impl Controller {
    /// What a source names is in force with the next publication; one that fails changes nothing.
    pub(super) fn discovered(&mut self, discovered: Discovered) {
        let Discovered { pool, by, found } = discovered;
        let planned = self.book.pool(&pool.service, &pool.pool);
        if planned.ok().and_then(|pool| pool.discover.as_ref()) != Some(&by) {
            return;
        }
        let at = Timestamp::now();
        let source = self.sources.of_mut(&pool, &by);
        match found {
            Ok(endpoints) => {
                source.looks += 1;
                source.last = Some(at);
                if let Some(failing) = source.failing.take() {
                    let draft = draft(Kind::Discovery, &pool, &by);
                    self.tell(draft.turns(json!({ "error": failing.error }), Value::Null));
                }
                self.find(&pool, &by, endpoints, at);
            }
            Err(error) => {
                source.failures += 1;
                let since = source.failing.as_ref().map(|failing| failing.since);
                source.failing = Some(Failing {
                    since: since.unwrap_or(at),
                    error: error.clone(),
                });
                if since.is_none() {
                    self.tell(draft(Kind::DiscoveryFailed, &pool, &by).because(error));
                }
            }
        }
    }

    fn find(&mut self, pool: &PoolKey, by: &Discover, named: Vec<Endpoint>, at: Timestamp) {
        let found = self.book.found.entry(pool.clone()).or_default();
        let differences = Arc::make_mut(found).take(named, at);
        if differences.is_empty() {
            return;
        }
        // What waits for the disk was decided on a book without it.
        self.overtake(&BTreeSet::new());
        for (address, before, after) in differences {
            let kind = if after.is_some() {
                Kind::EndpointAdded
            } else {
                Kind::EndpointRemoved
            };
            let draft = draft(kind, pool, by).endpoint(&address);
            let (before, after) = (json!({ "weight": before }), json!({ "weight": after }));
            self.teller.hold(draft.turns(before, after));
        }
        self.dirty.insert(pool.service.clone());
    }

    /// Lets those drain that are no longer named, once somebody else of their pool is ready to take what they got.
    pub(super) fn relieve(&mut self) {
        let serving = |found: &Found| found.leaving.iter().any(|leaving| leaving.serves);
        let waiting = self.book.found.iter();
        let waiting = waiting.filter(|(_, found)| serving(found));
        let waiting: Vec<_> = waiting.map(|(key, _)| key.clone()).collect();
        for key in waiting {
            let relieved = self.has_ready_others(&key);
            let (roster, memory) = (&self.roster, self.book.memory.services.get(&key.service));
            let (service, pool) = (key.service.as_str(), key.pool.as_str());
            let serves = |address: &Address| {
                let health = roster.get(service, pool, address);
                health.is_some_and(Health::is_fit)
                    && memory.is_none_or(|memory| memory.drain(pool, address).is_none())
            };
            let Some(found) = self.book.found.get_mut(&key) else {
                continue;
            };
            for leaving in &mut Arc::make_mut(found).leaving {
                if leaving.serves && (relieved || !serves(&leaving.endpoint.address)) {
                    leaving.serves = false;
                    self.dirty.insert(key.service.clone());
                }
            }
        }
    }

    /// Whether an endpoint of the pool is ready that does not leave.
    fn has_ready_others(&self, key: &PoolKey) -> bool {
        let memory = self.book.memory.services.get(&key.service);
        let found = self.book.found.get(key);
        let mut members = self.book.members(&key.service, &key.pool).into_iter();
        members.any(|(address, _)| {
            let leaves = self.book.is_found(key, &address)
                && !found.is_some_and(|found| found.names(&address));
            let drained =
                memory.is_some_and(|memory| memory.drain(key.pool.as_str(), &address).is_some());
            let health = self
                .roster
                .get(key.service.as_str(), key.pool.as_str(), &address);
            !leaves && !drained && health.is_some_and(Health::is_fit)
        })
    }

    /// Lets those go that no source names any more and that are proven empty, or that are there no more.
    pub(super) fn forget_the_empty(&mut self, snapshot: &Snapshot) {
        let at = Timestamp::now();
        let mut drafts = Vec::new();
        for (key, found) in &mut self.book.found {
            if !found.has_leaving() || self.dirty.contains(&key.service) {
                continue;
            }
            let service = snapshot.service(key.service.as_str());
            let pools = service.map_or(&[][..], |service| &service.pools);
            let mut pools = pools.iter().filter(|pool| *pool.name() == key.pool);
            let members = pools.next().map_or(&[][..], |pool| &pool.members);
            let before = found.leaving.len();
            Arc::make_mut(found).leaving.retain(|leaving| {
                let address = &leaving.endpoint.address;
                let mut held = members.iter();
                let held = held.find(|member| member.endpoint.key.address == *address);
                let Some(member) = held.filter(|one| leaving.serves || is_out(one.state)) else {
                    return false;
                };
                if leaving.serves {
                    return true;
                }
                let endpoint = &member.endpoint;
                let empty = endpoint.in_flight() == 0 && endpoint.connections.open() == 0;
                if empty {
                    let seconds = at.duration_since(leaving.since).as_secs_f64();
                    let draft = Draft::new(Kind::Drained, &Actor::system()).of(&key.service);
                    let draft = draft.pool(&key.pool).endpoint(address);
                    drafts.push(draft.turns(Value::Null, json!({ "seconds": seconds })));
                }
                !empty
            });
            if found.leaving.len() < before {
                self.dirty.insert(key.service.clone());
            }
        }
        for draft in drafts {
            self.counts.drains += 1;
            self.counts.drain_seconds += draft.after["seconds"].as_f64().unwrap_or(0.0);
            self.teller.hold(draft);
        }
    }
}

fn is_out(state: State) -> bool {
    matches!(state, State::Draining | State::Drained)
}
