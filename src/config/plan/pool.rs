use std::time::Duration;

use crate::units::{Address, Balance, Name};

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
