//! Keys that all want the same endpoint, and a bound of what it may have.

use cutover::{
    pool::{Candidates, Draw, Endpoint, Slot},
    units::{Balance, HashKey},
};
use fastrand::Rng;

use crate::support::{endpoint, members, proxy};

fn candidates(factor: Option<u32>, weights: &[u32]) -> Candidates {
    let factor = factor.map(|percent| format!("{percent}%").parse().expect("a factor"));
    let balance = Balance::Hash(HashKey::Path, factor);
    Candidates::new(&balance, weights.len(), members(weights, 1))
}

fn choose(candidates: &Candidates, key: u64, loads: &[u64], avoid: &[Slot]) -> Slot {
    let draw = Draw {
        key: Some(key),
        in_flight: loads.iter().sum(),
        ..Draw::default()
    };
    let load = |endpoint: &Endpoint| loads[endpoint.slot];
    let chosen = candidates.pick(&draw, load, avoid);
    chosen.expect("somebody").slot
}

/// Weights of a pool that scores its endpoints, and of one that looks keys up in a table.
fn pools() -> [Vec<u32>; 2] {
    [vec![1, 2, 3, 4], (0..60).map(|n| 1 + n % 3).collect()]
}

#[test]
fn no_endpoint_gets_more_than_the_factor_times_its_part() {
    for weights in pools() {
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        for factor in [101, 125, 200] {
            let candidates = candidates(Some(factor), &weights);
            let (mut loads, mut random) = (vec![0; weights.len()], Rng::with_seed(1));
            for in_flight in 1..=3000_u64 {
                // Half of all have the same key.
                let key = if random.bool() { 7 } else { random.u64(..) };
                let slot = choose(&candidates, key, &loads, &[]);
                loads[slot] += 1;
                let most = in_flight * u64::from(factor) * u64::from(weights[slot]);
                assert!(
                    loads[slot] <= most.div_ceil(total * 100),
                    "{factor}: {loads:?}"
                );
            }
        }
    }
}

#[test]
fn a_key_leaves_its_endpoint_only_while_that_has_too_many_and_always_in_the_same_order() {
    for weights in pools() {
        let (bounded, free) = (candidates(Some(101), &weights), candidates(None, &weights));
        let mut random = Rng::with_seed(2);
        for key in std::iter::repeat_with(|| random.u64(..)).take(500) {
            let mut loads: Vec<u64> = weights.iter().map(|weight| u64::from(*weight)).collect();
            let owner = choose(&free, key, &loads, &[]);
            assert_eq!(choose(&bounded, key, &loads, &[]), owner);
            loads[owner] = 100_000;
            assert_eq!(choose(&free, key, &loads, &[]), owner);
            // The one that it has after its own, as when its own is out.
            let next = choose(&free, key, &loads, &[owner]);
            assert_eq!(choose(&bounded, key, &loads, &[]), next);
            loads[next] = 100_000;
            let third = choose(&bounded, key, &loads, &[]);
            assert!(third != owner && third != next);
            loads[owner] = 0;
            assert_eq!(choose(&bounded, key, &loads, &[]), owner);
        }
    }
}

#[test]
fn where_nobody_seems_to_have_room_a_key_goes_to_its_own() {
    for weights in pools() {
        let (bounded, free) = (candidates(Some(150), &weights), candidates(None, &weights));
        let loads = vec![1000; weights.len()];
        let mut random = Rng::with_seed(3);
        for key in std::iter::repeat_with(|| random.u64(..)).take(100) {
            // The sum was taken before others came.
            let draw = Draw {
                key: Some(key),
                in_flight: 10,
                ..Draw::default()
            };
            let load = |endpoint: &Endpoint| loads[endpoint.slot];
            let chosen = bounded.pick(&draw, load, &[]).unwrap().slot;
            assert_eq!(chosen, choose(&free, key, &loads, &[]));
        }
    }
}

#[tokio::test]
async fn one_key_that_everybody_asks_for_is_shared_by_as_many_endpoints_as_it_takes() {
    for (factor, most) in [("125%", 9), ("none", 20)] {
        let silent = || endpoint("silent").silent().start();
        let apps = [silent().await, silent().await, silent().await];
        let proxy = proxy()
            .workers(2)
            .service(&format!(
                "balance = \"hash:header:x-key\"\nhash_balance_factor = \"{factor}\""
            ))
            .pool("blue", 1, &[&apps[0], &apps[1], &apps[2]])
            .start();
        let mut clients = Vec::new();
        for asked in 1..=20 {
            let mut client = proxy.client().await;
            client
                .send("GET / HTTP/1.1\r\nhost: a\r\nx-key: hot\r\n\r\n")
                .await;
            clients.push(client);
            proxy
                .until("it to be in flight", |proxy| {
                    proxy.in_flight("blue") == asked
                })
                .await;
        }
        let seen = || apps.each_ref().map(|app| app.requests().len());
        proxy
            .until("all to be sent", |_| seen().iter().sum::<usize>() == 20)
            .await;
        // 1.25 times a third of twenty, rounded up.
        assert_eq!(
            seen().into_iter().max(),
            Some(most),
            "{factor}: {:?}",
            seen()
        );
        drop(clients);
        proxy
            .until("all to be given up", |proxy| proxy.in_flight("blue") == 0)
            .await;
    }
}
