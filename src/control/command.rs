//! Every way the system can change, in one place.

use std::{collections::BTreeMap, time::Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{
    config::Plan,
    units::{EndpointKey, Name, PoolKey, Timestamp, Weights},
};

/// What the controller is sent. Each makes at most one publication.
pub enum Command {
    /// Decisions of a person or of automation, applied as one atomic change or not at all.
    Change {
        changes: Vec<Change>,
        order: Order,
        reply: oneshot::Sender<Result<Applied, Refusal>>,
    },
    /// A checked file. The caller has bound what had to be bound.
    Load {
        plan: Box<Plan>,
        actor: Actor,
        reply: oneshot::Sender<Result<Applied, Refusal>>,
    },
    /// What probes saw. Batched by the controller.
    Probed(Vec<Probed>),
}

/// One decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Must name every pool that has weight now.
    Weights {
        service: Name,
        weights: BTreeMap<Name, u32>,
        force: bool,
    },
    /// To the most recent settled weights that differ from what is served now, or to a revision's.
    Rollback {
        service: Name,
        to_revision: Option<u64>,
        again: bool,
    },
    Drain {
        target: Target,
        force: bool,
    },
    /// Ends a drain. The endpoints are unproven until they pass afresh.
    Restore {
        target: Target,
    },
    AddEndpoint {
        endpoint: EndpointKey,
        weight: u32,
    },
    RemoveEndpoint {
        endpoint: EndpointKey,
        force: bool,
    },
    /// Drops overrides: of one field, or all of the service.
    Revert {
        service: Name,
        field: Option<String>,
    },
    /// Records the version a pool runs, as status and metrics show it.
    Version {
        pool: PoolKey,
        version: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Pool(PoolKey),
    Endpoint(EndpointKey),
}

/// Who asks, why, and on what conditions.
#[derive(Debug, Clone)]
pub struct Order {
    pub actor: Actor,
    pub reason: Option<String>,
    /// The revision the change was made for; another in force is a conflict.
    pub if_match: Option<u64>,
    pub dry_run: bool,
    /// The same key within 24 hours gets the first answer again.
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub name: String,
    pub kind: ActorKind,
    /// `socket`, `token`, `file`, `signal`, `probe` ...
    pub via: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    Person,
    File,
    Probe,
    Rollout,
    System,
}

/// A change that is serving.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    pub generation: u64,
    /// Written to disk before the answer. `false`: serving, but a restart would forget it.
    pub durable: bool,
    /// Nothing was changed: this is what would have been.
    pub dry_run: bool,
    /// The services that were touched.
    pub services: Vec<AppliedService>,
    /// Remarks for a person: `already there`, `pending until green is ready` ...
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppliedService {
    pub service: Name,
    pub revision: u64,
    pub before: Weights,
    pub weights: Weights,
    /// Parts of the whole, 0.0 to 1.0.
    pub share: BTreeMap<Name, f64>,
    /// Requests in flight on endpoints that lose traffic by this.
    pub in_flight: u64,
}

/// A change that was refused; nothing changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: Code,
    pub detail: String,
    /// What to type.
    pub hint: Option<String>,
    /// What the gate saw: each endpoint that is not ready, with its last probe.
    pub evidence: Vec<Evidence>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub endpoint: EndpointKey,
    pub state: String,
    pub probe: Option<LastProbe>,
}

/// Why a change is refused. A closed list, part of the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    UnknownService,
    UnknownPool,
    UnknownEndpoint,
    UnknownRevision,
    UnknownField,
    IncompleteWeights,
    InvalidWeights,
    InvalidRequest,
    PoolNotReady,
    LastReadyEndpoint,
    RevisionMismatch,
    IdempotencyMismatch,
    NothingSettled,
    InvalidConfig,
    BindFailed,
    NotDurable,
    ShuttingDown,
}

/// One probe's end.
#[derive(Debug, Clone)]
pub struct Probed {
    pub endpoint: EndpointKey,
    /// When the probe was begun: "proven" means by probes begun after the thing was put there.
    pub begun: Instant,
    pub passed: bool,
    pub last: LastProbe,
}

/// The last probe of an endpoint, as status shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastProbe {
    pub at: Timestamp,
    pub url: String,
    pub status: Option<u16>,
    pub latency_ms: f64,
    pub error: Option<String>,
    /// Passes in a row; failures as a negative number.
    pub streak: i64,
}
