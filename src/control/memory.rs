//! What is remembered over restarts.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    Actor, Pending,
    answers::Answers,
    history::History,
    rollout::Rollout,
    view::{Admitted, Drain, Version},
};
use crate::units::{Address, Admission, Admits, Name, Timestamp, Trial, Weights};

/// All of it. Cheap to clone: a change copies the one service it touches.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Memory {
    pub services: BTreeMap<Name, Arc<ServiceMemory>>,
    #[serde(default)]
    pub answers: Answers,
    /// The id of the last event: ids grow even when the journal is lost.
    #[serde(default)]
    pub last_event: u64,
}

/// What was decided of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ServiceMemory {
    /// Of the last decision.
    pub revision: u64,
    /// In force.
    pub weights: Weights,
    /// The file's, when it was last applied.
    pub declared: Weights,
    /// The decision of run time that `weights` come from; `None`: they come from the file.
    pub decided: Option<Override<Weights>>,
    pub pending: Option<Pending>,
    /// Whether requests are let through; `None`: they are, as the file says.
    #[serde(default)]
    pub admitted: Option<Admitted>,
    /// The file's, when it was last applied.
    #[serde(default)]
    pub declared_admission: Admission,
    /// By pool and address: the weight an endpoint was given, `None` where it was removed.
    #[serde(default)]
    pub endpoints: BTreeMap<Name, BTreeMap<Address, Override<Option<u32>>>>,
    #[serde(default)]
    pub drains: BTreeMap<Name, Drains>,
    #[serde(default)]
    pub versions: BTreeMap<Name, Version>,
    /// Under way, or the last that was.
    #[serde(default)]
    pub rollout: Option<Arc<Rollout>>,
    /// Those before it, oldest first.
    #[serde(default)]
    pub rollouts: Vec<Arc<Rollout>>,
    /// How long what leaves by the last decision may take, where that said so. Nothing is under way after a restart.
    #[serde(skip)]
    pub deadline: Option<Duration>,
    pub history: History,
}

/// A decision on one field, and what the file said then: when the file says something else, the file wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Override<T> {
    pub value: T,
    pub declared: T,
    pub by: Actor,
    pub at: Timestamp,
    pub reason: Option<String>,
}

/// Of one pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Drains {
    /// Every endpoint of it, those that come later too.
    pub whole: Option<Drain>,
    #[serde(default)]
    pub endpoints: BTreeMap<Address, Drain>,
}

impl Drains {
    pub fn is_empty(&self) -> bool {
        self.whole.is_none() && self.endpoints.is_empty()
    }
}

impl ServiceMemory {
    /// Of a service that is seen for the first time: as the file says.
    pub fn new(declared: Weights) -> Self {
        Self {
            revision: 0,
            weights: declared.clone(),
            declared,
            decided: None,
            pending: None,
            admitted: None,
            declared_admission: Admission::Open,
            endpoints: BTreeMap::new(),
            drains: BTreeMap::new(),
            versions: BTreeMap::new(),
            rollout: None,
            rollouts: Vec::new(),
            deadline: None,
            history: History::default(),
        }
    }

    /// The drain that holds an endpoint: its own, or its pool's.
    pub fn drain(&self, pool: &str, address: &Address) -> Option<&Drain> {
        let drains = self.drains.get(pool)?;
        drains.endpoints.get(address).or(drains.whole.as_ref())
    }

    /// Whether work in flight on it was told to end.
    pub fn is_cut(&self, pool: &Name, address: &Address) -> bool {
        self.drains.get(pool).is_some_and(|drains| {
            drains.whole.as_ref().is_some_and(|drain| drain.cut)
                || drains.endpoints.get(address).is_some_and(|drain| drain.cut)
        })
    }

    /// The two versions that are compared, while a rollout is under way.
    pub fn trial(&self, service: &Name) -> Option<Trial> {
        self.rollout.as_ref()?.trial(service, &self.weights)
    }

    /// The file asks for weights that wait for their pools to be ready.
    pub fn awaits_weights(&self) -> bool {
        self.pending
            .as_ref()
            .is_some_and(|pending| pending.weights.is_some())
    }

    /// In force, as far as nobody has looked at the clock since.
    pub fn admission(&self) -> Admission {
        let admitted = self.admitted.as_ref();
        admitted.map_or(Admission::Open, |admitted| admitted.admission)
    }

    pub fn until(&self) -> Option<Timestamp> {
        self.admitted.as_ref()?.until
    }

    pub fn ends(&self) -> Option<Instant> {
        self.admitted.as_ref()?.ends
    }

    pub fn admits(&self) -> Admits {
        Admits {
            admission: self.admission(),
            ends: self.ends(),
        }
    }

    /// Drops what holds nothing.
    pub fn tidy(&mut self) {
        self.endpoints.retain(|_, pool| !pool.is_empty());
        self.drains.retain(|_, drains| !drains.is_empty());
    }
}
