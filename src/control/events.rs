//! What happened, as a list and as a stream.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;

use super::Actor;
use crate::units::{Address, Name, Timestamp};

/// One thing that happened. Ids grow by one, across restarts too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub id: u64,
    pub at: Timestamp,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub service: Option<Name>,
    pub pool: Option<Name>,
    pub endpoint: Option<Address>,
    pub actor: Actor,
    pub reason: Option<String>,
    pub before: Value,
    pub after: Value,
    /// In force when the event was made: the change is in that snapshot.
    pub generation: u64,
}

/// The closed list of what happens, as `type` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The process came up, or went on to another phase of its life.
    Phase,
    Weights,
    Switch,
    Rollback,
    Drain,
    Drained,
    Cut,
    Restore,
    /// Requests of a service wait, for a while.
    Hold,
    Maintenance,
    /// They flow again; by themselves where Cutover itself is the actor.
    Resume,
    EndpointAdded,
    EndpointRemoved,
    Version,
    Revert,
    /// The file was applied to a service: added, changed or removed.
    Config,
    ConfigRejected,
    /// An edit of the file won over a decision of run time.
    OverrideDropped,
    /// The file asks for something that waits until what it needs is ready.
    Pending,
    PendingApplied,
    PendingSuperseded,
    EndpointReady,
    EndpointUnready,
    /// It did worse by its requests than the others of its pool, and gets none for a while.
    EndpointEjected,
    /// Its ejection is over.
    EjectionEnded,
    /// A weighted pool lost its last ready endpoint: its share goes to the others.
    PoolUnready,
    PoolReady,
    FailOpen,
    FailOpenEnded,
    StateDamaged,
    StateUnwritable,
    StateWritable,
    /// A listener has a new certificate.
    Certificate,
    /// A certificate was not taken, or could not be got; what there was is shown on.
    CertificateFailed,
    /// A pool's source names its endpoints again.
    Discovery,
    /// It does not; what was found before stays.
    DiscoveryFailed,
    /// A rollout was begun.
    RolloutStarted,
    /// It has gone on to its next stage.
    RolloutStep,
    /// It does not go on by itself.
    RolloutPaused,
    RolloutResumed,
    /// It would be taken back, and somebody's word stands against it.
    RolloutAlarm,
    /// The new version has all requests.
    RolloutPromoted,
    RolloutSucceeded,
    /// The new version was taken back.
    RolloutRollback,
    /// It has ended with the old version.
    RolloutFailed,
    RolloutSuperseded,
}

impl Kind {
    pub const ALL: [Self; 46] = [
        Self::Phase,
        Self::Weights,
        Self::Switch,
        Self::Rollback,
        Self::Drain,
        Self::Drained,
        Self::Cut,
        Self::Restore,
        Self::Hold,
        Self::Maintenance,
        Self::Resume,
        Self::EndpointAdded,
        Self::EndpointRemoved,
        Self::Version,
        Self::Revert,
        Self::Config,
        Self::ConfigRejected,
        Self::OverrideDropped,
        Self::Pending,
        Self::PendingApplied,
        Self::PendingSuperseded,
        Self::EndpointReady,
        Self::EndpointUnready,
        Self::EndpointEjected,
        Self::EjectionEnded,
        Self::PoolUnready,
        Self::PoolReady,
        Self::FailOpen,
        Self::FailOpenEnded,
        Self::StateDamaged,
        Self::StateUnwritable,
        Self::StateWritable,
        Self::Certificate,
        Self::CertificateFailed,
        Self::Discovery,
        Self::DiscoveryFailed,
        Self::RolloutStarted,
        Self::RolloutStep,
        Self::RolloutPaused,
        Self::RolloutResumed,
        Self::RolloutAlarm,
        Self::RolloutPromoted,
        Self::RolloutSucceeded,
        Self::RolloutRollback,
        Self::RolloutFailed,
        Self::RolloutSuperseded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phase => "phase",
            Self::Weights => "weights",
            Self::Switch => "switch",
            Self::Rollback => "rollback",
            Self::Drain => "drain",
            Self::Drained => "drained",
            Self::Cut => "cut",
            Self::Restore => "restore",
            Self::Hold => "hold",
            Self::Maintenance => "maintenance",
            Self::Resume => "resume",
            Self::EndpointAdded => "endpoint-added",
            Self::EndpointRemoved => "endpoint-removed",
            Self::Version => "version",
            Self::Revert => "revert",
            Self::Config => "config",
            Self::ConfigRejected => "config-rejected",
            Self::OverrideDropped => "override-dropped",
            Self::Pending => "pending",
            Self::PendingApplied => "pending-applied",
            Self::PendingSuperseded => "pending-superseded",
            Self::EndpointReady => "endpoint-ready",
            Self::EndpointUnready => "endpoint-unready",
            Self::EndpointEjected => "endpoint-ejected",
            Self::EjectionEnded => "ejection-ended",
            Self::PoolUnready => "pool-unready",
            Self::PoolReady => "pool-ready",
            Self::FailOpen => "fail-open",
            Self::FailOpenEnded => "fail-open-ended",
            Self::StateDamaged => "state-damaged",
            Self::StateUnwritable => "state-unwritable",
            Self::StateWritable => "state-writable",
            Self::Certificate => "certificate",
            Self::CertificateFailed => "certificate-failed",
            Self::Discovery => "discovery",
            Self::DiscoveryFailed => "discovery-failed",
            Self::RolloutStarted => "rollout-started",
            Self::RolloutStep => "rollout-step",
            Self::RolloutPaused => "rollout-paused",
            Self::RolloutResumed => "rollout-resumed",
            Self::RolloutAlarm => "rollout-alarm",
            Self::RolloutPromoted => "rollout-promoted",
            Self::RolloutSucceeded => "rollout-succeeded",
            Self::RolloutRollback => "rollout-rollback",
            Self::RolloutFailed => "rollout-failed",
            Self::RolloutSuperseded => "rollout-superseded",
        }
    }
}

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only later ones, the oldest of them first; without it the last `limit`.
    pub after: Option<u64>,
    pub service: Option<Name>,
    pub kind: Option<Kind>,
    /// At most so many; `None`: 100.
    pub limit: Option<usize>,
}

/// How many events are kept to be listed.
pub const KEPT: usize = 10_000;
/// How far a follower of the stream may fall behind before it must list anew.
const STREAM: usize = 1024;

/// The list and its stream; clones are the same list.
#[derive(Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    kept: Mutex<VecDeque<Arc<Event>>>,
    stream: broadcast::Sender<Arc<Event>>,
}

impl Events {
    /// `kept` as a journal remembers them, oldest first.
    pub(super) fn new(kept: impl IntoIterator<Item = Event>) -> Self {
        let mut list: VecDeque<_> = kept.into_iter().map(Arc::new).collect();
        let surplus = list.len().saturating_sub(KEPT);
        list.drain(..surplus);
        Self {
            shared: Arc::new(Shared {
                kept: Mutex::new(list),
                stream: broadcast::channel(STREAM).0,
            }),
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        // The list is whole after every push, so a panic elsewhere leaves nothing half done.
        self.shared
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of the last event; 0 before the first.
    pub fn last_id(&self) -> u64 {
        self.kept().back().map_or(0, |event| event.id)
    }

    pub(super) fn push(&self, event: Arc<Event>) {
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        drop(kept);
        // Nobody follows: fine.
        let _ = self.shared.stream.send(event);
    }

    /// Oldest first.
    pub fn list(&self, filter: &Filter) -> Vec<Arc<Event>> {
        let limit = filter.limit.unwrap_or(100);
        let kept = self.kept();
        let fits = |event: &&Arc<Event>| {
            filter.after.is_none_or(|after| event.id > after)
                && filter.kind.is_none_or(|kind| event.kind == kind)
                && (filter.service.is_none() || event.service == filter.service)
        };
        if filter.after.is_some() {
            return kept.iter().filter(fits).take(limit).cloned().collect();
        }
        let mut last: Vec<_> = kept
            .iter()
            .rev()
            .filter(fits)
            .take(limit)
            .cloned()
            .collect();
        last.reverse();
        last
    }

    /// Every event from now on. A follower that is too slow is told how many it missed, and may list them.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Event>> {
        self.shared.stream.subscribe()
    }
}
