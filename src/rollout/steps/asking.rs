//! What is waited for before a stage: that the new pools are proven, and that nobody who is asked objects.

use super::{Answer, Machine, Task, going::cause};
use crate::{
    config::plan::HookPoint,
    control::{
        Kind,
        rollout::{Pause, Phase, Stage},
    },
    units::Unsure,
};

impl Machine<'_> {
    pub(super) fn proven(&mut self, proven: Result<(), String>) {
        if self.next.rollout.stage.phase() != Some(Phase::Proving) {
            return;
        }
        match proven {
            Ok(()) => self.ask_or(
                HookPoint::BeforeStart,
                Stage::Preparing {
                    phase: Phase::Asking,
                },
            ),
            Err(why) => self.bad(cause("not-ready", why, self.facts.now)),
        }
    }

    /// Asks the hooks of a point, and goes on at once where there are none.
    pub(super) fn ask_or(&mut self, point: HookPoint, asking: Stage) {
        if self.plan.hooks.iter().any(|hook| hook.at.contains(&point)) {
            self.enter(asking);
            self.next.tasks.push(Task::Ask(point));
            self.tell(Kind::RolloutStep, format!("asks {}", point.as_str()));
        } else {
            self.passed(point);
        }
    }

    /// Nobody objects at this point.
    pub(super) fn passed(&mut self, point: HookPoint) {
        match point {
            HookPoint::BeforeStart => self.begin_step(0),
            HookPoint::BeforeStep | HookPoint::BeforePromote => self.shift(),
            HookPoint::AfterPromote | HookPoint::AfterRollback => {}
        }
    }

    pub(super) fn answered(&mut self, point: HookPoint, answer: Answer) {
        let awaited = match point {
            HookPoint::BeforeStart => {
                self.next.rollout.stage
                    == Stage::Preparing {
                        phase: Phase::Asking,
                    }
            }
            HookPoint::BeforeStep => matches!(
                self.next.rollout.stage,
                Stage::Stepping {
                    phase: Phase::Asking,
                    ..
                }
            ),
            HookPoint::BeforePromote => {
                self.next.rollout.stage
                    == Stage::Promoting {
                        phase: Phase::Asking,
                    }
            }
            HookPoint::AfterPromote => self.next.rollout.stage == Stage::Baking,
            HookPoint::AfterRollback => false,
        };
        if !awaited {
            return;
        }
        match answer {
            // Its answer is known; whoever has paused it goes on from here.
            Answer::Passed
                if self.next.rollout.paused.is_some() && point != HookPoint::AfterPromote =>
            {
                let stage = self.next.rollout.stage;
                if matches!(stage, Stage::Preparing { .. }) {
                    self.enter(Stage::Stepping {
                        step: 0,
                        phase: Phase::Shifting,
                    });
                } else {
                    self.enter_phase(Phase::Shifting);
                }
                self.tell(Kind::RolloutStep, format!("{} passed", point.as_str()));
            }
            Answer::Passed => self.passed(point),
            Answer::Failed(why) => {
                self.bad(cause(
                    "hook",
                    format!("{}: {why}", point.as_str()),
                    self.facts.now,
                ));
            }
            Answer::Late { who, then } => {
                let why = format!("{}: {who} did not answer in time", point.as_str());
                match then {
                    Unsure::Promote => self.passed(point),
                    Unsure::Pause => self.pause(Pause::Hook, why),
                    Unsure::Rollback => self.bad(cause("hook", why, self.facts.now)),
                }
            }
        }
    }
}
