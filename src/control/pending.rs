//! What the file asks for and must wait: when it may apply, and applying it.

use serde_json::json;

use super::{
    Kind, Order, Refusal,
    book::{Book, Fresh, pool_key},
    command::Actor,
    eligibility::Roster,
    precedence::gainers,
    stage::Stage,
};
use crate::{
    pool::State,
    units::{Name, Timestamp, Weights},
};

/// Whether weights of the file may serve: every pool that gains by them is ready, or nothing that serves now is while
/// something that gains has at least one endpoint that is.
pub(super) fn may_apply(book: &Book, roster: &Roster, service: &Name, target: &Weights) -> bool {
    let now = book.service_weights(service);
    let fresh = Fresh::new();
    let count = |pool: &Name| book.count(roster, &fresh, &pool_key(service, pool), None);
    let all = gainers(&now, target).all(|pool| count(pool).is_enough());
    let serves = now.iter().any(|(pool, _)| count(pool).ready > 0);
    let any = gainers(&now, target).any(|pool| count(pool).ready > 0);
    all || (!serves && any)
}

/// Whether the endpoints that a pool has by itself, without the kept ones, can take its traffic alone.
pub(super) fn is_replaced(book: &Book, roster: &Roster, service: &Name, pool: &Name) -> bool {
    let mut own = book.clone();
    if let Some(kept) = own.kept.get_mut(service) {
        kept.endpoints.remove(pool);
    }
    let key = pool_key(service, pool);
    let count = own.count(roster, &Fresh::new(), &key, None);
    let members = own.members(service, pool);
    let proving = members.iter().any(|(address, _)| {
        let health = roster.get(service.as_str(), pool.as_str(), address);
        health.is_none_or(|health| health.state() == State::Unproven)
    });
    let unprobed = own
        .any_pool(service, pool)
        .is_ok_and(|pool| pool.probe.is_none());
    unprobed || count.is_enough() || (count.ready > 0 && !proving) || members.is_empty()
}

/// Puts weights of the file in force.
pub(super) fn apply(
    stage: &mut Stage,
    service: &Name,
    target: &Weights,
    kind: Kind,
) -> Result<(), Refusal> {
    if let Some(kept) = stage.book.kept.get_mut(service) {
        kept.pools.clear();
    }
    let memory = stage.book.memory_mut(service)?;
    let was = std::mem::replace(&mut memory.weights, target.clone());
    if let Some(pending) = &mut memory.pending {
        pending.weights = None;
    }
    stage.refresh_pending(service)?;
    stage.decide(service, "config")?;
    stage.shifted.push(service.clone());
    stage.differs(service, "weights", json!(was), json!(target));
    let draft = stage
        .draft(kind, service)
        .turns(json!({ "weights": was }), json!({ "weights": target }));
    stage.drafts.push(draft);
    Ok(())
}

/// What of a service no longer has to wait, made a change of the file's; `None`: nothing.
pub(super) fn review(book: &Book, roster: &Roster, service: &Name, at: Timestamp) -> Option<Stage> {
    let (_, memory) = book.service(service).ok()?;
    let waits = memory.pending.as_ref()?;
    let target = waits.weights.as_ref();
    let target = target.filter(|target| may_apply(book, roster, service, target));
    let kept = book.kept.get(service).into_iter();
    let over: Vec<&Name> = kept
        .flat_map(|kept| &kept.endpoints)
        .filter(|(pool, kept)| kept.is_empty() || is_replaced(book, roster, service, pool))
        .map(|(pool, _)| pool)
        .collect();
    if target.is_none() && over.is_empty() {
        return None;
    }
    let mut stage = Stage::new(book, &Order::by(Actor::file()), at);
    if let Some(target) = target {
        apply(&mut stage, service, target, Kind::PendingApplied).ok()?;
    }
    for pool in over {
        release(&mut stage, service, pool)?;
    }
    Some(stage)
}

fn release(stage: &mut Stage, service: &Name, pool: &Name) -> Option<()> {
    let kept = stage.book.kept.get_mut(service)?;
    let gone = kept.endpoints.remove(pool)?;
    stage.refresh_pending(service).ok()?;
    if gone.is_empty() {
        return Some(());
    }
    stage
        .decide(service, &format!("config, {pool} replaced"))
        .ok()?;
    let names: Vec<_> = gone.iter().map(|gone| gone.address.to_string()).collect();
    let draft = stage.draft(Kind::PendingApplied, service).pool(pool);
    stage
        .drafts
        .push(draft.turns(json!({ "kept": names }), json!({ "kept": [] })));
    Some(())
}
