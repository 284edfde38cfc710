//! Every way the system can change, in one place.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Applied, Kind, Refusal, Suspect, rollout::Rollout};
use crate::{
    config::{Plan, plan},
    units::{Admission, EndpointKey, Name, PoolKey, Timestamp, Weights},
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
        order: Order,
        reply: oneshot::Sender<Result<Applied, Refusal>>,
    },
    /// A file that was refused before it got here, and why. The plan in force serves on.
    Rejected { problems: String, actor: Actor },
    /// What has become of a certificate, in words.
    Certificate { failed: bool, said: String },
    /// What probes saw. Batched by the controller.
    Probed(Vec<Probed>),
    /// What a source names as a pool's endpoints now, or why it does not.
    Discovered(Discovered),
    /// Endpoints that do worse by their requests than others of their pools.
    Suspected(Vec<Suspect>),
    /// Where the process is in its life.
    Phase(Phase),
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Change {
    /// Must name every pool that has weight now.
    Weights {
        service: Name,
        weights: BTreeMap<Name, u32>,
        force: bool,
    },
    /// All traffic to one pool in one step.
    Switch {
        service: Name,
        to: Name,
        /// What that pool runs, as status and metrics show it.
        version: Option<String>,
        force: bool,
    },
    /// To the most recent settled weights that differ from what is served now, or to a revision's. Refused only where a
    /// pool that would get weight has no ready endpoint at all.
    Rollback {
        service: Name,
        to_revision: Option<u64>,
        /// Even though the last decision, within a minute, was a rollback.
        again: bool,
        force: bool,
    },
    Drain {
        target: Target,
        force: bool,
    },
    /// Ends what is still in flight on a drained target.
    Cut {
        target: Target,
    },
    /// Ends a drain. The endpoints are unproven until they pass afresh.
    Restore {
        target: Target,
    },
    /// Or changes the weight of one that is there.
    AddEndpoint {
        endpoint: EndpointKey,
        weight: u32,
    },
    /// What is in flight on it may end.
    RemoveEndpoint {
        endpoint: EndpointKey,
        force: bool,
    },
    /// Lets requests through, has them wait, or answers them with a page; `span`: until it ends by itself.
    Admit {
        service: Name,
        admission: Admission,
        span: Option<Duration>,
    },
    /// Drops overrides: of one field (as `drift` names it), or all of the service.
    Revert {
        service: Name,
        field: Option<String>,
        force: bool,
    },
    /// Records the version a pool runs, as status and metrics show it.
    Version {
        pool: PoolKey,
        version: String,
    },
    /// A rollout has come to where it is said to stand, for one of its services, with the weights that go with it.
    Rollout {
        service: Name,
        rollout: Arc<Rollout>,
        weights: Option<Weights>,
        told: Kind,
        force: bool,
    },
}

impl Change {
    pub fn service(&self) -> &Name {
        match self {
            Self::Weights { service, .. }
            | Self::Switch { service, .. }
            | Self::Rollback { service, .. }
            | Self::Admit { service, .. }
            | Self::Revert { service, .. }
            | Self::Rollout { service, .. } => service,
            Self::Drain { target, .. } | Self::Cut { target } | Self::Restore { target } => {
                target.service()
            }
            Self::AddEndpoint { endpoint, .. } | Self::RemoveEndpoint { endpoint, .. } => {
                &endpoint.service
            }
            Self::Version { pool, .. } => &pool.service,
        }
    }

    /// Whether it passes the two gates.
    pub fn force(&self) -> bool {
        match self {
            Self::Weights { force, .. }
            | Self::Switch { force, .. }
            | Self::Rollback { force, .. }
            | Self::Drain { force, .. }
            | Self::RemoveEndpoint { force, .. }
            | Self::Rollout { force, .. }
            | Self::Revert { force, .. } => *force,
            Self::Cut { .. }
            | Self::Admit { .. }
            | Self::Restore { .. }
            | Self::AddEndpoint { .. }
            | Self::Version { .. } => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    Pool(PoolKey),
    Endpoint(EndpointKey),
}

impl Target {
    pub fn service(&self) -> &Name {
        match self {
            Self::Pool(pool) => &pool.service,
            Self::Endpoint(endpoint) => &endpoint.service,
        }
    }

    pub fn pool(&self) -> &Name {
        match self {
            Self::Pool(pool) => &pool.pool,
            Self::Endpoint(endpoint) => &endpoint.pool,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(pool) => pool.fmt(f),
            Self::Endpoint(endpoint) => endpoint.fmt(f),
        }
    }
}

/// Who asks, why, and on what conditions.
#[derive(Debug, Clone)]
pub struct Order {
    pub actor: Actor,
    pub reason: Option<String>,
    /// The revision the change was made for; another in force is a conflict. With several services: of each that is
    /// touched.
    pub if_match: Option<u64>,
    pub dry_run: bool,
    /// The same key within 24 hours gets the first answer again.
    pub idempotency_key: Option<String>,
    /// How long work may take that is under way on what gets no more requests by the change; `None`: as its service says.
    pub deadline: Option<Duration>,
}

impl Order {
    /// Without a reason or conditions.
    pub fn by(actor: Actor) -> Self {
        Self {
            actor,
            reason: None,
            if_match: None,
            dry_run: false,
            idempotency_key: None,
            deadline: None,
        }
    }
}

/// Where the process is in its life. `readyz` is 200 in `Serving` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Starting,
    Serving,
    /// Accepts still; `readyz` says 503, so that balancers in front send new work elsewhere.
    LameDuck,
    /// Work in flight ends; nothing new is taken.
    Draining,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::LameDuck => "lame-duck",
            Self::Draining => "draining",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub name: String,
    pub kind: ActorKind,
    /// `socket`, `token`, `file`, `signal`, `probe`, `outlier` ...
    pub via: String,
}

impl Actor {
    pub fn new(name: impl Into<String>, kind: ActorKind, via: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            via: via.into(),
        }
    }

    /// The file, when an edit of it is applied.
    pub fn file() -> Self {
        Self::new("file", ActorKind::File, "file")
    }

    /// Cutover itself.
    pub fn system() -> Self {
        Self::new("cutover", ActorKind::System, "control")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    Person,
    File,
    Probe,
    /// Passive health.
    Outlier,
    Rollout,
    System,
}

/// A look at a pool's source.
#[derive(Debug, Clone)]
pub struct Discovered {
    pub pool: PoolKey,
    /// Whom it is from: one that the file no longer names says nothing.
    pub by: plan::Discover,
    pub found: Result<Vec<plan::Endpoint>, String>,
}

/// One probe's end.
#[derive(Debug, Clone)]
pub struct Probed {
    pub endpoint: EndpointKey,
    /// When the probe was begun, by tokio's clock: "proven" means by probes begun after the thing was put there.
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
    /// Passes in a row; failures as a negative number. Counted by control, whatever the sender says.
    pub streak: i64,
}
