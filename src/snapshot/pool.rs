use std::{collections::HashSet, sync::Arc};

use super::{DecidedEndpoint, Member, Pool};
use crate::{
    config::plan,
    pool::{Candidates, Directory, Endpoint, Handshakes, State, Transport},
    units::{Address, EndpointKey, PoolKey, WARM, Warmth, lift},
};

/// A pool as it is to be; the one `before` where nothing differs.
pub fn pool(
    key: &PoolKey,
    plan: &plan::Pool,
    fail_open: plan::FailOpen,
    endpoints: &[DecidedEndpoint],
    directory: &mut Directory,
    before: Option<&Arc<Pool>>,
) -> Arc<Pool> {
    let transport = transport(&plan.transport, before);
    let warmths = warmths(endpoints);
    let thin = is_thin(fail_open, endpoints);
    let same = |before: &&Arc<Pool>| {
        *before.ready.balance() == plan.balance
            && Arc::ptr_eq(&before.transport, &transport)
            && before.thin == thin
            && same_members(&before.members, endpoints, &warmths)
    };
    if let Some(unchanged) = before.filter(same) {
        return unchanged.clone();
    }
    let mut known = before.iter().flat_map(|before| &before.members);
    let members: Vec<Member> = endpoints
        .iter()
        .zip(warmths)
        .map(|(endpoint, warmth)| Member {
            endpoint: identity(key, &endpoint.address, known.next(), directory),
            weight: endpoint.weight,
            warmth,
            state: endpoint.standing.state,
            proven: is_proven(endpoint),
            cut: endpoint.standing.cut,
        })
        .collect();
    let candidates = |eligible: fn(&Member) -> bool, weight: &dyn Fn(&Member) -> u32| {
        let eligible = members.iter().filter(|member| eligible(member));
        Candidates::new(
            &plan.balance,
            members.len(),
            eligible.map(|member| (member.endpoint.clone(), weight(member))),
        )
    };
    let scale = scale(&members);
    let ready = candidates(|member| member.state == State::Ready, &|member| {
        scale(member.weight, member.warmth)
    });
    if ready.goes_by_latency() {
        forget_latencies(before, &ready);
    }
    Arc::new(Pool {
        stats: before.map_or_else(|| directory.pool(key), |before| before.stats.clone()),
        ready,
        thin,
        last_resort: candidates(|member| member.proven && !drains(member.state), &|member| {
            member.weight
        }),
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

/// How a weight is counted with a warmth: as it is where all are warm, in hundredths otherwise, and in less where those would be too many.
fn scale(members: &[Member]) -> impl Fn(u32, Warmth) -> u32 + use<> {
    let warm = members.iter().all(|member| member.warmth == WARM);
    let largest = members.iter().map(|member| member.weight).max();
    let parts = if warm {
        1
    } else {
        (u32::MAX / largest.unwrap_or(1).max(1)).clamp(1, WARM.into())
    };
    move |weight, warmth| {
        let part = u64::from(weight) * u64::from(warmth) * u64::from(parts) / u64::from(WARM);
        u32::try_from(part).unwrap_or(u32::MAX).max(weight.min(1))
    }
}

/// Whether a smaller part of the endpoints is ready than is to bear what all of them are meant for.
fn is_thin(fail_open: plan::FailOpen, endpoints: &[DecidedEndpoint]) -> bool {
    let plan::FailOpen::Below(part) = fail_open else {
        return false;
    };
    let count = |wanted: fn(State) -> bool| {
        let states = endpoints.iter().map(|endpoint| endpoint.standing.state);
        states.filter(|state| wanted(*state)).count()
    };
    let ready = count(|state| state == State::Ready);
    ready > 0 && ready < part.of(count(|state| !drains(state)))
}

/// What each endpoint has of its weight, beside the others.
fn warmths(endpoints: &[DecidedEndpoint]) -> Vec<Warmth> {
    let is_ready = |endpoint: &&DecidedEndpoint| endpoint.standing.state == State::Ready;
    let ready = endpoints.iter().filter(is_ready);
    let mut ready: Vec<_> = ready
        .map(|endpoint| (endpoint.weight, endpoint.warmth))
        .collect();
    let there =
        |endpoint: &&DecidedEndpoint| is_proven(endpoint) && !drains(endpoint.standing.state);
    let whole = endpoints.iter().filter(there);
    lift(
        &mut ready,
        whole.map(|endpoint| u64::from(endpoint.weight)).sum(),
    );
    let mut ready = ready.into_iter();
    let warmth = |endpoint: &DecidedEndpoint| {
        let lifted = is_ready(&endpoint).then(|| ready.next()).flatten();
        lifted.map_or(WARM, |(_, warmth)| warmth)
    };
    endpoints.iter().map(warmth).collect()
}

fn same_members(members: &[Member], endpoints: &[DecidedEndpoint], warmths: &[Warmth]) -> bool {
    members.len() == endpoints.len()
        && members
            .iter()
            .map(|member| member.warmth)
            .eq(warmths.iter().copied())
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

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::{
        pool::{Draw, Slot},
        snapshot::testing,
        units::{Balance, HashKey},
    };

    /// How many of 10 000 requests each endpoint gets that is so warm.
    fn counts(balance: &Balance, weight: u32, warmths: &[Warmth]) -> Vec<u32> {
        let endpoints: Vec<_> = (1..)
            .zip(warmths)
            .map(|(port, warmth)| DecidedEndpoint {
                warmth: *warmth,
                ..testing::endpoint(port, weight, State::Ready, true)
            })
            .collect();
        let key = PoolKey {
            service: testing::name("shop"),
            pool: testing::name("blue"),
        };
        let plan = plan::Pool {
            balance: balance.clone(),
            ..testing::pool(key.pool.clone())
        };
        let mut directory = Directory::new(1);
        let pool = pool(
            &key,
            &plan,
            plan::FailOpen::Never,
            &endpoints,
            &mut directory,
            None,
        );
        let mut random = Rng::with_seed(9);
        let mut counts = vec![0; warmths.len()];
        for cursor in 0..10_000 {
            let draw = Draw {
                cursor,
                random: random.u64(..),
                key: Some(random.u64(..)),
                ..Draw::default()
            };
            let chosen: Slot = pool.ready.pick(&draw, |_| 0, &[]).unwrap().slot;
            let place = pool.members.iter();
            let place = place
                .clone()
                .position(|member| member.endpoint.slot == chosen);
            counts[place.unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn whoever_comes_to_its_share_gets_so_much_less_by_every_policy() {
        for balance in [
            Balance::RoundRobin,
            Balance::LeastRequests,
            Balance::Random,
            Balance::Hash(HashKey::Path, None),
        ] {
            // 25 of 225.
            for weight in [1, 3, u32::MAX] {
                let counts = counts(&balance, weight, &[100, 25, 100]);
                let (warming, off) = (counts[1], counts[0].abs_diff(counts[2]));
                assert!(
                    (950..1280).contains(&warming) && off < 300,
                    "{balance:?}: {counts:?}"
                );
            }
        }
    }

    #[test]
    fn those_that_are_equally_new_share_evenly() {
        assert_eq!(counts(&Balance::RoundRobin, 3, &[10, 10]), [5000, 5000]);
    }
}
