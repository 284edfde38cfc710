use std::sync::Arc;

use super::{Member, Pool};
use crate::{
    config::plan::FailOpen,
    pool::{Candidates, Slot, State},
    routing::Splitter,
    units::{Address, Arm, Name, Trial, Weights},
};

/// A trial as requests are divided by it.
///
/// While stable has weight, none of what is meant for it goes to the candidate, whatever becomes of it; what is meant for a candidate
/// with nobody ready does go to stable.
pub struct TrialInForce {
    pub trial: Arc<Trial>,
    /// Their places in the service's pools.
    pub stable: usize,
    pub candidate: usize,
    /// The candidate's part of what the two of them get, 0.0 to 1.0: after what a candidate that is not ready yields.
    pub share: f64,
    /// Stable has weight, and with it what is its own.
    holds: bool,
    /// Nobody of stable is ready: those that have been are tried.
    leans: bool,
    /// Where both are one pool: the endpoints that are on trial.
    batch: Vec<Slot>,
}

impl TrialInForce {
    /// `None`: there is no such pool, or nobody of such a batch is in it.
    fn of(trial: &Arc<Trial>, weights: &Weights, pools: &[Arc<Pool>], open: bool) -> Option<Self> {
        let place = |name: &Name| pools.iter().position(|pool| pool.name() == name);
        let (stable, candidate) = (place(&trial.stable)?, place(&trial.candidate)?);
        let pool = &pools[stable];
        let batch = slots(pool, &trial.batch);
        if stable == candidate && batch.is_empty() {
            return None;
        }
        let holds = stable != candidate && weights.get(pool.name().as_str()) > 0;
        Some(Self {
            trial: trial.clone(),
            stable,
            candidate,
            share: 0.0,
            holds,
            leans: holds && open && pool.ready.is_empty(),
            batch,
        })
    }

    pub fn arm(&self, pool: usize) -> Option<Arm> {
        match pool {
            _ if pool == self.stable => Some(Arm::Stable),
            _ if pool == self.candidate => Some(Arm::Candidate),
            _ => None,
        }
    }

    /// Whose a request is that goes to this endpoint of this pool.
    pub fn arm_of(&self, pool: usize, endpoint: Slot) -> Option<Arm> {
        if self.batch.is_empty() || pool != self.stable {
            return self.arm(pool);
        }
        let on_trial = self.batch.contains(&endpoint);
        Some(if on_trial {
            Arm::Candidate
        } else {
            Arm::Stable
        })
    }

    /// The endpoints that are on trial beside the others of their pool; none where it is the pool that is.
    pub fn batch(&self) -> &[Slot] {
        &self.batch
    }

    /// Somebody may answer in the candidate's place.
    pub fn has_stable(&self) -> bool {
        self.holds || !self.batch.is_empty()
    }

    /// Whose a request is that was to go to this pool, and goes to no candidate.
    pub fn sparing_the_candidate(&self, pool: usize) -> usize {
        if self.holds && pool == self.candidate {
            self.stable
        } else {
            pool
        }
    }

    /// Stable's share is stable's alone.
    pub fn holds(&self) -> bool {
        self.holds
    }

    pub(super) fn leans(&self) -> bool {
        self.leans
    }

    /// Whether a pool's last resort is tried, where its service fails open or does not.
    pub(super) fn fails_open(&self, pool: usize, service: bool) -> bool {
        match self.arm(pool) {
            Some(Arm::Stable) if self.holds => self.leans,
            Some(Arm::Candidate) if self.holds => false,
            _ => service,
        }
    }
}

/// Who gets requests of a service, and how.
pub(super) struct Division {
    pub splitter: Splitter,
    pub failing_open: bool,
    pub trial: Option<TrialInForce>,
}

impl Division {
    /// Only pools with somebody to send to take part, so that the others' shares fall to them in proportion.
    pub fn of(
        weights: &Weights,
        pools: &[Arc<Pool>],
        fail_open: FailOpen,
        trial: Option<&Arc<Trial>>,
    ) -> Self {
        let weight = |pool: &Pool| weights.get(pool.name().as_str());
        let open = fail_open != FailOpen::Never;
        let mut trial = trial.and_then(|trial| TrialInForce::of(trial, weights, pools, open));
        let mut weighted = pools.iter().filter(|pool| weight(pool) > 0);
        let failing_open = open && weighted.all(|pool| pool.ready.is_empty());
        let split = |candidates: fn(&Pool) -> &Candidates| {
            let parts = pools.iter().enumerate().map(|(place, pool)| {
                let arm = trial.as_ref().and_then(|trial| trial.arm(place));
                let holds = trial.as_ref().is_some_and(|trial| trial.holds);
                let takes_part = match arm {
                    Some(Arm::Stable) if holds => true,
                    Some(Arm::Candidate) if holds => !pool.ready.is_empty(),
                    _ => !candidates(pool).is_empty(),
                };
                let weight = if takes_part { weight(pool) } else { 0 };
                (pool.name().as_str(), weight)
            });
            match trial.as_ref().filter(|one| one.stable != one.candidate) {
                None => Splitter::new(parts),
                Some(one) => Splitter::sampled(parts, (one.stable, one.candidate), one.trial.salt),
            }
        };
        let splitter = if failing_open {
            split(|pool| &pool.last_resort)
        } else {
            split(|pool| &pool.ready)
        };
        let mut asked = pools
            .iter()
            .enumerate()
            .filter(|(place, _)| splitter.share(*place) > 0.0);
        let failing_open = failing_open && asked.any(|(_, pool)| !pool.last_resort.is_empty());
        if let Some(trial) = &mut trial {
            let (stable, candidate) = (
                splitter.share(trial.stable),
                splitter.share(trial.candidate),
            );
            if trial.stable == trial.candidate {
                trial.share = part(&pools[trial.stable], &trial.batch);
            } else if candidate > 0.0 {
                trial.share = candidate / (stable + candidate);
            }
        }
        Self {
            splitter,
            failing_open,
            trial,
        }
    }
}

/// Those of a batch that are in the pool.
fn slots(pool: &Pool, batch: &[Address]) -> Vec<Slot> {
    let members = pool.members.iter().map(|member| &member.endpoint);
    members
        .filter(|endpoint| batch.contains(&endpoint.key.address))
        .map(|endpoint| endpoint.slot)
        .collect()
}

/// A batch's part of what its pool gets, by the weights of those that are ready.
fn part(pool: &Pool, batch: &[Slot]) -> f64 {
    let ready = || {
        let members = pool.members.iter();
        members.filter(|member| member.state == State::Ready)
    };
    let weight = |member: &Member| f64::from(member.weight) * f64::from(member.warmth);
    let all: f64 = ready().map(weight).sum();
    let of_batch = ready().filter(|member| batch.contains(&member.endpoint.slot));
    if all > 0.0 {
        of_batch.map(weight).sum::<f64>() / all
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::{array, prelude::*};

    use super::*;
    use crate::{
        config::plan,
        pool::State,
        snapshot::{
            Decided, DecidedEndpoint, Service,
            testing::{World, any_pools, endpoint, name, service},
        },
    };

    fn trial(salt: u64) -> Trial {
        Trial {
            id: 7,
            stable: name("blue"),
            candidate: name("green"),
            salt,
            rescue: None,
            batch: Vec::new(),
            copies: None,
        }
    }

    fn ready(port: u16) -> Vec<DecidedEndpoint> {
        vec![endpoint(port, 1, State::Ready, true)]
    }

    fn unready(port: u16, proven: bool) -> Vec<DecidedEndpoint> {
        let state = if proven {
            State::Unready
        } else {
            State::Unproven
        };
        vec![endpoint(port, 1, state, proven)]
    }

    /// Blue is stable, green is on trial; red is neither.
    fn shop(weights: [u32; 3], blue: Vec<DecidedEndpoint>, green: Vec<DecidedEndpoint>) -> Decided {
        let pools = vec![blue, green, ready(9)];
        let mut decided = service("shop", &["blue", "green", "red"], &weights, pools);
        decided.trial = Some(Arc::new(trial(1)));
        decided
    }

    fn built(decided: Decided) -> Arc<Service> {
        World::new([decided]).build().services[0].clone()
    }

    /// What each pool gets, whether it has anybody to give it to, and the candidate's share.
    fn told(service: &Service) -> (Vec<(f64, bool)>, f64) {
        let of = |place| {
            let has_somebody = !service.candidates(place).is_empty();
            (service.splitter.share(place), has_somebody)
        };
        let share = service.trial.as_ref().map_or(-1.0, |trial| trial.share);
        ((0..3).map(of).collect(), share)
    }

    #[test]
    fn with_both_ready_a_trial_is_divided_as_its_weights_say() {
        let both = built(shop([75, 25, 0], ready(1), ready(2)));
        let shares = vec![(0.75, true), (0.25, true), (0.0, true)];
        assert_eq!(told(&both), (shares, 0.25));
        let with_others = built(shop([30, 10, 60], ready(1), ready(2)));
        assert!((told(&with_others).1 - 0.25).abs() < 1e-12);
    }

    #[test]
    fn what_is_meant_for_stable_never_goes_to_what_is_on_trial() {
        let leaning = built(shop([75, 25, 0], unready(1, true), ready(2)));
        let shares = vec![(0.75, true), (0.25, true), (0.0, true)];
        assert_eq!(told(&leaning), (shares, 0.25));
        assert!(leaning.is_ready() && leaning.fails_open() && !leaning.failing_open);

        let nobody = built(shop([75, 25, 0], unready(1, false), ready(2)));
        let shares = vec![(0.75, false), (0.25, true), (0.0, true)];
        assert_eq!(told(&nobody), (shares, 0.25));
        assert!(nobody.is_ready());

        let mut closed = shop([75, 25, 0], unready(1, true), ready(2));
        let mut plan = plan::Service::clone(&closed.plan);
        plan.fail_open = FailOpen::Never;
        closed.plan = Arc::new(plan);
        assert_eq!(told(&built(closed)).0[0], (0.75, false));
    }

    #[test]
    fn what_is_meant_for_a_candidate_with_nobody_ready_goes_to_stable() {
        for proven in [true, false] {
            let spilt = built(shop([75, 25, 0], ready(1), unready(2, proven)));
            let shares = vec![(1.0, true), (0.0, false), (0.0, true)];
            assert_eq!(told(&spilt), (shares, 0.0));
        }
        // Even where nobody of stable is ready: those that have been are tried there.
        let both = built(shop([75, 25, 0], unready(1, true), unready(2, true)));
        let shares = vec![(1.0, true), (0.0, false), (0.0, true)];
        assert_eq!(told(&both), (shares, 0.0));
        assert!(both.failing_open && !both.is_ready());
        let neither = built(shop([75, 25, 0], unready(1, false), unready(2, true)));
        assert_eq!(told(&neither).0[..2], [(1.0, false), (0.0, false)]);
        assert!(!neither.failing_open && !neither.is_ready());
    }

    #[test]
    fn once_all_goes_to_the_candidate_it_is_a_pool_like_any() {
        let alone = built(shop([0, 1, 0], ready(1), ready(2)));
        let shares = vec![(0.0, true), (1.0, true), (0.0, true)];
        assert_eq!(told(&alone), (shares, 1.0));
        let open = built(shop([0, 1, 0], ready(1), unready(2, true)));
        assert!(open.failing_open);
        assert_eq!(told(&open).0[1], (1.0, true));
    }

    #[test]
    fn endpoints_on_trial_beside_others_of_their_pool_leave_it_a_pool_like_any() {
        let blue = || {
            vec![
                endpoint(1, 3, State::Ready, true),
                endpoint(2, 1, State::Ready, true),
            ]
        };
        let mut decided = shop([1, 0, 0], blue(), ready(3));
        let on_trial = |numbers: &[u16]| {
            let addresses = blue().into_iter().map(|held| held.address);
            let listed = (1..).zip(addresses).filter(|(at, _)| numbers.contains(at));
            Some(Arc::new(Trial {
                candidate: name("blue"),
                batch: listed.map(|(_, address)| address).collect(),
                ..trial(1)
            }))
        };
        decided.trial = on_trial(&[2]);
        let service = built(decided.clone());
        assert_eq!(
            told(&service),
            (vec![(1.0, true), (0.0, true), (0.0, true)], 0.25)
        );
        let trial = service.trial.as_ref().unwrap();
        let slots: Vec<_> = service.pools[0]
            .members
            .iter()
            .map(|held| held.endpoint.slot)
            .collect();
        let arms = slots.iter().map(|slot| trial.arm_of(0, *slot));
        assert!(arms.eq([Some(Arm::Stable), Some(Arm::Candidate)]));
        assert_eq!(trial.arm_of(1, slots[1]), None);
        assert!(trial.has_stable() && !trial.holds() && service.is_ready());
        decided.trial = on_trial(&[]);
        assert!(built(decided).trial.is_none());
    }

    #[test]
    fn a_trial_of_a_pool_that_is_not_there_is_none() {
        let mut decided = shop([1, 1, 0], ready(1), ready(2));
        let candidate = name("teal");
        decided.trial = Some(Arc::new(Trial {
            candidate,
            ..trial(1)
        }));
        assert!(built(decided).trial.is_none());
    }

    /// Where each of many keys goes.
    fn owners(weights: [u32; 3], salt: u64) -> Vec<usize> {
        let mut decided = shop(weights, ready(1), ready(2));
        decided.trial = Some(Arc::new(trial(salt)));
        let service = built(decided);
        let keys = (0..20_000_u64).map(|key| service.splitter.rendezvous(key * key));
        keys.map(|owner| owner.unwrap()).collect()
    }

    #[test]
    fn another_rollout_draws_another_sample_of_clients_and_within_one_nobody_goes_back() {
        let count = |owners: &[usize], of: usize| owners.iter().filter(|one| **one == of).count();
        let both = |a: &[usize], b: &[usize]| {
            let pairs = a.iter().zip(b);
            pairs.filter(|(a, b)| (**a, **b) == (1, 1)).count()
        };
        let (one, other) = (owners([90, 10, 0], 1), owners([90, 10, 0], 2));
        for sample in [&one, &other] {
            assert!((1_800..2_200).contains(&count(sample, 1)));
        }
        // A tenth of a tenth, as of samples that know nothing of each other.
        assert!(
            (140..260).contains(&both(&one, &other)),
            "{}",
            both(&one, &other)
        );
        let grown = owners([50, 50, 0], 1);
        assert!(
            one.iter()
                .zip(&grown)
                .all(|(was, is)| *was != 1 || *is == 1)
        );
        assert_eq!(count(&owners([100, 0, 0], 1), 0), 20_000);
    }

    #[test]
    fn a_trial_moves_no_client_of_a_third_pool() {
        let before = owners([60, 0, 40], 0);
        for (weights, salt) in [([55, 5, 40], 1), ([30, 30, 40], 2), ([0, 60, 40], 3)] {
            let during = owners(weights, salt);
            let of_red = |owner: &usize| *owner == 2;
            assert!(
                before
                    .iter()
                    .zip(&during)
                    .all(|(was, is)| of_red(was) == of_red(is))
            );
        }
        assert_eq!(
            owners([60, 0, 40], 1),
            before,
            "all are back where they were"
        );
    }

    proptest! {
        /// The snapshot's invariants are looked at with each.
        #[test]
        fn stable_has_no_less_than_its_weight_says_and_a_candidate_without_it_no_more(
            weights in array::uniform3(0..100_u32),
            pools in any_pools(),
            fail_open: bool,
        ) {
            let mut decided = service("shop", &["blue", "green", "red"], &weights, pools);
            let mut plan = plan::Service::clone(&decided.plan);
            if !fail_open {
                plan.fail_open = FailOpen::Never;
            }
            decided.plan = Arc::new(plan);
            decided.trial = Some(Arc::new(trial(1)));
            let service = built(decided);
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            let (stable, candidate) = (service.splitter.share(0), service.splitter.share(1));
            if weights[0] > 0 {
                prop_assert!(stable >= f64::from(weights[0]) / total - 1e-12);
                let of_two = f64::from(weights[1]) / f64::from(weights[0] + weights[1]);
                prop_assert!(candidate <= of_two + 1e-12);
            }
        }
    }
}
