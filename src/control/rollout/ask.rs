use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Lives, Rollout};
use crate::{
    control::{Actor, Code, Handle, Refusal},
    units::Name,
};

/// What somebody asks of rollouts.
#[derive(Debug, Clone)]
pub struct Request {
    pub what: Verb,
    pub by: Actor,
    pub reason: Option<String>,
    /// What would happen is told, and nothing does.
    pub dry_run: bool,
    /// The same key gets the first answer again.
    pub key: Option<String>,
}

#[derive(Debug, Clone)]
pub enum Verb {
    Start(Box<Start>),
    /// On to the next step; `full`: to all traffic.
    Promote {
        id: u64,
        full: bool,
    },
    Pause {
        id: u64,
    },
    Resume {
        id: u64,
        how: Option<Resume>,
    },
    /// Past what is waited for now.
    Skip {
        id: u64,
    },
    Abort {
        id: u64,
    },
    /// One that has failed, from its beginning.
    Retry {
        id: u64,
    },
    /// Back to the old version, after it has succeeded.
    Undo {
        id: u64,
    },
}

impl Verb {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Promote { .. } => "promote",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Skip { .. } => "skip",
            Self::Abort { .. } => "abort",
            Self::Retry { .. } => "retry",
            Self::Undo { .. } => "undo",
        }
    }
}

impl Verb {
    /// All that it says, to tell it from another.
    pub fn said(&self) -> String {
        format!("{self:?}")
    }
}

/// How a rollout goes on whose weights somebody has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// With the weights as they are.
    FromCurrent,
    /// With those of its step.
    RestoreStep,
}

#[derive(Debug, Clone)]
pub struct Start {
    /// Service, new pool, the version it runs, and the stable pool; `None`: the one with all the weight. The first names the rollout.
    pub services: Vec<Part>,
    /// One of the named plans.
    pub preset: Option<String>,
    /// A plan in the words of the file, instead of the file's.
    pub plan: Option<Value>,
    /// Ends one that is under way, instead of being refused.
    pub supersede: bool,
}

/// One service of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub service: Name,
    /// `None`: of a rolling replacement, the pool that serves.
    pub to: Option<Name>,
    pub from: Option<Name>,
    pub version: Option<String>,
}

/// A rollout as it stands after it was asked for, and what is to be known of it.
#[derive(Debug, Clone)]
pub struct Told {
    pub rollout: Rollout,
    pub notes: Vec<String>,
    pub durable: bool,
}

/// The other end: whoever drives rollouts.
pub type Asks = mpsc::Receiver<Ask>;

type Ask = (Request, oneshot::Sender<Result<Told, Refusal>>);

/// Between whoever asks and whoever drives; clones are the same door.
#[derive(Clone)]
pub struct Door {
    asks: mpsc::Sender<Ask>,
    asked: Arc<Mutex<Option<Asks>>>,
    live: Arc<watch::Sender<Lives>>,
}

impl Door {
    /// So many may wait before it.
    pub fn new(most: usize) -> Self {
        let (asks, asked) = mpsc::channel(most);
        Self {
            asks,
            asked: Arc::new(Mutex::new(Some(asked))),
            live: Arc::new(watch::channel(Lives::new()).0),
        }
    }
}

impl Handle {
    /// Asks the driver of rollouts. Answers when what was asked for is in force.
    pub async fn rollout(&self, request: Request) -> Result<Told, Refusal> {
        let (reply, answer) = oneshot::channel();
        let gone = || Refusal::new(Code::ShuttingDown, "the process is shutting down");
        let sent = self.rollouts.asks.send((request, reply)).await;
        sent.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// What is asked of rollouts, for the one who drives them; `None` to whoever comes second.
    pub fn take_asks(&self) -> Option<Asks> {
        let asked = self.rollouts.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What is seen of the rollouts under way, by their numbers.
    pub fn live(&self) -> &watch::Sender<Lives> {
        &self.rollouts.live
    }
}
