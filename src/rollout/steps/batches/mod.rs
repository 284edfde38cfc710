//! The way of a rolling replacement: batch after batch is emptied, replaced, put back, proven and judged. The next is begun only while the
//! one before it serves, so there are never two out at once.

mod orders;

use super::{
    Answer, Attempt, Input, Machine, Move, Task,
    going::{cause, then},
};
use crate::{
    config::plan::{HookPoint, Then},
    control::{
        Kind,
        rollout::{Batches, Cause, Pause, Phase, Stage},
    },
    units::{Address, Unsure},
};

impl Machine<'_> {
    pub(super) fn take_of_batches(&mut self, input: Input) {
        if self.next.rollout.is_over() {
            return;
        }
        match input {
            Input::Tick => self.tick_of_batches(),
            Input::Restarted => self.restart_of_batches(),
            Input::Proven(proven) => self.batch_proven(proven),
            Input::Asked(point, answer) => self.batch_answered(point, answer),
            Input::Refused(attempt) => self.batch_refused(attempt),
            Input::Stuck(why) => {
                let said = format!("the batch cannot be drained: {why}; tried again until it can");
                self.tell(Kind::RolloutAlarm, said);
            }
            Input::Bad(cause) => self.bad(cause),
            Input::Alarm(said) => self.tell(Kind::RolloutAlarm, said),
            Input::Look(look) if !self.lost_its_batch() => self.look(look),
            Input::Look(_) => {}
            Input::Moved(moved) => {
                if self.next.rollout.stage.compares() {
                    self.pause(Pause::Manual, moved.detail);
                }
            }
            Input::Drained { left } => self.batch_emptied(left),
            Input::Superseded => self.supersede_batches(),
            Input::Order(_) => unreachable!("orders are taken apart before"),
        }
    }

    fn batches(&mut self) -> &mut Batches {
        let batches = self.rollout().batches.as_mut();
        batches.expect("only rolling replacements come here")
    }

    /// Requests go to the batch, or are about to.
    pub(super) fn batch_serves(&self) -> bool {
        let phase = self.next.rollout.stage.phase();
        phase.is_some_and(Phase::serves)
    }

    fn asks_for_replacement(&self) -> bool {
        let mut hooks = self.plan.hooks.iter();
        hooks.any(|hook| hook.at.contains(&HookPoint::BeforeStep))
    }

    fn tick_of_batches(&mut self) {
        if let Some(paused) = &self.next.rollout.paused {
            if paused.reason == Pause::StableNotReady
                && self.facts.stable_is_ready
                && let Some(cause) = self.next.rollout.cause.clone()
            {
                self.stop(cause);
            }
            return;
        }
        if self.next.rollout.is_stuck() {
            return self.drain_again();
        }
        let Stage::Stepping { step, phase } = self.next.rollout.stage else {
            return;
        };
        match phase {
            Phase::Shifting => self.empty_batch(step),
            Phase::Restoring => self.put_back(step),
            Phase::WarmingUp if self.is_late() => {
                self.enter_phase(Phase::Waiting);
                self.tell(Kind::RolloutStep, "warmed up");
            }
            Phase::Waiting if self.is_late() && !self.lost_its_batch() => {
                self.waited_for_batch(step);
            }
            _ => {}
        }
    }

    /// The time of what follows a batch is over.
    fn waited_for_batch(&mut self, step: usize) {
        match then(&self.next.rollout, self.plan, step) {
            None => self.next_step("nothing is to follow it"),
            Some(Then::Hold(_)) => self.next_step("held for its time"),
            // The look that is due says what follows.
            Some(Then::Judge(_)) => {}
            Some(Then::Approval { on_timeout, .. }) => self.unsure(
                on_timeout,
                Pause::Approval,
                "approval",
                "nobody approved in time",
            ),
        }
    }

    /// The next would be begun, and this one has fallen over: then it is bad, whatever it did before.
    fn lost_its_batch(&mut self) -> bool {
        let waits = matches!(
            self.next.rollout.stage.phase(),
            Some(Phase::Waiting | Phase::Extending)
        );
        let lost = waits
            && self.next.rollout.paused.is_none()
            && self.is_late()
            && !self.facts.batch_is_ready;
        if lost {
            let why = "no endpoint of the batch is ready any more";
            self.bad(cause("not-ready", why, self.facts.now));
        }
        lost
    }

    /// What was begun with a phase ended with the process, and so did all that was seen.
    fn restart_of_batches(&mut self) {
        let now = self.facts.now;
        match (self.next.rollout.stage, self.next.rollout.stage.phase()) {
            (Stage::Preparing { .. }, _) => {
                self.next.tasks.push(Task::Ask(HookPoint::BeforeStart));
            }
            (Stage::RollingBack, _) if self.next.rollout.is_stuck() => {}
            (Stage::Stepping { .. }, Some(Phase::Emptying)) | (Stage::RollingBack, _) => {
                self.next.tasks.push(Task::Drain);
            }
            (Stage::Stepping { .. }, Some(Phase::Replacing)) if self.asks_for_replacement() => {
                self.next.tasks.push(Task::Ask(HookPoint::BeforeStep));
            }
            // Nobody is ready before he is proven afresh, the batch as little as the others.
            (Stage::Stepping { .. }, _) if self.batch_serves() => {
                let stage = self.next.rollout.stage.with(Phase::Proving);
                self.rollout().stage = stage;
                self.next.tasks.push(Task::Prove);
            }
            _ => {}
        }
        self.rollout().since = now;
        self.pause_begins_anew();
        self.tell(Kind::RolloutResumed, "goes on after a restart");
    }

    /// The first of the batches from this one on of which an endpoint is still there.
    pub(super) fn begin_batch(&mut self, first: usize) {
        let (now, by) = (self.facts.now, self.facts.by.clone());
        let all = self.batches().all.clone();
        let gone = &self.facts.gone;
        let is_there = |batch: &[Address]| batch.iter().any(|address| !gone.contains(address));
        let next = (first..all.len()).find(|at| is_there(&all[*at]));
        for at in first..next.unwrap_or(all.len()) {
            let said = format!(
                "batch {} is passed over: it has left the pool, or somebody has drained it",
                at + 1
            );
            self.rollout().note(now, &by, said);
        }
        let Some(at) = next else {
            return self.all_are_replaced();
        };
        let named: Vec<_> = all[at].iter().take(5).map(ToString::to_string).collect();
        let more = match all[at].len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (number, of) = (at + 1, all.len());
        let said = format!("batch {number} of {of}: {}{more}", named.join(", "));
        self.batches().at = at;
        self.enter(Stage::Stepping {
            step: at,
            phase: Phase::Shifting,
        });
        self.tell(Kind::RolloutStep, said);
    }

    fn all_are_replaced(&mut self) {
        let now = self.facts.now;
        self.enter(Stage::Succeeded);
        let rollout = self.rollout();
        rollout.share = 1.0;
        rollout.promoted = Some(now);
        rollout.ended = Some(now);
        self.tell(Kind::RolloutSucceeded, "all endpoints are replaced");
    }

    fn empty_batch(&mut self, step: usize) {
        let gone = &self.facts.gone;
        self.keep_of_batch(step, |address| !gone.contains(address));
        if self.batches().current().is_empty() {
            return self.begin_batch(step);
        }
        self.enter(Stage::Stepping {
            step,
            phase: Phase::Emptying,
        });
        self.batches().out = true;
        self.next.moves = Some(Move::Empty);
        self.next.tasks.push(Task::Drain);
        self.tell(Kind::RolloutStep, "the batch gets no new requests");
    }

    /// What becomes of the others is not for it to say any more.
    fn keep_of_batch(&mut self, step: usize, keep: impl Fn(&Address) -> bool) {
        let (now, by) = (self.facts.now, self.facts.by.clone());
        let Some(batch) = self.batches().all.get_mut(step) else {
            return;
        };
        let (kept, left) = batch.iter().cloned().partition(keep);
        *batch = kept;
        for address in left {
            let said = format!("{address} is left as it is");
            self.rollout().note(now, &by, said);
        }
    }

    /// Somebody else has drained endpoints of the batch, or put them back: it goes on with them as they are.
    fn take_over_batch(&mut self) {
        let (Stage::Stepping { step, .. }, facts) = (self.next.rollout.stage, self.facts) else {
            return;
        };
        let is_out = self.batches().out;
        let held = |address: &Address| facts.drained.contains(address);
        let serves = |address: &Address| !held(address) && !facts.gone.contains(address);
        if is_out && self.batches().current().iter().any(serves) {
            // They are about to be replaced, and get requests.
            self.enter_phase(Phase::Shifting);
        } else if self.batch_serves() && self.batches().current().iter().any(held) {
            self.keep_of_batch(step, |address| !held(address));
            if self.batches().current().is_empty() {
                self.next_step("somebody has drained all of the batch");
            }
        }
    }

    fn batch_emptied(&mut self, left: u64) {
        let now = self.facts.now;
        let still = if left > 0 {
            format!("; {left} requests were still under way at the deadline")
        } else {
            String::new()
        };
        match (self.next.rollout.stage, self.next.rollout.stage.phase()) {
            (Stage::RollingBack, _) if self.next.rollout.is_stuck() => {}
            (Stage::RollingBack, _) => {
                self.enter(Stage::Failed);
                self.rollout().ended = Some(now);
                let out = self.batches().out;
                let said = if out {
                    format!("the batch is drained{still}")
                } else {
                    "ended".to_owned()
                };
                self.tell(Kind::RolloutFailed, said);
            }
            // Whoever has paused it finds it empty when it goes on.
            (_, Some(Phase::Emptying)) if self.next.rollout.paused.is_none() => {
                self.enter_phase(Phase::Replacing);
                let next = if self.asks_for_replacement() {
                    self.next.tasks.push(Task::Ask(HookPoint::BeforeStep));
                    "asks before-step to replace it"
                } else {
                    "`skip` says that it is replaced"
                };
                self.tell(
                    Kind::RolloutStep,
                    format!("the batch is empty: {next}{still}"),
                );
            }
            _ => {}
        }
    }

    fn batch_answered(&mut self, point: HookPoint, answer: Answer) {
        let step = match (self.next.rollout.stage, point) {
            (Stage::Preparing { .. }, HookPoint::BeforeStart) => None,
            (
                Stage::Stepping {
                    step,
                    phase: Phase::Replacing,
                },
                HookPoint::BeforeStep,
            ) => Some(step),
            _ => return,
        };
        let point = point.as_str();
        match answer {
            Answer::Passed => self.batch_passed(step),
            Answer::Failed(why) => {
                self.bad(cause("hook", format!("{point}: {why}"), self.facts.now));
            }
            Answer::Late { who, then } => {
                let why = format!("{point}: {who} did not answer in time");
                match then {
                    Unsure::Promote => self.batch_passed(step),
                    Unsure::Pause => self.pause(Pause::Hook, why),
                    Unsure::Rollback => self.bad(cause("hook", why, self.facts.now)),
                }
            }
        }
    }

    /// Nobody objects to its beginning, or the batch is replaced.
    fn batch_passed(&mut self, step: Option<usize>) {
        match step {
            None => self.begin_batch(0),
            // Its answer is known; whoever has paused it goes on from here.
            Some(_) if self.next.rollout.paused.is_some() => {
                self.enter_phase(Phase::Restoring);
                self.tell(Kind::RolloutStep, "the batch is replaced");
            }
            Some(step) => self.put_back(step),
        }
    }

    fn put_back(&mut self, step: usize) {
        self.enter(Stage::Stepping {
            step,
            phase: Phase::Proving,
        });
        self.batches().out = false;
        self.next.moves = Some(Move::PutBack);
        self.next.tasks.push(Task::Prove);
        self.tell(Kind::RolloutStep, "the batch is to be proven afresh");
    }

    fn batch_refused(&mut self, attempt: Attempt) {
        if self.next.rollout.paused.is_some() {
            return;
        }
        let waits = match attempt.to.phase() {
            Some(Phase::Emptying) => Phase::Shifting,
            Some(Phase::Proving) => Phase::Restoring,
            _ => return,
        };
        if self.next.rollout.stage != attempt.to.with(waits) {
            self.enter(attempt.to.with(waits));
            self.tell(Kind::RolloutStep, format!("waits: {}", attempt.why));
        } else if self.is_late() {
            self.pause(Pause::Refused, attempt.why);
        }
    }

    fn batch_proven(&mut self, proven: Result<(), String>) {
        let Stage::Stepping {
            step,
            phase: Phase::Proving,
        } = self.next.rollout.stage
        else {
            return;
        };
        if self.next.rollout.paused.is_some() {
            return;
        }
        match proven {
            Ok(()) => {
                self.enter_phase(Phase::WarmingUp);
                self.rollout().share = self.batches().part(step + 1);
                self.tell(Kind::RolloutStep, "the batch is proven, and serves");
            }
            Err(why) => self.bad(cause("not-ready", why, self.facts.now)),
        }
    }

    /// Ends it; a batch that is out stays so, one that serves goes out while others do.
    pub(super) fn stop(&mut self, cause: Cause) {
        let now = self.facts.now;
        let mut said = cause.detail.clone();
        let serves = self.batch_serves();
        let step = self.next.rollout.stage.step().unwrap_or(0);
        if self.batches().out {
            // What somebody has put back meanwhile serves on.
            let (at, drained) = (self.batches().at, &self.facts.drained);
            self.keep_of_batch(at, |address| drained.contains(address));
            self.batches().out = !self.batches().current().is_empty();
        }
        if serves && !self.facts.stable_is_ready {
            said.push_str("; no other endpoint is ready, so the batch serves on");
        } else if serves {
            self.batches().out = true;
            self.next.moves = Some(Move::Out);
            self.rollout().share = self.batches().part(step);
        }
        self.enter(Stage::RollingBack);
        let rollout = self.rollout();
        rollout.end_pause(now);
        rollout.cause = Some(cause);
        rollout.restored = Some(now);
        self.after_rollback();
        self.tell(Kind::RolloutRollback, said);
    }

    /// The drain of the bad batch was refused.
    pub(super) fn drain_again(&mut self) {
        let now = self.facts.now;
        self.batches().out = true;
        self.next.moves = Some(Move::Out);
        self.rollout().restored = Some(now);
        self.after_rollback();
        self.tell(Kind::RolloutRollback, "the batch is drained, after all");
    }

    fn supersede_batches(&mut self) {
        let now = self.facts.now;
        self.enter(Stage::Superseded);
        self.rollout().end_pause(now);
        self.rollout().ended = Some(now);
        self.tell(
            Kind::RolloutSuperseded,
            "another rollout was begun in its place",
        );
    }
}
