//! Rollouts in the shapes that go over the wire.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    view::{Beside, actor, text},
    wire,
};
use crate::{
    control::{
        rollout::{ArmLive, Entry, Live, Lives, Rollout, Stage},
        view,
    },
    units::{Percent, Timestamp},
};

/// Every rollout that is remembered, the newest first. One of several services stands there once.
pub fn all(seen: &view::View) -> Vec<Arc<Rollout>> {
    let services = seen.services.iter();
    let held = services.flat_map(|service| service.rollouts.iter().chain(&service.rollout));
    let by_number: BTreeMap<u64, Arc<Rollout>> = held.map(|of| (of.id, of.clone())).collect();
    by_number.into_values().rev().collect()
}

/// Whether orders may be given: another one of the same services has not come since.
pub fn is_last(seen: &view::View, rollout: &Rollout) -> bool {
    let last = |service: &view::Service| {
        let last = service.rollout.as_ref();
        last.is_some_and(|last| last.id == rollout.id)
    };
    rollout.members.iter().all(|member| {
        let service = seen.service(member.service.as_str());
        service.is_none_or(last)
    })
}

pub fn under_way(seen: &view::View, beside: &Beside<'_>) -> Vec<wire::Rollout> {
    let under_way = all(seen).into_iter().filter(|of| !of.is_over());
    under_way
        .map(|of| short(&of, beside.lives, is_last(seen, &of), beside.now))
        .collect()
}

pub fn short(of: &Rollout, lives: &Lives, is_last: bool, now: Timestamp) -> wire::Rollout {
    let live = lives.get(&of.id);
    wire::Rollout {
        id: of.id,
        service: of.service().clone(),
        members: of.members.iter().map(member).collect(),
        state: of.state().to_owned(),
        stage: of.stage.as_str().to_owned(),
        step: step(of.stage),
        steps: of.steps,
        phase: phase(of.stage),
        awaits: awaits(of),
        share: of.share,
        copies: of.copies.map(Percent::part),
        since: of.since,
        until: live.and_then(|live| live.until),
        started: of.started,
        by: actor(&of.by),
        reason: of.reason.clone(),
        promoted: of.promoted,
        restored: of.restored,
        ended: of.ended,
        paused: of.paused.as_ref().map(|paused| wire::RolloutPaused {
            reason: text(&paused.reason),
            since: paused.since,
            detail: paused.detail.clone(),
            alarmed: paused.alarmed,
        }),
        cause: of.cause.as_ref().map(|cause| wire::RolloutCause {
            kind: cause.kind.clone(),
            detail: cause.detail.clone(),
            at: cause.at,
            evidence: cause.evidence.clone(),
        }),
        counts: counts(of, live.map(|live| &**live)),
        verdict: live.and_then(|live| live.verdict).map(str::to_owned),
        findings: live.map_or_else(Vec::new, |live| live.findings.clone()),
        verbs: if is_last {
            of.verbs(now).into_iter().map(str::to_owned).collect()
        } else {
            Vec::new()
        },
        retry_of: of.retry_of,
        batch: batch(of),
    }
}

pub fn detail(of: &Rollout, lives: &Lives, is_last: bool, now: Timestamp) -> wire::RolloutDetail {
    let live = lives.get(&of.id);
    wire::RolloutDetail {
        rollout: short(of, lives, is_last, now),
        plan: of.plan.clone(),
        live: live.map(|live| wire::RolloutLive {
            stable: arm(&live.stable),
            candidate: arm(&live.candidate),
            metrics: live.metrics.iter().cloned().collect(),
        }),
        log: of.log.iter().map(entry).collect(),
    }
}

/// As they are kept, or where it is under way as they are now.
fn counts(of: &Rollout, live: Option<&Live>) -> wire::RolloutCounts {
    // Whichever was brought up to date last: counts only grow.
    let live = live.and_then(|live| live.counts);
    let live = live.filter(|live| live.requests >= of.counts.requests);
    let counts = live.unwrap_or(of.counts);
    wire::RolloutCounts {
        requests: counts.requests,
        errors: counts.errors,
        rescued: counts.rescued,
        felt: counts.felt,
        stable_requests: counts.stable_requests,
        stable_errors: counts.stable_errors,
        first_error: counts.first_error,
    }
}

fn member(of: &crate::control::rollout::Member) -> wire::RolloutMember {
    wire::RolloutMember {
        service: of.service.clone(),
        from: of.from.clone(),
        to: of.to.clone(),
        version: of.version.clone(),
        version_before: of.version_before.clone(),
    }
}

fn arm(of: &ArmLive) -> wire::RolloutArm {
    wire::RolloutArm {
        requests: of.requests,
        errors: of.errors,
        rescued: of.rescued,
        felt: of.felt,
        latency_ms: wire::Latency {
            p50: of.p50_ms,
            p95: of.p95_ms,
            p99: of.p99_ms,
        },
    }
}

fn entry(of: &Entry) -> wire::RolloutEntry {
    wire::RolloutEntry {
        at: of.at,
        stage: of.stage.as_str().to_owned(),
        step: step(of.stage),
        phase: phase(of.stage),
        share: of.share,
        by: actor(&of.by),
        detail: of.detail.clone(),
    }
}

/// People count from 1.
fn step(of: Stage) -> Option<usize> {
    of.step().map(|step| step + 1)
}

fn awaits(of: &Rollout) -> Option<String> {
    let at = of.stage.step()?;
    let at = if of.is_rolling() { 0 } else { at };
    let step = of.plan.get("steps")?.get(at)?;
    let kinds = ["approval", "judge", "hold"];
    let kind = kinds.into_iter().find(|kind| step.get(kind).is_some())?;
    Some(kind.to_owned())
}

/// The endpoints that it is about, and those that it has left drained.
fn batch(of: &Rollout) -> Option<Vec<String>> {
    let batches = of.batches.as_ref()?;
    let is_about = of.stage.step().is_some() || batches.out;
    let addresses = batches.current().iter().filter(|_| is_about);
    Some(addresses.map(ToString::to_string).collect())
}

fn phase(of: Stage) -> Option<String> {
    of.phase().map(|phase| text(&phase))
}
