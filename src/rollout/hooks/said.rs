use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    config::plan::{self, HookPoint},
    control::{
        Actor,
        rollout::{Live, Rollout},
    },
    units::{Address, Name, Percent, Timestamp},
};

/// What a hook is told of the rollout that asks it.
#[derive(Debug, Clone, Serialize)]
pub struct Said {
    /// The rollout's id.
    pub rollout: u64,
    /// The service that it is named after.
    pub service: Name,
    /// All that it moves.
    pub services: Vec<Side>,
    pub started: Timestamp,
    pub stage: String,
    /// From 1, where it is in one or before one.
    pub step: Option<usize>,
    pub steps: usize,
    /// The part of the requests that the new version has now, 0 to 1.
    pub share: f64,
    /// Of a rolling replacement: the endpoints that are to be replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Address>,
    /// That it gets when this is passed, where it gets another.
    pub next_share: Option<f64>,
    /// The part of the stable version's requests that it gets copies of when this is passed, 0 to 1, where the step that it is asked before
    /// is one with `mirror`.
    pub copies: Option<f64>,
    /// Of the last look at its figures: `good`, `bad`, `not-enough`.
    pub verdict: Option<String>,
    /// The same in words.
    pub findings: Vec<String>,
    /// Why it is taken back.
    pub cause: Option<Value>,
    /// Who began it, and why.
    pub by: Actor,
    pub reason: Option<String>,
}

/// One service of the rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    pub service: Name,
    /// The stable pool.
    pub from: Name,
    /// The new one.
    pub to: Name,
    pub version: Option<String>,
    pub version_before: Option<String>,
}

#[derive(Serialize)]
struct Question<'a> {
    point: &'static str,
    #[serde(flatten)]
    said: &'a Said,
}

impl Said {
    /// Of a rollout as it stands.
    pub fn of(
        rollout: &Rollout,
        plan: &plan::Rollout,
        point: HookPoint,
        live: Option<&Live>,
    ) -> Self {
        let step = rollout.stage.step();
        let batches = rollout.batches.as_ref();
        let endpoints = batches
            .filter(|_| step.is_some())
            .map(|batches| batches.current().to_vec());
        let next = step.and_then(|step| plan.steps.get(step));
        // Once it has users they tell more than copies do.
        let copied = next.filter(|_| point == HookPoint::BeforeStep && rollout.share == 0.0);
        let next_share = match point {
            HookPoint::BeforeStep => next.and_then(|next| next.share).map(Percent::part),
            HookPoint::BeforePromote => Some(1.0),
            _ => None,
        };
        let sides = rollout.members.iter().map(|member| Side {
            service: member.service.clone(),
            from: member.from.clone(),
            to: member.to.clone(),
            version: member.version.clone(),
            version_before: member.version_before.clone(),
        });
        Self {
            rollout: rollout.id,
            service: rollout.service().clone(),
            services: sides.collect(),
            started: rollout.started,
            stage: rollout.stage.as_str().to_owned(),
            step: step.map(|step| step + 1),
            steps: rollout.steps,
            share: rollout.share,
            endpoints: endpoints.unwrap_or_default(),
            next_share,
            copies: copied.and_then(|next| next.mirror).map(Percent::part),
            verdict: live.and_then(|live| live.verdict).map(str::to_owned),
            findings: live.map(|live| live.findings.clone()).unwrap_or_default(),
            cause: rollout.cause.as_ref().map(|cause| json!(cause)),
            by: rollout.by.clone(),
            reason: rollout.reason.clone(),
        }
    }

    pub(super) fn body(&self, point: HookPoint) -> Vec<u8> {
        let point = point.as_str();
        let question = Question { point, said: self };
        serde_json::to_vec(&question).expect("a question has no keys but texts")
    }

    /// The same whenever the same is asked, so that a receiver does what it does once: a rollout that was asked to go on after a hook was late
    /// asks for the same thing. The moment tells it from the rollouts of another Cutover.
    pub(super) fn key(&self, point: HookPoint) -> String {
        let (service, id, since) = (&self.service, self.rollout, self.started.as_second());
        let step = self.step.map(|step| format!("-{step}"));
        let step = step.unwrap_or_default();
        format!("{service}-{since}-{id}-{}{step}", point.as_str())
    }
}
