//! Pools for the tests.

use std::sync::Arc;

use super::Candidates;
use crate::{
    pool::{Endpoint, Slot},
    units::{Balance, EndpointKey, HashKey},
};

pub fn endpoint(slot: Slot) -> Arc<Endpoint> {
    let key = EndpointKey {
        service: "shop".parse().unwrap(),
        pool: "blue".parse().unwrap(),
        address: format!("10.0.{}.{}:80", slot / 256, slot % 256)
            .parse()
            .unwrap(),
    };
    Arc::new(Endpoint::new(key, slot, 1))
}

/// The endpoint at place `n` has slot `n` and the weight at place `n`.
pub fn candidates(balance: &Balance, weights: &[u32]) -> Candidates {
    let members = weights
        .iter()
        .enumerate()
        .map(|(slot, weight)| (endpoint(slot), *weight));
    Candidates::new(balance, weights.len(), members)
}

pub fn hash() -> Balance {
    Balance::Hash(HashKey::Path, None)
}

pub const EVERY: [Balance; 5] = [
    Balance::RoundRobin,
    Balance::LeastRequests,
    Balance::PeakEwma,
    Balance::Random,
    Balance::Hash(HashKey::Path, None),
];
