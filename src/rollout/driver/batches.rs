//! The batches of a rolling replacement: how they are made, what is done to them, and what is waited for.

use std::{collections::BTreeSet, future::Future};

use super::{members::sole, ride::Ride, run::Driver};
use crate::{
    config::plan::{self, Batch},
    control::{
        Change, Code, Handle, Refusal, Target, View,
        rollout::{Batches, Member, Pause, Phase, Rollout, Stage, Start},
        view::{Endpoint, Pool, Service},
    },
    pool::State,
    rollout::steps::{Input, Move, Moved, Next, Task},
    snapshot::{self, Snapshot},
    units::{Address, EndpointKey, PoolKey, Span},
};

/// Of whose endpoints it is, and in which order they are replaced. `goes_back`: another is under way, whose traffic goes back first.
pub(super) fn begun(
    start: &Start,
    view: &View,
    goes_back: bool,
    plan: &mut plan::Rollout,
) -> Result<(Member, Batches), Refusal> {
    let [part] = &*start.services else {
        return Err(invalid("a rolling replacement is of one service"));
    };
    let name = &part.service;
    let mut services = view.services.iter();
    let service = services.find(|service| service.plan.name == *name);
    let service = service.ok_or_else(|| {
        let why = format!("there is no service `{name}`");
        Refusal::new(Code::UnknownService, why)
    })?;
    let mut named = [&part.to, &part.from].into_iter().flatten();
    let serves = sole(service, goes_back).filter(|sole| named.all(|pool| pool == *sole));
    let found = serves.and_then(|serves| service.pools.iter().find(|pool| pool.name == *serves));
    let pool = found.ok_or_else(|| {
        let why = format!(
            "`rolling` replaces endpoints of the one pool that serves, and {name} serves {}",
            service.weights
        );
        invalid(why).hint("canary and blue-green go from one pool to another")
    })?;
    // Who has just come back has less to do for so long, and is no match for the others.
    let slow = service.plan.pools.get(&pool.name);
    if let Some(slow) = slow.and_then(|pool| pool.slow_start) {
        plan.warm_up = plan.warm_up.max(slow.window);
    }
    let (all, left) = dealt(plan.batch, service, pool)?;
    let batches = Batches {
        all,
        at: 0,
        out: false,
        left,
    };
    let before = pool.version.as_ref().map(|held| held.version.clone());
    let member = Member {
        service: name.clone(),
        from: pool.name.clone(),
        to: pool.name.clone(),
        version: part.version.clone(),
        version_before: before,
        revision: service.revision,
    };
    Ok((member, batches))
}

/// What somebody has drained stays so; what the last one has left drained comes first, and is told beside them.
fn dealt(
    batch: Batch,
    service: &Service,
    pool: &Pool,
) -> Result<(Vec<Vec<Address>>, Vec<Address>), Refusal> {
    let last = service
        .rollout
        .as_ref()
        .and_then(|last| last.batches.as_ref());
    let left = last.filter(|last| last.out).map(Batches::current);
    let is_left = |endpoint: &&Endpoint| {
        left.is_some_and(|left| left.contains(&endpoint.endpoint.key.address))
    };
    let all = || pool.endpoints.iter();
    let address = |held: &Endpoint| held.endpoint.key.address.clone();
    let drained = all().filter(|held| held.drain.is_some() && is_left(held));
    let left: Vec<_> = drained.map(address).collect();
    let serving = all().filter(|held| held.drain.is_none()).map(address);
    let addresses: Vec<_> = left.iter().cloned().chain(serving).collect();
    let of = addresses.len();
    let count = match batch {
        Batch::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
        Batch::Part(part) => {
            let millionths = usize::try_from(part.millionths()).unwrap_or(0);
            (of.saturating_mul(millionths) / 1_000_000).max(1)
        }
    };
    if count >= of {
        let (service, pool) = (&service.plan.name, &pool.name);
        if of < 2 {
            let why = format!(
                "{service}/{pool} has {of} endpoints that are not drained: the others serve while a batch is out"
            );
            return Err(invalid(why).hint("add an endpoint, or go to another pool"));
        }
        let why = format!(
            "a batch of {count} would leave none of the {of} endpoints of {service}/{pool}"
        );
        return Err(invalid(why).hint(format!("`batch` of at most {}", of - 1)));
    }
    let batches = addresses.chunks(count).map(<[Address]>::to_vec);
    Ok((batches.collect(), left))
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidPlan, detail)
}

/// The pool as requests are decided on.
pub(super) fn pool<'a>(rollout: &Rollout, snapshot: &'a Snapshot) -> Option<&'a snapshot::Pool> {
    let member = rollout.members.first()?;
    let service = snapshot.service(member.service.as_str())?;
    let place = service.pool(member.to.as_str())?;
    Some(&service.pools[place])
}

/// What is to be known of its endpoints before it goes on.
#[derive(Default)]
pub(super) struct Seen {
    pub is_ready: bool,
    pub others_are_ready: bool,
    pub gone: BTreeSet<Address>,
    pub drained: BTreeSet<Address>,
}

pub(super) fn seen(rollout: &Rollout, batches: &Batches, snapshot: &Snapshot) -> Seen {
    let mut seen = Seen {
        gone: batches.all.iter().flatten().cloned().collect(),
        ..Seen::default()
    };
    for held in pool(rollout, snapshot)
        .iter()
        .flat_map(|pool| &pool.members)
    {
        let address = &held.endpoint.key.address;
        let is_current = batches.current().contains(address);
        if !is_drained(held) || batches.has_drained(address) {
            seen.gone.remove(address);
        }
        match held.state {
            State::Ready if is_current => seen.is_ready = true,
            State::Ready => seen.others_are_ready = true,
            _ if is_current && is_drained(held) => {
                seen.drained.insert(address.clone());
            }
            _ => {}
        }
    }
    seen
}

fn is_drained(held: &snapshot::Member) -> bool {
    matches!(held.state, State::Draining | State::Drained)
}

/// What somebody else has done to an endpoint of the batch: it was drained, or its drain was ended.
pub(super) fn touched(rollout: &Rollout, snapshot: &Snapshot) -> Option<(Address, &'static str)> {
    let batches = rollout.batches.as_ref()?;
    let is_out = match rollout.stage.phase()? {
        Phase::Emptying | Phase::Replacing | Phase::Restoring => true,
        Phase::Proving | Phase::WarmingUp | Phase::Waiting | Phase::Extending => false,
        Phase::Asking | Phase::Shifting => return None,
    };
    let mut members = pool(rollout, snapshot)?.members.iter();
    let other = members.find(|held| {
        let is_current = batches.current().contains(&held.endpoint.key.address);
        is_current && is_drained(held) != is_out
    })?;
    let what = if is_out { "put back" } else { "drained" };
    Some((other.endpoint.key.address.clone(), what))
}

impl Driver {
    /// Whether somebody else has drained endpoints of a batch, or put them back.
    pub async fn look_at_batches(&mut self) {
        let snapshot = self.snapshot();
        let touched: Vec<_> = self
            .rides
            .iter()
            .filter(|(_, ride)| ride.is_still() && is_its_own(&ride.rollout))
            .filter_map(|(id, ride)| Some((*id, touched(&ride.rollout, &snapshot)?)))
            .collect();
        for (id, (address, what)) in touched {
            let Some(ride) = self.rides.get(&id) else {
                continue;
            };
            let (service, share) = (ride.rollout.service().clone(), ride.rollout.share);
            let history = self.control.history(&service).await;
            let last = history.ok().and_then(|mut history| history.pop());
            let by = last.map_or_else(Self::itself, |last| last.by);
            let detail = format!("{address} was {what} by {} ({})", by.name, by.via);
            let moved = Moved {
                by,
                share,
                back: false,
                detail,
            };
            self.input(id, Input::Moved(moved)).await;
        }
    }
}

/// Nobody else has it in hand, and it is not about to end.
fn is_its_own(rollout: &Rollout) -> bool {
    let pause = rollout.paused.as_ref().map(|paused| paused.reason);
    !matches!(pause, Some(Pause::Manual | Pause::StableNotReady))
}

/// Those of the batch it is at.
fn keys(rollout: &Rollout) -> Vec<EndpointKey> {
    let batches = rollout.batches.as_ref();
    let (Some(member), Some(batches)) = (rollout.members.first(), batches) else {
        return Vec::new();
    };
    let keys = batches.current().iter().map(|address| EndpointKey {
        service: member.service.clone(),
        pool: member.to.clone(),
        address: address.clone(),
    });
    keys.collect()
}

/// What is done to the batch, and when all are replaced, what the pool runs.
pub(super) fn changes(rollout: &Rollout, next: &Next, snapshot: &Snapshot) -> Vec<Change> {
    if !next.rollout.is_rolling() {
        return Vec::new();
    }
    if next.rollout.stage == Stage::Succeeded {
        return version(&next.rollout).into_iter().collect();
    }
    let Some(moves) = next.moves else {
        return Vec::new();
    };
    let held = pool(rollout, snapshot).into_iter();
    let held: BTreeSet<_> = held
        .flat_map(|pool| &pool.members)
        .map(|held| &held.endpoint.key)
        .collect();
    let keys = keys(&next.rollout).into_iter();
    keys.filter(|key| held.contains(key))
        .filter_map(|key| {
            let target = Target::Endpoint(key);
            match moves {
                Move::Empty => Some(Change::Drain {
                    target,
                    force: false,
                }),
                // That others are ready was looked at.
                Move::Out => Some(Change::Drain {
                    target,
                    force: true,
                }),
                Move::PutBack => Some(Change::Restore { target }),
                Move::To(_) | Move::Back { .. } => None,
            }
        })
        .collect()
}

fn version(rollout: &Rollout) -> Option<Change> {
    let member = rollout.members.first()?;
    Some(Change::Version {
        pool: PoolKey {
            service: member.service.clone(),
            pool: member.to.clone(),
        },
        version: member.version.clone()?,
    })
}

/// That the batch has ended its work, or is proven.
pub(super) fn wait(
    ride: &Ride,
    task: Task,
    control: Handle,
) -> impl Future<Output = Input> + Send + 'static {
    let batches = ride.rollout.batches.as_ref();
    let is_out = batches.is_some_and(|batches| batches.out);
    let mut batch = keys(&ride.rollout);
    let timeout = ride.plan.ready_timeout;
    let snapshot = control.readers().current();
    let service = snapshot.service(ride.rollout.service().as_str());
    let deadline = service.map(|service| service.plan.drain_deadline);
    if task == Task::Drain && !is_out {
        batch.clear();
    }
    async move {
        if task == Task::Drain {
            let left = control
                .until_emptied(&batch, deadline.unwrap_or_default())
                .await;
            return Input::Drained {
                left: left.in_flight,
            };
        }
        let targets = batch.iter().cloned().map(Target::Endpoint);
        let proven = control.until_are_ready(targets.collect(), timeout).await;
        let names: Vec<_> = batch.iter().map(ToString::to_string).collect();
        Input::Proven(if proven {
            Ok(())
        } else {
            Err(format!(
                "{} not proven within {}",
                names.join(", "),
                Span(timeout)
            ))
        })
    }
}
