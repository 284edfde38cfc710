//! What holds of every snapshot. Looked at in debug builds whenever one is built.

use super::{Pool, Service, Snapshot};
use crate::{config::plan::FailOpen, pool::State};

/// The rules that are broken, each with where; none in a correct program.
pub fn broken(snapshot: &Snapshot) -> Vec<String> {
    let mut broken = Vec::new();
    let names = snapshot.services.iter().map(|service| &service.plan.name);
    if !names.is_sorted_by(|a, b| a < b) {
        broken.push("services are in the order of their names, each once".to_owned());
    }
    for service in &snapshot.services {
        let rules = of_service(service).into_iter();
        let pools = service.pools.iter();
        let rules = rules.chain(pools.flat_map(|pool| of_pool(service, pool)));
        let failed = rules.filter(|(holds, _)| !holds);
        broken.extend(failed.map(|(_, rule)| format!("{}: {rule}", service.plan.name)));
    }
    broken
}

type Rule = (bool, &'static str);

fn of_service(service: &Service) -> Vec<Rule> {
    let weight = |pool: &Pool| service.weights.get(pool.name().as_str());
    let pools = || service.pools.iter().enumerate();
    let share = |index| service.splitter.share(index) > 0.0;
    let mut weighted = pools().filter(|(_, pool)| weight(pool) > 0);
    // On its own while another is on trial beside it, whoever of it can be asked.
    let held = service.trial.as_ref().filter(|trial| trial.holds());
    let is_held = |index| held.is_some_and(|trial| trial.stable == index);
    let candidate = held.map(|trial| trial.candidate);
    vec![
        (
            service
                .pools
                .iter()
                .map(|pool| pool.name())
                .is_sorted_by(|a, b| a < b),
            "pools are in the order of their names, each once",
        ),
        (
            service
                .weights
                .iter()
                .all(|(name, _)| service.pool(name.as_str()).is_some()),
            "weights are of pools that are there",
        ),
        (
            pools().all(|(index, pool)| !share(index) || weight(pool) > 0),
            "a pool without weight has no share",
        ),
        (
            pools().all(|(index, _)| {
                is_held(index) || !share(index) || !service.candidates(index).is_empty()
            }),
            "a pool with nobody to send to has no share",
        ),
        (
            weighted.all(|(index, _)| {
                is_held(index) || share(index) != service.candidates(index).is_empty()
            }),
            "a pool with weight and somebody to send to has a share",
        ),
        (
            !service.failing_open
                || service.plan.fail_open != FailOpen::Never
                    && pools().all(|(_, pool)| weight(pool) == 0 || pool.ready.is_empty()),
            "failing open is allowed, and only when every weighted pool is unready",
        ),
        (
            held.is_none_or(|trial| share(trial.stable)),
            "during a trial stable has its share for as long as it has weight",
        ),
        (
            candidate.is_none_or(|index| !share(index) || !service.pools[index].ready.is_empty()),
            "what is on trial gets nothing while nobody of it is ready",
        ),
    ]
}

fn of_pool(service: &Service, pool: &Pool) -> [Rule; 4] {
    let members = |fits: fn(State, bool) -> bool| {
        let fitting = pool
            .members
            .iter()
            .filter(move |member| member.weight > 0 && fits(member.state, member.proven));
        fitting.map(|member| member.endpoint.slot)
    };
    let ready = pool.ready.iter().map(|endpoint| endpoint.slot);
    let last_resort = pool.last_resort.iter().map(|endpoint| endpoint.slot);
    [
        (
            ready.eq(members(|state, _| state == State::Ready)),
            "the ready candidates are the members that are ready and have weight",
        ),
        (
            last_resort.eq(members(|state, proven| {
                proven && state != State::Draining && state != State::Drained
            })),
            "the last resort are the members that are proven, do not drain and have weight",
        ),
        (
            pool.members
                .iter()
                .all(|member| member.state != State::Ready || member.proven),
            "who is ready is proven",
        ),
        (
            pool.stats.key.service == service.plan.name
                && pool
                    .members
                    .iter()
                    .all(|member| member.endpoint.key.pool_key() == pool.stats.key),
            "measurements are kept under the names they are shown under",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fastrand::Rng;
    use proptest::{array, prelude::*};

    use super::*;
    use crate::{
        config::plan,
        pool::Draw,
        snapshot::{
            DecidedEndpoint,
            testing::{World, any_pools, service},
        },
        units::Percent,
    };

    proptest! {
        /// The rules, as ARCHITECTURE.md has them, against what is built.
        #[test]
        fn requests_go_where_the_rules_say_and_nowhere_else(
            weights in array::uniform3(prop_oneof![Just(0), 1..100_u32]),
            pools in any_pools(),
            fail_open: bool,
            seed: u64,
        ) {
            let mut decided = service("shop", &["a", "b", "c"], &weights, pools.clone());
            let mut plan = plan::Service::clone(&decided.plan);
            plan.fail_open = if fail_open { FailOpen::Below(Percent::NONE) } else { FailOpen::Never };
            decided.plan = Arc::new(plan);
            let service = World::new([decided]).build().services[0].clone();

            let ready = |one: &DecidedEndpoint| one.weight > 0 && one.standing.state == State::Ready;
            let last_resort = |one: &DecidedEndpoint| {
                one.weight > 0 && one.standing.proven && !matches!(one.standing.state, State::Draining | State::Drained)
            };
            let weighted = |pool: usize| weights[pool] > 0;
            let any_ready = (0..3).any(|pool| weighted(pool) && pools[pool].iter().any(ready));
            let eligible = |one: &DecidedEndpoint| if any_ready { ready(one) } else { fail_open && last_resort(one) };
            let open: Vec<usize> = (0..3).filter(|pool| weighted(*pool) && pools[*pool].iter().any(eligible)).collect();
            let total: u32 = open.iter().map(|pool| weights[*pool]).sum();

            prop_assert_eq!(service.failing_open, !any_ready && !open.is_empty());
            for (pool, weight) in weights.into_iter().enumerate() {
                let share = if open.contains(&pool) { f64::from(weight) / f64::from(total) } else { 0.0 };
                prop_assert!((service.splitter.share(pool) - share).abs() < 1e-12);
            }
            let mut random = Rng::with_seed(seed);
            for cursor in 0..64 {
                let drawn = service.splitter.draw(random.u64(..));
                let kept = service.splitter.rendezvous(random.u64(..));
                prop_assert_eq!((drawn.is_some(), kept.is_some()), (!open.is_empty(), !open.is_empty()));
                for pool in drawn.into_iter().chain(kept) {
                    prop_assert!(open.contains(&pool));
                    let draw = Draw { cursor, random: random.u64(..), key: None, ..Draw::default() };
                    let chosen = service.candidates(pool).pick(&draw, |_| 0, &[]).unwrap();
                    let mut all = pools[pool].iter();
                    prop_assert!(eligible(all.find(|one| one.address == chosen.key.address).unwrap()));
                }
            }
        }
    }
}
