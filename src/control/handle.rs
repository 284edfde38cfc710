//! The door to the controller, for the rooms that ask.

use std::{sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Actor, Applied, Change, Code, Command, Discovered, Events, Hurry, Order, Phase, Probed,
    Refusal, Revision, Suspect, View, rollout,
};
use crate::{
    config::Plan,
    snapshot::Readers,
    units::{Name, PoolKey},
};

/// What needs no decision, so that it is taken even while one waits for the disk.
pub(super) enum Question {
    /// Takes note of something that is no decision.
    Note(Command, oneshot::Sender<()>),
    View(oneshot::Sender<View>),
    /// The view with this one service; `None` where there is none of that name.
    Service(Name, oneshot::Sender<Option<View>>),
    History(Name, oneshot::Sender<Option<Vec<Revision>>>),
    /// The answer that this key got for the same changes.
    Recall(
        Vec<Change>,
        Order,
        oneshot::Sender<Option<Result<Applied, Refusal>>>,
    ),
    /// How far each pool is on its way to be ready, by probes begun after the moment, if one is given.
    Readiness(
        Vec<PoolKey>,
        Option<Instant>,
        oneshot::Sender<Result<Vec<Readiness>, Refusal>>,
    ),
}

/// Of one pool.
#[derive(Debug, Clone)]
pub struct Readiness {
    pub pool: PoolKey,
    pub ready: usize,
    pub needed: usize,
    pub evidence: Vec<super::Evidence>,
}

/// Asks the controller. Cheap to clone; every clone is the same door.
#[derive(Clone)]
pub struct Handle {
    pub(super) decisions: mpsc::Sender<Command>,
    pub(super) verdicts: mpsc::Sender<Vec<Probed>>,
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) events: Events,
    pub(super) readers: Readers,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) hurried: Arc<watch::Sender<Hurry>>,
    pub(super) rollouts: rollout::Door,
}

fn gone() -> Refusal {
    Refusal::new(Code::ShuttingDown, "the process is shutting down")
}

impl Handle {
    /// Applies the changes as one, or none of them. Answers when they are serving, and durable unless the answer says
    /// otherwise. Waits for nothing else; see [`Handle::act`].
    pub async fn change(&self, changes: Vec<Change>, order: Order) -> Result<Applied, Refusal> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Change {
            changes,
            order,
            reply,
        };
        self.decisions.send(command).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Applies a checked file. The caller has bound what had to be bound. With `dry_run`: what it would change.
    pub async fn load(&self, plan: Plan, order: Order) -> Result<Applied, Refusal> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Load {
            plan: Box::new(plan),
            order,
            reply,
        };
        self.decisions.send(command).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Tells of a file that was refused before it got here. Shown in status until a file is applied.
    pub async fn rejected(&self, problems: String, actor: Actor) {
        self.note(Command::Rejected { problems, actor }).await;
    }

    /// Tells what has become of a certificate: a listener has a new one, or it `failed` to.
    pub async fn certificate(&self, failed: bool, said: String) {
        self.note(Command::Certificate { failed, said }).await;
    }

    async fn note(&self, command: Command) {
        let (reply, noted) = oneshot::channel();
        // Without a controller there is nobody to tell.
        let _ = self.ask(Question::Note(command, reply), noted).await;
    }

    /// What probes saw. Waits while the controller has a full queue.
    pub async fn probed(&self, probed: Vec<Probed>) {
        // Without a controller there is nobody to tell.
        let _ = self.verdicts.send(probed).await;
    }

    /// Tells of endpoints that do worse by their requests than the others of their pools. `false`: there is no controller any more.
    pub async fn suspect(&self, suspects: Vec<Suspect>) -> bool {
        let (reply, noted) = oneshot::channel();
        let note = Question::Note(Command::Suspected(suspects), reply);
        self.ask(note, noted).await.is_ok()
    }

    /// Tells what a pool's source names now. `false`: there is no controller any more.
    pub async fn discovered(&self, discovered: Discovered) -> bool {
        let (reply, noted) = oneshot::channel();
        let note = Question::Note(Command::Discovered(discovered), reply);
        self.ask(note, noted).await.is_ok()
    }

    /// Goes on to another phase of the process's life.
    pub async fn enter(&self, phase: Phase) {
        self.note(Command::Phase(phase)).await;
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Follows [`Handle::phase`].
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Everything that is in force, and why.
    pub async fn view(&self) -> Result<View, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::View(reply), answer).await
    }

    /// The view with one service alone.
    pub async fn service(&self, name: &Name) -> Result<View, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::Service(name.clone(), reply), answer)
            .await?
            .ok_or_else(|| {
                Refusal::new(
                    Code::UnknownService,
                    format!("there is no service `{name}`"),
                )
            })
    }

    /// The decisions on a service, oldest first.
    pub async fn history(&self, name: &Name) -> Result<Vec<Revision>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::History(name.clone(), reply), answer)
            .await?
            .ok_or_else(|| {
                Refusal::new(
                    Code::UnknownService,
                    format!("there is no service `{name}`"),
                )
            })
    }

    pub(super) async fn ask<T>(
        &self,
        question: Question,
        answer: oneshot::Receiver<T>,
    ) -> Result<T, Refusal> {
        self.questions.send(question).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    pub fn events(&self) -> &Events {
        &self.events
    }

    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// The pools that somebody waits for to be ready: to be probed at the fast rate.
    pub fn hurried(&self) -> watch::Receiver<Hurry> {
        self.hurried.subscribe()
    }
}
