use std::time::Duration;

/// How a pool chooses among its eligible endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    /// The less loaded of two drawn at random.
    LeastRequests,
    Random,
    /// The same key goes to the same endpoint while it is eligible.
    Hash(HashKey),
}

/// What of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    Header(http::HeaderName),
    Cookie(String),
    /// The client's address.
    Ip,
    Path,
}

/// What keeps a client on one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyBy {
    /// Our own authenticated cookie `cutover_<service>`.
    Cookie {
        max_age: Duration,
    },
    Header(http::HeaderName),
    /// The client's address.
    Ip,
}

/// How long each part of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the request's last byte to the head of the answer.
    pub response: Duration,
    /// No byte either way while a body is on its way.
    pub idle: Duration,
    /// From the request's head to the answer's last byte.
    pub request: Option<Duration>,
    /// How long an idle connection to an endpoint is parked; below the app's own limit, or the app closes first.
    pub keep_alive: Duration,
}
