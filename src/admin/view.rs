//! What control knows, in the shapes that go over the wire.

use std::{collections::BTreeMap, path::Path};

use super::{rollout_view, state::Measured, wire};
use crate::{
    config::{Overlay, plan},
    control::{self, Done, Left, rollout::Lives, view},
    pool::State,
    telemetry,
    units::{Admission, Name, Timestamp, Weights},
};

/// What is shown beside what control has decided.
pub struct Beside<'a> {
    pub measured: &'a Measured,
    pub lives: &'a Lives,
    pub now: Timestamp,
}

pub fn services(seen: &view::View, beside: &Beside<'_>) -> Vec<wire::Service> {
    seen.services
        .iter()
        .map(|of| {
            let published = seen.snapshot.service(of.plan.name.as_str());
            let waiting = published.map_or(0, |published| published.waiting());
            service(seen, of, waiting, beside)
        })
        .collect()
}

fn service(
    seen: &view::View,
    of: &view::Service,
    waiting: u64,
    beside: &Beside<'_>,
) -> wire::Service {
    let rollout = of.rollout.as_ref().map(|rollout| {
        let is_last = rollout_view::is_last(seen, rollout);
        rollout_view::short(rollout, beside.lives, is_last, beside.now)
    });
    let pools: BTreeMap<_, _> = of
        .pools
        .iter()
        .map(|pool| (pool.name.clone(), self::pool(pool, beside.measured)))
        .collect();
    wire::Service {
        name: of.plan.name.clone(),
        revision: of.revision,
        generation: seen.snapshot.generation,
        state: text(&of.state),
        admission: admission(of),
        active: of.active.clone(),
        idle: of.idle.clone(),
        weights: of_every_pool(of, &of.weights),
        pending: of.pending.as_ref().map(|pending| wire::Pending {
            weights: pending
                .weights
                .as_ref()
                .map(|weights| of_every_pool(of, weights)),
            kept: pending.kept.clone(),
            since: pending.since,
        }),
        share: share(of, &pools),
        waiting,
        settled: of.settled.as_ref().map(|settled| wire::Settled {
            weights: of_every_pool(of, &settled.weights),
            revision: settled.revision,
            at: settled.at,
            by: settled.by.name.clone(),
            reason: settled.reason.clone(),
        }),
        pools,
        rolls_out: of.plan.rolls_out,
        rollout,
        drift: of.drift.iter().map(drift).collect(),
    }
}

/// Zeros told too, so that nobody has to know which pools there are.
fn of_every_pool(of: &view::Service, weights: &Weights) -> BTreeMap<Name, u32> {
    let zeros = of.pools.iter().map(|pool| (pool.name.clone(), 0));
    let weighted = weights.iter().map(|(pool, weight)| (pool.clone(), weight));
    zeros.chain(weighted).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share is shown, never decided on"
)]
fn share(of: &view::Service, pools: &BTreeMap<Name, wire::Pool>) -> wire::Share {
    let requests: u64 = pools.values().map(|pool| pool.window.requests).sum();
    let observed = pools
        .iter()
        .filter(|_| requests > 0)
        .map(|(name, pool)| (name.clone(), pool.window.requests as f64 / requests as f64));
    wire::Share {
        requested: pools
            .keys()
            .map(|pool| (pool.clone(), of.weights.share(pool.as_str())))
            .collect(),
        observed: observed.collect(),
        requests,
        seconds: pools
            .values()
            .map(|pool| pool.window.seconds)
            .max()
            .unwrap_or(0),
    }
}

fn pool(of: &view::Pool, measured: &Measured) -> wire::Pool {
    let endpoints: Vec<_> = of.endpoints.iter().map(endpoint).collect();
    wire::Pool {
        state: text(&of.state),
        version: of.version.as_ref().map(|version| version.version.clone()),
        ready: of.ready,
        of: of.of,
        needed: of.needed,
        in_flight: endpoints.iter().map(|endpoint| endpoint.in_flight).sum(),
        tunnels: endpoints.iter().map(|endpoint| endpoint.tunnels).sum(),
        connections: endpoints.iter().map(|endpoint| endpoint.connections).sum(),
        window: window(&(measured.window)(&of.stats.key)),
        discovery: of.source.as_ref().map(discovery),
        endpoints,
    }
}

fn discovery(of: &view::Source) -> wire::Discovery {
    wire::Discovery {
        source: of.source.to_string(),
        last: of.last,
        failing: of.failing.as_ref().map(|failing| wire::Failing {
            since: failing.since,
            error: failing.error.clone(),
        }),
    }
}

fn window(of: &telemetry::Window) -> wire::Window {
    let millis = |quantile| {
        let latency = of.latency.quantile(quantile);
        latency.map(|latency| (latency.as_secs_f64() * 1e5).round() / 1e2)
    };
    wire::Window {
        seconds: of.length.as_secs(),
        requests: of.requests,
        errors: of.errors,
        latency_ms: wire::Latency {
            p50: millis(0.5),
            p95: millis(0.95),
            p99: millis(0.99),
        },
    }
}

fn endpoint(of: &view::Endpoint) -> wire::Endpoint {
    let address = of.endpoint.key.address.clone();
    wire::Endpoint {
        id: address.clone(),
        address,
        state: of.state.as_str().to_owned(),
        since: of.since,
        weight: of.weight,
        found: of.found,
        in_flight: of.endpoint.in_flight(),
        tunnels: of.endpoint.tunnels(),
        connections: of.endpoint.connections.open(),
        probe: of.probe.clone().map(Into::into),
        ejection: of.ejection.as_ref().map(|ejection| wire::Ejection {
            cause: ejection.cause.as_str().to_owned(),
            since: ejection.since,
            seconds: ejection.span.as_secs_f64(),
            times: ejection.times,
        }),
        slow_start: of.slow_start,
    }
}

pub fn drift(of: &view::Drift) -> wire::Drift {
    wire::Drift {
        service: of.service.clone(),
        field: of.field.clone(),
        declared: of.declared.clone(),
        value: of.value.clone(),
        by: actor(&of.by),
        since: of.since,
        reason: of.reason.clone(),
    }
}

pub fn revision(of: view::Revision) -> wire::Revision {
    wire::Revision {
        settled: of.settled(),
        revision: of.revision,
        at: of.at,
        what: of.what,
        by: actor(&of.by),
        reason: of.reason,
        weights: of.weights,
    }
}

pub fn event(of: &control::Event) -> wire::Event {
    wire::Event {
        id: of.id,
        at: of.at,
        kind: of.kind.as_str().to_owned(),
        service: of.service.clone(),
        pool: of.pool.clone(),
        endpoint: of.endpoint.clone(),
        actor: actor(&of.actor),
        reason: of.reason.clone(),
        before: of.before.clone(),
        after: of.after.clone(),
        generation: of.generation,
    }
}

pub fn actor(of: &control::Actor) -> wire::Actor {
    wire::Actor {
        name: of.name.clone(),
        kind: text(&of.kind),
        via: of.via.clone(),
    }
}

pub fn changed(done: Done) -> wire::Changed {
    let applied = done.applied;
    let left = done.left;
    // What is only held keeps its connections.
    let leaves = left.filter(|left| !left.stays);
    wire::Changed {
        generation: applied.generation,
        durable: applied.durable,
        dry_run: applied.dry_run,
        revision: None,
        share: None,
        services: applied.services.into_iter().map(changed_service).collect(),
        diff: applied.diff.into_iter().map(difference).collect(),
        notes: applied.notes,
        ready: done.ready,
        drained: left.map(|left| left.drained),
        in_flight: left.map(|left| left.in_flight),
        tunnels: left.map(|left| left.tunnels),
        connections: leaves.map(|left| left.connections),
        safe_to_stop: leaves.map(Left::safe_to_stop),
        cut: left.map(|left| left.cut),
    }
}

fn changed_service(of: control::AppliedService) -> wire::ChangedService {
    wire::ChangedService {
        service: of.service,
        revision: of.revision,
        before: of.before,
        weights: of.weights,
        share: of.share,
        in_flight: of.in_flight,
    }
}

pub fn difference(of: control::Difference) -> wire::Difference {
    wire::Difference {
        field: of.field,
        service: of.service,
        before: of.before,
        after: of.after,
    }
}

pub fn status(
    seen: &view::View,
    beside: &Beside<'_>,
    path: Option<&Path>,
    events: &[std::sync::Arc<control::Event>],
) -> wire::Status {
    let now = beside.now;
    let rejected = seen.config.rejected.as_ref();
    wire::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: seen.started,
        uptime_seconds: age(seen.started, now),
        generation: seen.snapshot.generation,
        phase: seen.phase.as_str().to_owned(),
        config: wire::ConfigState {
            state: if rejected.is_some() { "rejected" } else { "ok" }.to_owned(),
            path: path.map(|path| path.display().to_string()),
            applied: seen.config.applied,
            rejected_since: rejected.map(|rejected| rejected.since),
            problems: rejected.map(|rejected| rejected.problems.clone()),
        },
        durability: wire::Durability {
            writable: seen.durability.writable,
            error: seen.durability.error.clone(),
            unsaved: seen.durability.unsaved,
        },
        overrides: overrides(seen, now),
        holds: holds(seen, now),
        drains: drains(seen, now),
        services: services(seen, beside),
        rollouts: rollout_view::under_way(seen, beside),
        events: events.iter().map(|of| event(of)).collect(),
    }
}

/// What was decided at run time, as the file would have to say it.
pub fn overlay(seen: &view::View) -> Overlay {
    let mut overlay = Overlay::default();
    for service in &seen.services {
        overlay
            .weights
            .insert(service.plan.name.clone(), service.weights.clone());
        overlay
            .admissions
            .insert(service.plan.name.clone(), lasting(service));
        for pool in &service.pools {
            // Who finds them in one place finds them in another.
            let endpoints = pool.endpoints.iter().filter(|endpoint| !endpoint.found);
            let endpoints = endpoints.map(|endpoint| plan::Endpoint {
                address: endpoint.endpoint.key.address.clone(),
                weight: endpoint.weight,
            });
            overlay
                .endpoints
                .insert(pool.stats.key.clone(), endpoints.collect());
        }
    }
    overlay
}

/// A hold is not for the file, which would begin it anew.
fn lasting(service: &view::Service) -> Admission {
    match admission(service) {
        Admission::Hold => Admission::Open,
        lasting => lasting,
    }
}

fn overrides(seen: &view::View, now: Timestamp) -> Vec<wire::Override> {
    let drift = seen.services.iter().flat_map(|service| &service.drift);
    let overrides = drift.map(|drift| wire::Override {
        service: drift.service.clone(),
        field: drift.field.clone(),
        value: drift.value.clone(),
        by: actor(&drift.by),
        since: drift.since,
        age_seconds: age(drift.since, now),
        reason: drift.reason.clone(),
    });
    overrides.collect()
}

fn admission(of: &view::Service) -> Admission {
    let admitted = of.admitted.as_ref();
    admitted.map_or(Admission::Open, |admitted| admitted.admission)
}

fn holds(seen: &view::View, now: Timestamp) -> Vec<wire::HoldInForce> {
    let held = seen.services.iter();
    let held = held.filter(|service| admission(service) != Admission::Open);
    let held = held.filter_map(|service| Some((service, service.admitted.as_ref()?)));
    let holds = held.map(|(service, admitted)| {
        let name = &service.plan.name;
        let published = seen.snapshot.service(name.as_str());
        wire::HoldInForce {
            service: name.clone(),
            admission: admitted.admission.as_str().to_owned(),
            waiting: published.map_or(0, |published| published.waiting()),
            by: actor(&admitted.by),
            since: admitted.at,
            age_seconds: age(admitted.at, now),
            until: admitted.until,
            left_seconds: admitted.until.map(|until| age(now, until)),
            reason: admitted.reason.clone(),
        }
    });
    holds.collect()
}

fn drains(seen: &view::View, now: Timestamp) -> Vec<wire::DrainInForce> {
    let pools = seen.services.iter().flat_map(|service| &service.pools);
    let endpoints = pools.flat_map(|pool| &pool.endpoints);
    let draining = endpoints.filter_map(|endpoint| Some((endpoint, endpoint.drain.as_ref()?)));
    let drains = draining.map(|(endpoint, drain)| {
        let key = &endpoint.endpoint.key;
        wire::DrainInForce {
            service: key.service.clone(),
            pool: key.pool.clone(),
            endpoint: key.address.clone(),
            state: match endpoint.state {
                State::Drained => "drained",
                _ => "draining",
            }
            .to_owned(),
            in_flight: endpoint.endpoint.in_flight(),
            tunnels: endpoint.endpoint.tunnels(),
            by: actor(&drain.by),
            since: drain.at,
            age_seconds: age(drain.at, now),
            reason: drain.reason.clone(),
        }
    });
    drains.collect()
}

/// In whole seconds; 0 where the clock went back.
fn age(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0)
}

/// A unit variant's name as serde writes it.
pub fn text(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

impl From<wire::Wait> for control::Wait {
    fn from(wait: wire::Wait) -> Self {
        match wait {
            wire::Wait::None => Self::None,
            wire::Wait::Ready => Self::Ready,
            wire::Wait::Drained => Self::Drained,
        }
    }
}
