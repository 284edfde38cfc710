//! Workers choose apart, each with turns and random numbers of its own. What they choose adds up.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use cutover::{
    pool::{Candidates, Draw, Endpoint, Offset, Slot},
    units::Balance,
};
use fastrand::Rng;
use proptest::{collection::vec, prelude::*};

use crate::support::{App, Proxy, endpoint, members, proxy, within};

/// Some workers before the endpoints of one pool.
struct World {
    candidates: Candidates,
    endpoints: Vec<Arc<Endpoint>>,
    /// Requests in flight, as every worker sees them.
    loads: Vec<u64>,
    workers: Vec<Worker>,
    /// What ends at which millisecond: where, and when it had begun.
    ends: BTreeMap<u64, Vec<(Slot, u64)>>,
    /// How long each that has ended took.
    took: Vec<u64>,
    origin: Instant,
    now: u64,
}

struct Worker {
    cursor: u64,
    offset: Offset,
    random: Rng,
}

fn world(balance: &Balance, weights: &[u32], workers: usize) -> World {
    let members = members(weights, workers);
    let endpoints: Vec<_> = members
        .iter()
        .map(|(endpoint, _)| endpoint.clone())
        .collect();
    World {
        candidates: Candidates::new(balance, weights.len(), members),
        loads: vec![0; endpoints.len()],
        endpoints,
        workers: (0..workers)
            .map(|worker| Worker {
                cursor: 0,
                offset: Offset::of(worker),
                random: Rng::with_seed(worker as u64),
            })
            .collect(),
        ends: BTreeMap::new(),
        took: Vec::new(),
        origin: Instant::now(),
        now: 0,
    }
}

impl World {
    fn choose(&mut self, worker: usize) -> Slot {
        let worker = &mut self.workers[worker];
        worker.cursor += 1;
        let draw = Draw {
            cursor: worker.cursor,
            offset: worker.offset,
            random: worker.random.u64(..),
            ..Draw::default()
        };
        let load = |endpoint: &Endpoint| self.loads[endpoint.slot];
        self.candidates
            .pick(&draw, load, &[])
            .expect("somebody")
            .slot
    }

    /// What all workers choose at the same moment: none sees what the others are about to do.
    fn choose_at_once(&mut self) -> Vec<Slot> {
        let workers = 0..self.workers.len();
        workers.map(|worker| self.choose(worker)).collect()
    }

    /// For so many milliseconds every worker gets a request in each, all at the same moment. `takes` is how long one takes at an endpoint
    /// that has so many then. Tells who has got how many, and the highest load that each had in the second half.
    fn run(&mut self, millis: u64, takes: impl Fn(Slot, u64) -> u64) -> (Vec<usize>, Vec<u64>) {
        let mut chosen = vec![0; self.endpoints.len()];
        let mut highest = vec![0; self.endpoints.len()];
        let (half, end) = (self.now + millis / 2, self.now + millis);
        while self.now < end {
            self.now += 1;
            let ended = self.ends.remove(&self.now).unwrap_or_default();
            for (number, (slot, begun)) in ended.into_iter().enumerate() {
                self.loads[slot] -= 1;
                self.took.push(self.now - begun);
                let worker = number % self.workers.len();
                let draw = self.workers[worker].random.u64(..);
                let moment = self.origin + Duration::from_millis(self.now);
                let latency = Duration::from_millis(self.now - begun);
                self.endpoints[slot].observe_latency(latency, moment, draw);
            }
            for slot in self.choose_at_once() {
                chosen[slot] += 1;
                self.loads[slot] += 1;
                let ends = self.now + takes(slot, self.loads[slot]).max(1);
                self.ends.entry(ends).or_default().push((slot, self.now));
            }
            if self.now > half {
                for (highest, load) in highest.iter_mut().zip(&self.loads) {
                    *highest = (*highest).max(*load);
                }
            }
        }
        (chosen, highest)
    }
}

impl World {
    /// What nineteen of twenty that have ended since it was asked last took at most.
    fn p95(&mut self) -> f64 {
        let mut took = std::mem::take(&mut self.took);
        took.sort_unstable();
        let took = u32::try_from(took[took.len() * 19 / 20]).expect("some seconds");
        f64::from(took)
    }
}

fn counted(slots: &[Slot], of: usize) -> Vec<usize> {
    let count = |slot| slots.iter().filter(|chosen| **chosen == slot).count();
    (0..of).map(count).collect()
}

#[test]
fn in_turn_workers_who_choose_at_once_do_not_choose_the_same() {
    for workers in 1..=16_usize {
        for endpoints in 1..=12 {
            let mut world = world(&Balance::RoundRobin, &vec![1; endpoints], workers);
            for _ in 0..50 {
                let counts = counted(&world.choose_at_once(), endpoints);
                let most = *counts.iter().max().unwrap();
                let even = workers.div_ceil(endpoints);
                assert!(most <= even + 1, "{workers} workers: {counts:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn in_turn_each_endpoint_gets_its_weights_part_of_what_all_workers_have(
        weights in vec(1..40_u32, 1..8),
        requests in vec(0..300_u32, 1..16),
    ) {
        let mut world = world(&Balance::RoundRobin, &weights, requests.len());
        let mut chosen = Vec::new();
        for (worker, requests) in requests.iter().enumerate() {
            chosen.extend((0..*requests).map(|_| world.choose(worker)));
        }
        let total: u32 = weights.iter().sum();
        let all = f64::from(requests.iter().sum::<u32>());
        for (count, weight) in counted(&chosen, weights.len()).into_iter().zip(&weights) {
            let part = all * f64::from(*weight) / f64::from(total);
            let off = (f64::from(u32::try_from(count).unwrap()) - part).abs();
            // Each worker is off by less than five; by less than one where the weights are equal.
            prop_assert!(off <= 5.0 * f64::from(u32::try_from(requests.len()).unwrap()), "{off} off");
        }
    }
}

#[test]
fn of_two_workers_who_choose_at_once_do_not_all_choose_the_idle_one() {
    for balance in [&Balance::LeastRequests, &Balance::PeakEwma] {
        let mut world = world(balance, &[1; 10], 16);
        for (slot, endpoint) in world.endpoints.iter().enumerate() {
            endpoint.observe_latency(Duration::from_millis(5), world.origin, 0);
            world.loads[slot] = if slot == 3 { 0 } else { 20 };
        }
        for _ in 0..200 {
            // One draw of five has it.
            let counts = counted(&world.choose_at_once(), 10);
            assert!(counts[3] <= 10, "{balance}: {counts:?}");
        }
    }
}

#[test]
fn of_two_the_loads_stay_alike_however_many_workers_choose_at_once() {
    for workers in [1, 4, 16] {
        // On average each endpoint has as many in flight as there are workers.
        let highest = |balance: &Balance| {
            let mut world = world(balance, &[1; 10], workers);
            let (_, highest) = world.run(2000, |_, _| 10);
            *highest.iter().max().unwrap()
        };
        let [least, ewma, random] = [
            &Balance::LeastRequests,
            &Balance::PeakEwma,
            &Balance::Random,
        ]
        .map(highest);
        let workers = workers as u64;
        assert!(least <= workers * 2 + 3, "{workers} workers: {least}");
        assert!(ewma <= workers * 2 + 3, "{workers} workers: {ewma}");
        assert!(random > least && random > ewma, "{workers}: {random}");
    }
}

#[test]
fn what_one_worker_learns_of_a_slow_endpoint_all_know() {
    for workers in [1, 4, 16] {
        let mut world = world(&Balance::PeakEwma, &[1, 1, 1], workers);
        world.run(1000, |_, _| 5);
        let (first, _) = world.run(100, |slot, _| if slot == 0 { 50 } else { 5 });
        let (chosen, _) = world.run(9900, |slot, _| if slot == 0 { 50 } else { 5 });
        let all: usize = chosen.iter().sum();
        // As many as it takes until those that wait at the others would be done sooner with it.
        assert!(chosen[0] * 33 < all, "{workers} workers: {chosen:?}");
        assert!(first[0] < 25 * workers, "{workers} workers: {first:?}");
        // It is quick again, and gets its part again.
        world.run(30_000, |_, _| 5);
        let (chosen, _) = world.run(10_000, |_, _| 5);
        let all: usize = chosen.iter().sum();
        assert!(chosen[0] * 5 > all, "{workers} workers: {chosen:?}");
    }
}

/// What real endpoints take: around 5 ms, and one in a hundred five times as long.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "some milliseconds"
)]
fn with_a_tail(random: &mut Rng) -> u64 {
    // A sum of even draws is near enough to a normal one.
    let normal = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
    let slow = if random.u32(..100) == 0 { 5.0 } else { 1.0 };
    (5.0 * slow * (0.4 * normal).exp()).round() as u64
}

#[test]
fn of_three_endpoints_one_that_is_ten_times_slower_is_hardly_noticed_by_peak_ewma() {
    let ratio = |balance: &Balance, workers, takes: fn(&mut Rng) -> u64| {
        let mut world = world(balance, &[1, 1, 1], workers);
        let random = RefCell::new(Rng::with_seed(9));
        let takes = |_, _| takes(&mut random.borrow_mut());
        world.run(3000, takes);
        let before = world.p95();
        let slowed = |slot, load| takes(slot, load) * if slot == 0 { 10 } else { 1 };
        world.run(2000, slowed);
        world.p95();
        let (chosen, _) = world.run(6000, slowed);
        let all: usize = chosen.iter().sum();
        (world.p95() / before, all / chosen[0])
    };
    for takes in [|random: &mut Rng| random.u64(4..=8), with_a_tail] {
        for workers in [1, 2, 4, 16] {
            let (ratio, one_in) = ratio(&Balance::PeakEwma, workers, takes);
            assert!(ratio <= 1.2, "{workers} workers: {ratio}");
            assert!(one_in >= 40, "{workers} workers: one in {one_in}");
        }
        // Those who go by loads alone give it one where the others have one more each.
        let (ratio, _) = ratio(&Balance::LeastRequests, 1, takes);
        assert!(ratio > 3.0, "{ratio}");
    }
}

#[test]
fn a_new_endpoint_is_not_run_over() {
    for workers in [1, 4, 16] {
        let mut world = world(&Balance::PeakEwma, &[1; 4], workers);
        for endpoint in &world.endpoints[1..] {
            endpoint.observe_latency(Duration::from_millis(5), world.origin, 0);
        }
        // It takes half a second for its first request, and does not answer before.
        let (chosen, _) = world.run(500, |slot, _| if slot == 0 { 500 } else { 5 });
        assert!((1..=workers).contains(&chosen[0]), "{chosen:?}");
    }
}

/// Asks on so many connections, which the workers share among them, so often each, all at once.
async fn ask(proxy: &Proxy, connections: usize, times: usize) {
    let clients = (0..connections).map(|_| async {
        let mut client = proxy.client().await;
        for _ in 0..times {
            assert_eq!(client.get("/").await.status, 200);
        }
    });
    within("all answers", futures_util::future::join_all(clients)).await;
}

async fn three() -> [App; 3] {
    let app = || endpoint("app").start();
    [app().await, app().await, app().await]
}

#[tokio::test]
async fn in_turn_four_workers_give_each_endpoint_the_same() {
    let apps = three().await;
    let proxy = proxy()
        .workers(4)
        .pool("blue", 1, &[&apps[0], &apps[1], &apps[2]])
        .start();
    for (connections, times) in [(60, 1), (12, 20)] {
        let before = apps.each_ref().map(|app| app.requests().len());
        ask(&proxy, connections, times).await;
        for (app, before) in apps.iter().zip(before) {
            let got = app.requests().len() - before;
            // Each worker is off by less than one.
            let even = connections * times / 3;
            assert!(got.abs_diff(even) <= 4, "{got} is not {even}");
        }
    }
}

#[tokio::test]
async fn of_two_four_workers_see_each_others_loads() {
    for balance in ["least-requests", "peak-ewma"] {
        let silent = || endpoint("silent").silent().start();
        let apps = [silent().await, silent().await, silent().await];
        let proxy = proxy()
            .workers(4)
            .service(&format!("balance = \"{balance}\""))
            .pool("blue", 1, &[&apps[0], &apps[1], &apps[2]])
            .start();
        let mut clients = Vec::new();
        for asked in 1..=45 {
            let mut client = proxy.client().await;
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            clients.push(client);
            proxy
                .until("it to be in flight", |proxy| {
                    proxy.in_flight("blue") == asked
                })
                .await;
        }
        for app in &apps {
            app.until_requests(13).await;
            let got = app.requests().len();
            assert!((13..=17).contains(&got), "{balance}: {got} is not 15");
        }
    }
}
