use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use crossbeam_utils::CachePadded;

use super::{Connections, Probed, Quota, balance::PeakEwma};
use crate::{
    telemetry::{EndpointShard, PoolShard, Reading, Tried, WorkerShard},
    units::{EndpointKey, Name, PoolKey},
};

/// A small number that stands for an identity in per-worker tables. Reused only after every holder of the old
/// identity is gone, so a table entry that holds the old object can tell the two apart.
pub type Slot = usize;

/// What is measured of one identity, by every worker in a shard of its own. Outlives snapshots, changes of weight and
/// reloads for as long as the identity is in the plan or somebody still holds it.
pub struct Identity<K, S> {
    pub key: K,
    pub slot: Slot,
    shards: Box<[CachePadded<S>]>,
    pub quota: Quota,
    /// Of an endpoint.
    pub connections: Connections,
    latency: PeakEwma,
    /// Of a pool.
    pub probed: Probed,
}

/// One address in one pool.
pub type Endpoint = Identity<EndpointKey, EndpointShard>;

/// What is measured of one pool.
pub type PoolStats = Identity<PoolKey, PoolShard>;

/// What is measured of requests that reached a service and no pool of it.
pub type ServiceStats = Identity<Name, WorkerShard>;

impl<K, S: Default> Identity<K, S> {
    pub fn new(key: K, slot: Slot, workers: usize) -> Self {
        Self {
            key,
            slot,
            shards: (0..workers).map(|_| CachePadded::default()).collect(),
            quota: Quota::default(),
            connections: Connections::default(),
            latency: PeakEwma::default(),
            probed: Probed::default(),
        }
    }

    /// The counts of one worker, for it alone to write.
    pub fn shard(&self, worker: usize) -> &S {
        &self.shards[worker]
    }

    pub fn shards(&self) -> impl Iterator<Item = &S> {
        self.shards.iter().map(|shard| &**shard)
    }
}

/// What the moments of every endpoint's latencies are counted from, so that these can be compared.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Endpoint {
    /// How long it takes to answer, as far as that was observed: where its pool is balanced by it.
    pub fn latency(&self) -> &PeakEwma {
        &self.latency
    }

    /// An answer of its has begun by `now`, so long after the request was sent. `draw` is random.
    pub fn observe_latency(&self, latency: Duration, now: Instant, draw: u64) {
        self.latency.observe(latency, since_origin(now), draw);
    }

    /// Nothing has come of it by `now`, so long after the request was sent, and nobody waits any more.
    pub fn observe_given_up(&self, latency: Duration, now: Instant) {
        self.latency.observe_given_up(latency, since_origin(now));
    }

    /// It has failed an attempt.
    pub fn penalize(&self, now: Instant) {
        self.latency.penalize(since_origin(now));
    }

    /// How long it would be expected to take, where anything was observed.
    pub fn expected_latency(&self, now: Instant) -> Option<Duration> {
        self.latency.estimate(since_origin(now))
    }

    /// Leases held over all workers. After a snapshot has been published that gives this endpoint no more requests,
    /// a sum of 0 proves that there is and will be none (see [`super::Lease`]).
    pub fn in_flight(&self) -> u64 {
        self.shards().map(|shard| shard.in_flight.count()).sum()
    }

    /// Of the leases, those of tunnels.
    pub fn tunnels(&self) -> u64 {
        self.shards().map(EndpointShard::tunnels).sum()
    }
}

fn since_origin(now: Instant) -> Duration {
    now.saturating_duration_since(*ORIGIN)
}

impl PoolStats {
    /// Leases held on its endpoints, over all workers: what the endpoints have, without asking each of them.
    pub fn in_flight(&self) -> u64 {
        self.shards().map(|shard| shard.leases.count()).sum()
    }

    /// All latencies recorded so far, over all workers.
    pub fn latency(&self) -> Reading {
        let mut reading = Reading::default();
        self.shards()
            .filter_map(PoolShard::latency)
            .for_each(|histogram| reading.add(histogram));
        reading
    }

    /// What trials have seen of it so far, over all workers.
    pub fn tried(&self) -> Tried {
        let mut tried = Tried::default();
        self.shards().for_each(|shard| tried.add(&shard.trial));
        tried
    }

    /// What trials by copies have seen of it.
    pub fn copied(&self) -> Tried {
        let mut copied = Tried::default();
        self.shards().for_each(|shard| copied.add(&shard.copied));
        copied
    }
}

/// What control has decided of an endpoint, by merging every room's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Has not yet passed its rise count since it was put there: gets no traffic.
    Unproven,
    Ready,
    /// Has been ready and failed its fall count.
    Unready,
    /// Taken out by passive health.
    Ejected,
    /// Gets no new work; old work may end.
    Draining,
    /// Proven empty.
    Drained,
}

impl State {
    pub const ALL: [Self; 6] = [
        Self::Unproven,
        Self::Ready,
        Self::Unready,
        Self::Ejected,
        Self::Draining,
        Self::Drained,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }
}
