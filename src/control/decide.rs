//! Decisions on weights: what each change makes of the book.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Change, Code, Kind, Refusal, book::Book, history::ROLLBACK, precedence::gainers, stage::Stage,
    targets, view::Version,
};
use crate::units::{Name, Timestamp, Weights};

/// Applies one change to the stage, or says why not. Gates come after, over all changes together.
pub(super) fn apply(stage: &mut Stage, change: &Change) -> Result<(), Refusal> {
    stage.book.service(change.service())?;
    match change {
        Change::Weights {
            service, weights, ..
        } => shift(stage, service, weights),
        Change::Switch {
            service,
            to,
            version,
            ..
        } => switch(stage, service, to, version.as_deref()),
        Change::Rollback {
            service,
            to_revision,
            again,
            ..
        } => roll_back(stage, service, *to_revision, *again),
        Change::Drain { target, .. } => targets::drain(stage, target),
        Change::Cut { target } => targets::cut(stage, target),
        Change::Restore { target } => targets::restore(stage, target),
        Change::AddEndpoint { endpoint, weight } => targets::add(stage, endpoint, *weight),
        Change::RemoveEndpoint { endpoint, .. } => targets::remove(stage, endpoint),
        Change::Admit {
            service,
            admission,
            span,
        } => super::admission::admit(stage, service, *admission, *span),
        Change::Revert { service, field, .. } => {
            super::drift::revert(stage, service, field.as_deref())
        }
        Change::Version { pool, version } => set_version(stage, &pool.service, &pool.pool, version),
        Change::Rollout {
            service,
            rollout,
            weights,
            told,
            ..
        } => super::rollouts::take(stage, service, rollout, weights.as_ref(), *told),
    }
}

/// Whether a change brings traffic to nothing but what had all of it: it may go before it is written down.
pub(super) fn lowers(book: &Book, change: &Change) -> bool {
    let toward = |service: &Name, weights: &Weights| {
        let Ok((plan, memory)) = book.service(service) else {
            return false;
        };
        let exists = |pool: &Name| plan.pools.contains_key(pool);
        let way_back = memory.history.way_back(&memory.weights, exists);
        if way_back.is_some_and(|back| {
            back.weights
                .sole()
                .is_some_and(|sole| weights.sole() == Some(sole))
        }) {
            return true;
        }
        let stable = memory
            .history
            .settled()
            .and_then(|settled| settled.weights.sole());
        stable.is_some_and(|stable| gainers(&memory.weights, weights).all(|pool| pool == stable))
    };
    match change {
        Change::Weights {
            service, weights, ..
        } => toward(service, &weights.clone().into()),
        Change::Rollout {
            service, weights, ..
        } => weights
            .as_ref()
            .is_none_or(|weights| toward(service, weights)),
        Change::Switch {
            service,
            to,
            version,
            ..
        } => {
            let known = book.service(service).ok().and_then(|(_, memory)| {
                let held = memory.versions.get(to);
                held.map(|held| &held.version)
            });
            // A pool that runs something new is no way back, though it has served before.
            let same = version.is_none() || version.as_ref() == known;
            same && toward(service, &Weights::all_to(to.clone()))
        }
        // A hold ends without a disk, too; so a maintenance may.
        Change::Admit { .. }
        | Change::Rollback { .. }
        | Change::Drain { .. }
        | Change::Cut { .. }
        | Change::RemoveEndpoint { .. } => true,
        Change::Restore { .. }
        | Change::AddEndpoint { .. }
        | Change::Revert { .. }
        | Change::Version { .. } => false,
    }
}

fn shift(stage: &mut Stage, service: &Name, asked: &BTreeMap<Name, u32>) -> Result<(), Refusal> {
    for (pool, weight) in asked {
        if *weight > 0 {
            stage.book.pool(service, pool)?;
        } else {
            stage.book.any_pool(service, pool)?;
        }
    }
    let (_, memory) = stage.book.service(service)?;
    let missing: Vec<_> = memory
        .weights
        .iter()
        .filter(|(pool, _)| !asked.contains_key(*pool))
        .map(|(pool, weight)| format!("{pool}={weight}"))
        .collect();
    if !missing.is_empty() {
        return Err(Refusal::new(
            Code::IncompleteWeights,
            format!(
                "these pools have weight now and are not named: {}",
                missing.join(" ")
            ),
        )
        .hint("name every pool that has weight now, with 0 to take it away"));
    }
    let weights: Weights = asked.clone().into();
    if weights.is_empty() {
        return Err(Refusal::new(
            Code::InvalidWeights,
            "all weights are 0: nothing would serve",
        )
        .hint("give one pool a weight above 0"));
    }
    stage.weigh(service, &weights, Kind::Weights, "weights")
}

fn switch(
    stage: &mut Stage,
    service: &Name,
    to: &Name,
    version: Option<&str>,
) -> Result<(), Refusal> {
    stage.book.pool(service, to)?;
    let (_, memory) = stage.book.service(service)?;
    let (serving, pending) = (memory.weights.sole() == Some(to), memory.awaits_weights());
    if serving && !pending {
        stage
            .notes
            .push(format!("{service} serves {to} alone already"));
    } else {
        let weights = Weights::all_to(to.clone());
        stage.weigh(service, &weights, Kind::Switch, "switch")?;
    }
    version.map_or(Ok(()), |version| set_version(stage, service, to, version))
}

fn roll_back(
    stage: &mut Stage,
    service: &Name,
    to_revision: Option<u64>,
    again: bool,
) -> Result<(), Refusal> {
    let (plan, memory) = stage.book.service(service)?;
    let exists = |pool: &Name| plan.pools.contains_key(pool);
    let target = if let Some(revision) = to_revision {
        let found = memory.history.get(revision).ok_or_else(|| {
            Refusal::new(
                Code::UnknownRevision,
                format!("{service} has no revision {revision} any more"),
            )
            .hint(format!("`cutover history {service}` lists what there is"))
        })?;
        found.weights.clone()
    } else {
        if !again && memory.history.has_just_rolled_back(stage.at) {
            let note = format!(
                "{service} is already there: it was rolled back to {} within the last minute",
                memory.weights
            );
            stage.notes.push(note);
            return Ok(());
        }
        let back = memory.history.way_back(&memory.weights, exists);
        let back = back.ok_or_else(|| {
            Refusal::new(
                Code::NothingSettled,
                format!("{service} has had no other version at 100 % that it could go back to"),
            )
            .hint(format!(
                "`cutover history {service}`, then `cutover rollback {service} --to REVISION`"
            ))
        })?;
        back.weights.clone()
    };
    let pools: Vec<Name> = target.iter().map(|(pool, _)| pool.clone()).collect();
    for pool in &pools {
        stage.book.pool(service, pool)?;
    }
    stage.weigh(service, &target, Kind::Rollback, ROLLBACK)
}

fn set_version(
    stage: &mut Stage,
    service: &Name,
    pool: &Name,
    version: &str,
) -> Result<(), Refusal> {
    stage.book.pool(service, pool)?;
    let since: Timestamp = stage.at;
    let memory = stage.book.memory_mut(service)?;
    let before = memory.versions.get(pool).map(|held| held.version.clone());
    if before.as_deref() == Some(version) {
        return Ok(());
    }
    memory.versions.insert(
        pool.clone(),
        Version {
            version: version.to_owned(),
            since,
        },
    );
    stage.decide(service, &format!("version {version} of {pool}"))?;
    let (before, after) = (
        before.map_or(Value::Null, Value::String),
        Value::String(version.to_owned()),
    );
    stage.differs(
        service,
        format!("pools.{pool}.version"),
        before.clone(),
        after.clone(),
    );
    let draft = stage
        .draft(Kind::Version, service)
        .pool(pool)
        .turns(json!({ "version": before }), json!({ "version": after }));
    stage.drafts.push(draft);
    Ok(())
}
