use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::add;

/// Who ended a tunnel, or what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelEnd {
    /// It closed its end, in order.
    Client,
    Endpoint,
    /// Its connection broke.
    ClientBroke,
    EndpointBroke,
    /// Nothing moved for too long.
    Idle,
    /// Its endpoint gets no more work.
    Drained,
    /// What was in flight on its endpoint was told to end.
    Cut,
    /// The process ends.
    Shutdown,
}

impl TunnelEnd {
    pub const ALL: [Self; 8] = [
        Self::Client,
        Self::Endpoint,
        Self::ClientBroke,
        Self::EndpointBroke,
        Self::Idle,
        Self::Drained,
        Self::Cut,
        Self::Shutdown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Endpoint => "endpoint",
            Self::ClientBroke => "client-broke",
            Self::EndpointBroke => "endpoint-broke",
            Self::Idle => "idle",
            Self::Drained => "drained",
            Self::Cut => "cut",
            Self::Shutdown => "shutdown",
        }
    }

    /// As the access log tells it: nothing where one of the two ends closed in order.
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::Client | Self::Endpoint => None,
            other => Some(other.as_str()),
        }
    }
}

/// What one worker counts of one pool's tunnels. One writer, as in all shards.
#[derive(Default)]
pub struct TunnelCounts {
    ends: [AtomicU64; TunnelEnd::ALL.len()],
    /// Bytes that have passed: from clients, and to them.
    up: AtomicU64,
    down: AtomicU64,
}

impl TunnelCounts {
    pub fn ended(&self, end: TunnelEnd) {
        add(&self.ends[end as usize], 1);
    }

    /// Bytes have passed from the client, and to it.
    pub fn passed(&self, up: u64, down: u64) {
        add(&self.up, up);
        add(&self.down, down);
    }

    /// Bytes from clients, and to them.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.load(Relaxed), self.down.load(Relaxed))
    }

    pub fn ends(&self) -> impl Iterator<Item = (TunnelEnd, u64)> {
        let count = |end| self.ends[end as usize].load(Relaxed);
        TunnelEnd::ALL.into_iter().map(move |end| (end, count(end)))
    }
}
