use std::sync::Arc;

use crate::{
    config::plan,
    pool::{Endpoint, PoolStats, State},
    units::Weights,
};

/// Everything a request is decided on, and everything status shows of decisions. Immutable; unchanged services are
/// shared with the snapshot before.
pub struct Snapshot {
    /// Grows with every publication.
    pub generation: u64,
    /// In the order of the plan.
    pub services: Vec<Arc<Service>>,
}

/// The app as its users know it, at one moment.
pub struct Service {
    pub plan: Arc<plan::Service>,
    /// In force: the file's or an override.
    pub weights: Weights,
    /// Of the last decision.
    pub revision: u64,
    /// Every weighted pool is unready, and its once-proven endpoints are tried anyway.
    pub failing_open: bool,
    /// In the order of their names.
    pub pools: Vec<Arc<Pool>>,
}

/// One version of the service, at one moment.
pub struct Pool {
    pub stats: Arc<PoolStats>,
    pub members: Vec<Member>,
}

pub struct Member {
    pub endpoint: Arc<Endpoint>,
    pub weight: u32,
    pub state: State,
    /// Has been ready since it was put there: may be tried when failing open, unless it drains.
    pub proven: bool,
    /// Its drain is over its deadline: workers end what is still in flight on it.
    pub cut: bool,
}
