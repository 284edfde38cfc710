//! What a rollout's coming to another stage makes of the book.

use std::sync::Arc;

use serde_json::json;

use super::{Code, Kind, Refusal, history::ROLLBACK, rollout::Rollout, stage::Stage};
use crate::units::{Name, Weights};

/// How many rollouts of a service are kept.
pub const KEPT: usize = 20;

/// A rollout stands where it says, as far as one of its services is concerned.
pub(super) fn take(
    stage: &mut Stage,
    service: &Name,
    rollout: &Arc<Rollout>,
    weights: Option<&Weights>,
    told: Kind,
) -> Result<(), Refusal> {
    if let Some(weights) = weights {
        for (pool, _) in weights.iter() {
            stage.book.pool(service, pool)?;
        }
        if told == Kind::RolloutRollback {
            // Whoever asks for the way back now means the same, not the way to what was taken back.
            stage.weigh(service, weights, Kind::Rollback, ROLLBACK)?;
        } else {
            stage.weigh(service, weights, Kind::Weights, "rollout")?;
        }
    }
    let memory = stage.book.memory_mut(service)?;
    let before = memory.rollout.take();
    let known = before.as_ref().filter(|before| before.id == rollout.id);
    if known.is_none()
        && let Some(before) = &before
    {
        if !before.is_over() {
            memory.rollout = Some(before.clone());
            return Err(Refusal::new(
                Code::RolloutRunning,
                format!("rollout {} of {service} is {}", before.id, before.state()),
            ));
        }
        memory.rollouts.push(before.clone());
        let surplus = memory.rollouts.len().saturating_sub(KEPT);
        memory.rollouts.drain(..surplus);
    }
    let was = known.map(|before| said(before));
    let mut rollout = (**rollout).clone();
    let revision = memory.revision;
    if let Some(member) = rollout
        .members
        .iter_mut()
        .find(|member| member.service == *service)
    {
        member.revision = revision;
    }
    let is = said(&rollout);
    memory.rollout = Some(Arc::new(rollout));
    stage.touched.insert(service.clone());
    let draft = stage.draft(told, service).turns(json!(was), is);
    stage.drafts.push(draft);
    Ok(())
}

/// What an event says of it.
fn said(rollout: &Rollout) -> serde_json::Value {
    json!({
        "rollout": rollout.id,
        "state": rollout.state(),
        "stage": rollout.stage,
        "share": rollout.share,
        "cause": rollout.cause,
        "paused": rollout.paused.as_ref().map(|paused| paused.reason),
    })
}
