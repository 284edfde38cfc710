//! What a rollout still needs: the pool that it would go back to, and the new one. Neither is taken away under it.

use super::{Code, Refusal, book::Book, rollout::Rollout, rollout::Stage as Stands, stage::Stage};
use crate::{
    config::{Plan, plan},
    units::{Name, Span, Timestamp},
};

/// Why a rollout cannot do without its pools yet, and what would end that.
struct Need {
    why: String,
    ends: String,
}

/// `file`: its service as the file says from now on. Whoever writes a shorter `undo_window` gives up the rest of it.
fn need(rollout: &Rollout, file: Option<&plan::Service>, now: Timestamp) -> Option<Need> {
    let (id, service) = (rollout.id, rollout.service());
    match rollout.stage {
        Stands::Failed | Stands::Superseded => None,
        Stands::Draining | Stands::Succeeded => {
            let until = undone_until(rollout, file)?;
            (now <= until).then(|| Need {
                why: format!("rollout {id} of {service} may be undone until {until}"),
                ends: format!(
                    "wait until then, or give that up: `rollout.undo_window = \"0s\"` of {service}"
                ),
            })
        }
        Stands::RollingBack => Some(Need {
            why: format!("rollout {id} of {service} still needs it: it is rolling back"),
            ends: format!("wait: `cutover wait {service} rollout`"),
        }),
        stage => {
            let doing = match &rollout.paused {
                Some(paused) => format!("paused: {}", paused.detail),
                None => match (stage, rollout.bakes_until()) {
                    (Stands::Baking, Some(until)) => format!("baking until {until}"),
                    (stage, _) => stage.as_str().to_owned(),
                },
            };
            Some(Need {
                why: format!("rollout {id} of {service} still needs it ({doing})"),
                ends: format!(
                    "`cutover rollout abort {service}`, or wait for its end: `cutover wait {service} rollout`"
                ),
            })
        }
    }
}

fn undone_until(rollout: &Rollout, file: Option<&plan::Service>) -> Option<Timestamp> {
    let planned = rollout.undone_until();
    let written = file.and_then(|file| rollout.undone_within(Span(file.rollout.undo_window)));
    planned.into_iter().chain(written).min()
}

/// The rollout that holds on to a pool, for whoever has to leave it there.
pub(super) fn holds(book: &Book, service: &Name, pool: &Name, now: Timestamp) -> bool {
    let memory = book.memory.services.get(service);
    let rollout = memory.and_then(|memory| memory.rollout.as_ref());
    rollout.is_some_and(|rollout| {
        is_of(rollout, service, pool)
            && need(
                rollout,
                book.plan.services.get(service).map(AsRef::as_ref),
                now,
            )
            .is_some()
    })
}

/// Under way, and not over its bake: what it goes back to, and in which words.
pub(super) fn goes_back_to(book: &Book, service: &Name, pool: &Name) -> Option<String> {
    let rollout = book.memory.services.get(service)?.rollout.as_ref()?;
    let member = rollout.member(service)?;
    let goes_back = rollout.stage.compares() && member.from == *pool;
    goes_back.then(|| {
        let (id, named) = (rollout.id, rollout.service());
        format!("is what rollout {id} of {named} goes back to")
    })
}

fn is_of(rollout: &Rollout, service: &Name, pool: &Name) -> bool {
    let member = rollout.member(service);
    member.is_some_and(|member| member.from == *pool || member.to == *pool)
}

/// A file that takes away a service, or a pool of one, that a rollout needs.
pub(super) fn refuse_removals(before: &Book, plan: &Plan, now: Timestamp) -> Result<(), Refusal> {
    for (name, memory) in &before.memory.services {
        let Some(rollout) = memory.rollout.as_ref() else {
            continue;
        };
        let file = plan.services.get(name);
        let mut pools = rollout.pools(name);
        let gone = match file {
            None => format!("service `{name}`"),
            Some(file) => match pools.find(|pool| !file.pools.contains_key(*pool)) {
                Some(pool) => format!("pool `{pool}` of service `{name}`"),
                None => continue,
            },
        };
        if let Some(need) = need(rollout, file.map(AsRef::as_ref), now) {
            return Err(refusal(&format!("the file removes {gone}"), need));
        }
    }
    Ok(())
}

/// A file that leaves nobody in a pool that a rollout needs.
pub(super) fn refuse_empty(stage: &Stage) -> Result<(), Refusal> {
    for (name, file) in &stage.book.plan.services {
        let memory = stage.before.memory.services.get(name);
        let Some(rollout) = memory.and_then(|memory| memory.rollout.as_ref()) else {
            continue;
        };
        for pool in rollout.pools(name) {
            let had = !stage.before.members(name, pool).is_empty();
            let discovers = file
                .pools
                .get(pool)
                .is_some_and(|pool| pool.discover.is_some());
            if had
                && !discovers
                && stage.book.members(name, pool).is_empty()
                && let Some(need) = need(rollout, Some(file), stage.at)
            {
                let what =
                    format!("the file removes every endpoint of pool `{pool}` of service `{name}`");
                return Err(refusal(&what, need));
            }
        }
    }
    Ok(())
}

fn refusal(what: &str, need: Need) -> Refusal {
    let detail = format!("{what}, and {}: {}", need.why, need.ends);
    Refusal::new(Code::RolloutRunning, detail).hint(need.ends)
}
