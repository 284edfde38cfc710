//! When endpoints that come to their share have the next step of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{book::Book, eligibility::Roster};
use crate::units::Name;

/// The services of which an endpoint comes to its share, and when the next step of any is due.
#[derive(Default)]
pub(super) struct Ramps(BTreeMap<Name, Instant>);

impl Ramps {
    /// Reckons anew for services that have just been published.
    pub fn reckon(&mut self, book: &Book, roster: &Roster, touched: &BTreeSet<Name>, now: Instant) {
        for name in touched {
            match book.next_step(name, roster, now) {
                Some(step) => self.0.insert(name.clone(), step),
                None => self.0.remove(name),
            };
        }
    }

    pub fn due(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes those out that are due.
    pub fn take(&mut self, now: Instant) -> BTreeSet<Name> {
        let due = self.0.extract_if(.., |_, step| *step <= now);
        due.map(|(name, _)| name).collect()
    }
}
