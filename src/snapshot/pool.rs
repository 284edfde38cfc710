use std::{collections::HashSet, sync::Arc};

use super::{DecidedEndpoint, Member, Pool};
use crate::{
    config::plan,
    pool::{Candidates, Directory, Endpoint, Handshakes, State, Transport},
    units::{Address, EndpointKey, PoolKey},
};

/// A pool as it is to be; the one `before` where nothing differs.
pub fn pool(
    key: &PoolKey,
    plan: &plan::Pool,
    endpoints: &[DecidedEndpoint],
    directory: &mut Directory,
    before: Option<&Arc<Pool>>,
) -> Arc<Pool> {
    let transport = transport(&plan.transport, before);
    let same = |before: &&Arc<Pool>| {
        *before.ready.balance() == plan.balance
            && Arc::ptr_eq(&before.transport, &transport)
            && same_members(&before.members, endpoints)
    };
    if let Some(unchanged) = before.filter(same) {
        return unchanged.clone();
    }
    let mut known = before.iter().flat_map(|before| &before.members);
    let members: Vec<Member> = endpoints
        .iter()
        .map(|endpoint| Member {
            endpoint: identity(key, &endpoint.address, known.next(), directory),
            weight: endpoint.weight,
            state: endpoint.standing.state,
            proven: is_proven(endpoint),
            cut: endpoint.standing.cut,
        })
        .collect();
    let candidates = |eligible: fn(&Member) -> bool| {
        let eligible = members.iter().filter(|member| eligible(member));
        Candidates::new(
            &plan.balance,
            members.len(),
            eligible.map(|member| (member.endpoint.clone(), member.weight)),
        )
    };
    let ready = candidates(|member| member.state == State::Ready);
    if ready.goes_by_latency() {
        forget_latencies(before, &ready);
    }
    Arc::new(Pool {
        stats: before.map_or_else(|| directory.pool(key), |before| before.stats.clone()),
        ready,
        last_resort: candidates(|member| member.proven && !drains(member.state)),
        transport,
        members,
    })
}

/// Who is back is not held to how it answered before it was out: it gets a request to be measured by, as a new one does.
fn forget_latencies(before: Option<&Arc<Pool>>, ready: &Candidates) {
    let before = before.iter().flat_map(|before| before.ready.iter());
    let before: HashSet<_> = before.map(|endpoint| endpoint.slot).collect();
    let back = ready.iter().filter(|one| !before.contains(&one.slot));
    back.for_each(|endpoint| endpoint.latency().forget());
}

/// The same object as before where nothing differs: workers close the connections that were made another way.
fn transport(plan: &plan::Transport, before: Option<&Arc<Pool>>) -> Arc<Transport> {
    let next = Transport {
        protocol: plan.protocol,
        preamble: plan.preamble,
        tls: plan.tls.as_ref().map(|tls| Handshakes {
            usual: tls.usual.clone(),
            to_switch: tls.to_switch.clone(),
        }),
    };
    let unchanged = before.filter(|before| *before.transport == next);
    unchanged.map_or_else(|| Arc::new(next), |before| before.transport.clone())
}

/// What is measured of an endpoint goes on. `known`: the member that stood at the same place before, mostly the same one.
fn identity(
    key: &PoolKey,
    address: &Address,
    known: Option<&Member>,
    directory: &mut Directory,
) -> Arc<Endpoint> {
    match known.filter(|known| known.endpoint.key.address == *address) {
        Some(known) => known.endpoint.clone(),
        None => directory.endpoint(&EndpointKey {
            service: key.service.clone(),
            pool: key.pool.clone(),
            address: address.clone(),
        }),
    }
}

fn same_members(members: &[Member], endpoints: &[DecidedEndpoint]) -> bool {
    members.len() == endpoints.len()
        && members.iter().zip(endpoints).all(|(member, endpoint)| {
            member.endpoint.key.address == endpoint.address
                && member.weight == endpoint.weight
                && member.state == endpoint.standing.state
                && member.proven == is_proven(endpoint)
                && member.cut == endpoint.standing.cut
        })
}

fn is_proven(endpoint: &DecidedEndpoint) -> bool {
    endpoint.standing.proven || endpoint.standing.state == State::Ready
}

fn drains(state: State) -> bool {
    match state {
        State::Draining | State::Drained => true,
        State::Unproven | State::Ready | State::Unready | State::Ejected => false,
    }
}
