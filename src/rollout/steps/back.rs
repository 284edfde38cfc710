//! The way back: the new version loses what it has, once the stable one can take it.

use super::{Machine, Move, Moved, Task};
use crate::{
    config::plan::HookPoint,
    control::{
        Kind,
        rollout::{Cause, Pause, Stage},
    },
};

impl Machine<'_> {
    pub(super) fn bad(&mut self, cause: Cause) {
        let rolling = self.next.rollout.is_rolling();
        if let Some(paused) = &mut self.rollout().paused
            && paused.reason == Pause::Manual
        {
            if !std::mem::replace(&mut paused.alarmed, true) {
                let said = format!("would roll back: {}", cause.detail);
                self.rollout().cause = Some(cause);
                self.tell(Kind::RolloutAlarm, said);
            }
            return;
        }
        if matches!(
            self.next.rollout.stage,
            Stage::Draining | Stage::RollingBack
        ) {
            return;
        }
        let moves = if rolling {
            self.batch_serves()
        } else {
            self.next.rollout.share > 0.0
        };
        if moves && !self.facts.stable_is_ready {
            let waits = self.next.rollout.paused.as_ref();
            if waits.is_none_or(|paused| paused.reason != Pause::StableNotReady) {
                let other = if rolling {
                    "no other endpoint is ready"
                } else {
                    "the stable version is not ready"
                };
                let said = format!("to be taken back, and {other}: {}", cause.detail);
                self.rollout().cause = Some(cause);
                self.pause(Pause::StableNotReady, said);
                self.next.told = Some(Kind::RolloutAlarm);
            }
            return;
        }
        self.back(cause, false);
    }

    /// Takes the new version back.
    pub(super) fn back(&mut self, cause: Cause, force: bool) {
        if self.next.rollout.is_rolling() {
            return self.stop(cause);
        }
        let now = self.facts.now;
        let said = cause.detail.clone();
        let moves = self.next.rollout.share > 0.0;
        self.enter(Stage::RollingBack);
        let rollout = self.rollout();
        rollout.end_pause(now);
        rollout.cause = Some(cause);
        rollout.share = 0.0;
        rollout.restored = Some(now);
        if moves {
            self.next.moves = Some(Move::Back { force });
        }
        self.after_rollback();
        self.tell(Kind::RolloutRollback, said);
    }

    /// Moves the weights that could not be moved before.
    pub(super) fn back_again(&mut self, force: bool) {
        let now = self.facts.now;
        let rollout = self.rollout();
        rollout.share = 0.0;
        rollout.restored = Some(now);
        self.next.moves = Some(Move::Back { force });
        self.after_rollback();
        self.tell(
            Kind::RolloutRollback,
            "the stable version has everything again, after all",
        );
    }

    /// Whose weights they are by now has the last word.
    pub(super) fn moved_while_stuck(&mut self, moved: &Moved) {
        let now = self.facts.now;
        self.rollout().share = moved.share;
        if moved.share > 0.0 {
            self.enter(Stage::Failed);
            self.rollout().ended = Some(now);
            self.tell(Kind::RolloutFailed, moved.detail.clone());
        } else {
            self.rollout().restored = Some(now);
            self.after_rollback();
            self.tell(Kind::RolloutRollback, moved.detail.clone());
        }
    }

    pub(super) fn after_rollback(&mut self) {
        self.next.tasks.push(Task::Drain);
        if self
            .plan
            .hooks
            .iter()
            .any(|hook| hook.at.contains(&HookPoint::AfterRollback))
        {
            self.next.tasks.push(Task::Ask(HookPoint::AfterRollback));
        }
    }
}
