//! One event and one log line for each thing that happened.

use std::sync::Arc;

use super::{Event, Events, stage::Draft};
use crate::units::Timestamp;

/// Gives drafts their ids. The one place where events are made.
pub(super) struct Teller {
    pub events: Events,
    next: u64,
    /// Verdicts that are told with the publication they come into force by.
    held: Vec<Draft>,
}

impl Teller {
    /// Ids go on after `last`, and after the last event that is kept.
    pub fn new(events: Events, last: u64) -> Self {
        let next = events.last_id().max(last).saturating_add(1);
        Self {
            events,
            next,
            held: Vec::new(),
        }
    }

    pub fn last_id(&self) -> u64 {
        self.next - 1
    }

    pub fn hold(&mut self, draft: Draft) {
        self.held.push(draft);
    }

    /// Tells what was held, what was decided, and what turned by it, as of a generation; returns the journal's lines.
    pub fn tell(&mut self, decided: Vec<Draft>, turned: Vec<Draft>, generation: u64) -> String {
        let held = std::mem::take(&mut self.held);
        let mut lines = String::new();
        for draft in held.into_iter().chain(decided).chain(turned) {
            let event = self.event(draft, generation);
            log(&event);
            if let Ok(line) = serde_json::to_string(&event) {
                lines.push_str(&line);
                lines.push('\n');
            }
            self.events.push(Arc::new(event));
        }
        lines
    }

    fn event(&mut self, draft: Draft, generation: u64) -> Event {
        let id = self.next;
        self.next = self.next.saturating_add(1);
        Event {
            id,
            at: Timestamp::now(),
            kind: draft.kind,
            service: draft.service,
            pool: draft.pool,
            endpoint: draft.endpoint,
            actor: draft.actor,
            reason: draft.reason,
            before: draft.before,
            after: draft.after,
            generation,
        }
    }
}

/// What a person or an endpoint wrote is escaped: it is printed as Rust prints text in quotes.
fn log(event: &Event) {
    let of = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    tracing::info!(
        id = event.id,
        what = event.kind.as_str(),
        service = of(event.service.as_ref().map(ToString::to_string)),
        pool = of(event.pool.as_ref().map(ToString::to_string)),
        endpoint = of(event.endpoint.as_ref().map(ToString::to_string)),
        by = ?event.actor.name,
        via = ?event.actor.via,
        why = ?event.reason.as_deref().unwrap_or(""),
        before = %event.before,
        after = %event.after,
        generation = event.generation,
        "changed"
    );
}
