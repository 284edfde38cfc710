use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::units::{Address, Name, Timestamp};

/// `GET /v1/events`, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Events {
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows, across restarts too.
    pub id: u64,
    pub at: Timestamp,
    #[serde(rename = "type")]
    pub kind: String,
    pub service: Option<Name>,
    pub pool: Option<Name>,
    pub endpoint: Option<Address>,
    pub actor: Actor,
    pub reason: Option<String>,
    pub before: serde_json::Value,
    pub after: serde_json::Value,
    pub generation: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    pub name: String,
    /// `person`, `file`, `probe`, `rollout` or `system`.
    pub kind: String,
    /// `socket`, `token`, `file`, `signal`, `probe` ...
    pub via: String,
}
