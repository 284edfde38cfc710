use std::time::Duration;

use super::Protocol;

/// How many requests may be under way at once, over all workers; `None`: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Of the whole service.
    pub service: Option<u32>,
    /// Of each of its pools.
    pub pool: Option<u32>,
    /// Of each endpoint of them.
    pub endpoint: Option<u32>,
    /// Connections open to each of them.
    pub connections: Option<u32>,
}

impl Limits {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Those of requests, where endpoints are spoken to so. Over HTTP/1.1 each needs a connection of its own: no more are let through than
    /// there may be.
    #[must_use]
    pub fn of_requests(mut self, protocol: Protocol) -> Self {
        let connections = self.connections.take();
        if protocol == Protocol::H1 && connections.is_some() {
            self.endpoint = self.endpoint.into_iter().chain(connections).min();
        }
        self
    }
}

/// How requests wait that nobody may be given now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queueing {
    /// How many may wait at once for the same thing, over all workers.
    pub length: u32,
    /// For how long one waits while limits are reached.
    pub wait: Duration,
    /// For how long one waits while no endpoint of a weighted pool is ready; `None`: not at all.
    pub unready: Option<Duration>,
}
