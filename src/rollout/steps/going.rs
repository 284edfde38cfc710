use std::time::Duration;

use serde_json::Value;

use super::{Attempt, Input, Look, Machine, Move, Moved, Task};
use crate::{
    config::plan::{self, HookPoint, Then},
    control::{
        Kind,
        rollout::{Cause, Pause, Paused, Phase, Rollout, Stage},
    },
    units::{Insufficient, Percent, Timestamp, Unsure},
};

/// How long its phase lasts, where that is bounded.
pub(super) fn span(rollout: &Rollout, plan: &plan::Rollout) -> Option<Duration> {
    match (rollout.stage, rollout.stage.phase()) {
        (_, Some(Phase::Proving | Phase::Shifting | Phase::Restoring)) => Some(plan.ready_timeout),
        (_, Some(Phase::WarmingUp)) => Some(plan.warm_up),
        (Stage::Stepping { .. }, Some(Phase::Extending)) => Some(plan.judge.max_hold),
        (Stage::Stepping { step, .. }, Some(Phase::Waiting)) => match then(rollout, plan, step)? {
            Then::Hold(span) | Then::Judge(span) => Some(span),
            Then::Approval { timeout, .. } => timeout,
        },
        (Stage::Baking, _) => Some(plan.bake),
        _ => None,
    }
}

/// What the new version gets copies of, where its step says so: only until it has users.
pub(super) fn copies(rollout: &Rollout, plan: &plan::Rollout) -> Option<Percent> {
    let Stage::Stepping {
        step,
        phase: Phase::WarmingUp | Phase::Waiting | Phase::Extending,
    } = rollout.stage
    else {
        return None;
    };
    let step = plan.steps.get(step).filter(|_| !rollout.is_rolling())?;
    step.mirror.filter(|_| rollout.share == 0.0)
}

/// What a step waits for; of a rolling replacement, what follows each batch.
pub(super) fn then(rollout: &Rollout, plan: &plan::Rollout, step: usize) -> Option<Then> {
    let at = if rollout.is_rolling() { 0 } else { step };
    plan.steps.get(at).map(|step| step.then)
}

impl Machine<'_> {
    pub(super) fn take(&mut self, input: Input) {
        if self.next.rollout.is_over() {
            return;
        }
        match input {
            Input::Tick => self.tick(),
            Input::Restarted => self.restart(),
            Input::Proven(proven) => self.proven(proven),
            Input::Asked(point, answer) => self.answered(point, answer),
            Input::Refused(attempt) => self.refused(attempt),
            Input::Stuck(why) => self.tell(
                Kind::RolloutAlarm,
                format!(
                    "goes back, and the weights cannot be moved: {why}; tried again until they can"
                ),
            ),
            Input::Bad(cause) => self.bad(cause),
            Input::Alarm(said) => self.tell(Kind::RolloutAlarm, said),
            Input::Look(look) => self.look(look),
            Input::Moved(moved) => self.moved(&moved),
            Input::Drained { left } => self.drained(left),
            Input::Superseded => self.supersede(),
            Input::Order(_) => unreachable!("orders are taken apart before"),
        }
    }

    pub(super) fn is_late(&self) -> bool {
        super::until(&self.next.rollout, self.plan).is_some_and(|until| self.facts.now >= until)
    }

    fn tick(&mut self) {
        if let Some(paused) = &self.next.rollout.paused {
            if paused.reason == Pause::StableNotReady
                && self.facts.stable_is_ready
                && let Some(cause) = self.next.rollout.cause.clone()
            {
                self.back(cause, false);
            }
            return;
        }
        match (self.next.rollout.stage, self.next.rollout.stage.phase()) {
            (Stage::RollingBack, _) if self.next.rollout.is_stuck() => {
                let insists = |cause: &Cause| matches!(&*cause.kind, "abort" | "undo");
                let force = self.next.rollout.cause.as_ref().is_some_and(insists);
                self.back_again(force);
            }
            (_, Some(Phase::Shifting)) => self.shift(),
            (Stage::Stepping { .. }, Some(Phase::WarmingUp)) if self.is_late() => {
                self.enter_phase(Phase::Waiting);
                self.tell(Kind::RolloutStep, "warmed up");
            }
            (Stage::Stepping { step, .. }, Some(Phase::Waiting)) if self.is_late() => {
                match self.plan.steps[step].then {
                    Then::Hold(_) => self.next_step("held for its time"),
                    // The look that is due says what follows.
                    Then::Judge(_) => {}
                    Then::Approval { on_timeout, .. } => {
                        self.unsure(
                            on_timeout,
                            Pause::Approval,
                            "approval",
                            "nobody approved in time",
                        );
                    }
                }
            }
            (Stage::Baking, _) if self.is_late() => self.succeed("judged good with all requests"),
            _ => {}
        }
    }

    /// What was seen before is gone: the judgement of where it stands begins anew.
    fn restart(&mut self) {
        let now = self.facts.now;
        match self.next.rollout.stage {
            Stage::Preparing { .. } => {
                self.rollout().stage = Stage::Preparing {
                    phase: Phase::Proving,
                };
                self.next.tasks.push(Task::Prove);
            }
            Stage::Stepping { step, phase } => match phase {
                Phase::Asking => self.next.tasks.push(Task::Ask(HookPoint::BeforeStep)),
                Phase::WarmingUp | Phase::Waiting | Phase::Extending => {
                    let cold = self
                        .plan
                        .steps
                        .get(step)
                        .is_some_and(|step| step.share.is_some() || step.mirror.is_some());
                    let phase = if cold {
                        Phase::WarmingUp
                    } else {
                        Phase::Waiting
                    };
                    self.rollout().stage = Stage::Stepping { step, phase };
                }
                _ => {}
            },
            Stage::Promoting {
                phase: Phase::Asking,
            } => {
                self.next.tasks.push(Task::Ask(HookPoint::BeforePromote));
            }
            Stage::RollingBack if self.next.rollout.is_stuck() => {}
            Stage::Draining | Stage::RollingBack => self.next.tasks.push(Task::Drain),
            _ => {}
        }
        self.rollout().since = now;
        self.pause_begins_anew();
        self.tell(Kind::RolloutResumed, "goes on after a restart");
    }

    /// What it has paused before a restart is not counted twice.
    pub(super) fn pause_begins_anew(&mut self) {
        let now = self.facts.now;
        let rollout = self.rollout();
        if let Some(paused) = rollout.paused.clone() {
            rollout.end_pause(now);
            rollout.paused = Some(Paused {
                since: now,
                ..paused
            });
        }
    }

    pub(super) fn begin_step(&mut self, step: usize) {
        if self.next.rollout.is_rolling() {
            return self.begin_batch(step);
        }
        if self.plan.steps.get(step).is_none() {
            return self.promote();
        }
        self.enter(Stage::Stepping {
            step,
            phase: Phase::Shifting,
        });
        self.ask_or(
            HookPoint::BeforeStep,
            Stage::Stepping {
                step,
                phase: Phase::Asking,
            },
        );
    }

    pub(super) fn next_step(&mut self, why: &str) {
        let step = self.next.rollout.stage.step().map_or(0, |step| step + 1);
        let (now, by) = (self.facts.now, self.facts.by.clone());
        self.rollout().note(now, &by, why);
        self.begin_step(step);
    }

    pub(super) fn promote(&mut self) {
        self.enter(Stage::Promoting {
            phase: Phase::Shifting,
        });
        self.ask_or(
            HookPoint::BeforePromote,
            Stage::Promoting {
                phase: Phase::Asking,
            },
        );
    }

    /// Puts in force what its stage says.
    pub(super) fn shift(&mut self) {
        match self.next.rollout.stage {
            Stage::Stepping { step, .. } => {
                let now_at = self.next.rollout.share;
                let planned = self.plan.steps.get(step);
                let (share, mirror) = planned.map_or((None, None), |it| (it.share, it.mirror));
                match share {
                    Some(share) if share.part() > now_at => {
                        self.enter(Stage::Stepping {
                            step,
                            phase: Phase::WarmingUp,
                        });
                        self.rollout().share = share.part();
                        self.next.moves = Some(Move::To(share));
                        self.tell(Kind::RolloutStep, format!("{share} to the new version"));
                    }
                    _ if let Some(part) = mirror
                        && now_at == 0.0 =>
                    {
                        self.enter(Stage::Stepping {
                            step,
                            phase: Phase::WarmingUp,
                        });
                        let said = format!("copies of {part} of the requests to the new version");
                        self.tell(Kind::RolloutStep, said);
                    }
                    _ => {
                        self.enter(Stage::Stepping {
                            step,
                            phase: Phase::Waiting,
                        });
                        self.tell(Kind::RolloutStep, "the shares stay as they are");
                    }
                }
            }
            Stage::Promoting { .. } => {
                let now = self.facts.now;
                self.enter(Stage::Baking);
                self.rollout().share = 1.0;
                self.rollout().promoted = Some(now);
                self.next.moves = Some(Move::To(Percent::WHOLE));
                if self
                    .plan
                    .hooks
                    .iter()
                    .any(|hook| hook.at.contains(&HookPoint::AfterPromote))
                {
                    self.next.tasks.push(Task::Ask(HookPoint::AfterPromote));
                }
                self.tell(Kind::RolloutPromoted, "the new version has all requests");
            }
            _ => {}
        }
    }

    fn refused(&mut self, attempt: Attempt) {
        if self.next.rollout.paused.is_some() {
            return;
        }
        let target = match attempt.to {
            Stage::Baking => Stage::Promoting {
                phase: Phase::Shifting,
            },
            other => other.with(Phase::Shifting),
        };
        if self.next.rollout.stage != target {
            self.enter(target);
            self.tell(Kind::RolloutStep, format!("waits: {}", attempt.why));
        } else if self.is_late() {
            self.pause(Pause::Refused, attempt.why);
        }
    }

    pub(super) fn look(&mut self, look: Look) {
        if self.next.rollout.paused.is_some() {
            return;
        }
        let Stage::Stepping { step, phase } = self.next.rollout.stage else {
            return;
        };
        let then = then(&self.next.rollout, self.plan, step);
        if !matches!(then, Some(Then::Judge(_))) {
            return;
        }
        match (phase, look) {
            (Phase::Waiting, Look::Good) if self.is_late() => self.next_step("judged good"),
            (Phase::Extending, Look::Good) => self.next_step("judged good with more data"),
            (Phase::Waiting, Look::NotEnough) if self.is_late() => {
                match self.plan.judge.on_insufficient_data {
                    Insufficient::Hold => {
                        self.enter_phase(Phase::Extending);
                        self.tell(
                            Kind::RolloutStep,
                            "too little is known: it waits for more data",
                        );
                    }
                    Insufficient::Promote => {
                        self.next_step("too little is known, and that is set to do");
                    }
                    Insufficient::Pause => self.pause(Pause::InsufficientData, TOO_LITTLE),
                    Insufficient::Rollback => {
                        self.bad(cause("insufficient-data", TOO_LITTLE, self.facts.now));
                    }
                }
            }
            (Phase::Extending, Look::NotEnough) if self.is_late() => {
                self.unsure(
                    self.plan.judge.on_max_hold,
                    Pause::InsufficientData,
                    "insufficient-data",
                    TOO_LITTLE,
                );
            }
            _ => {}
        }
    }

    pub(super) fn unsure(&mut self, then: Unsure, pause: Pause, kind: &str, why: &str) {
        match then {
            Unsure::Promote => self.next_step(why),
            Unsure::Pause => self.pause(pause, why),
            Unsure::Rollback => self.bad(cause(kind, why, self.facts.now)),
        }
    }

    fn moved(&mut self, moved: &Moved) {
        match self.next.rollout.stage {
            Stage::RollingBack if self.next.rollout.is_stuck() => {
                return self.moved_while_stuck(moved);
            }
            // It has no weights to lose, or they are no longer its own.
            Stage::RollingBack | Stage::Draining => return,
            _ => {}
        }
        self.rollout().share = moved.share;
        if moved.back {
            let by = &moved.by.name;
            let why = cause("rollback", format!("rolled back by {by}"), self.facts.now);
            self.rollout().share = 0.0;
            return self.back(why, false);
        }
        self.pause(Pause::Manual, moved.detail.clone());
    }

    fn drained(&mut self, left: u64) {
        let now = self.facts.now;
        let still = if left > 0 {
            format!("; {left} requests were still under way at the deadline")
        } else {
            String::new()
        };
        match self.next.rollout.stage {
            Stage::Draining => {
                self.enter(Stage::Succeeded);
                self.rollout().ended = Some(now);
                self.tell(
                    Kind::RolloutSucceeded,
                    format!("the old version has ended its work{still}"),
                );
            }
            Stage::RollingBack if !self.next.rollout.is_stuck() => {
                self.enter(Stage::Failed);
                self.rollout().ended = Some(now);
                self.tell(
                    Kind::RolloutFailed,
                    format!("the new version has ended its work{still}"),
                );
            }
            _ => {}
        }
    }

    pub(super) fn succeed(&mut self, why: &str) {
        self.enter(Stage::Draining);
        self.next.tasks.push(Task::Drain);
        self.tell(Kind::RolloutStep, why);
    }

    fn supersede(&mut self) {
        let now = self.facts.now;
        if self.next.rollout.share > 0.0 && self.next.rollout.stage.compares() {
            self.next.moves = Some(Move::Back { force: false });
            self.rollout().share = 0.0;
        }
        self.enter(Stage::Superseded);
        self.rollout().end_pause(now);
        self.rollout().ended = Some(now);
        self.tell(
            Kind::RolloutSuperseded,
            "another rollout was begun in its place",
        );
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        let now = self.facts.now;
        let rollout = self.rollout();
        rollout.stage = stage;
        rollout.since = now;
    }

    pub(super) fn enter_phase(&mut self, phase: Phase) {
        let stage = self.next.rollout.stage.with(phase);
        self.enter(stage);
    }
}

const TOO_LITTLE: &str = "too little is known of the new version";

pub(super) fn cause(kind: &str, detail: impl Into<String>, at: Timestamp) -> Cause {
    Cause {
        kind: kind.to_owned(),
        detail: detail.into(),
        at,
        evidence: Value::Null,
    }
}
