//! What a correct configuration means: every field final, nothing optional that has a default, every reference resolved.

use std::{
    collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use crate::units::{
    Address, Balance, Matcher, Name, Percent, Secret, StickyBy, Timeouts, WebsocketDrain, Weights,
};

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
    pub listeners: Vec<Arc<Listener>>,
    /// In file order; `hosts` short forms and the implied route of a single service included.
    pub routes: Vec<Arc<Route>>,
    pub services: BTreeMap<Name, Arc<Service>>,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub address: Address,
    /// Of the Unix socket.
    pub mode: u32,
    pub group: Option<String>,
    pub tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub name: Name,
    pub role: Role,
    /// The services it may write to; `None`: all.
    pub services: Option<Vec<Name>>,
    /// SHA-256 of the token's text.
    pub sha256: [u8; 32],
}

/// Each role may what the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// `GET /metrics /livez /readyz` without a token.
    pub address: Option<SocketAddr>,
    pub access_log: AccessLog,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// The part of requests that is logged: 0 % is off.
    pub sample: Percent,
    pub format: LogFormat,
    /// A file, opened anew on SIGUSR1; `None`: standard output.
    pub path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// An address we accept on. Connections keep the listener's settings they were accepted under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` we believe.
    pub trusted_proxies: Vec<IpNet>,
    pub timeouts: ListenerTimeouts,
    pub limits: ListenerLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its head.
    pub header: Duration,
    /// How long a connection may stand idle between requests.
    pub idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open at once on this listener, over all workers.
    pub connections: u32,
    /// Of a request's head.
    pub header_bytes: u32,
    pub headers: u16,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub matcher: Matcher,
    pub service: Name,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub name: Name,
    pub weights: Weights,
    pub weights_mode: WeightsMode,
    /// Of a pool's endpoints that must be ready before traffic is moved to it.
    pub min_ready: Percent,
    pub sticky: Option<Sticky>,
    pub preview: Option<Preview>,
    /// When every weighted pool is unready, try the once-proven endpoints anyway.
    pub fail_open: bool,
    pub timeouts: Timeouts,
    /// Largest request body in bytes.
    pub max_body: Option<u64>,
    /// How long a drain waits unless the call says otherwise.
    pub drain_deadline: Duration,
    pub drain_websockets: WebsocketDrain,
    /// The protocols that a client may upgrade to, in lower case.
    pub upgrades: Vec<String>,
    pub pools: BTreeMap<Name, Pool>,
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

#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    pub name: Name,
    pub endpoints: Vec<Endpoint>,
    pub balance: Balance,
    /// `None`: `probe = false`; its endpoints count as ready.
    pub probe: Option<Probe>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub address: Address,
    pub weight: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub kind: ProbeKind,
    pub interval: Duration,
    pub timeout: Duration,
    /// Passes in a row that make an endpoint ready.
    pub rise: u32,
    /// Failures in a row that make it unready.
    pub fall: u32,
    /// Asked on another port of the endpoint's host.
    pub port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ProbeKind {
    /// A connection that opens is a pass.
    Tcp,
    Http(HttpProbe),
}

#[derive(Debug, Clone, PartialEq)]
pub struct HttpProbe {
    pub method: http::Method,
    /// Path and query.
    pub path: String,
    /// The `Host` sent; `None`: the endpoint's address.
    pub host: Option<String>,
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Inclusive ranges of statuses that pass.
    pub status: Vec<(u16, u16)>,
    /// The body must contain it.
    pub body: Option<String>,
    /// JSON pointer (RFC 6901) to the value it must equal.
    pub json: Vec<(String, serde_json::Value)>,
}
