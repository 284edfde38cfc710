//! What a correct configuration means: every field final, nothing optional that has a default, every reference resolved.

mod admin;
mod listener;
mod pool;
mod preset;
mod rollout;
mod route;
mod service;

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use crate::units::{ErrorPages, Name};
pub use admin::{AccessLog, Admin, LogFormat, Otlp, Role, Telemetry, Token};
pub use listener::{
    Acme, ClientAuth, Hsts, Listener, ListenerLimits, ListenerTimeouts, ListenerTls, Pair, Pem,
};
pub use pool::{
    Discover, Dns, Endpoint, HttpProbe, NamedFile, Pool, Probe, ProbeKind, Source, Tls, Transport,
};
pub use preset::Preset;
pub use rollout::{
    Batch, Bound, Hook, HookPoint, Metric, MetricSource, Notify, NotifyFormat, Rescue, Rollout,
    Step, Strategy, Then,
};
pub use route::{Route, Target};
pub use service::{FailOpen, Preview, Service, Sticky, WeightsMode};

/// A whole configuration, checked. What has not changed between two plans compares equal, so that a reload is a diff.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub state_dir: PathBuf,
    pub workers: NonZeroUsize,
    /// Apply edits of the file by themselves.
    pub watch: bool,
    pub startup: Startup,
    pub shutdown: Shutdown,
    pub admin: Admin,
    pub telemetry: Telemetry,
    /// For answers before a service is known; each service has its own, these included.
    pub errors: Arc<ErrorPages>,
    pub listeners: Vec<Arc<Listener>>,
    /// In file order; `hosts` short forms and the implied route of a single service included.
    pub routes: Vec<Arc<Route>>,
    pub services: BTreeMap<Name, Arc<Service>>,
    pub notify: Vec<Arc<Notify>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Startup {
    /// How long to wait, before accepting, for every weighted pool to be ready.
    pub wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// How long to keep accepting after `readyz` has turned 503.
    pub lame_duck: Duration,
    /// How long, after the lame duck, work in flight and idle connections are kept.
    pub deadline: Duration,
}
