//! What gets no more requests, and how much is still at work on it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time;

use super::{Applied, Change, Target, wait::LOOK};
use crate::{
    pool::Endpoint,
    snapshot::Snapshot,
    units::{Admission, EndpointKey, Name},
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
    /// The deadline ended what was in flight.
    pub cut: bool,
    /// Its connections stay: it is to get requests again. Then `drained` says nothing of them.
    #[serde(default)]
    pub stays: bool,
}

/// What gets no more requests by a change.
pub(super) struct Leaving {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Those that are to get requests again, and keep their connections.
    pub(super) stay: Vec<Arc<Endpoint>>,
}

pub(super) fn leaving(
    changes: &[Change],
    applied: &Applied,
    before: &Snapshot,
    after: &Snapshot,
) -> Leaving {
    let mut leaving = Leaving {
        endpoints: Vec::new(),
        stay: Vec::new(),
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
            Change::Admit {
                service, admission, ..
            } if *admission != Admission::Open => {
                leaving.stay.extend(all_of(after, service));
                continue;
            }
            _ => continue,
        };
        leaving.endpoints.extend(found);
    }
    leaving
}

impl Left {
    /// It may be stopped now.
    pub fn safe_to_stop(self) -> bool {
        self.drained && !self.stays
    }
}

impl Leaving {
    fn look(&self) -> Left {
        let all = || self.endpoints.iter().chain(&self.stay);
        let in_flight = all().map(|held| held.in_flight()).sum();
        let tunnels = all().map(|held| held.tunnels()).sum();
        let connections = self
            .endpoints
            .iter()
            .map(|held| held.connections.open())
            .sum();
        let drained = in_flight == 0 && connections == 0;
        Left {
            drained,
            in_flight,
            tunnels,
            connections,
            cut: false,
            stays: self.endpoints.is_empty() && !self.stay.is_empty(),
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

/// Of every pool of the service.
fn all_of(snapshot: &Snapshot, service: &Name) -> impl Iterator<Item = Arc<Endpoint>> {
    let service = snapshot.service(service.as_str());
    let pools = service.into_iter().flat_map(|service| &service.pools);
    let members = pools.flat_map(|pool| &pool.members);
    members.map(|member| member.endpoint.clone())
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
