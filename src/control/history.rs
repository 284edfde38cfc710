//! The decisions on a service, and the way back.

use serde::{Deserialize, Serialize};

use super::Revision;
use crate::units::{Name, Timestamp, Weights};

/// How many revisions are kept of each service. The newest settled ones are kept beyond it.
const KEPT: usize = 50;
/// How many different settled weights are kept whatever came after them.
const SETTLED: usize = 2;
/// A rollback asked for again so soon is the same wish, not the way back to the bad version.
const SAME_WISH: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// Oldest first; revisions grow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct History(Vec<Revision>);

/// What a decision was, where another rule asks for it.
pub(super) const ROLLBACK: &str = "rollback";

impl History {
    pub fn push(&mut self, revision: Revision) {
        self.0.push(revision);
        while self.0.len() > KEPT {
            let Some(index) = self.least_needed() else {
                break;
            };
            self.0.remove(index);
        }
    }

    /// Folds another part of the same decision into the last revision.
    pub fn amend(&mut self, weights: &Weights, what: &str) {
        if let Some(last) = self.0.last_mut() {
            last.weights = weights.clone();
            if !last.what.split(", ").any(|part| part == what) {
                last.what = format!("{}, {what}", last.what);
            }
        }
    }

    /// The oldest that is not among the newest settled ones.
    fn least_needed(&self) -> Option<usize> {
        let mut seen: Vec<&Name> = Vec::new();
        let mut needed = vec![false; self.0.len()];
        for (index, revision) in self.0.iter().enumerate().rev() {
            if let Some(pool) = revision.weights.sole()
                && !seen.contains(&pool)
                && seen.len() < SETTLED
            {
                seen.push(pool);
                needed[index] = true;
            }
        }
        needed.iter().position(|needed| !needed)
    }

    pub fn list(&self) -> &[Revision] {
        &self.0
    }

    /// The decision by which one pool last got everything; not those after it that left the weights alone.
    pub fn settled(&self) -> Option<&Revision> {
        let last = self.0.iter().rposition(Revision::settled)?;
        let weights = &self.0[last].weights;
        let run = self.0[..=last].iter().rev();
        run.take_while(|revision| revision.weights == *weights)
            .last()
    }

    pub fn get(&self, revision: u64) -> Option<&Revision> {
        self.0.iter().find(|held| held.revision == revision)
    }

    /// The most recent settled weights that differ from what is served now, of pools that are still there.
    pub fn way_back(&self, now: &Weights, exists: impl Fn(&Name) -> bool) -> Option<&Revision> {
        self.0.iter().rev().find(|revision| {
            let sole = revision.weights.sole();
            sole.is_some_and(&exists) && sole != now.sole()
        })
    }

    /// Whether the last decision on weights was a rollback, and so fresh that another one means the same.
    pub fn has_just_rolled_back(&self, now: Timestamp) -> bool {
        let mut rest = self.0.iter().rev();
        let last = rest.find(|revision| {
            self.get(revision.revision.saturating_sub(1))
                .is_none_or(|before| before.weights != revision.weights)
        });
        last.is_some_and(|last| last.what == ROLLBACK && now.duration_since(last.at) < SAME_WISH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Actor;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn weights(text: &str) -> Weights {
        let pairs = text.split(' ').map(|pair| pair.split_once('=').unwrap());
        pairs
            .map(|(pool, weight)| (pool.parse().unwrap(), weight.parse().unwrap()))
            .collect()
    }

    fn history(steps: &[(&str, &str)]) -> History {
        let mut history = History::default();
        for (index, (text, what)) in steps.iter().enumerate() {
            history.push(Revision {
                revision: index as u64 + 1,
                weights: weights(text),
                what: (*what).to_owned(),
                by: Actor::system(),
                reason: None,
                at: at(i64::try_from(index).unwrap()),
            });
        }
        history
    }

    fn way_back(steps: &[(&str, &str)]) -> Option<String> {
        let history = history(steps);
        let now = weights(steps.last().unwrap().0);
        history
            .way_back(&now, |_| true)
            .map(|revision| revision.weights.to_string())
    }

    #[test]
    fn from_a_canary_the_way_back_is_the_version_before_it() {
        let steps = [("blue=100", "config"), ("blue=90 green=10", "weights")];
        assert_eq!(way_back(&steps).as_deref(), Some("blue=100"));
    }

    #[test]
    fn from_a_switch_the_way_back_is_what_was_switched_away_from() {
        let steps = [
            ("blue=100", "config"),
            ("blue=50 green=50", "weights"),
            ("green=100", "switch"),
        ];
        assert_eq!(way_back(&steps).as_deref(), Some("blue=100"));
    }

    #[test]
    fn a_step_within_the_same_version_is_no_way_back() {
        let steps = [("blue=100", "config"), ("blue=1", "weights")];
        assert_eq!(way_back(&steps), None);
    }

    #[test]
    fn settled_is_told_by_the_decision_that_moved_the_weights() {
        let history = history(&[
            ("green=100", "switch"),
            ("blue=100", "switch"),
            ("blue=100", "drain green"),
            ("blue=90 green=10", "weights"),
        ]);
        let settled = history.settled().unwrap();
        assert_eq!((settled.revision, settled.what.as_str()), (2, "switch"));
    }

    #[test]
    fn there_is_no_way_back_to_a_pool_that_is_gone() {
        let history = history(&[("blue=100", "config"), ("green=100", "switch")]);
        assert_eq!(
            history.way_back(&weights("green=100"), |pool| pool.as_str() == "green"),
            None
        );
    }

    #[test]
    fn a_rollback_is_fresh_for_a_minute_and_until_weights_are_decided_again() {
        let steps = [
            ("blue=100", "config"),
            ("green=100", "switch"),
            ("blue=100", ROLLBACK),
            ("blue=100", "drain green"),
        ];
        let rolled = history(&steps);
        assert!(rolled.has_just_rolled_back(at(61)));
        assert!(!rolled.has_just_rolled_back(at(62)));
        let mut steps = steps.to_vec();
        steps.push(("blue=90 green=10", "weights"));
        assert!(!history(&steps).has_just_rolled_back(at(5)));
    }

    #[test]
    fn the_way_back_outlives_many_decisions_and_the_list_stays_bounded() {
        let mut steps = vec![("blue=100", "config"), ("green=100", "switch")];
        steps.extend([("green=9 blue=1", "weights"); 500]);
        let history = history(&steps);
        assert_eq!(history.list().len(), KEPT);
        assert_eq!(history.settled().unwrap().weights, weights("green=100"));
        let back = history.way_back(&weights("green=100"), |_| true);
        assert_eq!(back.unwrap().weights, weights("blue=100"));
        assert_eq!(history.list().last().unwrap().revision, 502);
    }
}
