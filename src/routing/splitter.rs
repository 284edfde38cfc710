use crate::units::{Seed, below, score};

/// Divides requests among a service's pools by their weights.
///
/// Shares are exact: a pool has the part `weight / total` of all draws and of all keys; weight 0 has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splitter {
    /// Of the pools with weight, in order.
    shares: Box<[Share]>,
    total: u64,
    /// Keys are first divided with two of the pools taken for one, and then between them.
    sample: Option<Box<Sample>>,
}

/// How keys are divided between two pools without any of them moving at the others'.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    /// With the two as one; `None` where there are no others.
    whole: Option<Box<[Share]>>,
    /// The pool that stands for the two.
    first: usize,
    two: Box<[Share]>,
    salt: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    pool: usize,
    weight: u32,
    /// Sum of the weights up to and with this one.
    end: u64,
    /// Stands for the pool's name, so that keys stay where they are when other pools come or go.
    seed: u64,
}

impl Splitter {
    /// Each pool's name and weight; a draw gives a place in this order.
    pub fn new<'a>(pools: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let mut total = 0;
        let pools = pools.into_iter().enumerate();
        let shares = pools.filter(|(_, (_, weight))| *weight > 0);
        let shares = shares.map(|(pool, (name, weight))| {
            total += u64::from(weight);
            let seed = Seed::PUBLIC.hash(name.as_bytes());
            Share {
                pool,
                weight,
                end: total,
                seed,
            }
        });
        Self {
            shares: shares.collect(),
            total,
            sample: None,
        }
    }

    /// Divides keys between the pools at two places by another sample for each salt but 0, which is as without one. The keys of
    /// other pools stay where they are, for as long as the two have as much between them.
    pub fn sampled<'a>(
        pools: impl IntoIterator<Item = (&'a str, u32)>,
        (first, second): (usize, usize),
        salt: u64,
    ) -> Self {
        let pools: Vec<_> = pools.into_iter().collect();
        let plain = Self::new(pools.iter().copied());
        let is_one = |pool: usize| pool == first || pool == second;
        let weight = |pool: usize| pools.get(pool).map_or(0, |(_, weight)| *weight);
        let together = weight(first).saturating_add(weight(second));
        if salt == 0 || together == 0 {
            return plain;
        }
        let whole = (plain.shares.iter().any(|share| !is_one(share.pool))).then(|| {
            // The two under the name of the first, whichever of them have weight.
            let one = pools
                .iter()
                .enumerate()
                .map(|(pool, (name, weight))| match pool {
                    _ if pool == first => (*name, together),
                    _ if pool == second => (*name, 0),
                    _ => (*name, *weight),
                });
            let weights: Vec<_> = one.collect();
            Self::new(weights).shares
        });
        let two = plain.shares.iter().filter(|share| is_one(share.pool));
        let sample = Sample {
            whole,
            first,
            two: two.cloned().collect(),
            salt,
        };
        Self {
            sample: Some(Box::new(sample)),
            ..plain
        }
    }

    /// The pool that a random number falls to; `None` where no pool has weight.
    pub fn draw(&self, random: u64) -> Option<usize> {
        let point = below(random, self.total);
        let mut shares = self.shares.iter();
        shares
            .find(|share| point < share.end)
            .map(|share| share.pool)
    }

    /// The pool that a key belongs to (see [`score`]): when weights change a key moves only to a pool that has grown relative to
    /// the one it leaves.
    pub fn rendezvous(&self, key: u64) -> Option<usize> {
        let Some(sample) = &self.sample else {
            return winner(&self.shares, key);
        };
        match &sample.whole {
            Some(whole) => winner(whole, key).and_then(|pool| {
                if pool == sample.first {
                    sample.of_two(key)
                } else {
                    Some(pool)
                }
            }),
            None => sample.of_two(key),
        }
    }

    /// The pool's part of the whole, 0.0 to 1.0.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share is shown, never decided on"
    )]
    pub fn share(&self, pool: usize) -> f64 {
        let mut shares = self.shares.iter();
        let weight = shares
            .find(|share| share.pool == pool)
            .map_or(0, |share| share.weight);
        if weight == 0 {
            0.0
        } else {
            f64::from(weight) / self.total as f64
        }
    }

    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }
}

impl Sample {
    fn of_two(&self, key: u64) -> Option<usize> {
        winner(&self.two, key ^ self.salt)
    }
}

fn winner(shares: &[Share], key: u64) -> Option<usize> {
    let scored = shares
        .iter()
        .map(|share| (score(key, share.seed, share.weight), share.pool));
    scored
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, pool)| pool)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::routing::testing::assert_as_shared;

    const NAMES: [&str; 5] = ["blue", "canary", "green", "red", "teal"];
    const DRAWS: usize = 100_000;

    fn splitter(weights: &[u32]) -> Splitter {
        Splitter::new(NAMES.into_iter().zip(weights.iter().copied()))
    }

    const SHARES: [&[u32]; 9] = [
        &[50, 50],
        &[95, 5],
        &[1, 9999],
        &[9999, 0, 1],
        &[0, 100],
        &[90, 0, 10],
        &[1, 2, 3],
        &[40, 30, 20, 10],
        &[5, 4, 3, 2, 1],
    ];

    #[test]
    fn draws_fall_to_pools_as_their_weights_say() {
        for weights in SHARES {
            let (splitter, mut random) = (splitter(weights), Rng::with_seed(1));
            let draws = (0..DRAWS).map(|_| splitter.draw(random.u64(..)));
            assert_as_shared(weights, draws);
        }
    }

    #[test]
    fn keys_belong_to_pools_as_their_weights_say() {
        for weights in SHARES {
            let (splitter, mut random) = (splitter(weights), Rng::with_seed(2));
            let keys = (0..DRAWS).map(|_| splitter.rendezvous(random.u64(..)));
            assert_as_shared(weights, keys);
            // Keys that are no random numbers at all.
            assert_as_shared(
                weights,
                (0..DRAWS as u64).map(|key| splitter.rendezvous(key)),
            );
        }
    }

    #[test]
    fn the_whole_is_everything_and_nothing_is_nothing() {
        for random in [0, 1, 1 << 63, u64::MAX] {
            assert_eq!(splitter(&[0, 100, 0]).draw(random), Some(1));
            assert_eq!(splitter(&[0, 100, 0]).rendezvous(random), Some(1));
            assert_eq!(splitter(&[0, 0]).draw(random), None);
            assert_eq!(splitter(&[]).rendezvous(random), None);
        }
        assert!(splitter(&[0, 0]).is_empty());
        assert!((splitter(&[3, 0, 1]).share(2) - 0.25).abs() < f64::EPSILON);
        assert!(splitter(&[3, 0, 1]).share(1).abs() < f64::EPSILON);
    }

    #[test]
    fn a_key_is_where_it_was_in_every_release() {
        let splitter = splitter(&[50, 10, 40]);
        let owners: Vec<_> = (0..16).filter_map(|key| splitter.rendezvous(key)).collect();
        assert_eq!(owners, [2, 2, 0, 1, 0, 2, 2, 0, 2, 2, 0, 2, 0, 0, 0, 1]);
    }

    #[test]
    fn without_a_salt_a_sample_is_the_whole() {
        let pools = || NAMES.into_iter().zip([50, 10, 40, 0, 7]);
        let (plain, sampled) = (
            Splitter::new(pools()),
            Splitter::sampled(pools(), (0, 1), 0),
        );
        assert_eq!(plain, sampled);
        let salted = Splitter::sampled(pools(), (0, 1), 1);
        assert!((0..1000).any(|key| salted.rendezvous(key) != plain.rendezvous(key)));
        assert!((0..1000).all(|random| salted.draw(random << 54) == plain.draw(random << 54)));
    }

    #[test]
    fn a_sample_is_as_large_as_the_weights_say_whatever_its_salt() {
        for weights in [
            &[90, 10][..],
            &[30, 10, 60],
            &[0, 5, 5],
            &[5, 0, 5],
            &[1, 1, 1, 1, 1],
        ] {
            let mut random = Rng::with_seed(4);
            for salt in [1, 1 << 32, u64::MAX] {
                let pools = NAMES.into_iter().zip(weights.iter().copied());
                let splitter = Splitter::sampled(pools, (0, 1), salt);
                let keys = (0..DRAWS).map(|_| splitter.rendezvous(random.u64(..)));
                assert_as_shared(weights, keys);
            }
        }
    }

    /// Weights of up to five pools, some 0.
    fn weights() -> impl Strategy<Value = Vec<u32>> {
        let weight = prop_oneof![Just(0), 1..10_000_u32, Just(1), Just(u32::MAX)];
        vec(weight, NAMES.len())
    }

    proptest! {
        #[test]
        fn every_pool_has_its_interval_to_the_last_number(weights in weights(), random: u64) {
            let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            // The model: point = floor(random * total / 2^64) in a list where each pool stands as often as it weighs.
            let mut point = (u128::from(random) * total) >> 64;
            let expected = weights.iter().position(|weight| {
                let here = point < u128::from(*weight);
                point = point.saturating_sub(u128::from(*weight));
                here
            });
            prop_assert_eq!(splitter(&weights).draw(random), expected.filter(|_| total > 0));
        }

        #[test]
        fn the_borders_between_pools_are_exact(weights in weights()) {
            let splitter = splitter(&weights);
            let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            let mut end = 0_u128;
            for (pool, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
                let first = (end << 64).div_ceil(total);
                end += u128::from(*weight);
                let last = (end << 64).div_ceil(total) - 1;
                for random in [first, last] {
                    prop_assert_eq!(splitter.draw(u64::try_from(random).unwrap()), Some(pool));
                }
            }
        }

        #[test]
        fn a_key_moves_only_to_a_pool_that_grew_against_the_one_it_leaves(
            before in weights(),
            after in weights(),
            key: u64,
        ) {
            let moved = (splitter(&before).rendezvous(key), splitter(&after).rendezvous(key));
            if let (Some(from), Some(to)) = moved && from != to {
                let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
                prop_assert!(product(after[to], before[from]) > product(before[to], after[from]));
            }
        }

        #[test]
        fn as_one_share_grows_keys_move_only_towards_it(
            before in weights(),
            grown in 0..NAMES.len(),
            by in 1..10_000_u32,
            key: u64,
        ) {
            let mut after = before.clone();
            after[grown] = after[grown].saturating_add(by);
            let (from, to) = (splitter(&before).rendezvous(key), splitter(&after).rendezvous(key));
            prop_assert!(to == from || to == Some(grown));
        }

        #[test]
        fn a_pool_that_closes_moves_only_its_own_keys(open in weights(), closed in 0..NAMES.len(), key: u64) {
            let mut without = open.clone();
            without[closed] = 0;
            let (from, to) = (splitter(&open).rendezvous(key), splitter(&without).rendezvous(key));
            prop_assert!(to == from || from == Some(closed));
            prop_assert_ne!(to, Some(closed));
        }

        #[test]
        fn as_one_grows_at_the_other_s_cost_keys_of_a_sample_move_only_towards_it(
            others in weights(),
            (less, more) in (0..=100_u32, 0..=100_u32),
            salt: u64,
            key: u64,
        ) {
            let at = |share: u32| {
                let mut weights = others.clone();
                (weights[0], weights[1]) = (100 - share, share);
                let pools = NAMES.into_iter().zip(weights);
                Splitter::sampled(pools, (0, 1), salt).rendezvous(key)
            };
            let (from, to) = (at(less.min(more)), at(less.max(more)));
            prop_assert!(to == from || (from, to) == (Some(0), Some(1)));
        }

        #[test]
        fn pools_that_come_or_go_at_other_places_move_nothing(weights in weights(), key: u64) {
            let named = |names: &[usize]| {
                let splitter = Splitter::new(names.iter().map(|index| (NAMES[*index], weights[*index])));
                splitter.rendezvous(key).map(|place| names[place])
            };
            let all: Vec<usize> = (0..NAMES.len()).collect();
            let weighted: Vec<usize> = all.iter().copied().filter(|index| weights[*index] > 0).rev().collect();
            prop_assert_eq!(named(&all), named(&weighted));
        }
    }
}
