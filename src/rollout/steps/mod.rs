//! How a rollout goes on: where it stands, what has happened, and what follows. Pure; whoever calls does what is said, in one
//! change, and tells what came of it.

mod asked;
mod asking;
mod back;
mod batches;
mod going;

pub use asked::Denied;

use std::collections::BTreeSet;

use crate::{
    config::plan::{self, HookPoint},
    control::{
        Actor, Kind,
        rollout::{Cause, Pause, Phase, Resume, Rollout},
    },
    units::{Address, Percent, Timestamp},
};

/// What has happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The process has come up again with it.
    Restarted,
    /// The new pools are proven, or have not become so in time.
    Proven(Result<(), String>),
    /// All that were to be asked at this point have answered.
    Asked(HookPoint, Answer),
    /// What was to come next could not be put in force.
    Refused(Attempt),
    /// It goes back, and the weights could not be moved: why not.
    Stuck(String),
    /// Reason enough to take the new version back.
    Bad(Cause),
    /// What a look at the figures says, where it is no reason to go back.
    Look(Look),
    /// Something that people should know, and that changes nothing.
    Alarm(String),
    /// Somebody else has changed the weights.
    Moved(Moved),
    /// What lost its weight has no work any more, or its time is over.
    Drained { left: u64 },
    /// Another one is begun in its place.
    Superseded,
    /// A person's word.
    Order(Order),
}

/// What hooks have said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Passed,
    Failed(String),
    /// One did not in time; what follows is as it is set.
    Late {
        who: String,
        then: crate::units::Unsure,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Proven to be no worse than is allowed.
    Good,
    NotEnough,
}

/// A change that was refused, and where it would have led.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub to: crate::control::rollout::Stage,
    pub why: String,
}

/// A change of the weights that was not the rollout's.
#[derive(Debug, Clone)]
pub struct Moved {
    pub by: Actor,
    /// The new pool's share now.
    pub share: f64,
    /// To the stable pool, by a rollback.
    pub back: bool,
    pub detail: String,
}

/// What a person may say of a rollout that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Promote { full: bool },
    Pause,
    Resume(Option<Resume>),
    Skip,
    Abort,
    Undo,
}

/// What is known beside it.
#[derive(Debug, Clone)]
pub struct Facts {
    pub now: Timestamp,
    /// Somebody could be sent back to the stable pools; of a rolling replacement, to endpoints beside the batch.
    pub stable_is_ready: bool,
    /// Of a rolling replacement: an endpoint of the batch is ready.
    pub batch_is_ready: bool,
    /// Of its endpoints, those that are in the pool no more, or that somebody else has drained.
    pub gone: BTreeSet<Address>,
    /// Of the batch, those that are drained, by whomever.
    pub drained: BTreeSet<Address>,
    pub by: Actor,
    pub reason: Option<String>,
}

/// What follows.
#[derive(Debug, Clone)]
pub struct Next {
    pub rollout: Rollout,
    pub moves: Option<Move>,
    /// What it is told as; `None`: nothing has changed, and nothing is to be written.
    pub told: Option<Kind>,
    /// To be begun once it is in force; what they come to is told as an [`Input`].
    pub tasks: Vec<Task>,
}

/// Weights or drains, in one change with the rollout's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// The new pool gets this part.
    To(Percent),
    /// The stable pool gets everything.
    Back {
        /// A person's word stands over the gates.
        force: bool,
    },
    /// The batch is drained, to be replaced.
    Empty,
    /// Its drain ends.
    PutBack,
    /// It is drained and stays so.
    Out,
}

impl Move {
    /// The bad version loses what it has. Where that is refused, it is told and tried again.
    pub fn is_way_back(self) -> bool {
        matches!(self, Self::Back { .. } | Self::Out)
    }

    /// What it asks for may be refused, and stands once it is written down.
    pub fn rises(self) -> bool {
        matches!(self, Self::To(_) | Self::Empty | Self::PutBack)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// The new pools or the batch, by probes from now on.
    Prove,
    Ask(HookPoint),
    /// Waits until what gets no more requests has no work.
    Drain,
}

/// One input, and what follows from it. `Err`: an order that cannot be followed where it stands.
pub fn step(
    rollout: &Rollout,
    plan: &plan::Rollout,
    facts: &Facts,
    input: Input,
) -> Result<Next, Denied> {
    let mut machine = Machine {
        plan,
        facts,
        next: Next {
            rollout: rollout.clone(),
            moves: None,
            told: None,
            tasks: Vec::new(),
        },
    };
    match input {
        Input::Order(order) => machine.order(order)?,
        other if rollout.is_rolling() => machine.take_of_batches(other),
        other => machine.take(other),
    }
    machine.next.rollout.copies = going::copies(&machine.next.rollout, plan);
    Ok(machine.next)
}

/// When what is waited for is over by itself.
pub fn until(rollout: &Rollout, plan: &plan::Rollout) -> Option<Timestamp> {
    let span = going::span(rollout, plan)?;
    if rollout.paused.is_some() {
        return None;
    }
    rollout
        .since
        .checked_add(jiff::SignedDuration::try_from(span).ok()?)
        .ok()
}

/// Whether a tick would come to anything.
pub fn wants_time(rollout: &Rollout, plan: &plan::Rollout, now: Timestamp) -> bool {
    if let Some(paused) = &rollout.paused {
        return paused.reason == Pause::StableNotReady;
    }
    rollout.is_stuck()
        || matches!(
            rollout.stage.phase(),
            Some(Phase::Shifting | Phase::Restoring)
        )
        || until(rollout, plan).is_some_and(|until| now >= until)
}

/// One input being worked on.
struct Machine<'a> {
    plan: &'a plan::Rollout,
    facts: &'a Facts,
    next: Next,
}

impl Machine<'_> {
    fn rollout(&mut self) -> &mut Rollout {
        &mut self.next.rollout
    }

    /// It stands somewhere else now.
    fn tell(&mut self, kind: Kind, detail: impl Into<String>) {
        let (now, by) = (self.facts.now, self.facts.by.clone());
        self.next.told = Some(kind);
        self.rollout().note(now, &by, detail);
    }

    fn pause(&mut self, reason: Pause, detail: impl Into<String>) {
        let (now, detail) = (self.facts.now, detail.into());
        let already = self.rollout().paused.as_ref().map(|paused| paused.since);
        self.rollout().paused = Some(crate::control::rollout::Paused {
            reason,
            since: already.unwrap_or(now),
            detail: detail.clone(),
            alarmed: false,
        });
        self.tell(Kind::RolloutPaused, detail);
    }
}
