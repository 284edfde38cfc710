//! How a rollout is begun, and taken up again after a restart.

use std::sync::{Arc, PoisonError};

use serde_json::json;

use super::{
    batches,
    commit::in_hand,
    members::members,
    outlook::outlook,
    ride::{Reply, Ride},
    run::{Done, Driver, told},
    watch::Watch,
};
use crate::{
    config::{
        plan::{self, HookPoint},
        rollout::{from_json, preset, typed},
    },
    control::{
        Applied, Change, Code, Kind, Order, Refusal, View,
        rollout::{
            Batches, Counts, Member, Part, Pause, Paused, Phase, Request, Rollout, Stage, Start,
            Told, Verb,
        },
    },
    rollout::steps::{Input, Task},
    snapshot::Snapshot,
    units::{Name, PoolKey, RescueRule, Weights},
};

/// A start that may be made.
pub(super) struct Checked {
    pub plan: Arc<plan::Rollout>,
    pub members: Vec<Member>,
    /// Of a rolling replacement.
    pub batches: Option<Batches>,
    /// Those that it supersedes.
    pub running: Vec<u64>,
    pub id: u64,
    pub retry_of: Option<u64>,
}

/// A rollout as it begins.
pub(super) struct Begins {
    pub rollout: Rollout,
    plan: Arc<plan::Rollout>,
    /// What its steps will take.
    pub notes: Vec<String>,
}

impl Driver {
    /// Those that were under way when the process ended go on from where they were.
    pub async fn take_up(&mut self) {
        let Ok(view) = self.control.view().await else {
            return;
        };
        let mut under_way: Vec<Rollout> = Vec::new();
        for service in &view.services {
            if let Some(rollout) = &service.rollout
                && !rollout.is_over()
                && under_way.iter().all(|known| known.id != rollout.id)
            {
                under_way.push((**rollout).clone());
            }
        }
        for rollout in under_way {
            let id = rollout.id;
            self.mount(rollout);
            self.follow_figures(id);
            self.input(id, Input::Restarted).await;
        }
    }

    /// Drives a rollout that control remembers.
    fn mount(&mut self, mut rollout: Rollout) {
        let now = self.now();
        let plan = match from_json(&rollout.plan, None, &self.config) {
            Ok(plan) => Arc::new(plan),
            Err(problems) => {
                rollout.paused = Some(Paused {
                    reason: Pause::Refused,
                    since: now,
                    detail: format!("its plan does not hold any more: {problems}"),
                    alarmed: false,
                });
                Arc::default()
            }
        };
        let snapshot = self.snapshot();
        let watch = Watch::new(&rollout, &plan, &snapshot, now);
        let mut ride = Ride::new(rollout, plan, watch);
        // The file may have been edited while nobody looked.
        let share = ride.rollout.share;
        ride.expected = served(&ride, &snapshot);
        let rolling = ride.rollout.is_rolling();
        for member in ride.rollout.members.iter().filter(|_| !rolling) {
            let expected = ride.expected.get_mut(member.service.as_str());
            if let Some(weights) = expected
                && (weights.share(member.to.as_str()) - share).abs() > 1e-6
            {
                *weights = Weights::default();
            }
        }
        self.rides.insert(ride.rollout.id, ride);
    }

    /// Drives one again that is over, for the orders that may be given then.
    pub async fn take_up_again(&mut self, id: u64) -> Result<(), Refusal> {
        let view = self.control.view().await?;
        let mut all = view
            .services
            .iter()
            .filter_map(|service| service.rollout.as_ref());
        let found = all.find(|rollout| rollout.id == id).cloned();
        let found = found.ok_or_else(|| unknown(&view, id))?;
        self.mount((*found).clone());
        Ok(())
    }

    /// All that must hold before anything is done.
    pub async fn check(&self, request: &Request) -> Result<Checked, Refusal> {
        let view = self.control.view().await?;
        let (start, retry_of) = match &request.what {
            Verb::Start(start) => ((**start).clone(), None),
            Verb::Retry { id } => (again(&view, *id)?, Some(*id)),
            _ => return Err(Refusal::new(Code::InvalidRequest, "this begins nothing")),
        };
        let mut plan = self.plan_of(&start, &view, retry_of.is_some())?;
        let now = self.now();
        if let Some(until) = plan.freeze.iter().find_map(|freeze| freeze.until(now)) {
            return Err(
                Refusal::new(Code::Frozen, format!("no rollout is begun before {until}"))
                    .hint("`cutover shift` and `cutover switch` work at any time"),
            );
        }
        let running = Self::running(&view, &start);
        if let Some((id, service)) = running.first()
            && !start.supersede
        {
            return Err(Refusal::new(
                Code::RolloutRunning,
                format!("rollout {id} of {service} is under way"),
            )
            .hint(format!(
                "`cutover rollout abort {service}` ends it, `cutover rollout start --supersede` puts another in its place"
            )));
        }
        let (members, batches) = if plan.strategy == plan::Strategy::Rolling {
            let (member, batches) = batches::begun(&start, &view, !running.is_empty(), &mut plan)?;
            (vec![member], Some(batches))
        } else {
            (members(&start, &view, !running.is_empty())?, None)
        };
        Ok(Checked {
            members,
            batches,
            running: running.into_iter().map(|(id, _)| id).collect(),
            id: self.next_id(&view),
            plan: Arc::new(plan),
            retry_of,
        })
    }

    /// The rollout as it begins.
    pub fn prepare(&self, checked: Checked, request: &Request) -> Begins {
        let Checked {
            members,
            batches,
            id,
            plan,
            retry_of,
            ..
        } = checked;
        let rolling = batches.is_some();
        let now = self.now();
        let rollout = Rollout {
            id,
            members,
            plan: typed(&plan),
            steps: batches
                .as_ref()
                .map_or(plan.steps.len(), |batches| batches.all.len()),
            stage: Stage::Preparing {
                phase: if rolling {
                    Phase::Asking
                } else {
                    Phase::Proving
                },
            },
            since: now,
            paused: None,
            share: 0.0,
            copies: None,
            started: now,
            by: request.by.clone(),
            reason: request.reason.clone(),
            ended: None,
            cause: None,
            restored: None,
            rescue: rescue(&plan),
            counts: Counts::default(),
            promoted: None,
            retry_of,
            paused_ms: 0,
            keys: Vec::new(),
            batches,
            log: Vec::new(),
        };
        let notes = self.outlook(&rollout, &plan);
        Begins {
            rollout,
            plan,
            notes,
        }
    }

    /// What its steps will take at the traffic now seen.
    fn outlook(&self, rollout: &Rollout, plan: &plan::Rollout) -> Vec<String> {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = rollout.batches.as_ref();
        let share = batch.map_or(0.0, |batches| batches.part(1));
        let mut notes = Vec::new();
        for member in &rollout.members {
            let stable = windows.window(&PoolKey {
                service: member.service.clone(),
                pool: member.from.clone(),
            });
            let lines = outlook(plan, &stable, share).into_iter();
            notes.extend(lines.map(|line| format!("{}: {line}", member.service)));
        }
        notes
    }

    /// The plan of the first service, as far as the start says nothing else: its freezes and hooks hold for every start. One that is tried
    /// again has its own plan, whatever the file says by now.
    fn plan_of(
        &self,
        start: &Start,
        view: &View,
        tried_again: bool,
    ) -> Result<plan::Rollout, Refusal> {
        let invalid = |detail: String| Refusal::new(Code::InvalidPlan, detail);
        let first = start.services.first();
        let first = first.and_then(|part| view.plan.services.get(&part.service));
        let usual = first.map(|service| &*service.rollout);
        let over = usual.filter(|_| !tried_again);
        let said = match (&start.plan, &start.preset) {
            (None, None) => return Ok(usual.cloned().unwrap_or_default()),
            (Some(_), Some(_)) => {
                let why = "a plan and a preset: one of them says it";
                return Err(invalid(why.to_owned()));
            }
            (Some(plan), None) => plan.clone(),
            (None, Some(name)) if preset(name).is_none() => {
                return Err(invalid(format!("there is no preset `{name}`"))
                    .hint("there are fast, standard and careful"));
            }
            (None, Some(name)) => json!({ "preset": name }),
        };
        from_json(&said, over, &self.config).map_err(|problems| invalid(problems.to_string()))
    }

    /// Those under way of its services.
    fn running(view: &View, start: &Start) -> Vec<(u64, Name)> {
        let mut running: Vec<(u64, Name)> = Vec::new();
        for part in &start.services {
            let services = view.services.iter();
            let mut of = services.filter(|service| service.plan.name == part.service);
            let known = of.next().and_then(|service| service.rollout.as_ref());
            if let Some(rollout) = known
                && !rollout.is_over()
                && !running.iter().any(|(id, _)| *id == rollout.id)
            {
                running.push((rollout.id, part.service.clone()));
            }
        }
        running
    }

    /// Takes the first step: it is under way once that is written down.
    pub async fn set_out(&mut self, mut begins: Begins, request: Request, reply: Reply) {
        let rollout = &mut begins.rollout;
        if let Some(key) = request.key {
            rollout.remember(key, request.what.said(), rollout.started);
        }
        let detail = rollout
            .reason
            .clone()
            .unwrap_or_else(|| match &rollout.batches {
                Some(batches) => format!("begun: {} batches are to be replaced", batches.all.len()),
                None => "begun: the new pool is to be proven".to_owned(),
            });
        rollout.note(rollout.started, &request.by, detail);
        let mut order = Order::by(request.by);
        order.reason.clone_from(&rollout.reason);
        let (control, changes) = (self.control.clone(), first_changes(rollout));
        let change = async move { control.change(changes, order).await };
        let answer = in_hand(change).await;
        self.tasks.spawn(async move {
            Done::Begun {
                begins: Box::new(begins),
                answer: answer.await,
                reply,
            }
        });
    }

    /// From now on it is driven, unless it could not be begun.
    pub async fn begun(&mut self, begins: Begins, answer: Result<Applied, Refusal>, reply: Reply) {
        let Begins {
            rollout,
            plan,
            mut notes,
        } = begins;
        let id = rollout.id;
        let answer = answer.map(|applied| {
            notes.splice(0..0, applied.notes);
            let told = told(rollout.clone(), applied.durable);
            self.ride(rollout, plan);
            Told { notes, ..told }
        });
        let _ = reply.send(answer);
        self.leave(id).await;
    }

    fn ride(&mut self, rollout: Rollout, plan: Arc<plan::Rollout>) {
        let (now, snapshot) = (self.now(), self.snapshot());
        let watch = Watch::new(&rollout, &plan, &snapshot, now);
        let (id, rolling) = (rollout.id, rollout.is_rolling());
        let mut ride = Ride::new(rollout, plan, watch);
        ride.expected = served(&ride, &snapshot);
        self.rides.insert(id, ride);
        let first = if rolling {
            Task::Ask(HookPoint::BeforeStart)
        } else {
            Task::Prove
        };
        self.begin_task(id, first);
        self.follow_figures(id);
    }

    fn next_id(&self, view: &View) -> u64 {
        let services = view.services.iter();
        let known = services.flat_map(|service| {
            let all = service.rollouts.iter().chain(&service.rollout);
            all.map(|rollout| rollout.id)
        });
        let about_to_be = self.places.iter().map(|place| place.id);
        known.chain(about_to_be).max().unwrap_or(0) + 1
    }
}

/// It is remembered, and so is what the new pools run.
fn first_changes(rollout: &Rollout) -> Vec<Change> {
    let record = Arc::new(rollout.clone());
    let mut changes: Vec<Change> = Vec::new();
    for member in &rollout.members {
        if let Some(version) = &member.version
            && !rollout.is_rolling()
        {
            changes.push(Change::Version {
                pool: PoolKey {
                    service: member.service.clone(),
                    pool: member.to.clone(),
                },
                version: version.clone(),
            });
        }
        changes.push(Change::Rollout {
            service: member.service.clone(),
            rollout: record.clone(),
            weights: None,
            told: Kind::RolloutStarted,
            force: false,
        });
    }
    changes
}

/// What the services of a rollout serve now.
pub(super) fn served(
    ride: &Ride,
    snapshot: &Snapshot,
) -> std::collections::BTreeMap<Name, Weights> {
    let services = ride.services();
    services
        .filter_map(|name| {
            let service = snapshot.service(name.as_str())?;
            Some((name.clone(), service.weights.clone()))
        })
        .collect()
}

fn unknown(view: &View, id: u64) -> Refusal {
    let last = view
        .services
        .iter()
        .filter_map(|service| service.rollout.as_ref());
    let last = last.max_by_key(|rollout| rollout.id);
    let hint = last.map_or_else(
        || "none has been begun yet".to_owned(),
        |last| format!("the last one is {} of {}", last.id, last.service()),
    );
    Refusal::new(
        Code::UnknownRollout,
        format!("there is no rollout {id} that could be told so"),
    )
    .hint(hint)
}

fn rescue(plan: &plan::Rollout) -> Option<RescueRule> {
    let methods = plan.rescue.methods.iter().map(ToString::to_string);
    let methods: Vec<_> = methods.collect();
    (!methods.is_empty()).then_some(RescueRule {
        methods,
        max_body: plan.rescue.max_body,
    })
}

/// The same start as that of one that has failed.
fn again(view: &View, id: u64) -> Result<Start, Refusal> {
    let services = view.services.iter();
    let mut last = services.filter_map(|service| service.rollout.as_ref());
    let Some(rollout) = last.find(|rollout| rollout.id == id) else {
        return Err(unknown(view, id));
    };
    if rollout.stage != Stage::Failed {
        return Err(Refusal::new(
            Code::InvalidTransition,
            format!(
                "rollout {id} is {}: only one that has failed is tried again",
                rollout.state()
            ),
        ));
    }
    Ok(Start {
        services: rollout
            .members
            .iter()
            .map(|member| Part {
                service: member.service.clone(),
                to: Some(member.to.clone()),
                from: Some(member.from.clone()),
                version: member.version.clone(),
            })
            .collect(),
        preset: None,
        plan: Some(rollout.plan.clone()),
        supersede: false,
    })
}
