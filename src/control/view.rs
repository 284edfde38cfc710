//! What is in force and why, as status shows it.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::ended::{Ended, Outcome};
use super::{Actor, ActorKind, Ejection, EjectionCause, LastProbe, Phase, rollout::Rollout};
use crate::{
    config::{Plan, plan},
    pool::{self, PoolStats, State},
    snapshot::Snapshot,
    units::{Address, Admission, Name, PoolKey, Timestamp, Warmth, Weights},
};

/// Everything at one moment.
#[derive(Clone)]
pub struct View {
    pub plan: Arc<Plan>,
    pub snapshot: Arc<Snapshot>,
    pub started: Timestamp,
    pub phase: Phase,
    pub config: ConfigState,
    pub durability: Durability,
    pub services: Vec<Service>,
    pub counts: Counts,
}

/// Of the file on disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigState {
    /// When the plan in force was applied.
    pub applied: Timestamp,
    /// Why the file as it is now is not in force; `None`: it is.
    pub rejected: Option<Rejected>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rejected {
    pub since: Timestamp,
    /// As `cutover check` prints them.
    pub problems: String,
}

/// Of `state_dir`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Durability {
    pub writable: bool,
    /// Why the last write failed.
    pub error: Option<String>,
    /// Serving, and would be forgotten by a restart.
    pub unsaved: bool,
}

/// Counted since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Decisions on weights, by service and who decided.
    pub shifts: BTreeMap<(Name, ActorKind), u64>,
    pub reloads_applied: u64,
    pub reloads_unchanged: u64,
    pub reloads_rejected: u64,
    /// Drains that were seen to their end.
    pub drains: u64,
    pub drain_seconds: f64,
    pub refusals: BTreeMap<&'static str, u64>,
    pub ejections: BTreeMap<(PoolKey, EjectionCause), u64>,
    /// Rollouts that have come to their end, by service and how.
    pub rollouts: super::ended::Endings,
}

#[derive(Clone)]
pub struct Service {
    /// In force: as the file says, and what serves on until its successor is proven.
    pub plan: Arc<plan::Service>,
    pub revision: u64,
    pub state: ServiceState,
    pub weights: Weights,
    /// The pool with the most weight.
    pub active: Option<Name>,
    /// The one pool without weight, where there is exactly one.
    pub idle: Option<Name>,
    pub pending: Option<Pending>,
    /// Whether its requests are let through; `None`: they are, as the file says.
    pub admitted: Option<Admitted>,
    /// The last revision that gave one pool everything.
    pub settled: Option<Revision>,
    /// In the order of their names.
    pub pools: Vec<Pool>,
    pub drift: Vec<Drift>,
    /// Under way, or the last that was.
    pub rollout: Option<Arc<Rollout>>,
    /// Those before it, oldest first.
    pub rollouts: Vec<Arc<Rollout>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    Serving,
    /// No weighted pool is ready; endpoints that once were are tried.
    FailingOpen,
    /// No weighted pool is ready, and nothing is tried.
    Unavailable,
}

/// What the file asks for and cannot have yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// Weights that wait for their pools to be ready.
    pub weights: Option<Weights>,
    /// Pools and endpoints that the file no longer names (`green`, `blue/10.0.0.1:3000`) and that serve until then.
    #[serde(default)]
    pub kept: Vec<String>,
    pub since: Timestamp,
}

#[derive(Clone)]
pub struct Pool {
    pub name: Name,
    pub stats: Arc<PoolStats>,
    pub version: Option<Version>,
    pub weight: u32,
    pub state: PoolState,
    pub ready: usize,
    /// Endpoints that are not drained.
    pub of: usize,
    /// Of `of`, that must be ready before traffic is moved here.
    pub needed: usize,
    /// Where more of its endpoints are found.
    pub source: Option<Source>,
    pub endpoints: Vec<Endpoint>,
}

/// Where a pool's endpoints are found, and whether they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub source: plan::Source,
    /// When it last named endpoints; `None`: not yet.
    pub last: Option<Timestamp>,
    /// Why it does not now.
    pub failing: Option<Failing>,
    /// Looks that found endpoints, and that did not.
    pub looks: u64,
    pub failures: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Failing {
    pub since: Timestamp,
    pub error: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolState {
    /// Has weight and a ready endpoint.
    Active,
    /// Ready, without weight.
    Idle,
    /// No endpoint of it is ready.
    Unready,
    Draining,
    Drained,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub version: String,
    pub since: Timestamp,
}

#[derive(Clone)]
pub struct Endpoint {
    pub endpoint: Arc<pool::Endpoint>,
    pub weight: u32,
    pub state: State,
    pub since: Timestamp,
    pub proven: bool,
    pub probe: Option<LastProbe>,
    pub ejection: Option<Ejection>,
    /// While it comes to its share: percent of its weight that it has.
    pub slow_start: Option<Warmth>,
    /// Its own or its pool's.
    pub drain: Option<Drain>,
    /// By its pool's source alone: neither the file names it, nor anybody at run time.
    pub found: bool,
}

/// A drain in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    pub by: Actor,
    pub at: Timestamp,
    pub reason: Option<String>,
    /// Work in flight was told to end.
    #[serde(default)]
    pub cut: bool,
}

/// A decision on whether a service's requests are let through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Admitted {
    pub admission: Admission,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// The same by the clock that nobody sets.
    #[serde(skip)]
    pub ends: Option<Instant>,
    pub by: Actor,
    pub at: Timestamp,
    pub reason: Option<String>,
}

/// One decision on a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    pub revision: u64,
    /// In force after it.
    pub weights: Weights,
    /// What was decided: `weights`, `rollback`, `drain blue` ...
    pub what: String,
    pub by: Actor,
    pub reason: Option<String>,
    pub at: Timestamp,
}

impl Revision {
    /// One pool had everything.
    pub fn settled(&self) -> bool {
        self.weights.sole().is_some()
    }
}

/// One field that differs from the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    pub service: Name,
    /// `weights`, `pools.blue.endpoints.10.0.0.1:3000`, `pools.blue.drained` ...
    pub field: String,
    /// What the file says; null where it does not name the field.
    pub declared: Value,
    pub value: Value,
    pub by: Actor,
    pub since: Timestamp,
    pub reason: Option<String>,
}

impl View {
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services
            .iter()
            .find(|service| service.plan.name == *name)
    }
}

impl Service {
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == *name)
    }
}

impl Pool {
    pub fn endpoint(&self, address: &Address) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.endpoint.key.address == *address)
    }

    /// Enough of its endpoints are ready for traffic to be moved to it.
    pub fn is_ready(&self) -> bool {
        self.ready >= self.needed
    }
}
