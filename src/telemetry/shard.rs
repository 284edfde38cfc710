//! What one worker counts. Each shard has one writer, so counting is a plain load and store; whoever asks adds the
//! shards up. The in-flight count is the exception: it takes part in the proof that a drain is complete (see
//! [`crate::pool::Lease`]), so it is changed by sequentially consistent operations.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    ConnectionCounts, InjectedCounts, Leases, MirrorCounts, Queued, TrialCounts, TunnelCounts,
    histogram::{Histogram, add},
    queued::Waits,
};
use crate::units::InFlight;

/// One worker's counts for one endpoint.
#[derive(Default)]
pub struct EndpointShard {
    /// Leases held.
    pub in_flight: InFlight,
    /// Of the leases, those of tunnels.
    tunnels: AtomicU64,
    /// Answers by class: `[0]` none at all, `[1]` 1xx ... `[5]` 5xx.
    classes: [AtomicU64; 6],
    /// Of its requests, those that it has failed, be it after its answer had begun.
    faults: AtomicU64,
    /// Of those, the ones that did not even reach it.
    unreached: AtomicU64,
}

impl EndpointShard {
    pub fn answered(&self, status: http::StatusCode) {
        add(&self.classes[usize::from(status.as_u16() / 100).min(5)], 1);
    }

    /// It gave no answer.
    pub fn unanswered(&self) {
        add(&self.classes[0], 1);
    }

    /// A request of those that are counted by class was failed by it.
    pub fn failed(&self, failure: Failure) {
        add(&self.faults, 1);
        if matches!(
            failure,
            Failure::Connect | Failure::ConnectTimeout | Failure::Tls
        ) {
            add(&self.unreached, 1);
        }
    }

    pub fn faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }

    pub fn unreached(&self) -> u64 {
        self.unreached.load(Relaxed)
    }

    pub fn tunnel_opened(&self) {
        add(&self.tunnels, 1);
    }

    pub fn tunnel_ended(&self) {
        add(&self.tunnels, u64::MAX);
    }

    /// Tunnels that are open.
    pub fn tunnels(&self) -> u64 {
        self.tunnels.load(Relaxed)
    }

    pub fn classes(&self) -> [u64; 6] {
        std::array::from_fn(|class| self.classes[class].load(Relaxed))
    }
}

/// Statuses that are counted one by one; any other of a class is counted as the class's first (`x00`).
pub const STATUSES: [u16; 41] = [
    100, 101, 200, 201, 202, 203, 204, 205, 206, 207, 300, 301, 302, 303, 304, 307, 308, 400, 401,
    402, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 421, 422, 429, 431, 500, 501,
    502, 503, 504,
];

/// Who made an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Endpoint,
    Proxy,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Proxy => "proxy",
        }
    }
}

/// What an endpoint did that counts as an error. A client's cancel is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It answered 5xx.
    Status,
    /// It refused the connection or could not be reached.
    Connect,
    ConnectTimeout,
    /// The handshake of TLS with it failed.
    Tls,
    /// It said that it did not look at the request.
    Refused,
    /// It closed or broke the connection before its answer had ended.
    Reset,
    /// What it sent is no valid HTTP.
    Malformed,
    /// It took too long to begin its answer.
    Timeout,
    /// It took too long between two parts of its answer.
    Idle,
    /// A rehearsal answered 5xx in its place. A failure of the pool alone, never of an endpoint.
    Injected,
}

impl Failure {
    pub const ALL: [Self; 10] = [
        Self::Status,
        Self::Connect,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Refused,
        Self::Reset,
        Self::Malformed,
        Self::Timeout,
        Self::Idle,
        Self::Injected,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::Injected => "injected",
        }
    }
}

/// How a request fared that was sent once more, elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The other endpoint answered.
    Answered,
    /// It failed as well.
    Failed,
    /// There was no other.
    Nowhere,
    /// Too many of the service's requests were sent once more already.
    OverBudget,
}

impl Retry {
    /// Of an attempt that was made.
    pub fn of(answered: bool) -> Self {
        if answered {
            Self::Answered
        } else {
            Self::Failed
        }
    }

    pub const ALL: [Self; 4] = [
        Self::Answered,
        Self::Failed,
        Self::Nowhere,
        Self::OverBudget,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Nowhere => "nowhere",
            Self::OverBudget => "over_budget",
        }
    }
}

/// What one worker counts for one pool.
pub struct PoolShard {
    pub leases: Leases,
    endpoint: [AtomicU64; STATUSES.len()],
    proxy: [AtomicU64; STATUSES.len()],
    /// From the request's head read to the answer's last byte handed over. Made when first needed.
    latency: OnceLock<Histogram>,
    /// Errors in the sense of the status page, by kind.
    failures: [AtomicU64; Failure::ALL.len()],
    retries: [AtomicU64; Retry::ALL.len()],
    pub tunnels: TunnelCounts,
    pub injected: InjectedCounts,
    /// Of copies that were meant for it.
    pub mirrored: MirrorCounts,
    /// Of copies in the place of a trial's requests, which are nobody's.
    pub copied: TrialCounts,
    pub connections: ConnectionCounts,
    pub trial: TrialCounts,
}

impl Default for PoolShard {
    fn default() -> Self {
        Self {
            leases: Leases::default(),
            endpoint: [const { AtomicU64::new(0) }; STATUSES.len()],
            proxy: [const { AtomicU64::new(0) }; STATUSES.len()],
            latency: OnceLock::new(),
            failures: [const { AtomicU64::new(0) }; Failure::ALL.len()],
            retries: [const { AtomicU64::new(0) }; Retry::ALL.len()],
            tunnels: TunnelCounts::default(),
            injected: InjectedCounts::default(),
            mirrored: MirrorCounts::default(),
            copied: TrialCounts::default(),
            connections: ConnectionCounts::default(),
            trial: TrialCounts::default(),
        }
    }
}

impl PoolShard {
    pub fn answered(&self, status: http::StatusCode, source: Source, latency: Duration) {
        let counters = if source == Source::Endpoint {
            &self.endpoint
        } else {
            &self.proxy
        };
        add(&counters[index(status.as_u16())], 1);
        self.latency.get_or_init(Histogram::default).record(latency);
    }

    pub fn failed(&self, failure: Failure) {
        add(&self.failures[failure as usize], 1);
    }

    pub fn failures(&self) -> impl Iterator<Item = (Failure, u64)> {
        let count = |failure| self.failures[failure as usize].load(Relaxed);
        Failure::ALL
            .into_iter()
            .map(move |failure| (failure, count(failure)))
    }

    /// A request that failed here was to be sent once more.
    pub fn retried(&self, outcome: Retry) {
        add(&self.retries[outcome as usize], 1);
    }

    pub fn retries(&self) -> impl Iterator<Item = (Retry, u64)> {
        let count = |outcome| self.retries[outcome as usize].load(Relaxed);
        Retry::ALL
            .into_iter()
            .map(move |outcome| (outcome, count(outcome)))
    }

    /// `(status, source, count)` of every status counted so far.
    pub fn answers(&self) -> impl Iterator<Item = (u16, Source, u64)> {
        let of = |source, counters: &'_ [AtomicU64; STATUSES.len()]| {
            let counts: [u64; STATUSES.len()] =
                std::array::from_fn(|index| counters[index].load(Relaxed));
            STATUSES
                .into_iter()
                .zip(counts)
                .map(move |(status, count)| (status, source, count))
        };
        of(Source::Endpoint, &self.endpoint)
            .chain(of(Source::Proxy, &self.proxy))
            .filter(|(_, _, count)| *count > 0)
    }

    pub fn errors(&self) -> u64 {
        self.failures().map(|(_, count)| count).sum()
    }

    pub fn latency(&self) -> Option<&Histogram> {
        self.latency.get()
    }
}

fn index(status: u16) -> usize {
    let exact = STATUSES.binary_search(&status);
    exact
        .or_else(|_| STATUSES.binary_search(&(status / 100 * 100).clamp(100, 500)))
        .unwrap_or(0)
}

/// Why a request or connection was refused before an endpoint was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The listener's connections are all taken.
    Connections,
    /// The client's connections to this listener are all taken.
    ClientConnections,
    /// A listener or a route is not for this client.
    Forbidden,
    /// The client uses a route too often.
    RateLimited,
    /// A trusted proxy did not say in time, or in a valid way, who its client is.
    Preamble,
    /// The head was not sent in time.
    HeadTimeout,
    /// The head is larger than allowed, in bytes or in fields.
    HeadTooLarge,
    /// What came is no valid HTTP request.
    Malformed,
    /// The body is coded in a way that is not taken apart.
    UnsupportedCoding,
    MethodNotAllowed,
    /// The host is not one of the certificate that the client was shown.
    Misdirected,
    /// The request goes round.
    Loop,
    NoRoute,
    /// The service has no endpoint that may be given a request.
    NoEndpoint,
    /// As many requests as may be are under way and wait.
    QueueFull,
    /// It has waited for its turn as long as it may.
    QueueTimeout,
    /// Requests of the service are held, and as many as may be wait.
    HoldFull,
    Maintenance,
    /// This machine has no descriptors, ports or memory left for a connection to the endpoint.
    Shortage,
    /// As many connections to the endpoint were open as may be, and none came free in time.
    ConnectionsFull,
    /// The body is larger than the service allows.
    BodyTooLarge,
}

impl Rejection {
    /// Before any service was chosen.
    pub const AT_THE_DOOR: [Self; 13] = [
        Self::Connections,
        Self::ClientConnections,
        Self::Forbidden,
        Self::RateLimited,
        Self::Preamble,
        Self::HeadTimeout,
        Self::HeadTooLarge,
        Self::Malformed,
        Self::UnsupportedCoding,
        Self::MethodNotAllowed,
        Self::Misdirected,
        Self::Loop,
        Self::NoRoute,
    ];
    /// On a service's behalf. The last two are at the door, too: of listeners, and of routes without a service.
    pub const BY_A_SERVICE: [Self; 10] = [
        Self::NoEndpoint,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::HoldFull,
        Self::Maintenance,
        Self::Shortage,
        Self::ConnectionsFull,
        Self::BodyTooLarge,
        Self::Forbidden,
        Self::RateLimited,
    ];
    const COUNT: usize = Self::AT_THE_DOOR.len() + Self::BY_A_SERVICE.len() - 2;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ClientConnections => "client_connections",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::Preamble => "proxy_protocol",
            Self::HeadTimeout => "head_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::Malformed => "malformed",
            Self::UnsupportedCoding => "unsupported_coding",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Misdirected => "misdirected",
            Self::Loop => "loop",
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_endpoint",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::HoldFull => "hold_full",
            Self::Maintenance => "maintenance",
            Self::Shortage => "shortage",
            Self::ConnectionsFull => "connections_full",
            Self::BodyTooLarge => "body_too_large",
        }
    }
}

/// What one worker counts that belongs to no pool: of requests that reached no service, or a service but no pool of it.
#[derive(Default)]
pub struct WorkerShard {
    /// Answers to such requests (404, 400, 503 ...), by status.
    unrouted: PoolShard,
    rejections: [AtomicU64; Rejection::COUNT],
    waits: [Waits; Queued::ALL.len()],
    /// TLS handshakes: `[0]` that came to a connection, then those that did not, by reason.
    handshakes: [AtomicU64; HANDSHAKES],
}

/// How a handshake may end. Who shakes hands knows the reasons; here they are numbers.
const HANDSHAKES: usize = 16;

impl WorkerShard {
    pub fn unrouted(&self) -> &PoolShard {
        &self.unrouted
    }

    pub fn shook_hands(&self, end: usize) {
        add(&self.handshakes[end.min(HANDSHAKES - 1)], 1);
    }

    pub fn handshakes(&self, end: usize) -> u64 {
        self.handshakes[end.min(HANDSHAKES - 1)].load(Relaxed)
    }

    pub fn rejected(&self, rejection: Rejection) {
        add(&self.rejections[rejection as usize], 1);
    }

    /// A request has waited, whatever came of it.
    pub fn waited(&self, why: Queued, span: Duration) {
        self.waits[why as usize].waited(span);
    }

    /// How many have waited, and how long in all.
    pub fn waits(&self, why: Queued) -> (u64, Duration) {
        self.waits[why as usize].read()
    }

    pub fn rejections(&self, rejection: Rejection) -> u64 {
        self.rejections[rejection as usize].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlisted_status_is_counted_with_its_class() {
        let shard = PoolShard::default();
        for status in [200, 204, 299, 418, 599, 799] {
            shard.answered(
                http::StatusCode::from_u16(status).unwrap(),
                Source::Endpoint,
                Duration::from_millis(1),
            );
        }
        let counts: Vec<_> = shard
            .answers()
            .map(|(status, _, count)| (status, count))
            .collect();
        assert_eq!(counts, [(200, 2), (204, 1), (400, 1), (500, 2)]);
        assert!(STATUSES.is_sorted());
    }
}
