use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    tls::{Authorities, Certificate, Version},
    units::{Access, ListenAddress, Networks, Percent},
};

/// An address we accept on. Connections keep the listener's settings they were accepted under.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the file, and none depends on another"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub address: ListenAddress,
    /// Of the file of a Unix socket: its permissions, and its group where it is not our own.
    pub mode: u32,
    pub group: Option<String>,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` we believe.
    pub trusted_proxies: Networks,
    /// Connections of trusted proxies begin with the PROXY protocol.
    pub proxy_protocol: bool,
    /// HTTP/2 is spoken, too.
    pub h2: bool,
    /// Judged on the peer's address, before anything is read from it.
    pub access: Access,
    /// Requests and answers say in `Via` that they came through here.
    pub via: bool,
    /// Starts a trace where a request brings none; so many of them are sampled.
    pub traceparent: Option<Percent>,
    /// Its requests go to what has no traffic yet. The one setting that holds for connections that are open, too.
    pub preview: bool,
    pub timeouts: ListenerTimeouts,
    pub limits: ListenerLimits,
    /// `None`: clear text.
    pub tls: Option<Arc<ListenerTls>>,
    /// The port of the HTTPS that every request is sent to instead of being passed on.
    pub redirect_https: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its head.
    pub header: Duration,
    /// How long a connection may stand idle between requests.
    pub idle: Duration,
    /// After about so long a connection of HTTP/2 begins no more requests; `None`: never.
    pub max_connection_age: Option<Duration>,
    /// From a connection's beginning to the end of the TLS handshake.
    pub handshake: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open at once on this listener, over all workers.
    pub connections: u32,
    /// Of one client's, over all workers; trusted proxies are no clients.
    pub connections_per_client: Option<u32>,
    /// Of a request's head.
    pub header_bytes: u32,
    pub headers: u16,
    /// TLS handshakes under way at once, over all workers.
    pub handshakes: u32,
}

/// How a listener meets clients that speak TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// In the order of the file: the first is shown to who asks for no name that has one.
    pub certificates: Vec<Pair>,
    pub acme: Option<Acme>,
    pub min_version: Version,
    pub client_auth: Option<ClientAuth>,
    pub strict_sni: bool,
    pub hsts: Option<Hsts>,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub cert: String,
    pub key: String,
    /// What was in them; `None` where they were not to be read.
    pub certificate: Option<Certificate>,
}

/// Certificates that are got and renewed by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    pub hosts: Vec<String>,
    pub email: Option<String>,
    pub directory: String,
    /// Proofs are shown in a handshake, not by a path.
    pub by_handshake: bool,
    pub renew_before: Duration,
    pub ca: Option<Pem>,
}

/// A file of PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pem {
    pub path: String,
    /// Empty where it was not to be read.
    pub text: Bytes,
}

/// Clients are asked for certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    pub ca: String,
    pub crl: Option<String>,
    /// What was in them; `None` where they were not to be read.
    pub authorities: Option<Authorities>,
    /// A client without one is refused.
    pub required: bool,
}

/// What browsers are told (RFC 6797).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    pub max_age: Duration,
    pub include_subdomains: bool,
    pub preload: bool,
}
