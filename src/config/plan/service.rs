use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Pool, Rollout};
use crate::units::{
    Admission, ErrorPages, Holding, InjectedFault, Limits, Maintenance, Mirror, Name, Outliers,
    Percent, Queueing, Retries, Secret, StickyBy, Timeouts, WebsocketDrain, Weights,
};

#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub name: Name,
    pub weights: Weights,
    pub weights_mode: WeightsMode,
    /// Of a pool's endpoints that must be ready before traffic is moved to it.
    pub min_ready: Percent,
    pub sticky: Option<Sticky>,
    pub preview: Option<Preview>,
    pub fail_open: FailOpen,
    pub timeouts: Timeouts,
    pub retries: Retries,
    /// `None`: nothing is taken out because of what it does to requests.
    pub outliers: Option<Outliers>,
    /// Largest request body in bytes.
    pub max_body: Option<u64>,
    pub limits: Limits,
    pub queueing: Queueing,
    /// What the file says; run time may say something else.
    pub admission: Admission,
    pub holding: Holding,
    pub maintenance: Maintenance,
    /// How long a drain waits unless the call says otherwise.
    pub drain_deadline: Duration,
    pub drain_websockets: WebsocketDrain,
    /// In place of the proxy's own short answers.
    pub errors: ErrorPages,
    /// Answers name the pool that made them.
    pub pool_header: bool,
    /// The protocols that a client may upgrade to, in lower case.
    pub upgrades: Vec<String>,
    /// For a rehearsal; those whose time is over included.
    pub faults: Vec<InjectedFault>,
    pub mirror: Option<Arc<Mirror>>,
    /// How it goes to a new version where the order does not say.
    pub rollout: Arc<Rollout>,
    /// The file has a plan for it, though it may say what is usual: a deployment goes by it.
    pub rolls_out: bool,
    pub pools: BTreeMap<Name, Pool>,
}

/// Whether endpoints are tried that are not ready but once were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailOpen {
    Never,
    /// When every weighted pool is unready, and in a pool of whose endpoints a smaller part than this is ready.
    Below(Percent),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsMode {
    /// File and API compete: a change of the file's value wins.
    Declared,
    /// The file seeds an empty state, then the API owns them.
    Initial,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    pub by: StickyBy,
    /// Keys cookies and hashes; `None`: the key kept in `state_dir`.
    pub secret: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub header: http::HeaderName,
    pub secret: Secret,
}
