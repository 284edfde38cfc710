//! What follows from an input is put in force: one change to control, and what is begun with it.

use std::{future::poll_fn, mem, sync::Arc, task::Poll, time::Duration};

use super::{
    batches,
    begin::served,
    ride::{Reply, Ride},
    run::{Done, Driver, told},
};
use crate::{
    config::plan::HookPoint,
    control::{Actor, Applied, Change, Kind, Order, Refusal, rollout::Stage},
    rollout::{
        hooks::{self, Said},
        steps::{Attempt, Input, Move, Next, Task},
    },
    snapshot::Snapshot,
    units::{Name, Percent, PoolKey, Weights},
};

/// Between two tries at what was refused.
const AGAIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

impl Driver {
    /// Puts in force what follows. What raises nothing counts at once; a rise once it is written down and serves.
    pub async fn follow(&mut self, id: u64, mut next: Next, reply: Option<Reply>, by: Actor) {
        let snapshot = self.snapshot();
        let Some(ride) = self.rides.get_mut(&id) else {
            return;
        };
        let Some(kind) = next.told else {
            if let Some(reply) = reply {
                let _ = reply.send(Ok(told(next.rollout, true)));
            }
            return;
        };
        let ends = matches!(next.rollout.stage, Stage::RollingBack | Stage::Superseded);
        if ends && !next.rollout.is_rolling() && ride.rising.take().is_some() {
            // It may serve by now, or be about to.
            next.moves = next.moves.or(Some(Move::Back { force: true }));
        }
        next.rollout.counts = ride.watch.counts();
        let rises = next.moves.is_some_and(Move::rises);
        let changes = changes(ride, &next, kind, &snapshot);
        if rises {
            ride.rising = Some(next.rollout.stage);
        }
        ride.commits += 1;
        let mut order = Order::by(by);
        order.reason = next.rollout.log.last().map(|entry| bounded(&entry.detail));
        let control = self.control.clone();
        let answer = in_hand(async move { control.change(changes, order).await }).await;
        if !rises {
            self.adopt(id, &next);
        }
        self.tasks.spawn(async move {
            Done::Committed {
                id,
                next: Box::new(next),
                answer: answer.await,
                reply,
            }
        });
    }

    /// It stands there now.
    fn adopt(&mut self, id: u64, next: &Next) {
        let (now, snapshot) = (self.now(), self.snapshot());
        let Some(ride) = self.rides.get_mut(&id) else {
            return;
        };
        let before = (ride.rollout.stage, ride.rollout.share);
        ride.rollout = next.rollout.clone();
        if let Some(weights) = next.moves.and_then(|moves| weights(ride, moves)) {
            ride.expected = weights;
        }
        let stage = ride.rollout.stage;
        if stage != before.0
            && let Some(asking) = ride.asking.take()
        {
            asking.abort();
        }
        ride.watch
            .enters(&ride.rollout, &ride.plan, before, &snapshot, now);
        // What follows a way back waits until it is taken.
        if !next.moves.is_some_and(Move::is_way_back) {
            for task in &next.tasks {
                self.begin_task(id, *task);
            }
        }
        self.let_go_of_what_is_over();
    }

    pub async fn committed(
        &mut self,
        id: u64,
        next: Next,
        answer: Result<Applied, Refusal>,
        reply: Option<Reply>,
    ) {
        let rises = next.moves.is_some_and(Move::rises);
        let now = self.now();
        let Some(ride) = self.rides.get_mut(&id) else {
            if let Some(reply) = reply {
                let answer = answer.map(|applied| told(next.rollout, applied.durable));
                let _ = reply.send(answer);
            }
            return;
        };
        ride.commits -= 1;
        // Another word came meanwhile: what it says is in force, or about to be.
        let stands = rises && ride.rising == Some(next.rollout.stage);
        let back = next.moves.is_some_and(Move::is_way_back);
        match answer {
            Ok(applied) => {
                if stands {
                    ride.rising = None;
                    self.adopt(id, &next);
                } else if back {
                    ride.stuck = None;
                    for task in &next.tasks {
                        self.begin_task(id, *task);
                    }
                }
                if let Some(reply) = reply {
                    let mut told = told(next.rollout, applied.durable);
                    told.notes = applied.notes;
                    let _ = reply.send(Ok(told));
                }
            }
            Err(refusal) => {
                if stands {
                    ride.rising = None;
                    ride.not_before = now.checked_add(AGAIN).unwrap_or(now);
                    let attempt = Attempt {
                        to: next.rollout.stage,
                        why: refusal.detail.clone(),
                    };
                    self.input(id, Input::Refused(attempt)).await;
                } else if back {
                    self.way_back_refused(id, next.rollout.stage, &refusal.detail)
                        .await;
                }
                if let Some(reply) = reply {
                    let _ = reply.send(Err(refusal));
                }
            }
        }
        self.go_on_with_what_waits(id).await;
    }

    /// What serves is as it was: so it says, alarms, and tries again.
    async fn way_back_refused(&mut self, id: u64, stage: Stage, why: &str) {
        if stage != Stage::RollingBack {
            // Control remembers what was not given up: it goes on from there.
            let before = self.rides.get_mut(&id);
            let before = before.map(|ride| (mem::take(&mut ride.waiting), ride.commits));
            if self.take_up_again(id).await.is_ok() {
                if let Some((ride, (waiting, commits))) = self.rides.get_mut(&id).zip(before) {
                    (ride.waiting, ride.commits) = (waiting, commits);
                }
                self.follow_figures(id);
                self.input(id, Input::Restarted).await;
            }
            return;
        }
        let (now, snapshot) = (self.now(), self.snapshot());
        let Some(ride) = self.rides.get_mut(&id) else {
            return;
        };
        ride.not_before = now.checked_add(AGAIN).unwrap_or(now);
        if let Some(batches) = &mut ride.rollout.batches {
            batches.out = false;
        } else {
            ride.expected = served(ride, &snapshot);
            ride.rollout.share = share(ride);
        }
        ride.rollout.restored = None;
        if ride.stuck.as_deref() != Some(why) {
            ride.stuck = Some(why.to_owned());
            self.input(id, Input::Stuck(why.to_owned())).await;
        }
    }

    async fn go_on_with_what_waits(&mut self, id: u64) {
        while let Some(ride) = self.rides.get_mut(&id)
            && ride.rising.is_none()
            && let Some((request, reply)) = ride.waiting.pop_front()
        {
            Box::pin(self.asked(request, reply)).await;
        }
    }

    pub fn begin_task(&mut self, id: u64, task: Task) {
        let Some(ride) = self.rides.get_mut(&id) else {
            return;
        };
        let control = self.control.clone();
        match task {
            Task::Prove | Task::Drain if ride.rollout.is_rolling() => {
                let waits = batches::wait(ride, task, control);
                let waits = self.tasks.spawn(async move { Done::Came(id, waits.await) });
                if let Some(ride) = self.rides.get_mut(&id)
                    && let Some(before) = ride.asking.replace(waits)
                {
                    before.abort();
                }
            }
            Task::Prove => {
                let pools = candidates(ride);
                let timeout = ride.plan.ready_timeout;
                let since = tokio::time::Instant::now().into_std();
                self.tasks.spawn(async move {
                    let proven = prove(&control, pools, since, timeout).await;
                    Done::Came(id, Input::Proven(proven))
                });
            }
            Task::Drain => {
                let pools = leaving(ride);
                let snapshot = control.readers().current();
                let deadlines = ride.services().filter_map(|name| {
                    let service = snapshot.service(name.as_str())?;
                    Some(service.plan.drain_deadline)
                });
                let deadline = deadlines.max().unwrap_or_default();
                self.tasks.spawn(async move {
                    let left = control.until_drained(&pools, deadline).await;
                    let left = left.in_flight;
                    Done::Came(id, Input::Drained { left })
                });
            }
            Task::Ask(point) => {
                let live = control.live().borrow().get(&id).cloned();
                let said = Said::of(&ride.rollout, &ride.plan, point, live.as_deref());
                let (hooks, outside) = (ride.plan.hooks.clone(), self.outside.clone());
                let asked = self.tasks.spawn(async move {
                    let answer = hooks::ask(hooks, point, &said, &outside).await;
                    Done::Came(id, Input::Asked(point, answer))
                });
                if let Some(ride) = self.rides.get_mut(&id)
                    && point != HookPoint::AfterRollback
                {
                    ride.asking = Some(asked);
                }
            }
        }
    }

    /// What has ended is control's to remember.
    pub fn let_go_of_what_is_over(&mut self) {
        let over = |ride: &Ride| ride.rollout.is_over() && ride.commits == 0;
        let live = self.control.live();
        self.rides.retain(|id, ride| {
            let over = over(ride);
            if over {
                live.send_modify(|lives| {
                    lives.remove(id);
                });
            }
            !over
        });
    }
}

/// A change that is in control's hands before anything else is looked at: changes come in the order in which they were decided. What comes is its answer.
pub(super) async fn in_hand<T>(
    change: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send + 'static
where
    T: Send + 'static,
{
    let mut change = Box::pin(change);
    let first = poll_fn(|context| Poll::Ready(change.as_mut().poll(context))).await;
    async move {
        match first {
            Poll::Ready(answer) => answer,
            Poll::Pending => change.await,
        }
    }
}

async fn prove(
    control: &crate::control::Handle,
    pools: Vec<PoolKey>,
    since: std::time::Instant,
    timeout: Duration,
) -> Result<(), String> {
    let names: Vec<_> = pools.iter().map(ToString::to_string).collect();
    match control.until_ready(pools, Some(since), timeout).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "{} not proven within {}",
            names.join(", "),
            crate::units::Span(timeout)
        )),
        Err(refusal) => Err(refusal.detail),
    }
}

fn key(service: &Name, pool: &Name) -> PoolKey {
    PoolKey {
        service: service.clone(),
        pool: pool.clone(),
    }
}

fn candidates(ride: &Ride) -> Vec<PoolKey> {
    let members = ride.rollout.members.iter();
    members
        .map(|member| key(&member.service, &member.to))
        .collect()
}

/// The pools that have no weight any more.
fn leaving(ride: &Ride) -> Vec<PoolKey> {
    let members = ride.rollout.members.iter();
    let back = ride.rollout.stage == Stage::RollingBack;
    members
        .map(|member| {
            key(
                &member.service,
                if back { &member.to } else { &member.from },
            )
        })
        .collect()
}

/// What the new version has of the requests, of the service where it has most.
fn share(ride: &Ride) -> f64 {
    let members = ride.rollout.members.iter();
    let shares = members.filter_map(|member| {
        let weights = ride.expected.get(&member.service)?;
        Some(weights.share(member.to.as_str()))
    });
    shares.fold(0.0, f64::max)
}

/// One change of all its services: their weights, where they move, and where it stands.
fn changes(ride: &Ride, next: &Next, told: Kind, snapshot: &Snapshot) -> Vec<Change> {
    let rollout = Arc::new(next.rollout.clone());
    let weights = next.moves.and_then(|moves| weights(ride, moves));
    let force = matches!(next.moves, Some(Move::Back { force: true }));
    // Nothing rises but all of it together; what goes back, or stays, needs nobody who is gone.
    let rises = next.moves.is_some_and(Move::rises);
    let is_there = |name: &&Name| rises || snapshot.service(name.as_str()).is_some();
    let services = ride.services().filter(is_there);
    let stands = services.map(|service| Change::Rollout {
        service: service.clone(),
        rollout: rollout.clone(),
        weights: weights
            .as_ref()
            .and_then(|weights| weights.get(service.as_str()).cloned()),
        told,
        force,
    });
    batches::changes(&ride.rollout, next, snapshot)
        .into_iter()
        .chain(stands)
        .collect()
}

/// Of each service, what a move comes to; `None`: it moves no weights.
fn weights(ride: &Ride, moves: Move) -> Option<std::collections::BTreeMap<Name, Weights>> {
    let (to, from) = match moves {
        Move::To(share) => parts(share),
        Move::Back { .. } => (0, 100),
        Move::Empty | Move::PutBack | Move::Out => return None,
    };
    let members = ride.rollout.members.iter();
    let weights = members
        .map(|member| {
            let weights = [(member.from.clone(), from), (member.to.clone(), to)];
            let weights: Weights = weights
                .into_iter()
                .filter(|(_, weight)| *weight > 0)
                .collect();
            (member.service.clone(), weights)
        })
        .collect();
    Some(weights)
}

/// The new pool's weight and the stable one's, in hundredths where that is exact.
fn parts(share: Percent) -> (u32, u32) {
    let (part, whole) = (share.millionths(), Percent::WHOLE.millionths());
    let unit = [10_000, 1_000, 100, 10, 1]
        .into_iter()
        .find(|unit| part % unit == 0)
        .unwrap_or(1);
    (part / unit, (whole - part) / unit)
}

/// A reason of an order has its bounds.
fn bounded(text: &str) -> String {
    text.chars().take(250).collect()
}
