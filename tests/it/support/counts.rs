use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cutover::{
    pool::{Endpoint, PoolStats},
    telemetry::{
        Difference, EndpointShard, Injected, MirrorCounts, Mirrored, PoolShard, Reading, Rejection,
        Tried, TunnelCounts,
    },
};

use super::Proxy;

/// What is measured of what the proxy does.
impl Proxy {
    /// Requests that wait for their turn.
    pub fn waiting(&self) -> u64 {
        self.readers.current().services[0].waiting()
    }

    /// Requests in flight in the pool.
    pub fn in_flight(&self, pool: &str) -> u64 {
        self.sum(pool, Endpoint::in_flight)
    }

    /// How long each endpoint of the pool is expected to take.
    pub fn expected_latency(&self, pool: &str) -> Vec<Option<Duration>> {
        let snapshot = self.readers.current();
        let service = &snapshot.services[0];
        let pool = &service.pools[service.pool(pool).unwrap()];
        let now = std::time::Instant::now();
        let members = pool.members.iter();
        members
            .map(|member| member.endpoint.expected_latency(now))
            .collect()
    }

    /// Connections open to the pool's endpoints.
    pub fn connections(&self, pool: &str) -> u64 {
        self.sum(pool, |endpoint| endpoint.connections.open())
    }

    /// How many new connections had to wait, and how many that carried nothing were closed for others.
    pub fn connection_waits(&self, pool: &str) -> (u64, u64) {
        let stats = self.stats(pool);
        let counts = stats.shards().map(|shard| &shard.connections);
        counts.fold((0, 0), |(waits, reclaims), counts| {
            (waits + counts.waits(), reclaims + counts.reclaims())
        })
    }

    /// How long the pool's requests have taken.
    pub fn latency(&self, pool: &str) -> Reading {
        self.stats(pool).latency()
    }

    /// What trials have counted of the pool.
    pub fn tried(&self, pool: &str) -> Tried {
        self.stats(pool).tried()
    }

    /// What trials by copies have counted of the pool: requests and errors.
    pub fn copied(&self, pool: &str) -> (u64, u64) {
        let copied = self.stats(pool).copied();
        (copied.requests, copied.errors)
    }

    fn stats(&self, pool: &str) -> Arc<PoolStats> {
        let snapshot = self.readers.current();
        let service = &snapshot.services[0];
        service.pools[service.pool(pool).unwrap()].stats.clone()
    }

    fn sum(&self, pool: &str, of: impl Fn(&Endpoint) -> u64) -> u64 {
        let snapshot = self.readers.current();
        let service = &snapshot.services[0];
        let index = service.pool(pool).unwrap();
        let members = service.pools[index].members.iter();
        members.map(|member| of(&member.endpoint)).sum()
    }

    /// Tunnels open to the pool's endpoints.
    pub fn tunnels(&self, pool: &str) -> u64 {
        self.sum(pool, Endpoint::tunnels)
    }

    /// Bytes that have passed through the pool's tunnels: from clients, and to them.
    pub fn tunnel_bytes(&self, pool: &str) -> (u64, u64) {
        self.tunnel_counts(pool, |counts, (up, down)| {
            let (more_up, more_down) = counts.bytes();
            (up + more_up, down + more_down)
        })
    }

    /// How the pool's tunnels ended.
    pub fn tunnel_ends(&self, pool: &str) -> Vec<(&'static str, u64)> {
        let counts = self.tunnel_counts(pool, |counts, mut ends: BTreeMap<_, u64>| {
            for (end, count) in counts.ends() {
                *ends.entry(end.as_str()).or_default() += count;
            }
            ends
        });
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn tunnel_counts<T: Default>(&self, pool: &str, add: impl Fn(&TunnelCounts, T) -> T) -> T {
        let stats = self.stats(pool);
        stats
            .shards()
            .fold(T::default(), |sum, shard| add(&shard.tunnels, sum))
    }

    /// Answers counted for the pool, by status and whether the endpoint made them.
    pub fn answers(&self, pool: &str) -> Vec<(u16, bool, u64)> {
        let stats = self.stats(pool);
        let mut counts = BTreeMap::new();
        for (status, source, count) in stats.shards().flat_map(PoolShard::answers) {
            let endpoint = source == cutover::telemetry::shard::Source::Endpoint;
            *counts.entry((status, endpoint)).or_default() += count;
        }
        counts
            .into_iter()
            .map(|((status, endpoint), count)| (status, endpoint, count))
            .collect()
    }

    /// Errors of the pool's endpoints, by kind.
    pub fn failures(&self, pool: &str) -> Vec<(&'static str, u64)> {
        let stats = self.stats(pool);
        let mut counts = BTreeMap::new();
        for (failure, count) in stats.shards().flat_map(PoolShard::failures) {
            *counts.entry(failure.as_str()).or_default() += count;
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// What was injected into the pool's requests.
    pub fn injected(&self, pool: &str, kind: Injected) -> u64 {
        let stats = self.stats(pool);
        stats.shards().map(|shard| shard.injected.of(kind)).sum()
    }

    /// What came of the copies that were meant for the pool, and in what they differed.
    pub fn mirrored(&self, pool: &str) -> Vec<(&'static str, u64)> {
        let stats = self.stats(pool);
        let sum = |of: &dyn Fn(&MirrorCounts) -> u64| -> u64 {
            stats.shards().map(|shard| of(&shard.mirrored)).sum()
        };
        let outcomes = Mirrored::ALL.map(|it| (it.as_str(), sum(&|counts| counts.of(it))));
        let differences =
            Difference::ALL.map(|it| (it.as_str(), sum(&|counts| counts.different(it))));
        let counts = outcomes.into_iter().chain(differences);
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Waits until this is what came of the copies that were meant for the pool.
    pub async fn until_mirrored(&self, pool: &str, counts: &[(&'static str, u64)]) {
        let what = format!("copies to be {counts:?}");
        self.until(&what, |proxy| proxy.mirrored(pool) == counts)
            .await;
    }

    /// Requests that the pool's endpoints have failed.
    pub fn faults(&self, pool: &str) -> u64 {
        let faults = |endpoint: &Endpoint| endpoint.shards().map(EndpointShard::faults).sum();
        self.sum(pool, faults)
    }

    /// How attempts after the first fared in the pool that made them necessary.
    pub fn retries(&self, pool: &str) -> Vec<(&'static str, u64)> {
        let stats = self.stats(pool);
        let mut counts = BTreeMap::new();
        for (outcome, count) in stats.shards().flat_map(PoolShard::retries) {
            *counts.entry(outcome.as_str()).or_default() += count;
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Refusals at the door and by the service, by reason.
    pub fn rejections(&self) -> Vec<(&'static str, u64)> {
        let mut counts = BTreeMap::new();
        for reason in Rejection::AT_THE_DOOR {
            let shards = self.shards.iter().map(|shard| shard.rejections(reason));
            *counts.entry(reason.as_str()).or_default() += shards.sum::<u64>();
        }
        let snapshot = self.readers.current();
        for reason in Rejection::BY_A_SERVICE {
            let shards = snapshot.services[0].stats.shards();
            let shards = shards.map(|shard| shard.rejections(reason));
            *counts.entry(reason.as_str()).or_default() += shards.sum::<u64>();
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}
