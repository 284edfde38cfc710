//! What gets no more requests, and how much is still at work on it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time;

use super::{Applied, Change, Target, wait::LOOK};
use crate::{
    pool::Endpoint,
    snapshot::Snapshot,
    units::{EndpointKey, Name},
};

/// What is still at work on what gets no more requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Proven empty: no request in flight, no connection, parked ones included.
    pub drained: bool,
    pub in_flight: u64,
    /// Of those in flight, tunnels (WebSocket and the like).
    pub tunnels: u64,
    pub connections: u64,
    /// It may be stopped now.
    pub safe_to_stop: bool,
    /// The deadline ended what was in flight.
    pub cut: bool,
}

/// What gets no more requests by a change.
pub(super) struct Leaving {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
}

pub(super) fn leaving(
    changes: &[Change],
    applied: &Applied,
    before: &Snapshot,
    after: &Snapshot,
) -> Leaving {
    let mut leaving = Leaving {
        endpoints: Vec::new(),
    };
    for service in &applied.services {
        let lost = service
            .before
            .iter()
            .filter(|(pool, _)| service.weights.get(pool.as_str()) == 0);
        for (pool, _) in lost {
            leaving
                .endpoints
                .extend(members(after, &service.service, pool, None));
        }
    }
    for change in changes {
        let found: Vec<_> = match change {
            Change::Drain { target, .. } => {
                let only = match target {
                    Target::Endpoint(endpoint) => Some(endpoint),
                    Target::Pool(_) => None,
                };
                members(after, target.service(), target.pool(), only).collect()
            }
            Change::RemoveEndpoint { endpoint, .. } => {
                members(before, &endpoint.service, &endpoint.pool, Some(endpoint)).collect()
            }
            _ => continue,
        };
        leaving.endpoints.extend(found);
    }
    leaving
}

impl Leaving {
    fn look(&self) -> Left {
        let in_flight = self.endpoints.iter().map(|held| held.in_flight()).sum();
        let tunnels = self.endpoints.iter().map(|held| held.tunnels()).sum();
        let connections = self.endpoints.iter().map(|held| held.connections()).sum();
        let drained = in_flight == 0 && connections == 0;
        Left {
            drained,
            in_flight,
            tunnels,
            connections,
            safe_to_stop: drained,
            cut: false,
        }
    }

    pub(super) async fn until_empty(&self, timeout: Duration) -> Left {
        let deadline = time::Instant::now() + timeout;
        loop {
            let left = self.look();
            if left.drained || time::Instant::now() >= deadline {
                return left;
            }
            time::sleep(LOOK).await;
        }
    }
}

pub(super) fn members<'a>(
    snapshot: &'a Snapshot,
    service: &'a Name,
    pool: &'a Name,
    only: Option<&'a EndpointKey>,
) -> impl Iterator<Item = Arc<Endpoint>> + 'a {
    let services = snapshot
        .services
        .iter()
        .filter(move |held| held.plan.name == *service);
    services
        .flat_map(|service| &service.pools)
        .filter(move |held| held.stats.key.pool == *pool)
        .flat_map(|pool| &pool.members)
        .map(|member| &member.endpoint)
        .filter(move |endpoint| only.is_none_or(|only| endpoint.key == *only))
        .cloned()
}
