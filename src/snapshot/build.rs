use std::sync::Arc;

use super::{
    Decided, Input, Pool, Service, Snapshot, invariants,
    pool::pool,
    routes::{routing, same_names},
    trial::{Division, TrialInForce},
};
use crate::{
    config::plan,
    pool::Directory,
    routing::{Affinity, Preview},
    units::{Compared, Mirror, Name, PoolKey, Secret},
};

/// The next snapshot. What has not changed is shared with `previous`: a change of weights makes one service's splitter anew
/// and no pool, a verdict makes one pool anew and no router.
///
/// `input.changed` must hold every service of the plan that `previous` lacks.
pub fn build(input: &Input, directory: &mut Directory, previous: Option<&Snapshot>) -> Snapshot {
    let services = input.plan.services.keys().enumerate().map(|(index, name)| {
        let before = previous.and_then(|previous| {
            // Mostly where it was: a search costs ten times as much, most of it for memory.
            let there = previous.services.get(index);
            let there = there.filter(|service| service.plan.name == *name);
            there.or_else(|| previous.service(name.as_str()))
        });
        match (input.changed.get(name), before) {
            (Some(decided), before) => service(name, decided, input, directory, before),
            (None, Some(before)) => before.clone(),
            (None, None) => panic!("control decides every service that is new; it left out {name}"),
        }
    });
    let services: Vec<Arc<Service>> = services.collect();
    let routing = routing(input, &services, previous);
    let census = previous
        .filter(|before| same_names(&before.services, &services))
        .map_or(input.generation, |before| before.census);
    let next = Snapshot {
        generation: input.generation,
        router: routing.0,
        routes: routing.1,
        errors: input.plan.errors.clone(),
        services,
        census,
    };
    debug_assert_eq!(invariants::broken(&next), [""; 0]);
    next
}

fn service(
    name: &Name,
    decided: &Decided,
    input: &Input,
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
                let index = before.pool(pool_plan.name.as_str())?;
                before.pools.get(index)
            });
            pool(
                &key,
                pool_plan,
                plan.fail_open,
                endpoints,
                directory,
                before,
            )
        })
        .collect();
    let trial = decided.trial.as_ref();
    let Division {
        splitter,
        failing_open,
        trial,
    } = Division::of(&decided.weights, &pools, plan.fail_open, trial);
    Arc::new(Service {
        since: input.generation,
        stats: before.map_or_else(|| directory.service(name), |before| before.stats.clone()),
        weights: decided.weights.clone(),
        revision: decided.revision,
        deadline: decided.deadline,
        admits: decided.admits,
        failing_open,
        splitter,
        mirror: mirror(plan, trial.as_ref()),
        trial,
        affinity: affinity(plan, input.sticky_key, before),
        preview: plan
            .preview
            .as_ref()
            .map(|preview| Preview::new(preview.header.clone(), preview.secret.clone())),
        pools,
        plan: plan.clone(),
    })
}

/// Of a trial, with the bounds that its service sets to copies.
fn mirror(plan: &plan::Service, trial: Option<&TrialInForce>) -> Option<Arc<Mirror>> {
    let typed = plan.mirror.as_ref();
    let Some((trial, share)) = trial.and_then(|one| Some((&one.trial, one.trial.copies?))) else {
        return typed.cloned();
    };
    let compare = typed.map_or_else(|| Some(Compared::default()), |typed| typed.compare.clone());
    Some(Arc::new(Mirror {
        pool: trial.candidate.clone(),
        share,
        most: typed.map_or(Mirror::MOST, |typed| typed.most),
        // As long as the request itself, or what is merely slow would be taken for broken.
        timeout: plan.timeouts.response,
        compare,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{array, collection::vec, prelude::*};

    use super::*;
    use crate::{
        pool::{Candidates, State},
        snapshot::{
            DecidedEndpoint,
            testing::{World, any_pools, endpoint, name, service},
        },
        units::Balance,
    };

    const BOTH: [&str; 2] = ["blue", "green"];

    fn ready(port: u16) -> DecidedEndpoint {
        endpoint(port, 1, State::Ready, true)
    }

    fn unready(port: u16) -> DecidedEndpoint {
        endpoint(port, 1, State::Unready, true)
    }

    /// What each pool gets of the whole.
    fn shares(service: &Service) -> Vec<f64> {
        (0..service.pools.len())
            .map(|pool| service.splitter.share(pool))
            .collect()
    }

    fn shop(weights: &[u32], blue: Vec<DecidedEndpoint>, green: Vec<DecidedEndpoint>) -> Decided {
        service("shop", &BOTH, weights, vec![blue, green])
    }

    fn built(decided: Decided) -> Arc<Service> {
        World::new([decided]).build().services[0].clone()
    }

    #[test]
    fn who_follows_the_snapshots_sees_what_changed_and_when_services_came_or_went() {
        let shop = |port| shop(&[1, 0], vec![ready(port)], vec![]);
        let other = service("other", &["main"], &[1], vec![vec![ready(1)]]);
        let mut world = World::new([shop(1), other]);
        let first = world.build();
        let names = |snapshot: &Snapshot, since| -> Vec<String> {
            let changed = snapshot.changed_since(since);
            changed.map(|s| s.plan.name.to_string()).collect()
        };
        assert_eq!(names(&first, 0), ["other", "shop"]);
        world.change(shop(2));
        let second = world.next(&first, &["shop"]);
        assert_eq!(names(&second, first.generation), ["shop"]);
        assert_eq!(second.census, first.census);
        world.change(service("third", &["main"], &[1], vec![vec![ready(1)]]));
        let third = world.next(&second, &["third"]);
        assert_eq!(names(&third, second.generation), ["third"]);
        assert_eq!(names(&third, first.generation), ["shop", "third"]);
        assert_eq!(third.census, third.generation);
    }

    #[test]
    fn a_pool_with_nobody_ready_yields_its_share() {
        let service = built(shop(&[90, 10], vec![unready(1)], vec![ready(2)]));
        assert_eq!(shares(&service), [0.0, 1.0]);
        assert!(!service.failing_open);
        let three = service_of_three(&[60, 10, 30], State::Unready);
        assert_eq!(shares(&three), [0.0, 0.25, 0.75]);
    }

    fn service_of_three(weights: &[u32], first: State) -> Arc<Service> {
        let pools = vec![
            vec![endpoint(1, 1, first, true)],
            vec![ready(2)],
            vec![ready(3)],
        ];
        built(service("shop", &["a", "b", "c"], weights, pools))
    }

    #[test]
    fn a_pool_without_weight_gets_nothing_because_others_are_sick() {
        let sick = built(shop(
            &[100, 0],
            vec![endpoint(1, 1, State::Unproven, false)],
            vec![ready(2)],
        ));
        assert!(sick.splitter.is_empty() && !sick.failing_open);
        let sick = built(shop(&[100, 0], vec![unready(1)], vec![ready(2)]));
        assert_eq!(shares(&sick), [1.0, 0.0]);
        assert!(sick.failing_open);
    }

    #[test]
    fn when_all_are_unready_those_once_proven_are_tried_by_the_weights() {
        let unproven = endpoint(2, 1, State::Unproven, false);
        let draining = endpoint(3, 1, State::Draining, true);
        let service = built(shop(
            &[75, 25],
            vec![unready(1), unproven, draining],
            vec![unready(4)],
        ));
        assert!(service.failing_open);
        assert_eq!(shares(&service), [0.75, 0.25]);
        let tried: Vec<_> = service
            .candidates(0)
            .iter()
            .map(|endpoint| endpoint.key.address.to_string())
            .collect();
        assert_eq!(tried, ["10.0.0.1:1"]);
    }

    #[test]
    fn a_pool_of_which_too_small_a_part_is_ready_tries_the_once_proven_too() {
        let of = |part: &str, ready_ones: u16| {
            let blue = (1..=4)
                .map(|port| {
                    if port <= ready_ones {
                        ready(port)
                    } else {
                        unready(port)
                    }
                })
                .chain([
                    endpoint(5, 1, State::Draining, true),
                    endpoint(6, 1, State::Unproven, false),
                ]);
            let mut shop = shop(&[1, 1], blue.collect(), vec![ready(9)]);
            let mut plan = plan::Service::clone(&shop.plan);
            plan.fail_open = plan::FailOpen::Below(part.parse().unwrap());
            shop.plan = Arc::new(plan);
            let service = built(shop);
            assert!(!service.failing_open && service.is_ready());
            (service.candidates(0).len(), shares(&service))
        };
        // Of five that do not drain.
        assert_eq!(of("40%", 2), (2, vec![0.5, 0.5]));
        assert_eq!(of("41%", 2), (4, vec![0.5, 0.5]));
        assert_eq!(of("100%", 4), (4, vec![0.5, 0.5]));
        // With nobody ready it yields its share while another has somebody.
        assert_eq!(of("100%", 0), (0, vec![0.0, 1.0]));
    }

    #[test]
    fn failing_open_can_be_turned_off() {
        let mut closed = shop(&[1, 1], vec![unready(1)], vec![unready(2)]);
        let mut plan = plan::Service::clone(&closed.plan);
        plan.fail_open = plan::FailOpen::Never;
        closed.plan = Arc::new(plan);
        let service = built(closed);
        assert!(service.splitter.is_empty() && !service.failing_open);
    }

    #[test]
    fn a_preview_reaches_a_ready_pool_whatever_its_weight_and_no_other() {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-cutover-pool", "green;secret".parse().unwrap());
        assert_eq!(
            built(shop(&[1, 0], vec![ready(1)], vec![ready(2)])).previewed(&headers),
            Some(1)
        );
        assert_eq!(
            built(shop(&[1, 0], vec![unready(1)], vec![unready(2)])).previewed(&headers),
            None
        );
        headers.insert("x-cutover-pool", "green;guess".parse().unwrap());
        assert_eq!(
            built(shop(&[1, 0], vec![ready(1)], vec![ready(2)])).previewed(&headers),
            None
        );
        headers.insert("x-cutover-pool", "teal;secret".parse().unwrap());
        assert_eq!(
            built(shop(&[1, 0], vec![ready(1)], vec![ready(2)])).previewed(&headers),
            None
        );
    }

    #[test]
    fn a_change_of_weights_makes_nothing_anew_but_one_splitter() {
        let mut world = World::new([
            shop(&[90, 10], vec![ready(1)], vec![ready(2)]),
            service("blog", &["main"], &[1], vec![vec![ready(3)]]),
        ]);
        let before = world.build();
        world.change(shop(&[50, 50], vec![ready(1)], vec![ready(2)]));
        let after = world.next(&before, &["shop"]);
        assert!(
            Arc::ptr_eq(&before.router, &after.router)
                && Arc::ptr_eq(&before.routes, &after.routes)
        );
        assert!(Arc::ptr_eq(
            before.service("blog").unwrap(),
            after.service("blog").unwrap()
        ));
        let (old, new) = (
            before.service("shop").unwrap(),
            after.service("shop").unwrap(),
        );
        assert!(
            old.pools
                .iter()
                .zip(&new.pools)
                .all(|(old, new)| Arc::ptr_eq(old, new))
        );
        assert!(Arc::ptr_eq(
            old.affinity.as_ref().unwrap(),
            new.affinity.as_ref().unwrap()
        ));
        assert_eq!((shares(old), shares(new)), (vec![0.9, 0.1], vec![0.5, 0.5]));
    }

    #[test]
    fn a_verdict_makes_one_pool_anew_and_measurements_go_on() {
        let mut world = World::new([shop(&[90, 10], vec![ready(1)], vec![ready(2)])]);
        let before = world.build();
        world.change(shop(&[90, 10], vec![unready(1)], vec![ready(2)]));
        let after = world.next(&before, &["shop"]);
        let (old, new) = (&before.services[0].pools, &after.services[0].pools);
        assert!(!Arc::ptr_eq(&old[0], &new[0]) && Arc::ptr_eq(&old[1], &new[1]));
        assert!(Arc::ptr_eq(
            &old[0].members[0].endpoint,
            &new[0].members[0].endpoint
        ));
        assert!(Arc::ptr_eq(&old[0].stats, &new[0].stats));
    }

    #[test]
    fn another_balance_or_another_secret_is_taken_up() {
        let mut world = World::new([shop(&[1, 1], vec![ready(1)], vec![ready(2)])]);
        let before = world.build();
        let mut changed = shop(&[1, 1], vec![ready(1)], vec![ready(2)]);
        let mut plan = plan::Service::clone(&changed.plan);
        plan.pools.get_mut("blue").unwrap().balance = Balance::RoundRobin;
        plan.sticky.as_mut().unwrap().secret = Some(Secret::new(b"new".to_vec()));
        changed.plan = Arc::new(plan);
        world.change(changed);
        let after = world.next(&before, &["shop"]);
        let (old, new) = (&before.services[0], &after.services[0]);
        assert!(
            !Arc::ptr_eq(&old.pools[0], &new.pools[0]) && Arc::ptr_eq(&old.pools[1], &new.pools[1])
        );
        assert!(!Arc::ptr_eq(
            old.affinity.as_ref().unwrap(),
            new.affinity.as_ref().unwrap()
        ));
    }

    #[test]
    fn routes_find_their_services_when_services_come_and_go() {
        let one = |name: &str| service(name, &["main"], &[1], vec![vec![ready(1)]]);
        let mut world = World::new([one("b"), one("d")]);
        let before = world.build();
        world.change(one("a"));
        let after = world.next(&before, &["a"]);
        for (snapshot, names) in [(&before, &["b", "d"][..]), (&after, &["a", "b", "d"])] {
            for wanted in names {
                let found = snapshot.router.find(&crate::routing::Head {
                    method: &http::Method::GET,
                    host: &format!("{wanted}.example"),
                    path: "/",
                    query: None,
                    headers: &http::HeaderMap::new(),
                });
                assert_eq!(
                    snapshot.services[found.unwrap().service].plan.name,
                    name(wanted)
                );
            }
        }
        assert!(Arc::ptr_eq(
            before.service("d").unwrap(),
            after.service("d").unwrap()
        ));
    }

    proptest! {
        #[test]
        fn building_on_the_snapshot_before_is_building_from_nothing(
            worlds in vec((array::uniform3(0..3_u32), any_pools()), 1..5),
        ) {
            let mut world: Option<(World, Snapshot)> = None;
            for (weights, pools) in worlds {
                let decided = service("shop", &["a", "b", "c"], &weights, pools.clone());
                let fresh = built(decided.clone());
                let (mut known, before) = world.take().unwrap_or_else(|| {
                    let mut new = World::new([decided.clone()]);
                    let first = new.build();
                    (new, first)
                });
                known.change(decided);
                let after = known.next(&before, &["shop"]);
                prop_assert_eq!(told(&after.services[0]), told(&fresh));
                world = Some((known, after));
            }
        }
    }

    /// All that a service decides, as text.
    fn told(service: &Service) -> BTreeMap<String, String> {
        let pools = service.pools.iter().enumerate().map(|(index, pool)| {
            let addresses = |candidates: &Candidates| {
                let all: Vec<_> = candidates
                    .iter()
                    .map(|endpoint| endpoint.key.address.to_string())
                    .collect();
                all.join(" ")
            };
            let states: Vec<_> = pool
                .members
                .iter()
                .map(|member| (member.weight, member.state, member.proven))
                .collect();
            let share = service.splitter.share(index);
            let text = format!(
                "{share} {} {} {states:?}",
                addresses(&pool.ready),
                addresses(&pool.last_resort)
            );
            (pool.name().to_string(), text)
        });
        let all = (
            String::new(),
            format!("{} {}", service.weights, service.failing_open),
        );
        pools.chain([all]).collect()
    }
}
