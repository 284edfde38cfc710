//! What differs from the file, and the way back to it.

use serde_json::{Value, json};

use super::{
    Actor, Code, Kind, Refusal, Target, admission,
    book::Book,
    memory::ServiceMemory,
    stage::Stage,
    targets::{self, field},
    view::{Drain, Drift},
};
use crate::{
    config::plan,
    units::{EndpointKey, Name, Timestamp},
};

/// A field that differs, and what to do about it.
struct Found {
    drift: Drift,
    fix: Fix,
}

enum Fix {
    Weights,
    Admission,
    Endpoint(EndpointKey),
    Drain(Target),
}

/// Every field of a service that differs from the file.
pub(super) fn list(book: &Book, service: &Name) -> Vec<Drift> {
    let Ok((plan, memory)) = book.service(service) else {
        return Vec::new();
    };
    let found = find(plan, memory).into_iter();
    found.map(|found| found.drift).collect()
}

fn find(plan: &plan::Service, memory: &ServiceMemory) -> Vec<Found> {
    let mut found = Vec::new();
    found.extend(weights(plan, memory));
    found.extend(admitted(plan, memory));
    for (pool, endpoints) in &memory.endpoints {
        for (address, decided) in endpoints {
            let drift = Drift {
                service: plan.name.clone(),
                field: field(pool, Some(address)),
                declared: json!(decided.declared),
                value: json!(decided.value),
                by: decided.by.clone(),
                since: decided.at,
                reason: decided.reason.clone(),
            };
            let key = EndpointKey {
                service: plan.name.clone(),
                pool: pool.clone(),
                address: address.clone(),
            };
            found.push(Found {
                drift,
                fix: Fix::Endpoint(key),
            });
        }
    }
    for (pool, drains) in &memory.drains {
        let key = super::book::pool_key(&plan.name, pool);
        let whole = drains
            .whole
            .iter()
            .map(|drain| (field(pool, None), drain, Target::Pool(key.clone())));
        let single = drains.endpoints.iter().map(|(address, drain)| {
            let key = EndpointKey {
                service: plan.name.clone(),
                pool: pool.clone(),
                address: address.clone(),
            };
            (field(pool, Some(address)), drain, Target::Endpoint(key))
        });
        found.extend(whole.chain(single).map(|(name, drain, target)| Found {
            drift: drained(&plan.name, &name, drain),
            fix: Fix::Drain(target),
        }));
    }
    found
}

fn weights(plan: &plan::Service, memory: &ServiceMemory) -> Option<Found> {
    if memory.weights == plan.weights || memory.awaits_weights() {
        return None;
    }
    let decided = memory.decided.as_ref();
    let last = memory.history.list().last();
    let by = decided
        .map(|decided| decided.by.clone())
        .or_else(|| last.map(|last| last.by.clone()));
    let since = decided
        .map(|decided| decided.at)
        .or_else(|| last.map(|last| last.at));
    let drift = Drift {
        service: plan.name.clone(),
        field: "weights".to_owned(),
        declared: json!(plan.weights),
        value: json!(memory.weights),
        by: by.unwrap_or_else(Actor::file),
        since: since.unwrap_or(Timestamp::UNIX_EPOCH),
        reason: decided.and_then(|decided| decided.reason.clone()),
    };
    Some(Found {
        drift,
        fix: Fix::Weights,
    })
}

fn admitted(plan: &plan::Service, memory: &ServiceMemory) -> Option<Found> {
    let decided = memory.admitted.as_ref()?;
    let drift = Drift {
        service: plan.name.clone(),
        field: "admission".to_owned(),
        declared: json!(plan.admission),
        value: json!(decided.admission),
        by: decided.by.clone(),
        since: decided.at,
        reason: decided.reason.clone(),
    };
    (decided.admission != plan.admission).then_some(Found {
        drift,
        fix: Fix::Admission,
    })
}

fn drained(service: &Name, name: &str, drain: &Drain) -> Drift {
    Drift {
        service: service.clone(),
        field: format!("{name}.drained"),
        declared: json!(false),
        value: json!(true),
        by: drain.by.clone(),
        since: drain.at,
        reason: drain.reason.clone(),
    }
}

/// Drops one decision of run time, or all of a service: the file's word holds again.
pub(super) fn revert(stage: &mut Stage, service: &Name, only: Option<&str>) -> Result<(), Refusal> {
    let (plan, memory) = stage.book.service(service)?;
    let plan = plan.clone();
    let mut found = find(&plan, memory);
    if let Some(only) = only {
        let names: Vec<_> = found
            .iter()
            .map(|found| found.drift.field.clone())
            .collect();
        found.retain(|found| found.drift.field == only);
        if found.is_empty() {
            let detail = format!("`{only}` of {service} does not differ from the file");
            return Err(
                Refusal::new(Code::UnknownField, detail).hint(match names.as_slice() {
                    [] => "nothing of it does".to_owned(),
                    names => format!("what does: {}", names.join(", ")),
                }),
            );
        }
    }
    if found.is_empty() {
        let note = format!("{service} is as the file says already");
        stage.notes.push(note);
    }
    for Found { drift, fix } in found {
        match fix {
            Fix::Weights => stage.weigh(service, &plan.weights, Kind::Revert, "revert")?,
            Fix::Admission => admission::revert(stage, service)?,
            Fix::Drain(target) => targets::restore(stage, &target)?,
            Fix::Endpoint(key) => revert_endpoint(stage, &key, &drift)?,
        }
    }
    Ok(())
}

fn revert_endpoint(stage: &mut Stage, key: &EndpointKey, drift: &Drift) -> Result<(), Refusal> {
    let memory = stage.book.memory_mut(&key.service)?;
    if let Some(pool) = memory.endpoints.get_mut(&key.pool) {
        pool.remove(&key.address);
    }
    if drift.declared == Value::Null {
        stage.narrowed.insert(key.pool_key());
        let memory = stage.book.memory_mut(&key.service)?;
        if let Some(drains) = memory.drains.get_mut(&key.pool) {
            drains.endpoints.remove(&key.address);
        }
    }
    stage.decide(&key.service, &format!("revert {}", drift.field))?;
    let (before, after) = (drift.value.clone(), drift.declared.clone());
    stage.differs(
        &key.service,
        drift.field.clone(),
        before.clone(),
        after.clone(),
    );
    let told = stage.draft(Kind::Revert, &key.service);
    let told = told.pool(&key.pool).endpoint(&key.address);
    stage
        .drafts
        .push(told.turns(json!({ "weight": before }), json!({ "weight": after })));
    Ok(())
}
