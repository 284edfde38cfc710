//! The race between choosing an endpoint and draining it, in every order that the memory model allows (loom).
//!
//! Compiled from the very file that the proxy runs, over loom's atomics.

use std::sync::Arc;

use loom::{
    sync::atomic::{AtomicBool, AtomicU64 as Word, Ordering, fence},
    thread,
};

#[path = "../../src/units/claim.rs"]
mod claim;

use claim::{Generation, InFlight};

/// Loom takes sequentially consistent loads and stores for weaker ones than they are, but knows fences. So they are spelled out as
/// compilers do it for machines that have only fences: one after every store. A weaker order written in the proxy has none and fails.
pub struct AtomicU64(Word);

impl AtomicU64 {
    pub fn new(value: u64) -> Self {
        Self(Word::new(value))
    }

    pub fn load(&self, order: Ordering) -> u64 {
        let loom = if order == Ordering::SeqCst {
            Ordering::Acquire
        } else {
            order
        };
        self.0.load(loom)
    }

    pub fn store(&self, value: u64, order: Ordering) {
        if order == Ordering::SeqCst {
            self.0.store(value, Ordering::Release);
            fence(Ordering::SeqCst);
        } else {
            self.0.store(value, order);
        }
    }

    pub fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        let before = self.0.fetch_add(value, Ordering::AcqRel);
        if order == Ordering::SeqCst {
            fence(Ordering::SeqCst);
        }
        before
    }
}

/// What workers and control share: the snapshot, which is the number of its generation here, and one endpoint.
struct World {
    current: Word,
    generation: Generation,
    in_flight: [InFlight; 2],
    /// What each worker does under its claims, as plain writes.
    sending: [AtomicBool; 2],
    /// Somebody was told that the endpoint's app may be stopped.
    stopped: AtomicBool,
}

/// Up to this generation the endpoint is open, from the next one on it is not.
const OPEN: u64 = 2;

/// How a worker decides whether its claim is good.
type Check = fn(&World, u64) -> bool;

fn as_the_proxy_does(world: &World, seen: u64) -> bool {
    world.generation.is_current(seen)
}

fn not_at_all(_: &World, _: u64) -> bool {
    true
}

impl World {
    /// As `snapshot::Reader::with` finds the newest snapshot, and `proxy::decide` claims.
    fn request(&self, worker: usize, mut seen: u64, good: Check) {
        loop {
            if !self.generation.is_current(seen) {
                seen = self.current.load(Ordering::Acquire);
            }
            if seen > OPEN {
                return;
            }
            self.in_flight[worker].claim();
            if good(self, seen) {
                self.sending[worker].store(true, Ordering::Relaxed);
                let stopped = self.stopped.load(Ordering::Relaxed);
                assert!(!stopped, "a request was sent to a stopped app");
                self.sending[worker].store(false, Ordering::Relaxed);
                self.in_flight[worker].release();
                return;
            }
            self.in_flight[worker].release();
        }
    }

    /// As `snapshot::Publisher::publish`.
    fn publish(&self, generation: u64) {
        self.current.swap(generation, Ordering::AcqRel);
        self.generation.publish(generation);
    }

    fn drain(&self) {
        self.publish(OPEN + 1);
        let in_flight: u64 = self.in_flight.iter().map(InFlight::count).sum();
        if in_flight == 0 {
            for sending in &self.sending {
                assert!(
                    !sending.load(Ordering::Relaxed),
                    "an app was stopped while it was sent to"
                );
            }
            self.stopped.store(true, Ordering::Relaxed);
        }
    }
}

/// Two workers, one of which has not yet seen the newest snapshot, against a publication and a drain.
fn explore(good: Check) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let world = Arc::new(World {
            current: Word::new(OPEN - 1),
            generation: Generation::new(OPEN - 1),
            in_flight: [InFlight::default(), InFlight::default()],
            sending: [AtomicBool::new(false), AtomicBool::new(false)],
            stopped: AtomicBool::new(false),
        });
        let workers = [0, 1].map(|worker| {
            let world = world.clone();
            thread::spawn(move || world.request(worker, OPEN - 1, good))
        });
        world.publish(OPEN);
        world.drain();
        for worker in workers {
            worker.join().expect("no worker panics");
        }
        assert_eq!(world.in_flight.iter().map(InFlight::count).sum::<u64>(), 0);
    });
}

#[test]
fn a_drain_that_sees_nothing_in_flight_has_proven_that_there_is_and_will_be_nothing() {
    explore(as_the_proxy_does);
}

#[test]
#[should_panic(expected = "stopped")]
fn without_the_second_look_a_request_reaches_a_stopped_app() {
    explore(not_at_all);
}
