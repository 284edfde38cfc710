//! What every room counts, brought together for a scrape and for the window of the last minute.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::rollout_figures::rollouts;
use crate::{
    control::{
        ActorKind, EjectionCause, Phase,
        view::{Pool, Service, ServiceState, View},
    },
    notices::Tally,
    pool::State,
    probe::Failures,
    rollout::Outside,
    server::Gauge,
    snapshot::{Readers, Snapshot},
    telemetry::{
        AccessLog, ConnectionCounts, Difference, Exposition, Injected, MirrorCounts, Mirrored,
        PoolShard, Queued, Rejection, SpanCounts, Totals, TunnelCounts, TunnelEnd, Windows,
        WorkerShard, names, shard::Source,
    },
    tls::Certificate,
    units::{Admission, Balance, ListenAddress, PoolKey, Timestamp},
};

/// How often totals are read for the window.
const SAMPLE: Duration = Duration::from_secs(1);

/// Reads the totals of every pool once a second until the publisher is gone.
pub async fn sample(readers: Readers, windows: Arc<Mutex<Windows>>) {
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut published = readers.clone();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let totals = totals(&readers.current());
                let now = Instant::now().into_std();
                windows.lock().unwrap_or_else(PoisonError::into_inner).sample(now, totals);
            }
            more = published.changed() => if !more {
                return;
            }
        }
    }
}

fn totals(snapshot: &Snapshot) -> Vec<(PoolKey, Totals)> {
    let pools = snapshot.services.iter().flat_map(|service| &service.pools);
    let total = |pool: &Arc<crate::snapshot::Pool>| {
        let totals = Totals {
            latency: pool.stats.latency(),
            errors: pool.stats.shards().map(PoolShard::errors).sum(),
        };
        (pool.stats.key.clone(), totals)
    };
    pools.map(total).collect()
}

/// Where the figures of a scrape come from.
pub struct Figures<'a> {
    pub view: &'a View,
    pub workers: &'a [Arc<WorkerShard>],
    /// Open connections of each listener.
    pub connections: &'a [(ListenAddress, u32)],
    /// What each listener shows.
    pub certificates: &'a [(ListenAddress, Certificate)],
    pub probes: &'a Failures,
    /// Locked for one look at a time: who samples them must not wait for a whole scrape.
    pub windows: &'a Mutex<Windows>,
    pub access_log: &'a AccessLog,
    pub outside: &'a Outside,
    pub notices: &'a Tally,
    /// `None`: none are exported.
    pub spans: Option<&'a SpanCounts>,
}

impl Figures<'_> {
    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut out = Exposition::default();
        self.unrouted(&mut out);
        for service in &self.view.services {
            self.service(service, &mut out);
            for pool in &service.pools {
                requests(service, pool, &mut out);
                endpoints(service, pool, &mut out);
                discovery(service, pool, &mut out);
            }
        }
        self.control(&mut out);
        self.process(&mut out);
        self.outside.expose(&mut out);
        self.notices.expose(&mut out);
        out.render()
    }

    fn requests_of(&self, pool: &PoolKey) -> u64 {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.requests(pool)
    }

    /// What was answered before a service or pool was known.
    fn unrouted(&self, out: &mut Exposition) {
        let shards: Vec<_> = self.workers.iter().map(|worker| &**worker).collect();
        let always = [(400, Source::Proxy), (404, Source::Proxy)];
        refused(&shards, "", &always, &Rejection::AT_THE_DOOR, out);
        for (listener, open) in self.connections {
            let listener = listener.to_string();
            out.gauge(&names::CONNECTIONS, [&listener], f64::from(*open));
        }
        self.tls(&shards, out);
    }

    fn tls(&self, shards: &[&WorkerShard], out: &mut Exposition) {
        for (end, result) in Gauge::ends_of_handshakes() {
            let count = shards.iter().map(|shard| shard.handshakes(end)).sum();
            out.count(&names::HANDSHAKES, [result], count);
        }
        // A name may have two, of different kinds of keys: the first to end is what matters.
        let mut ends = BTreeMap::new();
        for (listener, certificate) in self.certificates {
            let facts = certificate.facts();
            for name in facts.all_names() {
                let end = ends
                    .entry((listener.to_string(), name))
                    .or_insert(facts.not_after);
                *end = facts.not_after.min(*end);
            }
        }
        for ((listener, name), end) in ends {
            let end = float(u64::try_from(end).unwrap_or(0));
            out.gauge(&names::CERTIFICATE_NOT_AFTER, [&*listener, &*name], end);
        }
    }

    fn service(&self, service: &Service, out: &mut Exposition) {
        let name = service.plan.name.as_str();
        if let Some(published) = self.view.snapshot.service(name) {
            let shards: Vec<_> = published.stats.shards().collect();
            let always = [(503, Source::Proxy)];
            refused(&shards, name, &always, &Rejection::BY_A_SERVICE, out);
        }
        let now = Timestamp::now();
        let faults = service.plan.faults.iter();
        let faults = faults.filter(|fault| fault.is_in_force(now)).count();
        out.gauge(&names::FAULTS, [name], float(faults as u64));
        let failing_open = service.state == ServiceState::FailingOpen;
        out.gauge(&names::FAIL_OPEN, [name], flag(failing_open));
        rollouts(self.view, service, out);
        for (state, label) in [
            (ServiceState::Serving, "serving"),
            (ServiceState::FailingOpen, "failing-open"),
            (ServiceState::Unavailable, "unavailable"),
        ] {
            let value = flag(service.state == state);
            out.gauge(&names::SERVICE_STATE, [name, label], value);
        }
        let admitted = service.admitted.as_ref();
        let admission = admitted.map_or(Admission::Open, |admitted| admitted.admission);
        for one in Admission::ALL {
            let labels = [name, one.as_str()];
            out.gauge(&names::ADMISSION, labels, flag(admission == one));
        }
        for (kind, label) in [
            (ActorKind::Person, "person"),
            (ActorKind::File, "file"),
            (ActorKind::Rollout, "rollout"),
            (ActorKind::System, "system"),
        ] {
            let shifts = &self.view.counts.shifts;
            let count = shifts.get(&(service.plan.name.clone(), kind)).copied();
            out.count(&names::SHIFTS, [name, label], count.unwrap_or(0));
        }
        if let Some(published) = self.view.snapshot.service(name) {
            out.gauge(&names::QUEUE_LENGTH, [name], float(published.waiting()));
            for why in Queued::ALL {
                let shards = published.stats.shards().map(|shard| shard.waits(why));
                let (count, span) = shards.fold((0, Duration::ZERO), |all, one| {
                    (all.0 + one.0, all.1 + one.1)
                });
                let labels = [name, why.as_str()];
                out.summary(&names::QUEUE_SECONDS, labels, span.as_secs_f64(), count);
            }
        }
        for pool in &service.pools {
            for cause in EjectionCause::ALL {
                let key = (pool.stats.key.clone(), cause);
                let count = self.view.counts.ejections.get(&key).copied();
                let labels = [name, pool.name.as_str(), cause.as_str()];
                out.count(&names::EJECTIONS, labels, count.unwrap_or(0));
            }
        }
        let got: Vec<_> = service
            .pools
            .iter()
            .map(|pool| (pool, self.requests_of(&pool.stats.key)))
            .collect();
        let all: u64 = got.iter().map(|(_, requests)| requests).sum();
        for (pool, requests) in got.into_iter().filter(|_| all > 0) {
            let share = float(requests) / float(all);
            out.gauge(&names::SHARE_RATIO, [name, pool.name.as_str()], share);
        }
    }

    fn control(&self, out: &mut Exposition) {
        let (view, counts) = (self.view, &self.view.counts);
        out.gauge(&names::GENERATION, [], float(view.snapshot.generation));
        let in_force = flag(view.config.rejected.is_none());
        out.gauge(&names::RELOAD_SUCCESSFUL, [], in_force);
        for (result, count) in [
            ("applied", counts.reloads_applied),
            ("unchanged", counts.reloads_unchanged),
            ("rejected", counts.reloads_rejected),
        ] {
            out.count(&names::RELOADS, [result], count);
        }
        let drift: usize = view
            .services
            .iter()
            .map(|service| service.drift.len())
            .sum();
        out.gauge(&names::DRIFT, [], float(drift as u64));
        out.gauge(&names::STATE_WRITABLE, [], flag(view.durability.writable));
        out.summary(
            &names::DRAIN_SECONDS,
            [],
            counts.drain_seconds,
            counts.drains,
        );
        for (code, count) in &counts.refusals {
            out.count(&names::REFUSALS, [code], *count);
        }
        for (endpoint, reason, count) in self.probes.rows() {
            let address = endpoint.address.to_string();
            let labels = [
                endpoint.service.as_str(),
                endpoint.pool.as_str(),
                &address,
                reason.as_str(),
            ];
            out.count(&names::PROBE_FAILURES, labels, count);
        }
    }

    fn process(&self, out: &mut Exposition) {
        out.gauge(&names::READY, [], flag(self.view.phase == Phase::Serving));
        let lines = self.access_log.lines();
        for (result, count) in [
            ("written", lines.written),
            ("dropped", lines.dropped),
            ("failed", lines.failed),
        ] {
            out.count(&names::ACCESS_LOG_LINES, [result], count);
        }
        for (result, count) in self.spans.iter().flat_map(|spans| {
            [
                ("exported", &spans.exported),
                ("dropped", &spans.dropped),
                ("failed", &spans.failed),
            ]
        }) {
            out.count(&names::SPANS, [result], count.load(Relaxed));
        }
        out.gauge(&names::BUILD_INFO, [env!("CARGO_PKG_VERSION")], 1.0);
        let started = self.view.started.as_millisecond();
        let started = float(u64::try_from(started).unwrap_or(0)) / 1000.0;
        out.gauge(&names::START_TIME, [], started);
    }
}

fn requests(service: &Service, pool: &Pool, out: &mut Exposition) {
    let labels = [service.plan.name.as_str(), pool.name.as_str()];
    let shards: Vec<_> = pool.stats.shards().collect();
    let always = [
        (200, Source::Endpoint),
        (500, Source::Endpoint),
        (502, Source::Proxy),
        (503, Source::Proxy),
        (504, Source::Proxy),
    ];
    answers(&shards, &always, labels, out);
    out.histogram(&names::REQUEST_DURATION, labels, &pool.stats.latency());
    ends_of_tunnels(labels, &shards, out);
    let mut failures = BTreeMap::new();
    for (kind, count) in shards.iter().flat_map(|shard| shard.failures()) {
        *failures.entry(kind.as_str()).or_default() += count;
    }
    for (kind, count) in failures {
        out.count(&names::UPSTREAM_ERRORS, [labels[0], labels[1], kind], count);
    }
    let mut retries = BTreeMap::new();
    for (outcome, count) in shards.iter().flat_map(|shard| shard.retries()) {
        *retries.entry(outcome.as_str()).or_default() += count;
    }
    for kind in Injected::ALL {
        let count = shards.iter().map(|shard| shard.injected.of(kind)).sum();
        let labels = [labels[0], labels[1], kind.as_str()];
        out.count(&names::FAULTS_INJECTED, labels, count);
    }
    for (outcome, count) in retries {
        out.count(&names::RETRIES, [labels[0], labels[1], outcome], count);
    }
    let counts = || shards.iter().map(|shard| &shard.connections);
    let waits = counts().map(ConnectionCounts::waits).sum();
    out.count(&names::CONNECTION_WAITS, labels, waits);
    let reclaims = counts().map(ConnectionCounts::reclaims).sum();
    out.count(&names::CONNECTIONS_RECLAIMED, labels, reclaims);
    copies(service, labels, &shards, out);
}

/// Of pools that requests are copied to, or were.
fn copies(service: &Service, [name, pool]: [&str; 2], shards: &[&PoolShard], out: &mut Exposition) {
    let sum = |of: &dyn Fn(&MirrorCounts) -> u64| -> u64 {
        shards.iter().map(|shard| of(&shard.mirrored)).sum()
    };
    let mirror = service.plan.mirror.as_ref().map(|mirror| &mirror.pool);
    let rollout = service.rollout.as_ref();
    let tried = rollout.filter(|rollout| rollout.copies.is_some());
    let tried = tried.and_then(|rollout| rollout.member(&service.plan.name));
    let mut mirrors = mirror.into_iter().chain(tried.map(|member| &member.to));
    let is_mirror = mirrors.any(|mirror| mirror.as_str() == pool);
    let outcomes = Mirrored::ALL.map(|outcome| (outcome, sum(&|counts| counts.of(outcome))));
    if !is_mirror && outcomes.iter().all(|(_, count)| *count == 0) {
        return;
    }
    for (outcome, count) in outcomes {
        out.count(&names::MIRRORED, [name, pool, outcome.as_str()], count);
    }
    for difference in Difference::ALL {
        let count = sum(&|counts| counts.different(difference));
        let labels = [name, pool, difference.as_str()];
        out.count(&names::MIRROR_DIFFERENCES, labels, count);
    }
    let compared = |outcome: &Mirrored| matches!(outcome, Mirrored::Same | Mirrored::Differs);
    let compared = outcomes.iter().filter(|(outcome, _)| compared(outcome));
    let compared = compared.map(|(_, count)| count).sum();
    for (side, answer) in ["own", "copy"].into_iter().enumerate() {
        let times = shards.iter().map(|shard| shard.mirrored.times()[side]);
        let seconds = times.sum::<Duration>().as_secs_f64();
        out.summary(
            &names::MIRROR_SECONDS,
            [name, pool, answer],
            seconds,
            compared,
        );
    }
    let under_way = sum(&MirrorCounts::under_way);
    out.gauge(&names::MIRRORS, [name, pool], float(under_way));
}

fn ends_of_tunnels([service, pool]: [&str; 2], shards: &[&PoolShard], out: &mut Exposition) {
    let counts = || shards.iter().map(|shard| &shard.tunnels);
    for end in TunnelEnd::ALL {
        let ends = counts().flat_map(TunnelCounts::ends);
        let count = ends
            .filter(|(ended, _)| *ended == end)
            .map(|(_, count)| count);
        out.count(
            &names::TUNNELS_ENDED,
            [service, pool, end.as_str()],
            count.sum(),
        );
    }
    for (direction, bytes) in [
        ("in", counts().map(|counts| counts.bytes().0).sum()),
        ("out", counts().map(|counts| counts.bytes().1).sum()),
    ] {
        out.count(&names::TUNNEL_BYTES, [service, pool, direction], bytes);
    }
}

/// What was answered before a pool was known, or a service.
fn refused(
    shards: &[&WorkerShard],
    service: &str,
    always: &[(u16, Source)],
    reasons: &[Rejection],
    out: &mut Exposition,
) {
    let unrouted: Vec<_> = shards.iter().map(|shard| shard.unrouted()).collect();
    answers(&unrouted, always, [service, ""], out);
    for reason in reasons {
        let count = shards.iter().map(|shard| shard.rejections(*reason)).sum();
        out.count(&names::REJECTED, [service, reason.as_str()], count);
    }
}

/// Answers by status and source; the `always` named are there at 0 as well.
fn answers(
    shards: &[&PoolShard],
    always: &[(u16, Source)],
    [service, pool]: [&str; 2],
    out: &mut Exposition,
) {
    let mut totals: BTreeMap<(u16, &str), u64> = always
        .iter()
        .map(|(status, source)| ((*status, source.as_str()), 0))
        .collect();
    for (status, source, count) in shards.iter().flat_map(|shard| shard.answers()) {
        *totals.entry((status, source.as_str())).or_default() += count;
    }
    for ((status, source), count) in totals {
        let status = status.to_string();
        out.count(&names::REQUESTS, [service, pool, &status, source], count);
    }
}

fn discovery(service: &Service, pool: &Pool, out: &mut Exposition) {
    let Some(source) = &pool.source else {
        return;
    };
    let (service, pool) = (service.plan.name.as_str(), pool.name.as_str());
    for (outcome, count) in [("found", source.looks), ("failed", source.failures)] {
        out.count(&names::DISCOVERY_LOOKUPS, [service, pool, outcome], count);
    }
    if let Some(last) = source.last {
        let last = float(u64::try_from(last.as_millisecond()).unwrap_or(0)) / 1000.0;
        out.gauge(&names::DISCOVERY_LAST, [service, pool], last);
    }
}

fn endpoints(service: &Service, pool: &Pool, out: &mut Exposition) {
    let labels = [service.plan.name.as_str(), pool.name.as_str()];
    let [name, pool_name] = labels;
    out.gauge(&names::WEIGHT, labels, f64::from(pool.weight));
    let version = pool.version.as_ref().map_or("", |version| &version.version);
    out.gauge(&names::POOL_INFO, [name, pool_name, version], 1.0);
    for state in State::ALL {
        let endpoints = pool.endpoints.iter();
        let count = endpoints.filter(|endpoint| endpoint.state == state).count();
        let labels = [name, pool_name, state.as_str()];
        out.gauge(&names::POOL_ENDPOINTS, labels, float(count as u64));
    }
    let plan = service.plan.pools.get(&pool.name);
    if plan.is_some_and(|plan| plan.slow_start.is_some()) {
        let endpoints = pool.endpoints.iter();
        let warming = endpoints.filter(|endpoint| endpoint.slow_start.is_some());
        let count = float(warming.count() as u64);
        out.gauge(&names::POOL_ENDPOINTS_WARMING, labels, count);
    }
    let by_latency = plan.is_some_and(|plan| plan.balance == Balance::PeakEwma);
    let now = Instant::now().into_std();
    let (mut in_flight, mut tunnels, mut connections) = (0, 0, 0);
    for endpoint in pool.endpoints.iter().map(|endpoint| &endpoint.endpoint) {
        in_flight += endpoint.in_flight();
        tunnels += endpoint.tunnels();
        connections += endpoint.connections.open();
        let address = endpoint.key.address.to_string();
        let mut classes = [0; 6];
        for shard in endpoint.shards() {
            for (total, count) in classes.iter_mut().zip(shard.classes()) {
                *total += count;
            }
        }
        for (class, count) in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]
            .into_iter()
            .zip(classes)
        {
            let labels = [name, pool_name, &address, class];
            out.count(&names::ENDPOINT_REQUESTS, labels, count);
        }
        let expected = endpoint.expected_latency(now).filter(|_| by_latency);
        if let Some(expected) = expected {
            let labels = [name, pool_name, &address];
            out.gauge(&names::EXPECTED_LATENCY, labels, expected.as_secs_f64());
        }
    }
    out.gauge(&names::IN_FLIGHT, labels, float(in_flight));
    out.gauge(&names::TUNNELS, labels, float(tunnels));
    out.gauge(&names::ENDPOINT_CONNECTIONS, labels, float(connections));
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and shown")]
fn float(count: u64) -> f64 {
    count as f64
}
