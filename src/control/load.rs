//! A checked file, laid under what was decided at run time.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    Code, Kind, Pending, Refusal, admission,
    book::{Book, Kept},
    command::ActorKind,
    eligibility::Roster,
    found,
    memory::ServiceMemory,
    needed, pending,
    precedence::{self, Weighing},
    stage::{Draft, Stage},
    targets::field,
};
use crate::{
    config::{
        Plan,
        diff::{Change, diff},
        plan,
    },
    units::{EndpointKey, Name, Weights},
};

/// How many lines of what has changed an event holds.
const LINES: usize = 50;

/// Makes the file the plan of the stage. `live`: a plan is in force, so there is something to refuse back to, and a
/// service that has not changed is not touched.
pub(super) fn load(
    stage: &mut Stage,
    plan: Plan,
    roster: &Roster,
    live: bool,
) -> Result<(), Refusal> {
    let plan = share(plan, &stage.before.plan);
    let old = stage.before.plan.clone();
    if live {
        needed::refuse_removals(&stage.before, &plan, stage.at)?;
        refuse_removals(&stage.before, &plan)?;
        tell_differences(stage, &old, &plan);
    }
    stage.book.plan = Arc::new(plan);
    found::forget(&mut stage.book);
    let known: Vec<Name> = stage.book.memory.services.keys().cloned().collect();
    for name in known {
        if !stage.book.plan.services.contains_key(&name) {
            remove(stage, &name)?;
        }
    }
    let plan = stage.book.plan.clone();
    for (name, service) in &plan.services {
        let before = old.services.get(name).filter(|_| live);
        if before.is_some_and(|before| Arc::ptr_eq(before, service)) {
            continue;
        }
        stage.touched.insert(name.clone());
        if stage.book.memory.services.contains_key(name) {
            change(stage, roster, service, before, live)?;
        } else {
            add(stage, service)?;
        }
    }
    if live {
        needed::refuse_empty(stage)?;
    }
    Ok(())
}

/// The plan with every part that has not changed taken from the one before, so that a reload is a diff of pointers.
fn share(mut plan: Plan, before: &Plan) -> Plan {
    for (name, service) in &mut plan.services {
        if let Some(held) = before.services.get(name).filter(|held| *held == service) {
            *service = held.clone();
        }
    }
    for (route, held) in plan.routes.iter_mut().zip(&before.routes) {
        if route == held {
            *route = held.clone();
        }
    }
    plan
}

/// What a decision of run time gives weight to may not be taken away under it.
fn refuse_removals(before: &Book, plan: &Plan) -> Result<(), Refusal> {
    for (name, service) in &plan.services {
        let Some(memory) = before.memory.services.get(name) else {
            continue;
        };
        if let Weighing::Removes(pool) = precedence::weigh(memory, service, true) {
            let detail = format!(
                "the file removes pool `{pool}` of service `{name}`, which has weight by a decision of run time: {}",
                memory.weights
            );
            return Err(Refusal::new(Code::InvalidConfig, detail).hint(format!(
                "switch {name} to another pool first, or `cutover config revert {name}.weights`"
            )));
        }
    }
    Ok(())
}

/// One event for each service that was in the plan and differs, one for all that is no service's.
fn tell_differences(stage: &mut Stage, old: &Plan, new: &Plan) {
    let (mut services, mut rest) = (BTreeMap::<&Name, Vec<&Change>>::new(), Vec::new());
    let differs = diff(&without(old, new), &without(new, old));
    for change in &differs.changes {
        let path = change.path.strip_prefix("services.").unwrap_or("");
        let name = path.split('.').next().unwrap_or("");
        match old.services.get_key_value(name) {
            Some((name, _)) if new.services.contains_key(name) => {
                services.entry(name).or_default().push(change);
            }
            None if !new.services.contains_key(name) => rest.push(change),
            // One that comes or goes is told of where it does.
            Some(_) | None => {}
        }
    }
    for (name, changes) in services {
        for change in &changes {
            let path = change.path.trim_start_matches("services.");
            let field = path
                .trim_start_matches(name.as_str())
                .trim_start_matches('.');
            stage.differs(name, field, json!(change.before), json!(change.after));
        }
        let draft = stage.draft(Kind::Config, name);
        stage
            .drafts
            .push(draft.turns(Value::Null, json!({ "changed": lines(&changes) })));
    }
    let mut changed = lines(&rest);
    if changed.is_empty() {
        changed = parts(old, new);
    }
    if !changed.is_empty() {
        let draft = Draft::new(Kind::Config, &stage.actor);
        stage
            .drafts
            .push(draft.turns(Value::Null, json!({ "changed": changed })));
    }
}

/// A plan without the services that are the same in another: comparing two plans then costs what differs.
fn without(plan: &Plan, other: &Plan) -> Plan {
    let same = |name: &Name, service: &Arc<plan::Service>| {
        let held = other.services.get(name);
        held.is_some_and(|held| Arc::ptr_eq(held, service))
    };
    let services = plan.services.iter();
    let services = services
        .filter(|(name, service)| !same(name, service))
        .map(|(name, service)| (name.clone(), service.clone()));
    Plan {
        services: services.collect(),
        ..plan.clone()
    }
}

/// As many as a person reads.
fn lines(changes: &[&Change]) -> Vec<String> {
    let all = changes.iter().map(ToString::to_string);
    let mut lines: Vec<_> = all.take(LINES).collect();
    if changes.len() > LINES {
        lines.push(format!("and {} more", changes.len() - LINES));
    }
    lines
}

/// What of a plan differs that is no service's, for what is not shown: secrets.
fn parts(before: &Plan, after: &Plan) -> Vec<String> {
    let differs = [
        ("state_dir", before.state_dir != after.state_dir),
        ("workers", before.workers != after.workers),
        ("watch", before.watch != after.watch),
        ("startup", before.startup != after.startup),
        ("shutdown", before.shutdown != after.shutdown),
        ("admin", before.admin != after.admin),
        ("telemetry", before.telemetry != after.telemetry),
        ("listeners", before.listeners != after.listeners),
        ("routes", before.routes != after.routes),
        ("notify", before.notify != after.notify),
    ];
    let differing = differs.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(part, _)| part.to_owned()).collect()
}

fn add(stage: &mut Stage, service: &plan::Service) -> Result<(), Refusal> {
    let name = &service.name;
    let memory = ServiceMemory::new(service.weights.clone());
    stage
        .book
        .memory
        .services
        .insert(name.clone(), Arc::new(memory));
    stage.decide(name, "config")?;
    told(
        stage,
        name,
        Value::Null,
        json!({ "weights": service.weights }),
    );
    admitted(stage, service)
}

fn remove(stage: &mut Stage, name: &Name) -> Result<(), Refusal> {
    for drift in super::drift::list(&stage.before, name) {
        dropped(stage, name, &drift.field, &drift.value, &Value::Null);
    }
    let weights = stage.book.service_weights(name);
    stage.forget(name)?;
    told(stage, name, json!({ "weights": weights }), Value::Null);
    Ok(())
}

fn told(stage: &mut Stage, name: &Name, before: Value, after: Value) {
    stage.differs(name, "service", before.clone(), after.clone());
    let draft = stage.draft(Kind::Config, name).turns(before, after);
    stage.drafts.push(draft);
}

fn dropped(stage: &mut Stage, name: &Name, field: &str, before: &Value, after: &Value) {
    let draft = stage.draft(Kind::OverrideDropped, name).turns(
        json!({ "field": field, "value": before }),
        json!({ "field": field, "value": after }),
    );
    stage.drafts.push(draft);
}

fn change(
    stage: &mut Stage,
    roster: &Roster,
    service: &Arc<plan::Service>,
    before: Option<&Arc<plan::Service>>,
    live: bool,
) -> Result<(), Refusal> {
    let name = &service.name;
    if before.is_some() {
        stage.decide(name, "config")?;
    }
    endpoints(stage, service)?;
    drains(stage, service)?;
    keep_endpoints(stage, roster, service, before);
    weights(stage, roster, service, before, live)?;
    admitted(stage, service)?;
    let memory = stage.book.memory_mut(name)?;
    memory.declared = service.weights.clone();
    memory
        .versions
        .retain(|pool, _| service.pools.contains_key(pool));
    stage.refresh_pending(name)
}

/// Does what the file says of requests, where it says something else than before.
fn admitted(stage: &mut Stage, service: &plan::Service) -> Result<(), Refusal> {
    let (name, now) = (&service.name, service.admission);
    let memory = stage.book.memory_mut(name)?;
    if std::mem::replace(&mut memory.declared_admission, now) == now {
        return Ok(());
    }
    if let Some(decided) = memory.admitted.clone()
        && !matches!(decided.by.kind, ActorKind::File | ActorKind::System)
        && decided.admission != now
    {
        let before = json!(decided.admission);
        dropped(stage, name, "admission", &before, &json!(now));
    }
    admission::follow(stage, name)
}

/// Drops the decisions on endpoints of which the file says something else than when they were made.
fn endpoints(stage: &mut Stage, service: &plan::Service) -> Result<(), Refusal> {
    let declared = |pool: &Name, address: &crate::units::Address| {
        let pool = service.pools.get(pool)?;
        let mut endpoints = pool.endpoints.iter();
        endpoints
            .find(|endpoint| endpoint.address == *address)
            .map(|endpoint| endpoint.weight)
    };
    let memory = stage.book.memory_mut(&service.name)?;
    let mut gone = Vec::new();
    for (pool, decided) in &mut memory.endpoints {
        let exists = service.pools.contains_key(pool);
        decided.retain(|address, decided| {
            let now = declared(pool, address);
            let stands = exists && precedence::stands(decided, &now);
            if !stands {
                gone.push((field(pool, Some(address)), decided.value, now));
            }
            stands
        });
    }
    memory.tidy();
    for (field, before, after) in gone {
        stage.decide(&service.name, &format!("file sets {field}"))?;
        dropped(stage, &service.name, &field, &json!(before), &json!(after));
    }
    Ok(())
}

/// Drops the drains of what is gone.
fn drains(stage: &mut Stage, service: &plan::Service) -> Result<(), Refusal> {
    let name = &service.name;
    let pools: BTreeMap<_, _> = service
        .pools
        .keys()
        .map(|pool| (pool.clone(), stage.book.members(name, pool)))
        .collect();
    let discovers = |pool: &Name| {
        let pool = service.pools.get(pool);
        pool.is_some_and(|pool| pool.discover.is_some())
    };
    let memory = stage.book.memory_mut(name)?;
    let mut gone = Vec::new();
    for (pool, drains) in &mut memory.drains {
        let members = pools.get(pool);
        if members.is_none() && drains.whole.take().is_some() {
            gone.push(field(pool, None));
        }
        drains.endpoints.retain(|address, _| {
            // Of one that its source may name again, the drain stays.
            let held = discovers(pool)
                || members.is_some_and(|members| members.iter().any(|(held, _)| held == address));
            if !held {
                gone.push(field(pool, Some(address)));
            }
            held
        });
    }
    memory.tidy();
    for field in gone {
        dropped(
            stage,
            name,
            &format!("{field}.drained"),
            &json!(true),
            &Value::Null,
        );
    }
    Ok(())
}

/// Ready endpoints that the file no longer names serve on while what it names instead is not proven.
fn keep_endpoints(
    stage: &mut Stage,
    roster: &Roster,
    service: &plan::Service,
    before: Option<&Arc<plan::Service>>,
) {
    let name = &service.name;
    let mut kept = stage.book.kept.remove(name).unwrap_or_default();
    kept.endpoints.clear();
    stage.book.kept.insert(name.clone(), kept.clone());
    if before.is_none() {
        return;
    }
    let weights = stage.book.service_weights(name);
    for pool in service.pools.values() {
        let idle = weights.get(pool.name.as_str()) == 0
            && !needed::holds(&stage.book, name, &pool.name, stage.at);
        if idle || pending::is_replaced(&stage.book, roster, name, &pool.name) {
            continue;
        }
        let now = stage.book.members(name, &pool.name);
        let old = stage.before.members(name, &pool.name).into_iter();
        let memory = stage.book.memory.services.get(name);
        let leaving = old.filter(|(address, _)| {
            let key = EndpointKey {
                service: name.clone(),
                pool: pool.name.clone(),
                address: address.clone(),
            };
            let drained =
                memory.is_some_and(|memory| memory.drain(pool.name.as_str(), address).is_some());
            !now.iter().any(|(held, _)| held == address)
                && !drained
                && !stage.before.is_leaving(&key.pool_key(), address)
                && roster
                    .get(name.as_str(), key.pool.as_str(), address)
                    .is_some_and(super::health::Health::is_fit)
        });
        let leaving: Vec<_> = leaving
            .map(|(address, weight)| plan::Endpoint { address, weight })
            .collect();
        kept.endpoints.insert(pool.name.clone(), leaving);
    }
    stage.book.kept.insert(name.clone(), kept);
}

fn weights(
    stage: &mut Stage,
    roster: &Roster,
    service: &Arc<plan::Service>,
    before: Option<&Arc<plan::Service>>,
    live: bool,
) -> Result<(), Refusal> {
    let name = &service.name;
    let (_, memory) = stage.book.service(name)?;
    if precedence::weigh(memory, service, live) == Weighing::Keep {
        return Ok(());
    }
    let (was, target) = (memory.weights.clone(), service.weights.clone());
    if let Some(decided) = stage.book.memory_mut(name)?.decided.take()
        && decided.value != target
    {
        dropped(
            stage,
            name,
            "weights",
            &json!(decided.value),
            &json!(target),
        );
    }
    keep_pools(stage, name, &was, service, before);
    if was == target {
        return clear(stage, name);
    }
    let serves_on = !was.is_empty()
        && was
            .iter()
            .all(|(pool, _)| stage.book.any_pool(name, pool).is_ok());
    if serves_on && !pending::may_apply(&stage.book, roster, name, &target) {
        return wait(stage, name, &was, &target);
    }
    pending::apply(stage, name, &target, Kind::Weights)
}

/// The file asks for what is in force: nothing is waited for any more.
fn clear(stage: &mut Stage, name: &Name) -> Result<(), Refusal> {
    if let Some(kept) = stage.book.kept.get_mut(name) {
        kept.pools.clear();
    }
    let memory = stage.book.memory_mut(name)?;
    if let Some(pending) = &mut memory.pending {
        pending.weights = None;
    }
    Ok(())
}

fn wait(stage: &mut Stage, name: &Name, was: &Weights, target: &Weights) -> Result<(), Refusal> {
    let at = stage.at;
    let memory = stage.book.memory_mut(name)?;
    let waits = memory
        .pending
        .as_ref()
        .is_some_and(|pending| pending.weights.as_ref() == Some(target));
    stage.notes.push(format!(
        "{name}: {target} is pending until its pools are ready"
    ));
    if waits {
        return Ok(());
    }
    memory.pending = Some(Pending {
        weights: Some(target.clone()),
        kept: Vec::new(),
        since: at,
    });
    stage.decide(name, "pending")?;
    let draft = stage
        .draft(Kind::Pending, name)
        .turns(json!({ "weights": was }), json!({ "weights": target }));
    stage.drafts.push(draft);
    Ok(())
}

/// Pools with weight that the file no longer names serve on until what it names instead is ready.
fn keep_pools(
    stage: &mut Stage,
    name: &Name,
    was: &Weights,
    service: &plan::Service,
    before: Option<&Arc<plan::Service>>,
) {
    let held = stage.before.kept.get(name).cloned().unwrap_or_default();
    let mut kept: Kept = stage.book.kept.remove(name).unwrap_or_default();
    kept.pools.clear();
    for (pool, _) in was
        .iter()
        .filter(|(pool, _)| !service.pools.contains_key(*pool))
    {
        let old = before.and_then(|before| before.pools.get(pool));
        if let Some(old) = old.or_else(|| held.pools.get(pool)) {
            kept.pools.insert(pool.clone(), old.clone());
        }
    }
    stage.book.kept.insert(name.clone(), kept);
}
