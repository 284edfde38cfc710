use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tokio::{sync::oneshot, task::AbortHandle};

use super::watch::Watch;
use crate::{
    config::plan,
    control::{
        Refusal,
        rollout::{Request, Rollout, Stage, Told},
    },
    units::{Name, Timestamp, Weights},
};

pub(super) type Reply = oneshot::Sender<Result<Told, Refusal>>;

/// A rollout that is driven.
pub(super) struct Ride {
    pub rollout: Rollout,
    pub plan: Arc<plan::Rollout>,
    pub watch: Watch,
    /// What each service serves by the rollout's last change. Anything else is somebody's.
    pub expected: BTreeMap<Name, Weights>,
    /// A rise that waits for the disk: where it leads to.
    pub rising: Option<Stage>,
    /// Changes that control has yet to answer.
    pub commits: usize,
    /// Orders that came while it rises.
    pub waiting: VecDeque<(Request, Reply)>,
    /// Why its way back could not be taken, as last told.
    pub stuck: Option<String>,
    /// What was refused is not asked for again before.
    pub not_before: Timestamp,
    /// Of hooks that are being asked, or of what else is waited for of a batch.
    pub asking: Option<AbortHandle>,
    /// Who looks at figures from outside.
    pub following: Vec<AbortHandle>,
}

impl Drop for Ride {
    fn drop(&mut self) {
        for follower in &self.following {
            follower.abort();
        }
    }
}

impl Ride {
    pub fn new(rollout: Rollout, plan: Arc<plan::Rollout>, watch: Watch) -> Self {
        Self {
            rollout,
            plan,
            watch,
            expected: BTreeMap::new(),
            rising: None,
            commits: 0,
            waiting: VecDeque::new(),
            stuck: None,
            not_before: Timestamp::UNIX_EPOCH,
            asking: None,
            following: Vec::new(),
        }
    }

    pub fn services(&self) -> impl Iterator<Item = &Name> {
        self.rollout.members.iter().map(|member| &member.service)
    }

    /// Its weights are known to be as it has left them.
    pub fn is_still(&self) -> bool {
        self.commits == 0 && self.rising.is_none()
    }
}
