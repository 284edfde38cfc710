use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

use crate::units::{Access, Percent};

/// An address we accept on. Connections keep the listener's settings they were accepted under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` we believe.
    pub trusted_proxies: Vec<IpNet>,
    /// Judged on the peer's address, before anything is read from it.
    pub access: Access,
    /// Requests and answers say in `Via` that they came through here.
    pub via: bool,
    /// Starts a trace where a request brings none; so many of them are sampled.
    pub traceparent: Option<Percent>,
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
    /// Of one client's, over all workers; trusted proxies are no clients.
    pub connections_per_client: Option<u32>,
    /// Of a request's head.
    pub header_bytes: u32,
    pub headers: u16,
}
