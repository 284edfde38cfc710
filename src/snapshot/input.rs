use std::collections::BTreeMap;
use std::{sync::Arc, time::Duration};

use crate::{
    config::plan::{self, Plan},
    pool::State,
    units::{Address, Admits, Name, Secret, Trial, Warmth, Weights},
};

/// All that a snapshot is built of. Control has merged file, overrides and verdicts before; building decides nothing.
pub struct Input<'a> {
    /// Of the snapshot to be built.
    pub generation: u64,
    /// Its routes, and which services there are. A service's own settings are taken from `changed`.
    pub plan: &'a Plan,
    /// The services to build anew. One that is in the plan and not here is shared with the snapshot before.
    pub changed: BTreeMap<Name, Decided>,
    /// For services whose `sticky` names no secret of its own.
    pub sticky_key: &'a Secret,
}

/// What control has decided of one service.
#[derive(Debug, Clone)]
pub struct Decided {
    /// As the file says, and pools and endpoints that serve on until what replaces them is proven.
    pub plan: Arc<plan::Service>,
    /// In force. Names no pool that `pools` lacks.
    pub weights: Weights,
    pub revision: u64,
    /// How long work may take that is under way on what gets no more requests by this.
    pub deadline: Duration,
    pub admits: Admits,
    /// `None` unless both its pools are there.
    pub trial: Option<Arc<Trial>>,
    /// Of every pool of `plan`: its endpoints in force, those added at run time included, removed ones not.
    pub pools: BTreeMap<Name, Vec<DecidedEndpoint>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedEndpoint {
    pub address: Address,
    pub weight: u32,
    pub standing: Standing,
    /// While it comes to its share: how far it is.
    pub warmth: Warmth,
}

/// What control has decided of one endpoint, by merging every room's verdict with the drains in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    /// Has been ready since it was put there: may be tried when failing open, unless it drains.
    pub proven: bool,
    /// Its drain is over its deadline: workers end what is still in flight on it.
    pub cut: bool,
}
