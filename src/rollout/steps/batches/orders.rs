//! What a person may say of a rolling replacement.

use crate::{
    config::plan::HookPoint,
    control::{
        Kind,
        rollout::{Pause, Phase, Resume, Stage},
    },
    rollout::steps::{
        Machine, Order, Task,
        asked::{Denied, denied, no_more},
        going::cause,
    },
};

impl Machine<'_> {
    pub(in crate::rollout::steps) fn order_of_batches(
        &mut self,
        order: Order,
    ) -> Result<(), Denied> {
        match order {
            Order::Promote { full: true } => Err(denied(
                "a rolling replacement has no share to raise",
                "`promote` goes on to the next batch",
            )),
            Order::Promote { full: false } => self.promote_batch(),
            Order::Resume(how) => self.resume_batches(how),
            Order::Skip => self.skip_of_batch(),
            Order::Abort => self.abort_batches(),
            Order::Undo => Err(denied(
                "endpoints that were replaced do not come back",
                "the old version is put there by another rolling replacement",
            )),
            Order::Pause => unreachable!("a pause is the same for all"),
        }
    }

    fn promote_batch(&mut self) -> Result<(), Denied> {
        self.not_while_moved()?;
        match self.next.rollout.stage {
            Stage::Stepping {
                phase: Phase::WarmingUp | Phase::Waiting | Phase::Extending,
                ..
            } => {
                self.go_on();
                self.next_step("promoted by hand");
                Ok(())
            }
            Stage::RollingBack => Err(no_more(self.next.rollout.stage)),
            _ => {
                let waits = self.batch_waits_for();
                Err(denied(
                    format!("it waits for {waits}"),
                    "`skip` passes over a hook or says that the batch is replaced, `abort` ends it",
                ))
            }
        }
    }

    fn skip_of_batch(&mut self) -> Result<(), Denied> {
        self.not_while_moved()?;
        match self.next.rollout.stage {
            Stage::Preparing { .. } => {
                self.go_on();
                self.begin_batch(0);
            }
            Stage::Stepping {
                step,
                phase: Phase::Replacing,
            } => {
                self.go_on();
                self.put_back(step);
            }
            Stage::Stepping {
                phase: Phase::WarmingUp,
                ..
            } => {
                self.go_on();
                self.enter_phase(Phase::Waiting);
                self.tell(Kind::RolloutStep, "the warm-up was skipped");
            }
            Stage::Stepping {
                phase: Phase::Waiting | Phase::Extending,
                ..
            } => {
                self.go_on();
                self.next_step("what follows the batch was skipped");
            }
            Stage::RollingBack => return Err(no_more(self.next.rollout.stage)),
            _ => {
                let waits = self.batch_waits_for();
                return Err(denied(
                    format!("it waits for {waits}, which cannot be skipped"),
                    "`abort` ends it",
                ));
            }
        }
        Ok(())
    }

    fn resume_batches(&mut self, how: Option<Resume>) -> Result<(), Denied> {
        let Some(paused) = self.next.rollout.paused.clone() else {
            return Err(denied(
                "it is not paused",
                "`promote` goes on to the next batch",
            ));
        };
        if how.is_some() {
            return Err(denied(
                "a rolling replacement moves no weights",
                "`resume` needs neither --from-current nor --restore-step",
            ));
        }
        if paused.reason == Pause::StableNotReady {
            return Err(denied(
                "the batch is to be drained once another endpoint is ready",
                "`abort` ends it at once, `promote` goes on with the batch as it is",
            ));
        }
        self.go_on();
        let now = self.facts.now;
        if paused.reason != Pause::Person {
            let rollout = self.rollout();
            rollout.since = now;
            rollout.cause = None;
        }
        if paused.reason == Pause::Manual {
            self.take_over_batch();
            if self.next.rollout.is_over() {
                return Ok(());
            }
        }
        let asked = paused.reason == Pause::Hook;
        match (self.next.rollout.stage, self.next.rollout.stage.phase()) {
            (Stage::Preparing { .. }, _) if asked => {
                self.next.tasks.push(Task::Ask(HookPoint::BeforeStart));
            }
            (_, Some(Phase::Replacing)) if asked => {
                self.next.tasks.push(Task::Ask(HookPoint::BeforeStep));
            }
            // What came of it meanwhile was not heeded.
            (_, Some(Phase::Emptying)) => self.next.tasks.push(Task::Drain),
            (_, Some(Phase::Proving)) => self.next.tasks.push(Task::Prove),
            _ => {}
        }
        self.tell(Kind::RolloutResumed, "resumed");
        Ok(())
    }

    fn abort_batches(&mut self) -> Result<(), Denied> {
        if self.next.rollout.is_stuck() {
            self.drain_again();
            return Ok(());
        }
        if self.next.rollout.stage == Stage::RollingBack {
            return Err(denied(
                "it is about to end already",
                "`cutover wait SERVICE rollout` waits for its end",
            ));
        }
        let by = self.facts.by.name.clone();
        let why = self.facts.reason.clone();
        let why = why.map_or_else(String::new, |reason| format!(": {reason}"));
        self.stop(cause(
            "abort",
            format!("aborted by {by}{why}"),
            self.facts.now,
        ));
        Ok(())
    }

    /// Somebody else moves the service's requests now, and says when he is done.
    fn not_while_moved(&self) -> Result<(), Denied> {
        match &self.next.rollout.paused {
            Some(paused) if paused.reason == Pause::Manual => Err(denied(
                format!("somebody else has changed something: {}", paused.detail),
                "`resume` goes on with it as it is",
            )),
            _ => Ok(()),
        }
    }

    fn batch_waits_for(&self) -> &'static str {
        match self.next.rollout.stage.phase() {
            Some(Phase::Asking) => "the answers of hooks",
            Some(Phase::Shifting) => "other endpoints to be ready before the batch is drained",
            Some(Phase::Emptying) => "the batch to end its work",
            Some(Phase::Replacing) => "the batch to be replaced",
            Some(Phase::Restoring) => "the batch to be put back",
            Some(Phase::Proving) => "the batch to be proven",
            _ => "nothing",
        }
    }
}
