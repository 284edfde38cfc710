use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    tls::{ClientSettings, Version},
    units::{Address, Balance, Name, PreambleVersion, Protocol, SlowStart},
};

#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    pub name: Name,
    pub endpoints: Vec<Endpoint>,
    /// Where more of them are found while it runs.
    pub discover: Option<Discover>,
    pub balance: Balance,
    /// `None`: who has become ready has its whole share at once.
    pub slow_start: Option<SlowStart>,
    pub transport: Transport,
    /// `None`: `probe = false`; its endpoints count as ready.
    pub probe: Option<Probe>,
}

/// Where endpoints are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discover {
    pub source: Source,
    /// An answer that names more is not taken.
    pub most: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One on each line.
    File(PathBuf),
    Dns(Dns),
}

/// Records that name endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    pub name: String,
    /// Of A and AAAA records; `None`: SRV records, which say it themselves.
    pub port: Option<u16>,
    /// Who is asked; `None`: whom the system asks.
    pub resolver: Option<SocketAddr>,
    /// Asked again no sooner, whatever the records say.
    pub min_ttl: Duration,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Dns(dns) => match dns.port {
                Some(port) => write!(f, "dns {}:{port}", dns.name),
                None => write!(f, "srv {}", dns.name),
            },
        }
    }
}

/// How its endpoints are spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transport {
    pub protocol: Protocol,
    /// Connections begin with the PROXY protocol.
    pub preamble: Option<PreambleVersion>,
    /// `None`: in clear.
    pub tls: Option<Tls>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The endpoint must show a certificate with its name, signed by somebody who is believed.
    pub verify: bool,
    /// Stands in for the endpoint's host.
    pub server_name: Option<String>,
    pub ca: Option<NamedFile>,
    pub cert: Option<NamedFile>,
    pub key: Option<NamedFile>,
    pub min_version: Version,
    /// Made of all that.
    pub usual: ClientSettings,
    /// The same, but offering HTTP/1.1 alone.
    pub to_switch: ClientSettings,
}

/// A file, as it is named and by what was in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    pub path: String,
    /// SHA-256; `None` where it was not to be read.
    pub digest: Option<[u8; 32]>,
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
    /// That of its pool.
    pub transport: Transport,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ProbeKind {
    /// A connection that opens is a pass.
    Tcp,
    Http(HttpProbe),
    /// `grpc.health.v1.Health/Check`; the name of what is asked about, mostly none.
    Grpc(String),
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
