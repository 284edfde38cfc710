use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Actor, Drift, Rollout};
use crate::units::{Address, Admission, Name, Timestamp, Weights};

/// `GET /v1/services`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Services {
    pub generation: u64,
    pub services: Vec<Service>,
}

/// `GET /v1/services/{service}`. Its `revision` is the call's `ETag`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Service {
    pub name: Name,
    /// Of the last decision of a person, the file or a rollout.
    pub revision: u64,
    /// Of the published snapshot: grows with every change, probes' verdicts included.
    pub generation: u64,
    /// `serving`, `failing-open` (no weighted pool is ready, and endpoints that once were are tried) or `unavailable`.
    pub state: String,
    /// What becomes of requests: `open` (they flow), `hold` or `maintenance`.
    #[serde(default)]
    pub admission: Admission,
    /// The pool with the most weight.
    pub active: Option<Name>,
    /// The one pool without weight, where there is exactly one.
    pub idle: Option<Name>,
    /// Of every pool.
    pub weights: BTreeMap<Name, u32>,
    /// What the file asks for and is not served yet, because a pool is not ready.
    pub pending: Option<Pending>,
    pub share: Share,
    /// Requests that wait for their turn.
    #[serde(default)]
    pub waiting: u64,
    /// The last weights that gave one pool everything.
    pub settled: Option<Settled>,
    pub pools: BTreeMap<Name, Pool>,
    /// The file has a plan for its rollouts, by which `cutover deploy` goes.
    #[serde(default)]
    pub rolls_out: bool,
    /// The one that is under way, or the last that was.
    pub rollout: Option<Rollout>,
    /// The fields that differ from the file.
    pub drift: Vec<Drift>,
}

/// What the file asks for and cannot have yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pending {
    /// Weights that wait for their pools to be ready.
    pub weights: Option<BTreeMap<Name, u32>>,
    /// Pools and endpoints that the file no longer names and that serve until then.
    pub kept: Vec<String>,
    pub since: Timestamp,
}

/// Parts of the whole, 0.0 to 1.0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// What the weights come to.
    pub requested: BTreeMap<Name, f64>,
    /// What requests got in the window; empty where there were none.
    pub observed: BTreeMap<Name, f64>,
    pub requests: u64,
    /// The window's length.
    pub seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Settled {
    pub weights: BTreeMap<Name, u32>,
    pub revision: u64,
    pub at: Timestamp,
    pub by: String,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// `active` (has weight and a ready endpoint), `idle` (ready, without weight), `unready`, `draining` or `drained`.
    pub state: String,
    pub version: Option<String>,
    /// Endpoints that are ready ...
    pub ready: usize,
    /// ... of this many that are not drained.
    pub of: usize,
    /// Of them, so many must be ready before traffic is moved here.
    pub needed: usize,
    pub in_flight: u64,
    /// Of those in flight, tunnels (WebSocket and the like).
    #[serde(default)]
    pub tunnels: u64,
    /// Open connections to its endpoints, parked or in use.
    pub connections: u64,
    pub window: Window,
    /// Where more of its endpoints are found, where the file says `discover`.
    #[serde(default)]
    pub discovery: Option<Discovery>,
    pub endpoints: Vec<Endpoint>,
}

/// The source that names a pool's endpoints while it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Discovery {
    /// Its kind and its name.
    pub source: String,
    /// When it last named endpoints; `null`: not yet.
    pub last: Option<Timestamp>,
    /// While it names none: those that it named before stay.
    pub failing: Option<Failing>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Failing {
    pub since: Timestamp,
    pub error: String,
}

/// What was measured in the last `seconds`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Window {
    pub seconds: u64,
    pub requests: u64,
    /// Answers of 500 and above, resets, timeouts and refused connections that an endpoint caused.
    pub errors: u64,
    pub latency_ms: Latency,
}

/// Milliseconds; `null` where there was no request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its address, percent-encoded where it stands in a path.
    pub id: Address,
    pub address: Address,
    /// `unproven`, `ready`, `unready`, `ejected`, `draining` or `drained`.
    pub state: String,
    /// Since when it is in that state.
    pub since: Timestamp,
    pub weight: u32,
    /// By its pool's source alone: it stands neither in the file, nor was it added.
    #[serde(default)]
    pub found: bool,
    pub in_flight: u64,
    #[serde(default)]
    pub tunnels: u64,
    pub connections: u64,
    pub probe: Option<Probe>,
    /// While it is out because of what it did to requests.
    #[serde(default)]
    pub ejection: Option<Ejection>,
    /// While it comes to its share: percent of its weight that it has.
    #[serde(default)]
    pub slow_start: Option<u8>,
}

/// An endpoint is out because of what it did to requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ejection {
    /// `connect`, `consecutive` or `ratio`.
    pub cause: String,
    pub since: Timestamp,
    /// For how long.
    pub seconds: f64,
    /// The how manieth in a row.
    pub times: u32,
}

/// The last probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    pub at: Timestamp,
    pub url: String,
    pub status: Option<u16>,
    pub latency_ms: f64,
    pub error: Option<String>,
    /// Passes in a row; failures as a negative number.
    pub streak: i64,
}

/// `GET /v1/services/{service}/history`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct History {
    pub service: Name,
    /// Oldest first.
    pub revisions: Vec<Revision>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Revision {
    pub revision: u64,
    pub at: Timestamp,
    /// What was decided: `weights`, `rollback`, `drain blue` ...
    pub what: String,
    pub by: Actor,
    pub reason: Option<String>,
    /// In force after it.
    pub weights: Weights,
    /// One pool had everything.
    pub settled: bool,
}

impl From<crate::control::LastProbe> for Probe {
    fn from(last: crate::control::LastProbe) -> Self {
        Self {
            at: last.at,
            url: last.url,
            status: last.status,
            latency_ms: last.latency_ms,
            error: last.error,
            streak: last.streak,
        }
    }
}
