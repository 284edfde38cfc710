use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

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
