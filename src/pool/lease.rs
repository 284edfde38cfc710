use std::{rc::Rc, sync::Arc};

use super::{Endpoint, Permits, PoolStats};
use crate::telemetry::{EndpointShard, Failure, PoolShard};

/// One worker's handle on an endpoint, kept in a table of the worker, so that a request clones an `Rc` of its own
/// thread and never a counter that cores share.
pub struct Seat {
    pub endpoint: Arc<Endpoint>,
    pub pool: Arc<PoolStats>,
    worker: usize,
}

impl Seat {
    pub fn new(endpoint: Arc<Endpoint>, pool: Arc<PoolStats>, worker: usize) -> Self {
        Self {
            endpoint,
            pool,
            worker,
        }
    }

    pub fn shard(&self) -> &EndpointShard {
        self.endpoint.shard(self.worker)
    }

    pub fn pool_shard(&self) -> &PoolShard {
        self.pool.shard(self.worker)
    }

    /// It has failed a request.
    pub fn failed(&self, failure: Failure) {
        self.shard().failed(failure);
        self.pool_shard().failed(failure);
    }

    /// Claims the endpoint for one request.
    ///
    /// Whoever claims must look *afterwards* whether the snapshot it decided on is still the published one
    /// (`snapshot::Reader::is_current`), and if not give the lease back and decide again: half of the proof that a drain
    /// is complete (`units::InFlight`).
    pub fn claim(self: &Rc<Self>, permits: Option<Box<Permits>>) -> Lease {
        self.shard().in_flight.claim();
        self.pool_shard().leases.claimed();
        Lease {
            seat: self.clone(),
            _permits: permits,
        }
    }
}

/// The right to send one request to one endpoint. Counts as in flight until it is dropped, which is when the answer's
/// body has ended.
pub struct Lease {
    seat: Rc<Seat>,
    /// Where requests are limited.
    _permits: Option<Box<Permits>>,
}

impl Lease {
    pub fn seat(&self) -> &Rc<Seat> {
        &self.seat
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.seat.shard().in_flight.release();
        self.seat.pool_shard().leases.released();
    }
}
