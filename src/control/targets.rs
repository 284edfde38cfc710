//! Decisions on pools and endpoints: drains, and who is in.

use serde_json::json;

use super::{
    Code, Kind, Refusal, Target,
    book::pool_key,
    memory::Override,
    stage::{Draft, Stage},
    view::Drain,
};
use crate::units::{Address, EndpointKey, Name};

/// How many endpoints a pool may have, those added at run time included.
const ENDPOINTS: usize = 4096;

pub(super) fn drain(stage: &mut Stage, target: &Target) -> Result<(), Refusal> {
    exists(stage, target)?;
    let drain = Drain {
        by: stage.actor.clone(),
        at: stage.at,
        reason: stage.reason.clone(),
        cut: false,
    };
    let memory = stage.book.memory_mut(target.service())?;
    let drains = memory.drains.entry(target.pool().clone()).or_default();
    let fresh = match target {
        Target::Pool(_) if drains.whole.is_none() => {
            drains.whole = Some(drain);
            true
        }
        Target::Endpoint(endpoint) if !drains.endpoints.contains_key(&endpoint.address) => {
            drains.endpoints.insert(endpoint.address.clone(), drain);
            true
        }
        _ => false,
    };
    if !fresh {
        stage.notes.push(format!("{target} is drained already"));
        return Ok(());
    }
    stage
        .narrowed
        .insert(pool_key(target.service(), target.pool()));
    told(stage, target, Kind::Drain, "drained", false)
}

/// Of a target that drains: work in flight is told to end.
pub(super) fn cut(stage: &mut Stage, target: &Target) -> Result<(), Refusal> {
    exists(stage, target)?;
    let memory = stage.book.memory_mut(target.service())?;
    let drains = memory.drains.get_mut(target.pool());
    let drain = drains.and_then(|drains| match target {
        Target::Pool(_) => drains.whole.as_mut(),
        Target::Endpoint(endpoint) => drains.endpoints.get_mut(&endpoint.address),
    });
    let drain = drain.ok_or_else(|| {
        Refusal::new(
            Code::InvalidRequest,
            format!("{target} is not drained, so nothing on it may be cut"),
        )
        .hint(format!("cutover drain {target}"))
    })?;
    if drain.cut {
        stage.notes.push(format!("{target} is cut already"));
        return Ok(());
    }
    drain.cut = true;
    told(stage, target, Kind::Cut, "cut", false)
}

/// Of a pool: its endpoints' own drains end too.
pub(super) fn restore(stage: &mut Stage, target: &Target) -> Result<(), Refusal> {
    exists(stage, target)?;
    let service = target.service().clone();
    let memory = stage.book.memory_mut(&service)?;
    let drains = memory.drains.entry(target.pool().clone()).or_default();
    let drained = match target {
        Target::Pool(_) => {
            let drained = !drains.is_empty();
            *drains = super::memory::Drains::default();
            drained
        }
        Target::Endpoint(_) if drains.whole.is_some() => {
            let pool = pool_key(&service, target.pool());
            return Err(Refusal::new(
                Code::InvalidRequest,
                format!("the whole pool {pool} is drained, {target} with it"),
            )
            .hint(format!("cutover restore {pool}")));
        }
        Target::Endpoint(endpoint) => drains.endpoints.remove(&endpoint.address).is_some(),
    };
    memory.tidy();
    if !drained {
        stage.notes.push(format!("{target} is not drained"));
        return Ok(());
    }
    put_back(stage, target);
    told(stage, target, Kind::Restore, "drained", true)
}

/// The endpoints that no drain holds any more are to pass afresh.
fn put_back(stage: &mut Stage, target: &Target) {
    let (service, pool) = (target.service(), target.pool());
    let held = |address: &Address| {
        let before = stage.before.memory.services.get(service);
        before.is_some_and(|memory| memory.drain(pool.as_str(), address).is_some())
    };
    let members = stage.book.members(service, pool).into_iter();
    let back: Vec<_> = members
        .map(|(address, _)| EndpointKey {
            service: service.clone(),
            pool: pool.clone(),
            address,
        })
        .filter(|key| match target {
            Target::Pool(_) => held(&key.address),
            Target::Endpoint(only) => key == only,
        })
        .collect();
    stage.fresh.extend(back);
}

pub(super) fn add(stage: &mut Stage, key: &EndpointKey, weight: u32) -> Result<(), Refusal> {
    if weight == 0 {
        return Err(
            Refusal::new(Code::InvalidRequest, "an endpoint's weight is at least 1")
                .hint(format!("`cutover drain {key}` takes it out of service")),
        );
    }
    let declared = declared(stage, key)?;
    let members = stage.book.members(&key.service, &key.pool);
    let now = members
        .iter()
        .find(|(address, _)| *address == key.address)
        .map(|(_, weight)| *weight);
    if now.is_none() && members.len() >= ENDPOINTS {
        let detail = format!("a pool has at most {ENDPOINTS} endpoints");
        return Err(Refusal::new(Code::InvalidRequest, detail));
    }
    if stage.book.keep_no_more(key) {
        stage.refresh_pending(&key.service)?;
    } else if now == Some(weight) && !stage.book.is_leaving(&key.pool_key(), &key.address) {
        stage
            .notes
            .push(format!("{key} is there already, with weight {weight}"));
        return Ok(());
    }
    set(stage, key, Some(weight), declared)?;
    entered(stage, key, Kind::EndpointAdded, now, Some(weight))
}

pub(super) fn remove(stage: &mut Stage, key: &EndpointKey) -> Result<(), Refusal> {
    exists(stage, &Target::Endpoint(key.clone()))?;
    let declared = declared(stage, key)?;
    let members = stage.book.members(&key.service, &key.pool).into_iter();
    let now = members
        .filter(|(address, _)| *address == key.address)
        .map(|(_, weight)| weight)
        .next();
    if stage.book.keep_no_more(key) {
        stage.refresh_pending(&key.service)?;
    }
    set(stage, key, None, declared)?;
    let memory = stage.book.memory_mut(&key.service)?;
    if let Some(drains) = memory.drains.get_mut(&key.pool) {
        drains.endpoints.remove(&key.address);
    }
    stage.narrowed.insert(key.pool_key());
    entered(stage, key, Kind::EndpointRemoved, now, None)
}

/// The file's weight of an endpoint; `None`: it does not name it.
pub(super) fn declared(stage: &Stage, key: &EndpointKey) -> Result<Option<u32>, Refusal> {
    let pool = stage.book.pool(&key.service, &key.pool)?;
    let mut endpoints = pool.endpoints.iter();
    let found = endpoints.find(|endpoint| endpoint.address == key.address);
    Ok(found.map(|endpoint| endpoint.weight))
}

/// Lays a decision over the file's word, or takes it off where it says the same.
fn set(
    stage: &mut Stage,
    key: &EndpointKey,
    value: Option<u32>,
    declared: Option<u32>,
) -> Result<(), Refusal> {
    let decided = Override {
        value,
        declared,
        by: stage.actor.clone(),
        at: stage.at,
        reason: stage.reason.clone(),
    };
    // Its source names it still, and shall not bring it back.
    let stays_out = value.is_none() && stage.book.is_in_sight(key);
    let memory = stage.book.memory_mut(&key.service)?;
    let pool = memory.endpoints.entry(key.pool.clone()).or_default();
    if value == declared && !stays_out {
        pool.remove(&key.address);
    } else {
        pool.insert(key.address.clone(), decided);
    }
    Ok(())
}

pub(super) fn exists(stage: &Stage, target: &Target) -> Result<(), Refusal> {
    stage.book.any_pool(target.service(), target.pool())?;
    let Target::Endpoint(key) = target else {
        return Ok(());
    };
    let members = stage.book.members(&key.service, &key.pool);
    // The drain of one outlives its source's not naming it.
    let memory = stage.book.memory.services.get(&key.service);
    let drains = memory.and_then(|memory| memory.drains.get(&key.pool));
    let drained = drains.is_some_and(|drains| drains.endpoints.contains_key(&key.address));
    if drained || members.iter().any(|(address, _)| *address == key.address) {
        return Ok(());
    }
    let pool = key.pool_key();
    let names: Vec<_> = members
        .iter()
        .take(10)
        .map(|(address, _)| address.to_string())
        .collect();
    Err(Refusal::new(
        Code::UnknownEndpoint,
        format!("{pool} has no endpoint {}", key.address),
    )
    .hint(format!("its endpoints are {}", names.join(", "))))
}

/// `pools.blue` or `pools.blue.endpoints.10.0.0.1:3000`.
pub(super) fn field(pool: &Name, address: Option<&Address>) -> String {
    address.map_or_else(
        || format!("pools.{pool}"),
        |address| format!("pools.{pool}.endpoints.{address}"),
    )
}

fn told(
    stage: &mut Stage,
    target: &Target,
    kind: Kind,
    what: &str,
    before: bool,
) -> Result<(), Refusal> {
    let (service, pool) = (target.service().clone(), target.pool().clone());
    let address = match target {
        Target::Pool(_) => None,
        Target::Endpoint(endpoint) => Some(endpoint.address.clone()),
    };
    let verb = kind.as_str();
    let of = address
        .as_ref()
        .map_or_else(|| pool.to_string(), |address| format!("{pool}/{address}"));
    stage.decide(&service, &format!("{verb} {of}"))?;
    let name = format!("{}.{what}", field(&pool, address.as_ref()));
    let (before, after) = (json!(before), json!(!before));
    stage.differs(&service, name, before.clone(), after.clone());
    let draft = stage.draft(kind, &service).pool(&pool);
    let draft = Draft {
        endpoint: address,
        ..draft
    };
    stage
        .drafts
        .push(draft.turns(json!({ what: before }), json!({ what: after })));
    Ok(())
}

fn entered(
    stage: &mut Stage,
    key: &EndpointKey,
    kind: Kind,
    before: Option<u32>,
    after: Option<u32>,
) -> Result<(), Refusal> {
    let verb = kind.as_str();
    stage.decide(
        &key.service,
        &format!("{verb} {}/{}", key.pool, key.address),
    )?;
    let name = field(&key.pool, Some(&key.address));
    stage.differs(&key.service, name, json!(before), json!(after));
    let draft = stage.draft(kind, &key.service);
    let draft = draft.pool(&key.pool).endpoint(&key.address);
    stage
        .drafts
        .push(draft.turns(json!({ "weight": before }), json!({ "weight": after })));
    Ok(())
}
