//! From the book to what workers read, and what is told of the difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use serde_json::{Value, json};

use super::{Actor, Kind, book::Book, command::ActorKind, eligibility::Roster, stage::Draft};
use crate::{
    pool::{Directory, State},
    snapshot::{self, Decided, Input, Publisher, Service, Snapshot},
    units::{Name, Secret, Timestamp},
};

/// Builds and publishes; owns what only that needs.
pub(super) struct Press {
    pub publisher: Publisher,
    pub directory: Directory,
    pub sticky_key: Secret,
}

/// The first snapshot, of which the publisher is made.
pub(super) fn first(
    book: &Book,
    roster: &Roster,
    directory: &mut Directory,
    sticky_key: &Secret,
    now: Instant,
) -> Snapshot {
    let input = Input {
        generation: 1,
        plan: &book.plan,
        changed: changed(book, roster, book.plan.services.keys(), now),
        sticky_key,
    };
    snapshot::build(&input, directory, None)
}

fn changed<'a>(
    book: &Book,
    roster: &Roster,
    touched: impl Iterator<Item = &'a Name>,
    now: Instant,
) -> BTreeMap<Name, Decided> {
    touched
        .filter_map(|name| Some((name.clone(), book.decided(name, roster, now)?)))
        .collect()
}

impl Press {
    /// Publishes what the book says of the touched services; what turned for them by it is told as drafts.
    pub fn publish(
        &mut self,
        book: &Book,
        roster: &Roster,
        touched: &BTreeSet<Name>,
        now: Instant,
    ) -> Vec<Draft> {
        let before = self.publisher.current();
        let input = Input {
            generation: before.generation + 1,
            plan: &book.plan,
            changed: changed(book, roster, touched.iter(), now),
            sticky_key: &self.sticky_key,
        };
        let next = snapshot::build(&input, &mut self.directory, Some(&before));
        self.publisher.publish(next);
        let after = self.publisher.current();
        let turned = touched.iter().flat_map(|name| {
            let (before, after) = (before.service(name.as_str()), after.service(name.as_str()));
            before
                .zip(after)
                .map(|(before, after)| turns(before, after))
                .unwrap_or_default()
        });
        turned.collect()
    }

    pub fn generation(&self) -> u64 {
        self.publisher.current().generation
    }

    /// Frees what no worker holds any more. Never a worker's business.
    pub fn sweep(&mut self) {
        self.publisher.sweep();
        self.directory.sweep();
    }
}

/// Pools that lost or regained their last ready endpoint, and failing open.
fn turns(before: &Arc<Service>, after: &Arc<Service>) -> Vec<Draft> {
    let actor = Actor::new("probe", ActorKind::Probe, "probe");
    let name = &after.plan.name;
    let mut drafts = Vec::new();
    for pool in &after.pools {
        let held = before.pool(pool.name().as_str());
        let was = held.is_some_and(|index| !before.pools[index].ready.is_empty());
        let is = !pool.ready.is_empty();
        let weight = after.weights.get(pool.name().as_str());
        let was_thin = held.is_some_and(|index| before.pools[index].thin);
        if was_thin != pool.thin && weight > 0 {
            let draft = Draft::new(fail_open(pool.thin), &actor).of(name);
            drafts.push(
                draft
                    .pool(pool.name())
                    .turns(json!(was_thin), json!(pool.thin)),
            );
        }
        if was == is || weight == 0 || held.is_none() {
            continue;
        }
        let kind = if is {
            Kind::PoolReady
        } else {
            Kind::PoolUnready
        };
        let draft = Draft::new(kind, &actor).of(name).pool(pool.name());
        drafts.push(draft.turns(
            json!({ "ready": was }),
            json!({ "ready": is, "weight": weight }),
        ));
    }
    let (was, is) = (before.fails_open(), after.fails_open());
    if was != is {
        let draft = Draft::new(fail_open(is), &actor).of(name);
        drafts.push(draft.turns(json!(was), json!(is)));
    }
    drafts
}

fn fail_open(begins: bool) -> Kind {
    if begins {
        Kind::FailOpen
    } else {
        Kind::FailOpenEnded
    }
}

/// Draining endpoints that are proven empty: no lease, no connection.
pub(super) fn emptied(
    book: &Book,
    roster: &mut Roster,
    snapshot: &Snapshot,
    at: Timestamp,
) -> (BTreeSet<Name>, Vec<Draft>) {
    let (mut touched, mut drafts) = (BTreeSet::new(), Vec::new());
    let drained = book.memory.services.iter();
    for (name, memory) in drained.filter(|(_, memory)| !memory.drains.is_empty()) {
        let pools = snapshot
            .service(name.as_str())
            .map(|service| &service.pools);
        for member in pools.into_iter().flatten().flat_map(|pool| &pool.members) {
            let key = &member.endpoint.key;
            let empty = member.state == State::Draining
                && member.endpoint.in_flight() == 0
                && member.endpoint.connections.open() == 0
                && !book.is_leaving(&key.pool_key(), &key.address);
            if !empty {
                continue;
            }
            roster.emptied(key, at);
            touched.insert(name.clone());
            let drain = memory.drain(key.pool.as_str(), &key.address);
            let seconds = drain.map(|drain| at.duration_since(drain.at).as_secs_f64());
            let draft = Draft::new(Kind::Drained, &Actor::system()).of(name);
            let draft = draft.pool(&key.pool).endpoint(&key.address);
            drafts.push(draft.turns(Value::Null, json!({ "seconds": seconds })));
        }
    }
    (touched, drafts)
}

/// Whether something drains and is not yet proven empty.
pub(super) fn is_emptying(book: &Book, snapshot: &Snapshot) -> bool {
    if book.found.values().any(|found| found.has_leaving()) {
        return true;
    }
    let drained = book.memory.services.iter();
    let drained = drained.filter(|(_, memory)| !memory.drains.is_empty());
    let mut services = drained.filter_map(|(name, _)| snapshot.service(name.as_str()));
    services.any(|service| {
        let mut members = service.pools.iter().flat_map(|pool| &pool.members);
        members.any(|member| member.state == State::Draining)
    })
}

/// Takes the endpoints of touched services into the roster as the book has them.
pub(super) fn reconcile(
    book: &Book,
    roster: &mut Roster,
    touched: &BTreeSet<Name>,
    now: Instant,
    at: Timestamp,
) {
    for name in touched {
        if book.plan.services.contains_key(name) {
            roster.reconcile(name, &book.places(name), now, at);
        } else {
            roster.forget(name.as_str());
        }
    }
    debug_assert!(
        touched.iter().all(|name| {
            let weights = book.service_weights(name);
            weights
                .iter()
                .all(|(pool, _)| book.any_pool(name, pool).is_ok())
        }),
        "weights in force are of pools that are there"
    );
}
