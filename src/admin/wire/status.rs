use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Actor, Event, Rollout, Service};
use crate::units::{Address, Name, Timestamp};

/// `GET /v1/status`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub version: String,
    pub started: Timestamp,
    pub uptime_seconds: u64,
    pub generation: u64,
    /// `starting`, `serving`, `lame-duck` or `draining`.
    pub phase: String,
    pub config: ConfigState,
    pub durability: Durability,
    pub overrides: Vec<Override>,
    /// Services whose requests are held or get a page.
    pub holds: Vec<HoldInForce>,
    pub drains: Vec<DrainInForce>,
    pub services: Vec<Service>,
    /// Those that are under way.
    pub rollouts: Vec<Rollout>,
    /// The last few, oldest first.
    pub events: Vec<Event>,
}

/// Of the file on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigState {
    /// `ok`, or `rejected`: the file as it is now is not what runs.
    pub state: String,
    pub path: Option<String>,
    /// When what runs was applied.
    pub applied: Timestamp,
    pub rejected_since: Option<Timestamp>,
    /// What is wrong with the file as it is now, as `cutover check` prints it.
    pub problems: Option<String>,
}

/// Of `state_dir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Durability {
    pub writable: bool,
    /// Why the last write failed.
    pub error: Option<String>,
    /// Something is serving that a restart would forget.
    pub unsaved: bool,
}

/// A decision at run time that stands over the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Override {
    pub service: Name,
    pub field: String,
    pub value: serde_json::Value,
    pub by: Actor,
    pub since: Timestamp,
    pub age_seconds: u64,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrainInForce {
    pub service: Name,
    pub pool: Name,
    pub endpoint: Address,
    /// `draining` or `drained`.
    pub state: String,
    pub in_flight: u64,
    /// Of those in flight, tunnels (WebSocket and the like).
    #[serde(default)]
    pub tunnels: u64,
    pub by: Actor,
    pub since: Timestamp,
    pub age_seconds: u64,
    pub reason: Option<String>,
}

/// Requests of a service are held, or get the page for maintenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HoldInForce {
    pub service: Name,
    /// `hold` or `maintenance`.
    pub admission: String,
    /// Requests that wait.
    pub waiting: u64,
    pub by: Actor,
    pub since: Timestamp,
    pub age_seconds: u64,
    /// When it ends by itself; `null`: it has no end.
    pub until: Option<Timestamp>,
    pub left_seconds: Option<u64>,
    pub reason: Option<String>,
}

/// `GET /livez` and `GET /readyz`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or where the process is in its life.
    pub status: String,
}
