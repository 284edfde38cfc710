use std::sync::Arc;

use super::{
    bound::Bound,
    owners::Owners,
    peak_ewma::Cost,
    turns::{Offset, Turns},
    without::Without,
};
use crate::pool::{Endpoint, Slot};
use crate::units::{Balance, HashKey, below, mixed};

/// What a choice is made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Draw {
    /// The worker's own count of its choices in this pool; grows by one with each.
    pub cursor: u64,
    /// Where it began.
    pub offset: Offset,
    pub random: u64,
    /// The request's, where the pool balances by hash.
    pub key: Option<u64>,
    /// How many requests the pool has in flight, where it bounds its endpoints' loads.
    pub in_flight: u64,
}

/// The endpoints of a pool that may be chosen now, and the way to choose among them.
pub struct Candidates {
    balance: Balance,
    members: Box<[Candidate]>,
    total: u64,
    method: Method,
}

struct Candidate {
    endpoint: Arc<Endpoint>,
    weight: u32,
    /// Sum of the weights up to and with this one.
    end: u64,
}

impl Candidate {
    /// Whether it has fewer requests for its weight.
    fn is_less_loaded(&self, load: u64, other: &Self, of_other: u64) -> bool {
        // load / weight, multiplied out.
        u128::from(load) * u128::from(other.weight) < u128::from(of_other) * u128::from(self.weight)
    }

    fn cost(&self, load: u64) -> Cost {
        self.endpoint.latency().cost(load, self.weight)
    }
}

enum Method {
    Turns(Turns),
    LeastRequests,
    PeakEwma,
    Random,
    Hash(Owners),
}

impl Candidates {
    /// Those with weight 0 are left out. `of`: how many endpoints the pool has, eligible or not; by this alone it is decided how
    /// keys are hashed, so that an endpoint that falls ill moves no keys but its own.
    pub fn new(
        balance: &Balance,
        of: usize,
        members: impl IntoIterator<Item = (Arc<Endpoint>, u32)>,
    ) -> Self {
        let mut total = 0;
        let weighted = members.into_iter().filter(|(_, weight)| *weight > 0);
        let members: Box<[Candidate]> = weighted
            .map(|(endpoint, weight)| {
                total += u64::from(weight);
                Candidate {
                    endpoint,
                    weight,
                    end: total,
                }
            })
            .collect();
        let method = match balance {
            Balance::RoundRobin => {
                Method::Turns(Turns::new(members.iter().map(|member| member.weight)))
            }
            Balance::LeastRequests => Method::LeastRequests,
            Balance::PeakEwma => Method::PeakEwma,
            Balance::Random => Method::Random,
            Balance::Hash(..) => {
                let members = members.iter();
                let members = members.map(|member| (&*member.endpoint, member.weight));
                Method::Hash(Owners::new(of, members))
            }
        };
        Self {
            balance: balance.clone(),
            members,
            total,
            method,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many may be chosen.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// In the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.members.iter().map(|member| &member.endpoint)
    }

    pub fn balance(&self) -> &Balance {
        &self.balance
    }

    /// What of a request the draw's key is made of, where it matters.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match &self.balance {
            Balance::Hash(key, _) => Some(key),
            Balance::RoundRobin | Balance::LeastRequests | Balance::PeakEwma | Balance::Random => {
                None
            }
        }
    }

    /// Whether it matters how many requests the pool has in flight.
    pub fn bounds_loads(&self) -> bool {
        self.balance.load_factor().is_some()
    }

    /// Whether it matters how long endpoints take to answer.
    pub fn goes_by_latency(&self) -> bool {
        matches!(self.method, Method::PeakEwma)
    }

    /// Chooses an endpoint. `load`: how many requests one has in flight. `avoid`: those that have just failed, [`super::AVOIDED`] at most; they
    /// are not chosen, and where there is no other nothing is.
    ///
    /// A request without a key, in a pool that balances by hash, goes where chance has it.
    pub fn pick(
        &self,
        draw: &Draw,
        load: impl Fn(&Endpoint) -> u64,
        avoid: &[Slot],
    ) -> Option<&Arc<Endpoint>> {
        let avoid = &mut Without::of(avoid.iter().filter_map(|slot| self.place(*slot)));
        let chosen = match (&self.method, draw.key) {
            (Method::Turns(turns), _) => self.turn(draw, turns, avoid),
            (Method::LeastRequests, _) => self.better_of_two(draw.random, avoid, |one, other| {
                one.is_less_loaded(load(&one.endpoint), other, load(&other.endpoint))
            }),
            (Method::PeakEwma, _) => self.better_of_two(draw.random, avoid, |one, other| {
                one.cost(load(&one.endpoint)) < other.cost(load(&other.endpoint))
            }),
            (Method::Hash(owners), Some(key)) => {
                let bound = self.balance.load_factor();
                let bound = bound.map(|factor| Bound::new(factor, draw.in_flight, self.total));
                owners.of(key, avoid, |place| {
                    let Candidate {
                        endpoint, weight, ..
                    } = &self.members[place];
                    bound.is_none_or(|bound| bound.has_room(load(endpoint), *weight))
                })
            }
            (Method::Random | Method::Hash(_), _) => self.drawn(draw.random, avoid),
        };
        chosen.map(|index| &self.members[index].endpoint)
    }

    fn place(&self, slot: Slot) -> Option<usize> {
        let mut members = self.members.iter();
        members.position(|member| member.endpoint.slot == slot)
    }

    /// Whose turn it is; one by chance where that is the one to avoid.
    fn turn(&self, draw: &Draw, turns: &Turns, avoid: &Without) -> Option<usize> {
        let chosen = self.at(turns.point(draw.cursor, draw.offset)?);
        if avoid.has(chosen) {
            self.drawn(draw.random, avoid)
        } else {
            Some(chosen)
        }
    }

    /// Of two that chance names by their weights, the second where it is better; so that among equals each gets exactly its weight's part.
    fn better_of_two(
        &self,
        random: u64,
        avoid: &mut Without,
        is_better: impl Fn(&Candidate, &Candidate) -> bool,
    ) -> Option<usize> {
        let first = self.drawn(random, avoid)?;
        avoid.add(first);
        let Some(second) = self.drawn(mixed(random), avoid) else {
            return Some(first);
        };
        let better = is_better(&self.members[second], &self.members[first]);
        Some(if better { second } else { first })
    }

    /// One by weight, none of those `without`.
    fn drawn(&self, random: u64, without: &Without) -> Option<usize> {
        let without = without.sorted().iter();
        let weight = |index: &usize| u64::from(self.members[*index].weight);
        let left = self.total - without.clone().map(weight).sum::<u64>();
        if left == 0 {
            return None;
        }
        let mut point = below(random, left);
        for index in without {
            // In ascending order: what lies behind one that is left out is moved up by it.
            if point >= self.members[*index].end - weight(index) {
                point += weight(index);
            }
        }
        Some(self.at(point))
    }

    /// Whose interval a point below the total lies in.
    fn at(&self, point: u64) -> usize {
        self.members.partition_point(|member| member.end <= point)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::HashSet};

    use fastrand::Rng;
    use proptest::{collection::vec, option, prelude::*, sample::select};

    use super::*;
    use crate::pool::balance::{
        AVOIDED,
        testing::{EVERY, candidates, hash},
    };

    /// The slots of so many choices, each with new numbers, without load.
    fn choices(candidates: &Candidates, count: u64, avoid: &[Slot]) -> Vec<Slot> {
        let mut random = Rng::with_seed(1);
        let draws = (0..count).map(|cursor| Draw {
            cursor,
            random: random.u64(..),
            key: Some(random.u64(..)),
            ..Draw::default()
        });
        draws
            .map(|draw| candidates.pick(&draw, |_| 0, avoid).unwrap().slot)
            .collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    fn parts(slots: &[Slot], of: usize) -> Vec<f64> {
        let mut counts = vec![0_u64; of];
        for slot in slots {
            counts[*slot] += 1;
        }
        counts
            .iter()
            .map(|count| *count as f64 / slots.len() as f64)
            .collect()
    }

    #[test]
    fn every_policy_gives_each_endpoint_its_weights_part() {
        let many: Vec<u32> = (0..120).map(|n| 1 + n % 3).collect();
        for weights in [&[1, 1][..], &[5, 1, 1], &[3, 0, 2, 7], &many] {
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            for balance in &EVERY {
                let chosen = choices(&candidates(balance, weights), 100_000, &[]);
                for (part, weight) in parts(&chosen, weights.len()).iter().zip(weights) {
                    let expected = f64::from(*weight) / total;
                    // Five standard deviations, and what a table of 65 537 places can say.
                    let off = 5.0 * (expected / 100_000.0).sqrt() + expected * 0.01;
                    assert!(
                        (part - expected).abs() <= off,
                        "{balance:?} {weights:?}: {part} not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_pool_without_weight_has_nobody_to_choose() {
        let draw = Draw {
            cursor: 7,
            random: 7,
            key: Some(7),
            ..Draw::default()
        };
        for balance in &EVERY {
            for weights in [&[][..], &[0, 0]] {
                let candidates = candidates(balance, weights);
                assert!(candidates.is_empty());
                assert!(candidates.pick(&draw, |_| 0, &[]).is_none());
                assert!(candidates.pick(&draw, |_| 0, &[0]).is_none());
            }
        }
    }

    #[test]
    fn of_two_the_less_loaded_is_chosen_by_what_it_can_bear() {
        let pair = candidates(&Balance::LeastRequests, &[1, 1]);
        let busy = |endpoint: &Endpoint| u64::from(endpoint.slot == 0);
        let strong = candidates(&Balance::LeastRequests, &[9, 1]);
        let loads = |endpoint: &Endpoint| [8, 1][endpoint.slot];
        let mut random = Rng::with_seed(2);
        for cursor in 0..1000 {
            let draw = Draw {
                cursor,
                random: random.u64(..),
                key: None,
                ..Draw::default()
            };
            assert_eq!(pair.pick(&draw, busy, &[]).unwrap().slot, 1);
            assert_eq!(strong.pick(&draw, loads, &[]).unwrap().slot, 0);
            assert_eq!(strong.pick(&draw, |_| u64::MAX, &[0]).unwrap().slot, 1);
        }
    }

    #[test]
    fn least_requests_keeps_loads_alike_where_chance_does_not() {
        let spread = |balance: &Balance| {
            let candidates = candidates(balance, &[1; 20]);
            let loads = RefCell::new(vec![0_u64; 20]);
            let mut random = Rng::with_seed(3);
            for cursor in 0..20_000 {
                let draw = Draw {
                    cursor,
                    random: random.u64(..),
                    key: None,
                    ..Draw::default()
                };
                let slot = candidates
                    .pick(&draw, |endpoint| loads.borrow()[endpoint.slot], &[])
                    .unwrap()
                    .slot;
                loads.borrow_mut()[slot] += 1;
            }
            let loads = loads.into_inner();
            loads.iter().max().unwrap() - loads.iter().min().unwrap()
        };
        assert!(spread(&Balance::LeastRequests) <= 6);
        assert!(spread(&Balance::Random) > 60);
    }

    #[test]
    fn a_request_without_a_key_goes_where_chance_has_it() {
        for weights in [vec![1; 4], vec![1; 60]] {
            let candidates = candidates(&hash(), &weights);
            let mut random = Rng::with_seed(4);
            let slots = (0..2000).map(|cursor| {
                let draw = Draw {
                    cursor,
                    random: random.u64(..),
                    key: None,
                    ..Draw::default()
                };
                candidates.pick(&draw, |_| 0, &[]).unwrap().slot
            });
            let different: HashSet<_> = slots.collect();
            assert_eq!(different.len(), weights.len());
        }
    }

    proptest! {
        #[test]
        fn nobody_is_chosen_who_is_avoided_or_has_no_weight(
            balance in select(&EVERY[..]),
            weights in vec(prop_oneof![Just(0), 1..100_u32, Just(u32::MAX)], 1..8),
            avoid in vec(0..8_usize, 0..=AVOIDED),
            (cursor, random, key) in any::<(u64, u64, Option<u64>)>(),
            loads in vec(any::<u64>(), 8),
            factor in option::of(101..200_u32),
        ) {
            let factor = factor.map(|percent| format!("{percent}%").parse().unwrap());
            let candidates = candidates(&balance.bounded(factor), &weights);
            let draw = Draw { cursor, random, key, ..Draw::default() };
            let chosen = candidates.pick(&draw, |endpoint| loads[endpoint.slot], &avoid);
            let eligible = |slot: usize| weights[slot] > 0 && !avoid.contains(&slot);
            match chosen {
                Some(endpoint) => prop_assert!(eligible(endpoint.slot)),
                None => prop_assert!((0..weights.len()).all(|slot| !eligible(slot))),
            }
        }

        #[test]
        fn what_is_drawn_without_some_is_drawn_from_the_others_in_proportion(
            weights in vec(0..5_u32, 2..6),
            (first, second) in (0..6_usize, 0..6_usize),
        ) {
            let candidates = candidates(&Balance::Random, &weights);
            let without = Without::of([second, first].into_iter().filter_map(|slot| candidates.place(slot)));
            let left: Vec<u32> = (0..weights.len())
                .map(|slot| if slot == first || slot == second { 0 } else { weights[slot] })
                .collect();
            let total: u64 = left.iter().copied().map(u64::from).sum();
            let mut counts = vec![0; weights.len()];
            for point in 0..total {
                // The least number that falls to this point.
                let random = u64::try_from((u128::from(point) << 64_u32).div_ceil(u128::from(total))).unwrap();
                let index = candidates.drawn(random, &without).unwrap();
                counts[candidates.members[index].endpoint.slot] += 1;
            }
            prop_assert_eq!(counts, left);
        }
    }
}
