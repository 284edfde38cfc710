//! The book, the roster and the snapshot put together for whoever asks.

use std::sync::Arc;

use super::{
    book::{Book, Fresh, pool_key},
    drift,
    eligibility::Roster,
    found::Sources,
    health::Health,
    view::{Endpoint, Pool, PoolState, Service, ServiceState},
};
use crate::{
    pool::State,
    snapshot::{self, Snapshot},
    units::{Name, Timestamp, WARM, Weights},
};

/// One service as it stands.
pub(super) fn service(
    book: &Book,
    roster: &Roster,
    sources: &Sources,
    snapshot: &Snapshot,
    name: &Name,
) -> Option<Service> {
    let published = snapshot.service(name.as_str())?;
    let memory = book.memory.services.get(name)?;
    let pools: Vec<Pool> = published
        .pools
        .iter()
        .map(|published| pool(book, roster, sources, name, published))
        .collect();
    let serves = pools.iter().any(|pool| {
        pool.weight > 0 && pool.endpoints.iter().any(|held| held.state == State::Ready)
    });
    let thin =
        |pool: &Arc<snapshot::Pool>| pool.thin && published.weights.get(pool.name().as_str()) > 0;
    let state = if published.fails_open() || published.pools.iter().any(thin) {
        ServiceState::FailingOpen
    } else if serves {
        ServiceState::Serving
    } else {
        ServiceState::Unavailable
    };
    Some(Service {
        plan: published.plan.clone(),
        revision: memory.revision,
        state,
        weights: memory.weights.clone(),
        active: active(&memory.weights),
        idle: idle(&pools),
        pending: memory.pending.clone(),
        admitted: memory.admitted.clone(),
        settled: memory.history.settled().cloned(),
        pools,
        drift: drift::list(book, name),
        rollout: memory.rollout.clone(),
        rollouts: memory.rollouts.clone(),
    })
}

/// The pool with the most weight; of equals the first by name.
fn active(weights: &Weights) -> Option<Name> {
    let most = weights.iter().map(|(_, weight)| weight).max()?;
    let mut pools = weights.iter();
    pools
        .find(|(_, weight)| *weight == most)
        .map(|(pool, _)| pool.clone())
}

fn idle(pools: &[Pool]) -> Option<Name> {
    let mut idle = pools.iter().filter(|pool| pool.weight == 0);
    let first = idle.next()?;
    idle.next().is_none().then(|| first.name.clone())
}

fn pool(
    book: &Book,
    roster: &Roster,
    sources: &Sources,
    service: &Name,
    published: &Arc<snapshot::Pool>,
) -> Pool {
    let name = published.name().clone();
    let key = pool_key(service, &name);
    let memory = book.memory.services.get(service);
    let endpoints: Vec<Endpoint> = published
        .members
        .iter()
        .map(|member| {
            let address = &member.endpoint.key.address;
            let health = roster.get(service.as_str(), name.as_str(), address);
            let drain = memory.and_then(|memory| memory.drain(name.as_str(), address));
            Endpoint {
                endpoint: member.endpoint.clone(),
                weight: member.weight,
                state: health.map_or(member.state, Health::state),
                since: health.map_or(Timestamp::UNIX_EPOCH, |health| health.since),
                proven: member.proven,
                probe: health.and_then(|health| health.last.clone()),
                ejection: health.and_then(Health::ejection).copied(),
                slow_start: (member.state == State::Ready && member.warmth < WARM)
                    .then_some(member.warmth),
                drain: drain.cloned(),
                found: book.is_found(&key, address),
            }
        })
        .collect();
    let count = book.count(roster, &Fresh::new(), &key, None);
    let weight = memory.map_or(0, |memory| memory.weights.get(name.as_str()));
    let all = |state: fn(State) -> bool| {
        !endpoints.is_empty() && endpoints.iter().all(|endpoint| state(endpoint.state))
    };
    let state = if all(|state| state == State::Drained) {
        PoolState::Drained
    } else if all(|state| matches!(state, State::Draining | State::Drained)) {
        PoolState::Draining
    } else if count.ready == 0 {
        PoolState::Unready
    } else if weight > 0 {
        PoolState::Active
    } else {
        PoolState::Idle
    };
    Pool {
        stats: published.stats.clone(),
        version: memory.and_then(|memory| memory.versions.get(&name).cloned()),
        weight,
        state,
        ready: count.ready,
        of: count.of,
        needed: count.needed,
        source: sources.of(book, &key),
        endpoints,
        name,
    }
}
