//! What the controller answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::LastProbe;
use crate::units::{EndpointKey, Name, Weights};

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
    /// Field by field.
    pub diff: Vec<Difference>,
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
    /// Requests in flight on endpoints that get no more by this.
    pub in_flight: u64,
}

/// One field that a change sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub service: Name,
    /// `weights`, `pools.blue.endpoints.10.0.0.1:3000`, `pools.blue.drained`, `pools.blue.version`, `plan` ...
    pub field: String,
    pub before: Value,
    pub after: Value,
}

/// A change that was refused; nothing changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
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
    /// There is no rollout of that number, or none under way.
    UnknownRollout,
    /// One is under way for the service.
    RolloutRunning,
    /// Where it stands it cannot do that.
    InvalidTransition,
    /// The plan of a rollout says something that does not hold.
    InvalidPlan,
    /// Rollouts are not begun at this time.
    Frozen,
}

impl Code {
    /// As it is written in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownService => "unknown-service",
            Self::UnknownPool => "unknown-pool",
            Self::UnknownEndpoint => "unknown-endpoint",
            Self::UnknownRevision => "unknown-revision",
            Self::UnknownField => "unknown-field",
            Self::IncompleteWeights => "incomplete-weights",
            Self::InvalidWeights => "invalid-weights",
            Self::InvalidRequest => "invalid-request",
            Self::PoolNotReady => "pool-not-ready",
            Self::LastReadyEndpoint => "last-ready-endpoint",
            Self::RevisionMismatch => "revision-mismatch",
            Self::IdempotencyMismatch => "idempotency-mismatch",
            Self::NothingSettled => "nothing-settled",
            Self::InvalidConfig => "invalid-config",
            Self::BindFailed => "bind-failed",
            Self::NotDurable => "not-durable",
            Self::ShuttingDown => "shutting-down",
            Self::UnknownRollout => "unknown-rollout",
            Self::RolloutRunning => "rollout-running",
            Self::InvalidTransition => "invalid-transition",
            Self::InvalidPlan => "invalid-plan",
            Self::Frozen => "frozen",
        }
    }
}

impl Refusal {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            hint: None,
            evidence: Vec::new(),
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
