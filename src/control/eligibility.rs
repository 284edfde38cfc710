//! Merges the verdicts of the rooms that watch with the drains in force into each endpoint's state. Pure: what time it
//! is, and what probes saw, are arguments.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use super::{
    Ejection, EjectionCause, Probed,
    health::{Health, Turn},
};
use crate::{
    pool::State,
    units::{Address, EndpointKey, Name, Outliers, Timestamp},
};

/// Every endpoint in force and what is thought of it. Kept under its identity, so that it survives changes of weight
/// and reloads, and forgotten when the endpoint goes.
#[derive(Default)]
pub(super) struct Roster {
    services: BTreeMap<Name, Pools>,
    /// Those that may be out because of what they did to requests.
    ejected: BTreeSet<EndpointKey>,
}

type Pools = HashMap<Name, HashMap<Address, Health>>;

/// An endpoint as the book has it, for [`Roster::reconcile`].
pub(super) struct Place {
    pub pool: Name,
    pub address: Address,
    /// Its pool has a probe; without one it counts as ready.
    pub probed: bool,
    pub draining: bool,
    pub cut: bool,
}

impl Roster {
    pub fn get(&self, service: &str, pool: &str, address: &Address) -> Option<&Health> {
        self.services.get(service)?.get(pool)?.get(address)
    }

    fn get_mut(&mut self, key: &EndpointKey) -> Option<&mut Health> {
        let pools = self.services.get_mut(&key.service)?;
        pools.get_mut(&key.pool)?.get_mut(&key.address)
    }

    /// Takes a probe's end in. One of an unknown endpoint, or begun before it was put there, says nothing. `Some` when
    /// the endpoint's state has changed by it.
    pub fn observe(
        &mut self,
        probed: Probed,
        rise: u32,
        fall: u32,
        now: Instant,
        at: Timestamp,
    ) -> Option<Turn> {
        let health = self.get_mut(&probed.endpoint)?;
        health.observe(probed, rise, fall, now, at)
    }

    /// Makes the endpoints of a service those that are in force: new ones are unproven, gone ones are forgotten, the
    /// others keep what is thought of them.
    pub fn reconcile(&mut self, service: &Name, places: &[Place], now: Instant, at: Timestamp) {
        let mut before = self.services.remove(service).unwrap_or_default();
        let mut pools = Pools::new();
        for place in places {
            let held = before
                .get_mut(&place.pool)
                .and_then(|pool| pool.remove(&place.address));
            let mut health = held.unwrap_or_else(|| Health::new(now, at));
            health.settle(place, now, at);
            pools
                .entry(place.pool.clone())
                .or_default()
                .insert(place.address.clone(), health);
        }
        if !pools.is_empty() {
            self.services.insert(service.clone(), pools);
        }
    }

    /// Those that are ready have their shares.
    pub fn warm_up(&mut self) {
        let pools = self.services.values_mut().flat_map(HashMap::values_mut);
        for health in pools.flat_map(HashMap::values_mut) {
            health.warm_up();
        }
    }

    pub fn forget(&mut self, service: &str) {
        self.services.remove(service);
    }

    /// Put back: what was thought of it before counts no more.
    pub fn put_back(&mut self, key: &EndpointKey, now: Instant, at: Timestamp) {
        if let Some(health) = self.get_mut(key) {
            health.put_back(now, at);
        }
    }

    /// Takes an endpoint out, unless too many of its pool are out already or it is the last that is ready.
    pub fn eject(
        &mut self,
        key: &EndpointKey,
        cause: EjectionCause,
        outliers: &Outliers,
        now: Instant,
        at: Timestamp,
    ) -> Option<(Turn, Ejection)> {
        let pool = self.services.get_mut(&key.service)?.get_mut(&key.pool)?;
        let count = |wanted: fn(&Health) -> bool| pool.values().filter(|one| wanted(one)).count();
        let of = count(|one| !matches!(one.state(), State::Draining | State::Drained));
        let out = count(|one| one.ejection().is_some());
        let ready = count(|one| one.state() == State::Ready);
        if out >= outliers.most(of) || ready < 2 {
            return None;
        }
        let health = pool.get_mut(&key.address)?;
        let turn = health.eject(cause, outliers, now, at)?;
        self.ejected.insert(key.clone());
        Some((turn, *health.ejection()?))
    }

    /// Brings those back whose time is over or whose service ejects no more, and all of a pool in which nobody else is ready: the
    /// last is never out.
    pub fn bring_back(
        &mut self,
        ejects: impl Fn(&Name) -> bool,
        now: Instant,
        at: Timestamp,
    ) -> Vec<(EndpointKey, Turn, &'static str)> {
        let mut turns = Vec::new();
        for key in std::mem::take(&mut self.ejected) {
            let pools = self.services.get_mut(&key.service);
            let Some(pool) = pools.and_then(|pools| pools.get_mut(&key.pool)) else {
                continue;
            };
            let alone = !pool.values().any(|health| health.state() == State::Ready);
            let Some(health) = pool.get_mut(&key.address) else {
                continue;
            };
            let Some(ejection) = health.ejection() else {
                continue;
            };
            let why = if ejection.is_over(now) {
                "its time out is over"
            } else if !ejects(&key.service) {
                "ejection is off"
            } else if alone && health.state() == State::Ejected {
                "no other endpoint of its pool is ready"
            } else {
                self.ejected.insert(key);
                continue;
            };
            if let Some(turn) = health.bring_back(now, at) {
                turns.push((key, turn, why));
            }
        }
        turns
    }

    /// A draining endpoint was proven empty.
    pub fn emptied(&mut self, key: &EndpointKey, at: Timestamp) {
        if let Some(health) = self.get_mut(key) {
            health.emptied(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::control::LastProbe;

    const RISE: u32 = 2;
    const FALL: u32 = 3;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn key() -> EndpointKey {
        EndpointKey {
            service: name("shop"),
            pool: name("blue"),
            address: "10.0.0.1:80".parse().unwrap(),
        }
    }

    fn place() -> Place {
        Place {
            pool: key().pool,
            address: key().address,
            probed: true,
            draining: false,
            cut: false,
        }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + i64::try_from(millis).unwrap()).unwrap()
    }

    /// A roster with one endpoint and a clock of its own.
    struct Stage {
        roster: Roster,
        zero: Instant,
        millis: u64,
    }

    impl Stage {
        fn new(place: Place) -> Self {
            let mut stage = Self {
                roster: Roster::default(),
                zero: Instant::now(),
                millis: 0,
            };
            stage.reconcile(&[place]);
            stage
        }

        fn now(&self) -> Instant {
            self.zero + Duration::from_millis(self.millis)
        }

        fn reconcile(&mut self, places: &[Place]) {
            let now = self.now();
            self.roster
                .reconcile(&name("shop"), places, now, at(self.millis));
        }

        /// A probe begun `ago` milliseconds ago that ends now.
        fn probe(&mut self, passed: bool, ago: u64) -> Option<Turn> {
            self.millis += 10;
            let probed = Probed {
                endpoint: key(),
                begun: self.now().checked_sub(Duration::from_millis(ago)).unwrap(),
                passed,
                last: LastProbe {
                    at: at(self.millis),
                    url: "http://10.0.0.1:80/".to_owned(),
                    status: None,
                    latency_ms: 1.0,
                    error: None,
                    streak: 0,
                },
            };
            let now = self.now();
            self.roster
                .observe(probed, RISE, FALL, now, at(self.millis))
        }

        fn probes(&mut self, ends: &str) {
            for end in ends.chars() {
                self.probe(end == '+', 0);
            }
        }

        fn health(&self) -> &Health {
            let key = key();
            self.roster.get("shop", "blue", &key.address).unwrap()
        }

        fn state(&self) -> State {
            self.health().state()
        }
    }

    #[test]
    fn a_new_endpoint_is_unproven_until_it_passes_its_rise_count_in_a_row() {
        let mut stage = Stage::new(place());
        assert_eq!(stage.state(), State::Unproven);
        stage.probes("+-+-----");
        assert_eq!(stage.state(), State::Unproven);
        assert!(!stage.health().standing().proven);
        stage.probes("++");
        assert_eq!(stage.state(), State::Ready);
        assert!(stage.health().standing().proven);
    }

    #[test]
    fn a_ready_endpoint_falls_by_its_fall_count_in_a_row_and_stays_once_proven() {
        let mut stage = Stage::new(place());
        stage.probes("++--+--");
        assert_eq!(stage.state(), State::Ready);
        stage.probes("-");
        assert_eq!(stage.state(), State::Unready);
        assert!(stage.health().standing().proven);
        stage.probes("+-++");
        assert_eq!(stage.state(), State::Ready);
    }

    #[test]
    fn without_a_probe_an_endpoint_is_ready() {
        let stage = Stage::new(Place {
            probed: false,
            ..place()
        });
        assert_eq!(stage.state(), State::Ready);
    }

    #[test]
    fn a_probe_that_was_begun_before_the_endpoint_was_put_there_says_nothing() {
        let mut stage = Stage::new(place());
        stage.probe(true, 50);
        stage.probe(true, 50);
        assert_eq!(stage.state(), State::Unproven);
        assert!(stage.health().last.is_none());
    }

    #[test]
    fn a_reload_keeps_what_is_thought_and_a_removal_forgets_it() {
        let mut stage = Stage::new(place());
        stage.probes("++");
        stage.reconcile(&[place()]);
        assert_eq!(stage.state(), State::Ready);
        stage.reconcile(&[]);
        stage.reconcile(&[place()]);
        assert_eq!(stage.state(), State::Unproven);
    }

    #[test]
    fn a_restored_endpoint_passes_afresh() {
        let mut stage = Stage::new(place());
        stage.probes("+++");
        stage.reconcile(&[Place {
            draining: true,
            ..place()
        }]);
        assert_eq!(stage.state(), State::Draining);
        stage.roster.emptied(&key(), at(500));
        assert_eq!(stage.state(), State::Drained);
        stage.millis += 1000;
        let now = stage.now();
        stage.roster.put_back(&key(), now, at(stage.millis));
        stage.reconcile(&[place()]);
        assert_eq!(stage.state(), State::Unproven);
        stage.probe(true, 500);
        stage.probes("+");
        assert_eq!(stage.state(), State::Unproven);
        stage.probes("+");
        assert_eq!(stage.state(), State::Ready);
    }

    #[test]
    fn proven_since_counts_passes_begun_after_the_moment_alone() {
        let mut stage = Stage::new(place());
        stage.probes("+++++");
        let called = stage.now() + Duration::from_millis(1);
        assert!(!stage.health().is_proven_since(called, RISE));
        stage.probes("+");
        assert!(!stage.health().is_proven_since(called, RISE));
        stage.probes("-+");
        assert!(!stage.health().is_proven_since(called, RISE));
        stage.probes("+");
        assert!(stage.health().is_proven_since(called, RISE));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Probe(bool, bool),
        Drain,
        Restore,
        Empty,
        Remove,
        Reload,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(pass, old)| Step::Probe(pass, old)),
            1 => Just(Step::Drain),
            1 => Just(Step::Restore),
            1 => Just(Step::Empty),
            1 => Just(Step::Remove),
            1 => Just(Step::Reload),
        ]
    }

    /// What the words say, told by looking at the whole past of the endpoint since it was put there.
    #[derive(Default)]
    struct Model {
        ends: Vec<bool>,
        draining: bool,
        emptied: bool,
    }

    impl Model {
        fn expected(&self) -> (State, bool) {
            let mut state = State::Unproven;
            let mut proven = false;
            for end in 1..=self.ends.len() {
                let past = &self.ends[..end];
                let run = |wanted: bool| {
                    past.iter()
                        .rev()
                        .take_while(|pass| **pass == wanted)
                        .count()
                };
                if run(true) >= RISE as usize {
                    state = State::Ready;
                    proven = true;
                } else if run(false) >= FALL as usize && state == State::Ready {
                    state = State::Unready;
                }
            }
            match (self.draining, self.emptied) {
                (true, true) => (State::Drained, proven),
                (true, false) => (State::Draining, proven),
                _ => (state, proven),
            }
        }
    }

    proptest! {
        #[test]
        fn the_roster_says_what_the_words_say(steps in prop::collection::vec(step(), 0..60)) {
            let mut stage = Stage::new(place());
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Probe(pass, old) => {
                        let before = stage.state();
                        let turn = stage.probe(pass, if old { stage.millis + 11 } else { 0 });
                        if !old {
                            model.ends.push(pass);
                        }
                        let after = stage.state();
                        prop_assert_eq!(turn, (before != after).then_some(Turn { before, after }));
                    }
                    Step::Drain => model.draining = true,
                    Step::Empty => {
                        stage.roster.emptied(&key(), at(stage.millis));
                        model.emptied = model.draining;
                    }
                    Step::Restore => {
                        let now = stage.now();
                        stage.roster.put_back(&key(), now, at(stage.millis));
                        model = Model::default();
                    }
                    Step::Remove => {
                        stage.reconcile(&[]);
                        model = Model::default();
                    }
                    Step::Reload => {}
                }
                stage.reconcile(&[Place { draining: model.draining, ..place() }]);
                let standing = stage.health().standing();
                prop_assert_eq!((standing.state, standing.proven), model.expected());
            }
        }
    }
}
