use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};

use super::{
    batches,
    begin::Begins,
    figures::LOOKS,
    place::Place,
    ride::{Reply, Ride},
};
use crate::{
    control::{
        Actor, ActorKind, Applied, Code, Handle, Refusal,
        rollout::{Request, Rollout, Told, Verb},
    },
    pool::{FaultReport, FaultReports},
    rollout::{
        Outside, readings,
        steps::{self, Facts, Input, Moved, Next, Order},
    },
    snapshot::Snapshot,
    telemetry::Windows,
    units::Timestamp,
};

/// Between two looks at the clock.
const PERIOD: Duration = Duration::from_millis(100);
/// How long the key of a call is known.
const KEYS_LAST: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// Drives every rollout until control is gone.
pub async fn run(
    control: Handle,
    faults: FaultReports,
    outside: Outside,
    windows: Arc<Mutex<Windows>>,
    config: PathBuf,
) {
    let Some(mut asks) = control.take_asks() else {
        return;
    };
    let (looks, mut seen) = mpsc::channel(LOOKS);
    let mut driver = Driver::new(control, (outside, windows), config, looks);
    driver.take_up().await;
    driver.look_at_weights().await;
    let mut faults = faults;
    let mut readers = driver.control.readers().clone();
    let mut period = time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(report) = faults.next() => driver.fault(&report).await,
            asked = asks.recv() => match asked {
                Some((request, reply)) => driver.asked(request, reply).await,
                None => return,
            },
            Some((id, look)) = seen.recv() => driver.saw(id, look).await,
            Some(done) = driver.tasks.join_next(), if !driver.tasks.is_empty() => {
                if let Ok(done) = done {
                    driver.done(done).await;
                }
            }
            changed = readers.changed() => {
                if !changed {
                    return;
                }
                driver.look_at_weights().await;
            }
            _ = period.tick(), if !driver.rides.is_empty() => driver.tick().await,
        }
    }
}

/// What a task has come to.
pub(super) enum Done {
    /// An input for a rollout.
    Came(u64, Input),
    /// Control has answered a change.
    Committed {
        id: u64,
        next: Box<Next>,
        answer: Result<Applied, Refusal>,
        reply: Option<Reply>,
    },
    /// The sources of a rollout that is to begin were asked; why one of them can't be.
    Probed {
        request: Request,
        reply: Reply,
        failed: Option<String>,
    },
    /// Those that were in the place of a rollout have ended; why one of them has not.
    Vacated {
        place: u64,
        request: Request,
        reply: Reply,
        failed: Option<Refusal>,
    },
    /// Control has answered the first change of a rollout.
    Begun {
        begins: Box<Begins>,
        answer: Result<Applied, Refusal>,
        reply: Reply,
    },
}

pub(super) struct Driver {
    pub control: Handle,
    /// By which hooks are asked.
    pub outside: Outside,
    /// What the pools did of late.
    pub windows: Arc<Mutex<Windows>>,
    /// The file: what a plan names beside it is looked for there.
    pub config: PathBuf,
    /// Under way.
    pub rides: BTreeMap<u64, Ride>,
    /// Of those that are about to be.
    pub places: Vec<Place>,
    pub tasks: JoinSet<Done>,
    /// They go on until they are aborted.
    pub followers: JoinSet<()>,
    pub looks: mpsc::Sender<(u64, readings::Look)>,
    /// A moment by both clocks: one that is set does not hurry a rollout.
    origin: (Timestamp, Instant),
}

impl Driver {
    pub fn new(
        control: Handle,
        (outside, windows): (Outside, Arc<Mutex<Windows>>),
        config: PathBuf,
        looks: mpsc::Sender<(u64, readings::Look)>,
    ) -> Self {
        Self {
            control,
            outside,
            windows,
            config,
            rides: BTreeMap::new(),
            places: Vec::new(),
            tasks: JoinSet::new(),
            followers: JoinSet::new(),
            looks,
            origin: (Timestamp::now(), Instant::now()),
        }
    }

    pub fn now(&self) -> Timestamp {
        let (at, then) = self.origin;
        let span = jiff::SignedDuration::try_from(then.elapsed()).unwrap_or_default();
        at.checked_add(span).unwrap_or(at)
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.control.readers().current()
    }

    /// Rollouts itself, where nobody else has said so.
    pub fn itself() -> Actor {
        Actor::new("rollout", ActorKind::Rollout, "rollout")
    }

    pub fn facts(&self, ride: &Ride, by: Actor, reason: Option<String>) -> Facts {
        let snapshot = self.snapshot();
        if let Some(batches) = &ride.rollout.batches {
            let seen = batches::seen(&ride.rollout, batches, &snapshot);
            return Facts {
                now: self.now(),
                stable_is_ready: seen.others_are_ready,
                batch_is_ready: seen.is_ready,
                gone: seen.gone,
                drained: seen.drained,
                by,
                reason,
            };
        }
        let stable_is_ready = ride.rollout.members.iter().all(|member| {
            let service = snapshot.service(member.service.as_str());
            // One that is gone has nobody to be sent back.
            service.is_none_or(|service| {
                let place = service.pool(member.from.as_str());
                place.is_some_and(|place| !service.pools[place].ready.is_empty())
            })
        });
        Facts {
            now: self.now(),
            stable_is_ready,
            batch_is_ready: true,
            gone: BTreeSet::new(),
            drained: BTreeSet::new(),
            by,
            reason,
        }
    }

    /// One input to one rollout, and all that follows.
    pub async fn input(&mut self, id: u64, input: Input) {
        let Some(ride) = self.rides.get(&id) else {
            return;
        };
        // What it would rise to is decided on; only bad news and somebody's word come before it.
        // What is done to a batch must be known before more is.
        let urgent = match input {
            Input::Bad(_) | Input::Moved(_) => !ride.rollout.is_rolling(),
            Input::Refused(_) => true,
            _ => false,
        };
        if ride.rising.is_some() && !urgent {
            return;
        }
        let facts = self.facts(ride, Self::itself(), None);
        if let Ok(next) = steps::step(&ride.rollout, &ride.plan, &facts, input) {
            self.follow(id, next, None, facts.by).await;
        }
    }

    async fn fault(&mut self, report: &FaultReport) {
        let now = self.now();
        let Some(ride) = self.rides.get_mut(&report.trial) else {
            return;
        };
        if let Some(cause) = ride.watch.fault(report, now) {
            self.input(report.trial, Input::Bad(cause)).await;
        }
    }

    pub async fn tick(&mut self) {
        self.look_at_batches().await;
        let now = self.now();
        while self.followers.try_join_next().is_some() {}
        let ids: Vec<u64> = self.rides.keys().copied().collect();
        for id in ids {
            let Some(ride) = self.rides.get_mut(&id) else {
                continue;
            };
            if ride.rising.is_some() {
                continue;
            }
            let until = steps::until(&ride.rollout, &ride.plan);
            let looked = ride.watch.look(&ride.rollout, &ride.plan, until, now);
            if let Some(live) = looked.live {
                self.control.live().send_modify(|lives| {
                    lives.insert(id, Arc::new(live));
                });
            }
            for input in looked.inputs {
                self.input(id, input).await;
            }
            let Some(ride) = self.rides.get(&id) else {
                continue;
            };
            if now >= ride.not_before && steps::wants_time(&ride.rollout, &ride.plan, now) {
                self.input(id, Input::Tick).await;
            }
        }
    }

    pub async fn done(&mut self, done: Done) {
        match done {
            Done::Came(id, input) => self.input(id, input).await,
            Done::Committed {
                id,
                next,
                answer,
                reply,
            } => {
                self.committed(id, *next, answer, reply).await;
                // Somebody's hand that came while the disk was written was not looked at then.
                self.look_at_weights().await;
            }
            Done::Probed {
                request,
                reply,
                failed,
            } => self.probed(request, reply, failed).await,
            Done::Vacated {
                place,
                request,
                reply,
                failed,
            } => self.vacated(place, request, reply, failed).await,
            Done::Begun {
                begins,
                answer,
                reply,
            } => self.begun(*begins, answer, reply).await,
        }
    }

    pub async fn asked(&mut self, request: Request, reply: Reply) {
        match self.answered(&request).await {
            Ok(None) => self.follow_order(request, reply).await,
            Ok(Some(told)) => {
                let _ = reply.send(Ok(told));
            }
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
            }
        }
    }

    /// Of a call with a key that was followed before: what has become of it.
    pub async fn answered(&self, request: &Request) -> Result<Option<Told>, Refusal> {
        let Some(key) = request.key.as_ref().filter(|_| !request.dry_run) else {
            return Ok(None);
        };
        let view = self.control.view().await?;
        let kept = view
            .services
            .iter()
            .flat_map(|service| service.rollouts.iter().chain(&service.rollout));
        let driven = self.rides.values().map(|ride| &ride.rollout);
        // What is driven knows more than what was written.
        let mut all = driven.chain(kept.map(AsRef::as_ref));
        let now = self.now();
        let found = all.find_map(|rollout| {
            let mut keys = rollout.keys.iter();
            let known =
                keys.find(|known| known.key == *key && now.duration_since(known.at) < KEYS_LAST)?;
            Some((rollout, known))
        });
        match found {
            None => Ok(None),
            Some((rollout, known)) if known.said == request.what.said() => {
                Ok(Some(told(rollout.clone(), true)))
            }
            Some(_) => Err(Refusal::new(
                Code::IdempotencyMismatch,
                "the key was used for something else within the last 24 hours",
            )),
        }
    }

    async fn follow_order(&mut self, request: Request, reply: Reply) {
        let (id, order) = match &request.what {
            Verb::Start(_) | Verb::Retry { .. } => return self.begin(request, reply).await,
            Verb::Promote { id, full } => (*id, Order::Promote { full: *full }),
            Verb::Pause { id } => (*id, Order::Pause),
            Verb::Resume { id, how } => (*id, Order::Resume(*how)),
            Verb::Skip { id } => (*id, Order::Skip),
            Verb::Abort { id } => (*id, Order::Abort),
            Verb::Undo { id } => (*id, Order::Undo),
        };
        if let Some(place) = self.places.iter_mut().find(|place| place.id == id) {
            place.waiting.push((request, reply));
            return;
        }
        if !self.rides.contains_key(&id)
            && let Err(refusal) = self.take_up_again(id).await
        {
            let _ = reply.send(Err(refusal));
            return;
        }
        let Some(ride) = self.rides.get_mut(&id) else {
            return;
        };
        let at_once = order == Order::Abort && !ride.rollout.is_rolling();
        if ride.rising.is_some() && !at_once && !request.dry_run {
            ride.waiting.push_back((request, reply));
            return;
        }
        let facts = self.facts(&self.rides[&id], request.by.clone(), request.reason.clone());
        let ride = &self.rides[&id];
        match steps::step(&ride.rollout, &ride.plan, &facts, Input::Order(order)) {
            Err(denied) => {
                let refusal = Refusal::new(Code::InvalidTransition, denied.why).hint(denied.hint);
                let _ = reply.send(Err(refusal));
                self.let_go_of_what_is_over();
            }
            Ok(next) if request.dry_run => {
                let _ = reply.send(Ok(told(next.rollout, true)));
                self.let_go_of_what_is_over();
            }
            Ok(mut next) => {
                if let Some(key) = request.key {
                    let said = request.what.said();
                    next.rollout.remember(key, said, facts.now);
                }
                self.follow(id, next, Some(reply), facts.by).await;
            }
        }
    }

    /// Whether somebody else has moved the weights of a rollout.
    async fn look_at_weights(&mut self) {
        let snapshot = self.snapshot();
        let moved: Vec<(u64, String)> = self
            .rides
            .iter()
            .filter(|(_, ride)| ride.is_still())
            .filter_map(|(id, ride)| {
                let mut services = ride.services();
                let other = services.find(|name| {
                    let served = snapshot.service(name.as_str());
                    let expected = ride.expected.get(name.as_str());
                    served
                        .zip(expected)
                        .is_some_and(|(served, expected)| served.weights != *expected)
                })?;
                Some((*id, other.to_string()))
            })
            .collect();
        for (id, service) in moved {
            self.was_moved(id, &service, &snapshot).await;
        }
        let gone = |ride: &Ride| {
            let mut services = ride.services();
            services.all(|name| snapshot.service(name.as_str()).is_none())
        };
        self.rides.retain(|_, ride| !gone(ride));
    }

    async fn was_moved(&mut self, id: u64, service: &str, snapshot: &Snapshot) {
        let Some(served) = snapshot.service(service) else {
            return;
        };
        let history = self.control.history(&served.plan.name).await;
        let last = history.ok().and_then(|mut history| history.pop());
        let Some(ride) = self.rides.get_mut(&id) else {
            return;
        };
        let Some(member) = ride.rollout.member(&served.plan.name) else {
            return;
        };
        let share = served.weights.share(member.to.as_str());
        let back = served.weights.sole() == Some(&member.from)
            && last
                .as_ref()
                .is_some_and(|last| last.what.contains("rollback"));
        let by = last.map_or_else(Self::itself, |last| last.by);
        let detail = format!(
            "{service} serves {} by {} ({})",
            served.weights, by.name, by.via
        );
        ride.expected
            .insert(served.plan.name.clone(), served.weights.clone());
        let moved = Moved {
            by,
            share,
            back,
            detail,
        };
        self.input(id, Input::Moved(moved)).await;
    }
}

pub(super) fn told(rollout: Rollout, durable: bool) -> Told {
    Told {
        rollout,
        notes: Vec::new(),
        durable,
    }
}
