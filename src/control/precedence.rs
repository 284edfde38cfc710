//! File against decisions of run time. Pure: says who wins, changes nothing.
//!
//! A decision remembers what the file said of that field when it was made. When the file says something else, the file
//! wins; an edit elsewhere, or saving the same value, leaves the decision. The same holds after a restart.

use super::memory::{Override, ServiceMemory};
use crate::{
    config::plan::{self, WeightsMode},
    units::{Name, Weights},
};

/// Whose weights are to serve after the file was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Weighing {
    /// What is in force, and what is pending, stays.
    Keep,
    /// The file's; a decision of run time is dropped by it, if there was one.
    File,
    /// The file takes a pool away that a decision of run time gives weight to.
    Removes(Name),
}

/// `live`: there is something to refuse back to. At a start the file's weights are taken instead.
pub(super) fn weigh(memory: &ServiceMemory, file: &plan::Service, live: bool) -> Weighing {
    let gone = |weights: &Weights| {
        let mut pools = weights.iter().map(|(pool, _)| pool);
        pools.find(|pool| !file.pools.contains_key(*pool)).cloned()
    };
    let standing = |weights: &Weights| match gone(weights) {
        None if weights.is_empty() => Weighing::File,
        None => Weighing::Keep,
        Some(pool) if live => Weighing::Removes(pool),
        Some(_) => Weighing::File,
    };
    match (&file.weights_mode, &memory.decided) {
        (WeightsMode::Initial, _) => standing(&memory.weights),
        (WeightsMode::Declared, Some(decided)) if decided.declared != file.weights => {
            Weighing::File
        }
        (WeightsMode::Declared, Some(decided)) => standing(&decided.value),
        (WeightsMode::Declared, None) => {
            let wanted = memory
                .pending
                .as_ref()
                .and_then(|pending| pending.weights.as_ref())
                .unwrap_or(&memory.weights);
            if *wanted == file.weights && gone(&memory.weights).is_none() {
                Weighing::Keep
            } else {
                Weighing::File
            }
        }
    }
}

/// Whether a decision on one endpoint outlives the file's saying `declared` of it (its weight; `None`: not named).
pub(super) fn stands<T: PartialEq>(decided: &Override<T>, declared: &T) -> bool {
    decided.declared == *declared
}

/// The pools whose part of the whole grows from `before` to `after`.
pub(super) fn gainers<'a>(
    before: &'a Weights,
    after: &'a Weights,
) -> impl Iterator<Item = &'a Name> {
    let (total_before, total_after) = (u128::from(before.total()), u128::from(after.total()));
    after.iter().filter_map(move |(pool, weight)| {
        let was = u128::from(before.get(pool.as_str()));
        (u128::from(weight) * total_before > was * total_after || total_before == 0).then_some(pool)
    })
}
