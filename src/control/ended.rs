//! Rollouts that have come to their end, counted.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    book::Book,
    rollout::{Rollout, Stage},
};
use crate::units::Name;

/// Of one service and outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ended {
    pub count: u64,
    /// From their starts.
    pub seconds: f64,
    /// Errors of their new versions that users saw, and those that were made up for. One of several services is counted for the one
    /// it is named after.
    pub felt: u64,
    pub rescued: u64,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Succeeded,
    /// Its new version was taken back.
    RolledBack,
    /// Its new version has had no request.
    Refused,
    Superseded,
}

impl Outcome {
    pub const ALL: [Self; 4] = [
        Self::Succeeded,
        Self::RolledBack,
        Self::Refused,
        Self::Superseded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled-back",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
        }
    }

    /// `None`: it is under way.
    pub fn of(rollout: &Rollout) -> Option<Self> {
        match rollout.stage {
            Stage::Succeeded => Some(Self::Succeeded),
            Stage::Superseded => Some(Self::Superseded),
            Stage::Failed if rollout.has_met_users() => Some(Self::RolledBack),
            Stage::Failed => Some(Self::Refused),
            _ => None,
        }
    }
}

pub type Endings = BTreeMap<(Name, Outcome), Ended>;

/// Counts those of the touched services that a change of the book has brought to their end.
pub(super) fn count(endings: &mut Endings, before: &Book, after: &Book, touched: &BTreeSet<Name>) {
    let of = |book: &Book, service: &Name| {
        let memory = book.memory.services.get(service)?;
        memory.rollout.clone()
    };
    for service in touched {
        let Some(rollout) = of(after, service) else {
            continue;
        };
        let Some(outcome) = Outcome::of(&rollout) else {
            continue;
        };
        let was = of(before, service);
        if was.is_some_and(|was| was.id == rollout.id && was.is_over()) {
            continue;
        }
        let ended = endings.entry((service.clone(), outcome)).or_default();
        ended.count += 1;
        let end = rollout.ended.unwrap_or(rollout.since);
        let span = end.duration_since(rollout.started).as_secs_f64();
        ended.seconds += span.max(0.0);
        if rollout.service() == service {
            ended.felt += rollout.counts.felt;
            ended.rescued += rollout.counts.rescued;
        }
    }
}
