use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderName, Uri};

use crate::units::{Address, Name, Percent, Secret};

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
    /// `None`: no spans are exported.
    pub otlp: Option<Otlp>,
}

/// Where spans of requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// `http` or `https`.
    pub endpoint: Uri,
    pub headers: Vec<(HeaderName, Secret)>,
    /// For one batch.
    pub timeout: Duration,
    pub service_name: String,
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
