use super::{Machine, Move, Order, Task, going::cause};
use crate::{
    config::plan::{HookPoint, Then},
    control::{
        Kind,
        rollout::{Pause, Phase, Resume, Stage},
    },
};

/// An order that cannot be followed where the rollout stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub why: String,
    /// What may be said instead.
    pub hint: String,
}

pub(super) fn denied(why: impl Into<String>, hint: impl Into<String>) -> Denied {
    Denied {
        why: why.into(),
        hint: hint.into(),
    }
}

impl Machine<'_> {
    pub(super) fn order(&mut self, order: Order) -> Result<(), Denied> {
        if self.next.rollout.is_over() && order != Order::Undo {
            let (id, stage) = (self.next.rollout.id, self.next.rollout.stage);
            return Err(denied(
                format!("rollout {id} is over: it has {stage}"),
                "`cutover rollout start` begins another, `retry` the same plan again",
            ));
        }
        if self.next.rollout.is_rolling() && order != Order::Pause {
            return self.order_of_batches(order);
        }
        match order {
            Order::Promote { full } => self.order_promote(full),
            Order::Pause => self.order_pause(),
            Order::Resume(how) => self.order_resume(how),
            Order::Skip => self.order_skip(),
            Order::Abort => self.order_abort(),
            Order::Undo => self.order_undo(),
        }
    }

    fn order_promote(&mut self, full: bool) -> Result<(), Denied> {
        self.not_while_manual("promote")?;
        match self.next.rollout.stage {
            Stage::Stepping { .. } if full => {
                self.go_on();
                self.promote();
            }
            Stage::Stepping {
                phase: Phase::Waiting | Phase::Extending | Phase::WarmingUp,
                ..
            } => {
                self.go_on();
                self.next_step("promoted by hand");
            }
            Stage::Baking => {
                self.go_on();
                self.succeed("promoted by hand");
            }
            Stage::Stepping { .. } | Stage::Preparing { .. } | Stage::Promoting { .. } => {
                let waits = self.waits_for();
                return Err(denied(
                    format!("it waits for {waits}"),
                    "`skip` passes over a hook, `abort` ends it",
                ));
            }
            stage => return Err(no_more(stage)),
        }
        Ok(())
    }

    fn order_pause(&mut self) -> Result<(), Denied> {
        if let Some(paused) = &self.next.rollout.paused {
            return Err(denied(
                format!("it is paused already: {}", paused.detail),
                "`resume` has it go on",
            ));
        }
        if !self.next.rollout.stage.compares() {
            return Err(no_more(self.next.rollout.stage));
        }
        let by = self.facts.by.name.clone();
        let why = self.facts.reason.clone();
        let why = why.map_or_else(String::new, |reason| format!(": {reason}"));
        self.pause(Pause::Person, format!("paused by {by}{why}"));
        Ok(())
    }

    fn order_resume(&mut self, how: Option<Resume>) -> Result<(), Denied> {
        let Some(paused) = self.next.rollout.paused.clone() else {
            return Err(denied(
                "it is not paused",
                "`promote` goes on to the next step",
            ));
        };
        match (paused.reason, how) {
            (Pause::Manual, None) => Err(denied(
                format!("its weights were changed: {}", paused.detail),
                "`resume --from-current` goes on with them, `resume --restore-step` with those of its step",
            )),
            (Pause::Manual, Some(how)) => {
                self.go_on();
                self.take_over(how);
                Ok(())
            }
            (_, Some(_)) => Err(denied(
                "its weights are its own",
                "`resume` needs neither --from-current nor --restore-step",
            )),
            (Pause::StableNotReady, None) => Err(denied(
                "it is to be taken back once the stable version is ready",
                "`abort` takes it back at once, `promote --full` goes on with the new version",
            )),
            (Pause::Hook, None) => {
                self.go_on();
                let point = self.asked_of();
                if let Some(point) = point {
                    self.next.tasks.push(Task::Ask(point));
                }
                self.tell(Kind::RolloutResumed, "resumed: asks once more");
                Ok(())
            }
            (Pause::InsufficientData | Pause::Approval, None) => {
                self.go_on();
                let now = self.facts.now;
                self.rollout().since = now;
                self.tell(Kind::RolloutResumed, "resumed: waits once more");
                Ok(())
            }
            (Pause::Person | Pause::Refused, None) => {
                self.go_on();
                if paused.reason == Pause::Refused {
                    let now = self.facts.now;
                    self.rollout().since = now;
                }
                self.tell(Kind::RolloutResumed, "resumed");
                Ok(())
            }
        }
    }

    /// Goes on after somebody has moved the weights.
    fn take_over(&mut self, how: Resume) {
        let share = self.next.rollout.share;
        self.rollout().cause = None;
        match how {
            Resume::FromCurrent if share >= 1.0 => {
                let now = self.facts.now;
                let rollout = self.rollout();
                rollout.stage = Stage::Baking;
                rollout.since = now;
                rollout.promoted = Some(now);
                self.tell(
                    Kind::RolloutPromoted,
                    "goes on with the weights as they are",
                );
            }
            Resume::FromCurrent => {
                let at = |step: &crate::config::plan::Step| {
                    step.share.is_some_and(|at| at.part() <= share)
                };
                let step = self.plan.steps.iter().rposition(at).unwrap_or(0);
                self.resume_at(step);
                self.tell(Kind::RolloutResumed, "goes on with the weights as they are");
            }
            Resume::RestoreStep => match self.next.rollout.stage {
                Stage::Stepping { step, .. } => {
                    let at = self.plan.steps[..=step]
                        .iter()
                        .rev()
                        .find_map(|step| step.share);
                    self.resume_at(step);
                    if let Some(at) = at {
                        self.rollout().share = at.part();
                        self.next.moves = Some(Move::To(at));
                    }
                    self.tell(Kind::RolloutResumed, "goes on with the weights of its step");
                }
                Stage::Baking => {
                    self.rollout().share = 1.0;
                    self.next.moves = Some(Move::To(crate::units::Percent::WHOLE));
                    self.tell(
                        Kind::RolloutResumed,
                        "the new version has all requests again",
                    );
                }
                _ => {
                    self.rollout().share = 0.0;
                    self.next.moves = Some(Move::Back { force: false });
                    self.tell(
                        Kind::RolloutResumed,
                        "the stable version has all requests again",
                    );
                }
            },
        }
    }

    fn resume_at(&mut self, step: usize) {
        let now = self.facts.now;
        let rollout = self.rollout();
        rollout.stage = Stage::Stepping {
            step,
            phase: Phase::WarmingUp,
        };
        rollout.since = now;
    }

    fn order_skip(&mut self) -> Result<(), Denied> {
        self.not_while_manual("skip")?;
        if let Some(point) = self.asked_of() {
            self.go_on();
            self.passed(point);
            return Ok(());
        }
        match self.next.rollout.stage {
            Stage::Stepping {
                phase: Phase::WarmingUp,
                step,
            } => {
                self.go_on();
                let now = self.facts.now;
                let rollout = self.rollout();
                rollout.stage = Stage::Stepping {
                    step,
                    phase: Phase::Waiting,
                };
                rollout.since = now;
                self.tell(Kind::RolloutStep, "the warm-up was skipped");
                Ok(())
            }
            Stage::Stepping {
                phase: Phase::Waiting | Phase::Extending,
                step,
            } => {
                self.go_on();
                let what = match self.plan.steps[step].then {
                    Then::Hold(_) => "the hold",
                    Then::Judge(_) => "the judgement",
                    Then::Approval { .. } => "the approval",
                };
                self.next_step(&format!("{what} was skipped"));
                Ok(())
            }
            Stage::Baking => {
                self.go_on();
                self.succeed("the bake was skipped");
                Ok(())
            }
            Stage::Preparing { .. } | Stage::Stepping { .. } | Stage::Promoting { .. } => {
                let waits = self.waits_for();
                Err(denied(
                    format!("it waits for {waits}, which cannot be skipped"),
                    "`abort` ends it",
                ))
            }
            stage => Err(no_more(stage)),
        }
    }

    fn order_abort(&mut self) -> Result<(), Denied> {
        match self.next.rollout.stage {
            Stage::RollingBack if self.next.rollout.is_stuck() => {
                self.back_again(true);
                Ok(())
            }
            Stage::RollingBack => Err(denied(
                "it goes back already",
                "`cutover wait SERVICE rollout` waits for its end",
            )),
            Stage::Draining => Err(denied(
                "the new version has been promoted",
                "`undo` goes back to the old one in one step",
            )),
            _ => {
                let by = self.facts.by.name.clone();
                let why = self.facts.reason.clone();
                let why = why.map_or_else(String::new, |reason| format!(": {reason}"));
                self.back(
                    cause("abort", format!("aborted by {by}{why}"), self.facts.now),
                    true,
                );
                Ok(())
            }
        }
    }

    fn order_undo(&mut self) -> Result<(), Denied> {
        if !matches!(self.next.rollout.stage, Stage::Draining | Stage::Succeeded) {
            return Err(denied(
                "only one that has succeeded can be undone",
                "`abort` takes back one that is under way",
            ));
        }
        let since = self
            .next
            .rollout
            .promoted
            .unwrap_or(self.next.rollout.since);
        let window = self.plan.undo_window + self.plan.bake;
        let ends = jiff::SignedDuration::try_from(window)
            .ok()
            .and_then(|window| since.checked_add(window).ok());
        if ends.is_some_and(|ends| self.facts.now > ends) {
            return Err(denied(
                "its time to be undone is over",
                "`cutover rollback SERVICE` goes back to the last settled weights all the same",
            ));
        }
        let by = self.facts.by.name.clone();
        self.rollout().ended = None;
        self.back(
            cause("undo", format!("undone by {by}"), self.facts.now),
            true,
        );
        Ok(())
    }

    /// The weights are somebody's: what follows from the steps would overrule them.
    fn not_while_manual(&self, what: &str) -> Result<(), Denied> {
        match &self.next.rollout.paused {
            Some(paused) if paused.reason == Pause::Manual => Err(denied(
                format!("its weights were changed: {}", paused.detail),
                format!("`resume --from-current` or `resume --restore-step`, then `{what}`"),
            )),
            _ => Ok(()),
        }
    }

    /// Not paused any more; what was waited for before has as much time left as then.
    pub(super) fn go_on(&mut self) {
        let now = self.facts.now;
        let rollout = self.rollout();
        if let Some(span) = rollout.end_pause(now) {
            rollout.since = rollout.since.checked_add(span).unwrap_or(now).min(now);
        }
    }

    /// Whose answers are waited for.
    fn asked_of(&self) -> Option<HookPoint> {
        match self.next.rollout.stage {
            Stage::Preparing {
                phase: Phase::Asking,
            } => Some(HookPoint::BeforeStart),
            Stage::Stepping {
                phase: Phase::Asking,
                ..
            } => Some(HookPoint::BeforeStep),
            Stage::Promoting {
                phase: Phase::Asking,
            } => Some(HookPoint::BeforePromote),
            _ => None,
        }
    }

    fn waits_for(&self) -> &'static str {
        match self.next.rollout.stage.phase() {
            Some(Phase::Proving) => "the new pool to be proven",
            Some(Phase::Asking) => "the answers of hooks",
            Some(Phase::Shifting) => "what it shifts to be ready",
            _ => "nothing",
        }
    }
}

pub(super) fn no_more(stage: Stage) -> Denied {
    denied(
        format!("it is {stage} and goes no further"),
        "`cutover wait SERVICE rollout` waits for its end",
    )
}
