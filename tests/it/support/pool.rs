use std::sync::Arc;

use cutover::{pool::Endpoint, units::EndpointKey};

/// The endpoints of a pool, each with the weight at its place, and with the place for a slot.
pub fn members(weights: &[u32], workers: usize) -> Vec<(Arc<Endpoint>, u32)> {
    let members = weights.iter().enumerate().map(|(slot, weight)| {
        let key = EndpointKey {
            service: "shop".parse().unwrap(),
            pool: "blue".parse().unwrap(),
            address: format!("10.0.0.{slot}:80").parse().unwrap(),
        };
        (Arc::new(Endpoint::new(key, slot, workers)), *weight)
    });
    members.collect()
}
