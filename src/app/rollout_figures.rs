//! What metrics say of rollouts.

use crate::{
    control::{
        rollout::Rollout,
        view::{Ended, Outcome, Service, View},
    },
    telemetry::{Exposition, Tried, names},
};

/// As status names them; `none`: no rollout is under way.
const STATES: [&str; 9] = [
    "none",
    "preparing",
    "stepping",
    "promoting",
    "baking",
    "draining",
    "rolling-back",
    "stuck",
    "paused",
];

pub fn rollouts(view: &View, service: &Service, out: &mut Exposition) {
    let name = service.plan.name.as_str();
    let running = service.rollout.as_ref().filter(|of| !of.is_over());
    let state = running.map_or(
        "none",
        |of| {
            if of.is_stuck() { "stuck" } else { of.state() }
        },
    );
    for one in STATES {
        let value = if one == state { 1.0 } else { 0.0 };
        out.gauge(&names::ROLLOUT_STATE, [name, one], value);
    }
    let step = running.and_then(|of| of.stage.step());
    let step = step.map_or(0, |step| step + 1);
    out.gauge(&names::ROLLOUT_STEP, [name], small(step));
    let steps = running.map_or(0, |of| of.steps);
    out.gauge(&names::ROLLOUT_STEPS, [name], small(steps));
    let share = running.map_or(0.0, |of| of.share);
    out.gauge(&names::ROLLOUT_SHARE, [name], share);
    if let Some(running) = running {
        info(running, service, out);
    }
    let (mut felt, mut rescued) = (0, 0);
    for outcome in Outcome::ALL {
        let key = (service.plan.name.clone(), outcome);
        let ended = view.counts.rollouts.get(&key);
        let ended = ended.copied().unwrap_or_default();
        let Ended { count, seconds, .. } = ended;
        let labels = [name, outcome.as_str()];
        out.count(&names::ROLLOUTS, labels, count);
        out.summary(&names::ROLLOUT_DURATION, labels, seconds, count);
        felt += ended.felt;
        rescued += ended.rescued;
    }
    out.count(&names::ROLLOUT_FELT, [name], felt);
    out.count(&names::ROLLOUT_RESCUED, [name], rescued);
    for pool in &service.pools {
        arm([name, pool.name.as_str()], &pool.stats.tried(), out);
    }
}

/// Of pools that were compared with another since the process began.
fn arm(labels: [&str; 2], tried: &Tried, out: &mut Exposition) {
    if tried.requests == 0 && tried.assigned == 0 {
        return;
    }
    for (metric, count) in [
        (&names::TRIED_REQUESTS, tried.requests),
        (&names::TRIED_ERRORS, tried.errors),
        (&names::TRIED_RESCUED, tried.rescued),
        (&names::TRIED_FELT, tried.felt),
    ] {
        out.count(metric, labels, count);
    }
    out.histogram(&names::TRIED_RESPONSE, labels, &tried.response);
}

fn info(running: &Rollout, service: &Service, out: &mut Exposition) {
    let Some(member) = running.member(&service.plan.name) else {
        return;
    };
    let id = running.id.to_string();
    let labels = [
        service.plan.name.as_str(),
        &id,
        member.from.as_str(),
        member.to.as_str(),
        member.version.as_deref().unwrap_or(""),
    ];
    out.gauge(&names::ROLLOUT_INFO, labels, 1.0);
}

fn small(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
