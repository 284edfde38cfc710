use std::sync::Arc;

use super::{Decided, DecidedEndpoint, Input, Member, Pool, Service, Snapshot};
use crate::{
    config::plan,
    pool::{Candidates, Directory, State},
    routing::{Affinity, Preview, Router, Splitter},
    units::{EndpointKey, Name, PoolKey, Secret, Weights},
};

/// The next snapshot. What has not changed is shared with `previous`: a change of weights makes one service's splitter anew
/// and no pool, a verdict makes one pool anew and no router.
///
/// `input.changed` must hold every service of the plan that `previous` lacks.
pub fn build(input: &Input, directory: &mut Directory, previous: Option<&Snapshot>) -> Snapshot {
    let services = input.plan.services.keys().map(|name| {
        let before = previous.and_then(|previous| previous.service(name.as_str()));
        match (input.changed.get(name), before) {
            (Some(decided), before) => service(name, decided, input.sticky_key, directory, before),
            (None, Some(before)) => before.clone(),
            (None, None) => panic!("control decides every service that is new; it left out {name}"),
        }
    });
    let services: Vec<Arc<Service>> = services.collect();
    let routing = routing(input, &services, previous);
    Snapshot {
        generation: input.generation,
        router: routing.0,
        routes: routing.1,
        services,
    }
}

type Routing = (Arc<Router>, Arc<[Arc<plan::Route>]>);

fn routing(input: &Input, services: &[Arc<Service>], previous: Option<&Snapshot>) -> Routing {
    let same_routes = |before: &Snapshot| {
        before.routes.len() == input.plan.routes.len()
            && before
                .routes
                .iter()
                .zip(&input.plan.routes)
                .all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
    };
    let same_places = |before: &Snapshot| {
        before.services.len() == services.len()
            && before
                .services
                .iter()
                .zip(services)
                .all(|(a, b)| a.plan.name == b.plan.name)
    };
    if let Some(before) = previous.filter(|before| same_routes(before) && same_places(before)) {
        return (before.router.clone(), before.routes.clone());
    }
    let place = |name: &Name| {
        let found = services.binary_search_by(|service| service.plan.name.cmp(name));
        found.expect("a checked plan has the service of every route")
    };
    let given = input.plan.routes.iter();
    let given = given.map(|route| (route.matcher.clone(), place(&route.service)));
    (
        Arc::new(Router::new(given)),
        input.plan.routes.iter().cloned().collect(),
    )
}

fn service(
    name: &Name,
    decided: &Decided,
    sticky_key: &Secret,
    directory: &mut Directory,
    before: Option<&Arc<Service>>,
) -> Arc<Service> {
    let plan = &decided.plan;
    let pools: Vec<Arc<Pool>> = plan
        .pools
        .values()
        .map(|pool_plan| {
            let none = Vec::new();
            let endpoints = decided.pools.get(&pool_plan.name).unwrap_or(&none);
            let key = PoolKey {
                service: name.clone(),
                pool: pool_plan.name.clone(),
            };
            let before = before.and_then(|before| {
                before
                    .pool(pool_plan.name.as_str())
                    .map(|index| (before, index))
            });
            pool(&key, pool_plan, endpoints, directory, before)
        })
        .collect();
    let ready = split(&decided.weights, &pools, |pool| &pool.ready);
    let failing_open = ready.is_empty() && plan.fail_open;
    let splitter = if failing_open {
        split(&decided.weights, &pools, |pool| &pool.last_resort)
    } else {
        ready
    };
    let failing_open = failing_open && !splitter.is_empty();
    Arc::new(Service {
        weights: decided.weights.clone(),
        revision: decided.revision,
        failing_open,
        splitter,
        affinity: affinity(plan, sticky_key, before),
        preview: plan
            .preview
            .as_ref()
            .map(|preview| Preview::new(preview.header.clone(), preview.secret.clone())),
        pools,
        plan: plan.clone(),
    })
}

/// Only pools with somebody to send to take part, so that the others' shares fall to them in proportion.
fn split(
    weights: &Weights,
    pools: &[Arc<Pool>],
    candidates: impl Fn(&Pool) -> &Candidates,
) -> Splitter {
    Splitter::new(pools.iter().map(|pool| {
        let open = !candidates(pool).is_empty();
        (
            pool.name().as_str(),
            if open {
                weights.get(pool.name().as_str())
            } else {
                0
            },
        )
    }))
}

fn affinity(
    plan: &plan::Service,
    sticky_key: &Secret,
    before: Option<&Arc<Service>>,
) -> Option<Arc<Affinity>> {
    let sticky = plan.sticky.as_ref()?;
    let unchanged = before.filter(|before| before.plan.sticky.as_ref() == Some(sticky));
    unchanged
        .and_then(|before| before.affinity.clone())
        .or_else(|| {
            let secret = sticky.secret.as_ref().unwrap_or(sticky_key);
            Some(Arc::new(Affinity::new(&plan.name, &sticky.by, secret)))
        })
}

fn pool(
    key: &PoolKey,
    plan: &plan::Pool,
    endpoints: &[DecidedEndpoint],
    directory: &mut Directory,
    before: Option<(&Arc<Service>, usize)>,
) -> Arc<Pool> {
    if let Some((service, index)) = before {
        let before = &service.pools[index];
        let same_balance = service
            .plan
            .pools
            .get(&plan.name)
            .is_some_and(|before| before.balance == plan.balance);
        if same_balance && same_members(&before.members, endpoints) {
            return before.clone();
        }
    }
    let members: Vec<Member> = endpoints
        .iter()
        .map(|endpoint| Member {
            endpoint: directory.endpoint(&EndpointKey {
                service: key.service.clone(),
                pool: key.pool.clone(),
                address: endpoint.address.clone(),
            }),
            weight: endpoint.weight,
            state: endpoint.standing.state,
            proven: endpoint.standing.proven,
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
    Arc::new(Pool {
        stats: directory.pool(key),
        ready: candidates(|member| member.state == State::Ready),
        last_resort: candidates(|member| member.proven && !drains(member.state)),
        members,
    })
}

fn same_members(members: &[Member], endpoints: &[DecidedEndpoint]) -> bool {
    members.len() == endpoints.len()
        && members.iter().zip(endpoints).all(|(member, endpoint)| {
            member.endpoint.key.address == endpoint.address
                && member.weight == endpoint.weight
                && member.state == endpoint.standing.state
                && member.proven == endpoint.standing.proven
                && member.cut == endpoint.standing.cut
        })
}

fn drains(state: State) -> bool {
    match state {
        State::Draining | State::Drained => true,
        State::Unproven | State::Ready | State::Unready | State::Ejected => false,
    }
}
