//! The services of a rollout and their pools, as they are before anything moves.

use crate::{
    control::{
        Code, Refusal, View,
        rollout::{Member, Part, Start},
        view::Service,
    },
    units::Name,
};

/// `goes_back`: others are under way, whose traffic goes back first.
pub(super) fn members(start: &Start, view: &View, goes_back: bool) -> Result<Vec<Member>, Refusal> {
    if start.services.is_empty() {
        return Err(invalid("a rollout is of at least one service"));
    }
    let mut members: Vec<Member> = Vec::new();
    for part in &start.services {
        let name = &part.service;
        let mut services = view.services.iter();
        let service = services.find(|service| service.plan.name == *name);
        let service = service.ok_or_else(|| {
            Refusal::new(
                Code::UnknownService,
                format!("there is no service `{name}`"),
            )
        })?;
        if members.iter().any(|member| member.service == *name) {
            return Err(invalid(format!("{name} is named twice")));
        }
        members.push(member(part, service, goes_back)?);
    }
    Ok(members)
}

fn member(part: &Part, service: &Service, goes_back: bool) -> Result<Member, Refusal> {
    let from = stable(part, service, goes_back)?;
    let Some(to) = &part.to else {
        let why = format!("to which of its pools {} is to go isn't said", part.service);
        return Err(invalid(why).hint("`to` says it (`--to POOL`)"));
    };
    for pool in [&from, to] {
        if !service.plan.pools.contains_key(pool) {
            let pools: Vec<_> = service.plan.pools.keys().map(Name::as_str).collect();
            return Err(Refusal::new(
                Code::UnknownPool,
                format!("{} has no pool `{pool}`", part.service),
            )
            .hint(format!("its pools are {}", pools.join(", "))));
        }
    }
    if from == *to {
        return Err(Refusal::new(
            Code::InvalidTransition,
            format!("{} serves {from} alone already", part.service),
        ));
    }
    let version = |pool: &Name| {
        let mut pools = service.pools.iter();
        let pool = pools.find(|held| held.name == *pool)?;
        Some(pool.version.as_ref()?.version.clone())
    };
    Ok(Member {
        service: part.service.clone(),
        version: part.version.clone().or_else(|| version(to)),
        version_before: version(&from),
        from,
        to: to.clone(),
        revision: service.revision,
    })
}

/// The pool with all the weight, or that gets it back.
pub(super) fn sole(service: &Service, goes_back: bool) -> Option<&Name> {
    if goes_back {
        service.settled.as_ref()?.weights.sole()
    } else {
        service.weights.sole()
    }
}

/// The same, which is the one that is named, if one is.
fn stable(part: &Part, service: &Service, goes_back: bool) -> Result<Name, Refusal> {
    let sole = sole(service, goes_back).cloned();
    let named = part.from.as_ref();
    match sole {
        Some(sole) if named.is_none_or(|from| *from == sole) => Ok(sole),
        _ => {
            let not = named.map_or_else(String::new, |from| format!(", not {from} alone"));
            let weights = &service.weights;
            Err(Refusal::new(
                Code::InvalidTransition,
                format!("{} serves {weights}{not}", part.service),
            )
            .hint(
                "a rollout begins where one pool has all the weight: `cutover switch` settles it",
            ))
        }
    }
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidRequest, detail)
}
