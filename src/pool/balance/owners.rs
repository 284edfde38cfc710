use std::iter::{once, successors};

use super::{maglev::Maglev, without::Without};
use crate::{
    pool::Endpoint,
    units::{Seed, score},
};

/// Which member of a pool a key belongs to.
pub enum Owners {
    /// Weighted rendezvous: every member is scored for every key, some 15 ns each.
    Scored(Box<[Named]>),
    Table(Maglev),
}

/// A member as keys see it.
pub struct Named {
    /// Stands for the endpoint's address, so that keys stay where they are when other endpoints come or go.
    name: u64,
    weight: u32,
}

/// A pool with as many endpoints as this, or more, looks keys up in a table.
const LOOKED_UP: usize = 50;

/// How far a table is gone through for somebody who has room; by then all but a few have been met who have any.
const LOOKED_AT: usize = 256;

impl Owners {
    /// `of`: how many endpoints the pool has, eligible or not; by this alone it is decided how keys are hashed, so that an endpoint that
    /// falls ill moves no keys but its own.
    pub fn new<'a>(of: usize, members: impl Iterator<Item = (&'a Endpoint, u32)>) -> Self {
        let members = members.map(|(endpoint, weight)| (name_of(endpoint), weight));
        if of < LOOKED_UP {
            Self::Scored(
                members
                    .map(|(name, weight)| Named { name, weight })
                    .collect(),
            )
        } else {
            Self::Table(Maglev::new(members))
        }
    }

    /// The place of the member that a key belongs to, without some; the next one's in the key's order, where that one has no room. Loads
    /// may change while they are looked at: where nobody seems to have room, it is the first after all.
    pub fn of(&self, key: u64, avoid: &Without, has_room: impl Fn(usize) -> bool) -> Option<usize> {
        match self {
            Self::Scored(members) => {
                let first = best(members, key, None, avoid)?;
                let next = |last: &Scored| best(members, key, Some(*last), avoid);
                let mut owners = successors(Some(first), next).map(|(_, place)| place);
                owners.find(|place| has_room(*place)).or(Some(first.1))
            }
            Self::Table(table) => {
                let mut owners = table.owners(key).filter(|place| !avoid.has(*place));
                let first = owners.next()?;
                let mut owners = once(first).chain(owners.take(LOOKED_AT));
                owners.find(|place| has_room(*place)).or(Some(first))
            }
        }
    }
}

/// A member's score for a key, and its place.
type Scored = (f64, usize);

/// Who scores best for a key, of those who do worse than `last`.
fn best(members: &[Named], key: u64, last: Option<Scored>, avoid: &Without) -> Option<Scored> {
    let order = |a: &Scored, b: &Scored| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    let members = members.iter().enumerate();
    members
        .filter(|(place, _)| !avoid.has(*place))
        .map(|(place, member)| (score(key, member.name, member.weight), place))
        .filter(|scored| last.is_none_or(|last| order(&last, scored).is_lt()))
        .min_by(order)
}

fn name_of(endpoint: &Endpoint) -> u64 {
    Seed::PUBLIC.hash(endpoint.key.address.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use fastrand::Rng;

    use super::*;
    use crate::pool::{Slot, balance::testing::endpoint};

    /// Where keys go when only some of `of` endpoints are eligible.
    fn places(
        of: usize,
        weight: impl Fn(Slot) -> u32,
        keys: impl Iterator<Item = u64>,
    ) -> HashMap<u64, Slot> {
        let members: Vec<_> = (0..of)
            .filter(|slot| weight(*slot) > 0)
            .map(|slot| (endpoint(slot), weight(slot)))
            .collect();
        let named = members
            .iter()
            .map(|(endpoint, weight)| (&**endpoint, *weight));
        let owners = Owners::new(of, named);
        let place = |key| owners.of(key, &Without::default(), |_| true).unwrap();
        keys.map(|key| (key, members[place(key)].0.slot)).collect()
    }

    #[test]
    fn an_endpoint_that_falls_ill_moves_its_own_keys_and_few_others() {
        let mut random = Rng::with_seed(5);
        let keys: Vec<u64> = std::iter::repeat_with(|| random.u64(..))
            .take(10_000)
            .collect();
        let weight = |slot: Slot| 1 + u32::from(slot.is_multiple_of(2));
        for (of, most) in [(12, 0), (49, 0), (50, 200), (200, 200)] {
            let before = places(of, weight, keys.iter().copied());
            let without = |slot| if slot == 3 { 0 } else { weight(slot) };
            let after = places(of, without, keys.iter().copied());
            let others = before
                .iter()
                .filter(|(key, slot)| **slot != 3 && after[*key] != **slot);
            assert!(others.count() <= most, "of {of}");
            assert!(after.values().all(|slot| *slot != 3));
            assert!(before.values().any(|slot| *slot == 3));
        }
    }

    #[test]
    fn a_key_is_where_it_was_in_every_release() {
        let golden = |weights: &[u32]| {
            let keys = (0..8_u64).map(|n| n << 61);
            let places = places(weights.len(), |slot| weights[slot], keys.clone());
            keys.map(|key| places[&key]).collect::<Vec<_>>()
        };
        assert_eq!(golden(&[1, 2, 3]), [1, 0, 0, 2, 2, 2, 1, 2]);
        assert_eq!(golden(&[2; 64]), [16, 30, 36, 63, 21, 41, 11, 36]);
    }
}
