use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::telemetry::{Exposition, names};

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Taken,
    /// It was not taken, however often it was sent.
    Failed,
    /// Too many waited already.
    Dropped,
}

impl Sent {
    const ALL: [Self; 3] = [Self::Taken, Self::Failed, Self::Dropped];

    fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// How many notices came to what, by the place in the file of who was to be told, from 1. Clones count together.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<usize, [u64; Sent::ALL.len()]>>>);

impl Tally {
    /// Shows the place, with nothing yet.
    pub(super) fn open(&self, place: usize) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.entry(place).or_default();
    }

    pub(super) fn count(&self, place: usize, sent: Sent) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.entry(place).or_default()[sent as usize] += 1;
    }

    /// For a scrape.
    pub fn expose(&self, out: &mut Exposition) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, counts) in &*counts {
            let place = place.to_string();
            for (sent, count) in Sent::ALL.iter().zip(counts) {
                let labels = [place.as_str(), sent.as_str()];
                out.count(&names::NOTIFICATIONS, labels, *count);
            }
        }
    }
}
