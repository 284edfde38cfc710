use std::sync::Arc;

use super::{Endpoint, Slot, maglev::Maglev};
use crate::units::{Balance, HashKey, Seed, below, score};

/// What a choice is made of.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// The worker's own count of its choices in this pool; grows by one with each.
    pub cursor: u64,
    pub random: u64,
    /// The request's, where the pool balances by hash.
    pub key: Option<u64>,
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
    /// Stands for the endpoint's address, so that keys stay where they are when other endpoints come or go.
    name: u64,
}

enum Method {
    Turns { unit: u64, stride: u64 },
    TwoChoices,
    Random,
    Rendezvous,
    Maglev(Maglev),
}

/// Rendezvous scores every endpoint for every request, some 15 ns each; a pool with more endpoints than this looks up a table.
const SCORED: usize = 50;

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
        let hashed = matches!(balance, Balance::Hash(_));
        let members: Box<[Candidate]> = weighted
            .map(|(endpoint, weight)| {
                total += u64::from(weight);
                let name = if hashed { name_of(&endpoint) } else { 0 };
                Candidate {
                    endpoint,
                    weight,
                    end: total,
                    name,
                }
            })
            .collect();
        let method = match balance {
            Balance::RoundRobin => turns(&members, total),
            Balance::LeastRequests => Method::TwoChoices,
            Balance::Random => Method::Random,
            Balance::Hash(_) if of < SCORED => Method::Rendezvous,
            Balance::Hash(_) => Method::Maglev(Maglev::new(
                members.iter().map(|member| (member.name, member.weight)),
            )),
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

    /// What of a request the draw's key is made of, where it matters.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match &self.balance {
            Balance::Hash(key) => Some(key),
            Balance::RoundRobin | Balance::LeastRequests | Balance::Random => None,
        }
    }

    /// Chooses an endpoint. `load`: how many requests one has in flight. `avoid`: the one that has just failed; it is not chosen,
    /// and where there is no other nothing is.
    ///
    /// A request without a key, in a pool that balances by hash, goes where chance has it.
    pub fn pick(
        &self,
        draw: &Draw,
        load: impl Fn(&Endpoint) -> u64,
        avoid: Option<Slot>,
    ) -> Option<&Arc<Endpoint>> {
        let avoid = avoid.and_then(|slot| self.place(slot));
        let chosen = match (&self.method, draw.key) {
            (Method::Turns { unit, stride }, _) => self.turn(draw, *unit, *stride, avoid),
            (Method::TwoChoices, _) => self.less_loaded(draw.random, load, avoid),
            (Method::Rendezvous, Some(key)) => self.owner(key, avoid),
            (Method::Maglev(table), Some(key)) => table.owner(key, avoid),
            (Method::Random | Method::Rendezvous | Method::Maglev(_), _) => {
                self.drawn(draw.random, &mut [avoid])
            }
        };
        chosen.map(|index| &self.members[index].endpoint)
    }

    fn place(&self, slot: Slot) -> Option<usize> {
        let mut members = self.members.iter();
        members.position(|member| member.endpoint.slot == slot)
    }

    /// Each in turn, as often as its weight says: see [`turns`].
    fn turn(&self, draw: &Draw, unit: u64, stride: u64, avoid: Option<usize>) -> Option<usize> {
        if self.total == 0 {
            return None;
        }
        let parts = self.total / unit;
        let chosen = self.at(product(draw.cursor % parts, stride, parts) * unit);
        if Some(chosen) == avoid {
            self.drawn(draw.random, &mut [avoid])
        } else {
            Some(chosen)
        }
    }

    /// Of two that chance names by their weights, the one with fewer requests for its weight. The first where they are equal, so
    /// that without load each gets exactly its weight's part.
    fn less_loaded(
        &self,
        random: u64,
        load: impl Fn(&Endpoint) -> u64,
        avoid: Option<usize>,
    ) -> Option<usize> {
        let first = self.drawn(random, &mut [avoid])?;
        let Some(second) = self.drawn(another(random), &mut [avoid, Some(first)]) else {
            return Some(first);
        };
        let (a, b) = (&self.members[first], &self.members[second]);
        // load / weight, multiplied out.
        let fewer = u128::from(load(&b.endpoint)) * u128::from(a.weight)
            < u128::from(load(&a.endpoint)) * u128::from(b.weight);
        Some(if fewer { second } else { first })
    }

    /// One by weight, none of those `without`.
    fn drawn(&self, random: u64, without: &mut [Option<usize>]) -> Option<usize> {
        without.sort_unstable();
        let without = without.iter().flatten();
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

    fn owner(&self, key: u64, avoid: Option<usize>) -> Option<usize> {
        let members = self.members.iter().enumerate();
        members
            .filter(|(index, _)| Some(*index) != avoid)
            .map(|(index, member)| (score(key, member.name, member.weight), index))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, index)| index)
    }

    /// Whose interval a point below the total lies in.
    fn at(&self, point: u64) -> usize {
        self.members.partition_point(|member| member.end <= point)
    }
}

fn name_of(endpoint: &Endpoint) -> u64 {
    Seed::PUBLIC.hash(endpoint.key.address.to_string().as_bytes())
}

/// The schedule of weighted turns. The intervals of the weights, laid end to end and measured in their greatest common divisor,
/// are visited in steps that meet every point once per round, so a round is exact. A step of the golden section spreads each
/// interval's visits as evenly as steps can (a Kronecker sequence); equal weights are simply counted through.
fn turns(members: &[Candidate], total: u64) -> Method {
    let unit = members
        .iter()
        .map(|member| u64::from(member.weight))
        .fold(0, gcd)
        .max(1);
    let parts = total / unit;
    let counted = members.len() as u64 == parts;
    let golden = below(0x9e37_79b9_7f4a_7c15, parts);
    let mut near = (golden.max(1)..).filter(|stride| gcd(*stride, parts) == 1);
    let stride = if counted { 1 } else { near.next().unwrap_or(1) };
    Method::Turns { unit, stride }
}

/// `a * b` modulo `m`; a division of 128 bits only where 64 do not hold the product.
fn product(a: u64, b: u64, m: u64) -> u64 {
    match a.checked_mul(b) {
        Some(product) => product % m,
        None => u64::try_from(u128::from(a) * u128::from(b) % u128::from(m)).expect("less than m"),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A second random number of a first (`SplitMix64`'s step).
fn another(random: u64) -> u64 {
    let mut z = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
