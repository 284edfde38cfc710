//! Events, told to others: to whatever takes JSON, to a chat, to a status page.
//!
//! Each of those who are told has a desk: its own queue, its own connections, its own patience. Whoever is slow or down loses notices of its own
//! and delays nobody: neither the others nor what makes the events. What is told is in the events' list anyway. An address is a secret, since
//! whoever knows it may write there: it is neither logged nor shown; places in the file tell them apart.

mod desk;
mod shape;
mod slack;
mod statuspage;
mod tally;

use std::sync::Arc;

use tokio::sync::{broadcast::error::RecvError, watch};

pub use tally::Tally;

use crate::{
    config::plan::Notify,
    control::{Event, Filter, Handle, Kind},
    outbound::Client,
};
use desk::Desk;

/// Events that are listed at once by whoever has fallen behind.
const PAGE: usize = 1000;

/// Tells events to those who are named, as the file in force names them, until control is gone.
pub async fn run(
    control: Handle,
    mut named: watch::Receiver<Vec<Arc<Notify>>>,
    client: Client,
    tally: Tally,
) {
    let mut stream = control.events().follow();
    let mut office = Office {
        desks: Vec::new(),
        last: control.events().last_id(),
        client,
        tally,
    };
    office.staff(&named.borrow_and_update());
    loop {
        tokio::select! {
            // Who is named by now is told of all that comes from now on.
            biased;
            changed = named.changed() => match changed {
                Ok(()) => office.staff(&named.borrow_and_update()),
                Err(_) => return,
            },
            event = stream.recv() => match event {
                Ok(event) => office.take(&event),
                Err(RecvError::Lagged(_)) => office.catch_up(&control),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

struct Office {
    desks: Vec<Desk>,
    /// The last event that was taken.
    last: u64,
    client: Client,
    tally: Tally,
}

impl Office {
    /// A desk for each who is named. One that was there before keeps what waits at it.
    fn staff(&mut self, named: &[Arc<Notify>]) {
        let mut before = std::mem::take(&mut self.desks);
        for (index, notify) in named.iter().enumerate() {
            let known = before.iter().position(|desk| desk.is_of(notify));
            let desk = match known {
                Some(known) => before.swap_remove(known),
                None => Desk::open(notify, self.client.clone(), self.tally.clone()),
            };
            self.desks.push(desk.at(index + 1, notify));
        }
    }

    fn take(&mut self, event: &Arc<Event>) {
        // It was listed already.
        if event.id <= self.last {
            return;
        }
        self.last = event.id;
        for desk in self.desks.iter().filter(|desk| desk.wants(event.kind)) {
            desk.put(event.clone());
        }
    }

    /// Takes what the stream has left out from the list.
    fn catch_up(&mut self, control: &Handle) {
        loop {
            let filter = Filter {
                after: Some(self.last),
                limit: Some(PAGE),
                ..Filter::default()
            };
            let missed = control.events().list(&filter);
            if missed.is_empty() {
                return;
            }
            for event in &missed {
                self.take(event);
            }
        }
    }
}

/// Whether one who names these types is told of an event; who names none is told of rollouts.
fn wants(on: &[String], kind: Kind) -> bool {
    if on.is_empty() {
        kind.as_str().starts_with("rollout-")
    } else {
        on.iter().any(|named| named == kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_no_types_is_told_of_rollouts_alone() {
        let told: Vec<_> = Kind::ALL
            .into_iter()
            .filter(|kind| wants(&[], *kind))
            .collect();
        assert!(told.contains(&Kind::RolloutStarted));
        assert!(told.contains(&Kind::RolloutSuperseded));
        assert!(!told.contains(&Kind::Rollback));
        let weights = ["weights".to_owned()];
        assert!(wants(&weights, Kind::Weights));
        assert!(!wants(&weights, Kind::RolloutStarted));
    }
}
