//! A change being prepared: a copy of the book that nobody sees until it is committed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Actor, Difference, Kind, Order, Pending, Refusal, Revision,
    book::{Book, Fresh, unknown_service},
    memory::Override,
};
use crate::{
    config::plan::WeightsMode,
    units::{Address, Name, PoolKey, Timestamp, Weights},
};

/// Dropping it undoes everything.
pub(super) struct Stage {
    pub book: Book,
    /// What is in force while this is prepared.
    pub before: Book,
    pub at: Timestamp,
    pub actor: Actor,
    pub reason: Option<String>,
    pub touched: BTreeSet<Name>,
    /// Services to be told of in the answer: the touched, and those that were named.
    pub touched_or_named: BTreeSet<Name>,
    /// Services whose revision has grown by this.
    decided: BTreeSet<Name>,
    pub fresh: Fresh,
    /// Pools that lose endpoints by this.
    pub narrowed: BTreeSet<PoolKey>,
    /// Services whose weights were decided.
    pub shifted: Vec<Name>,
    /// Something gets more traffic by this, so it is written down before it serves.
    pub raises: bool,
    pub drafts: Vec<Draft>,
    pub diff: Vec<Difference>,
    pub notes: Vec<String>,
}

/// An event before it has an id and a generation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub kind: Kind,
    pub service: Option<Name>,
    pub pool: Option<Name>,
    pub endpoint: Option<Address>,
    pub actor: Actor,
    pub reason: Option<String>,
    pub before: Value,
    pub after: Value,
}

impl Draft {
    pub fn new(kind: Kind, actor: &Actor) -> Self {
        Self {
            kind,
            service: None,
            pool: None,
            endpoint: None,
            actor: actor.clone(),
            reason: None,
            before: Value::Null,
            after: Value::Null,
        }
    }

    pub fn of(mut self, service: &Name) -> Self {
        self.service = Some(service.clone());
        self
    }

    pub fn pool(mut self, pool: &Name) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    pub fn endpoint(mut self, address: &Address) -> Self {
        self.endpoint = Some(address.clone());
        self
    }

    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    pub fn turns(mut self, before: Value, after: Value) -> Self {
        self.before = before;
        self.after = after;
        self
    }
}

impl Stage {
    pub fn new(book: &Book, order: &Order, at: Timestamp) -> Self {
        Self {
            book: book.clone(),
            before: book.clone(),
            at,
            actor: order.actor.clone(),
            reason: order.reason.clone(),
            touched: BTreeSet::new(),
            touched_or_named: BTreeSet::new(),
            decided: BTreeSet::new(),
            fresh: Fresh::new(),
            narrowed: BTreeSet::new(),
            shifted: Vec::new(),
            raises: false,
            drafts: Vec::new(),
            diff: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn draft(&self, kind: Kind, service: &Name) -> Draft {
        let draft = Draft::new(kind, &self.actor).of(service);
        Draft {
            reason: self.reason.clone(),
            ..draft
        }
    }

    pub fn differs(
        &mut self,
        service: &Name,
        field: impl Into<String>,
        before: Value,
        after: Value,
    ) {
        self.diff.push(Difference {
            service: service.clone(),
            field: field.into(),
            before,
            after,
        });
    }

    /// Notes a decision on the service: its revision grows, once for the whole change, and history tells of it.
    pub fn decide(&mut self, service: &Name, what: &str) -> Result<(), Refusal> {
        let again = !self.decided.insert(service.clone());
        self.touched.insert(service.clone());
        let (by, reason, at) = (self.actor.clone(), self.reason.clone(), self.at);
        let memory = self.book.memory_mut(service)?;
        memory.tidy();
        if again {
            memory.history.amend(&memory.weights, what);
        } else {
            memory.revision = memory.revision.saturating_add(1);
            memory.history.push(Revision {
                revision: memory.revision,
                weights: memory.weights.clone(),
                what: what.to_owned(),
                by,
                reason,
                at,
            });
        }
        Ok(())
    }

    /// Puts weights in force by a decision of run time. Whatever the file had pending is superseded.
    pub fn weigh(
        &mut self,
        service: &Name,
        weights: &Weights,
        kind: Kind,
        what: &str,
    ) -> Result<(), Refusal> {
        let (plan, memory) = self.book.service(service)?;
        let (plan, before) = (plan.clone(), memory.weights.clone());
        if before == *weights && !memory.awaits_weights() {
            self.notes
                .push(format!("{service} serves {weights} already"));
            return Ok(());
        }
        self.supersede(service)?;
        let by_file = *weights == plan.weights && plan.weights_mode == WeightsMode::Declared;
        let decided = (!by_file).then(|| Override {
            value: weights.clone(),
            declared: plan.weights.clone(),
            by: self.actor.clone(),
            at: self.at,
            reason: self.reason.clone(),
        });
        let memory = self.book.memory_mut(service)?;
        memory.weights = weights.clone();
        memory.decided = decided;
        self.decide(service, what)?;
        self.shifted.push(service.clone());
        let (was, is) = (json!(before), json!(weights));
        self.differs(service, "weights", was.clone(), is.clone());
        let draft = self
            .draft(kind, service)
            .turns(json!({ "weights": was }), json!({ "weights": is }));
        self.drafts.push(draft);
        Ok(())
    }

    /// Ends the file's wait for weights: a later decision stands in its place.
    fn supersede(&mut self, service: &Name) -> Result<(), Refusal> {
        let memory = self.book.memory_mut(service)?;
        let Some(weights) = memory
            .pending
            .as_mut()
            .and_then(|pending| pending.weights.take())
        else {
            return Ok(());
        };
        if let Some(kept) = self.book.kept.get_mut(service) {
            // Pools that were kept for the old weights' sake go with them.
            kept.pools.clear();
        }
        let draft = self
            .draft(Kind::PendingSuperseded, service)
            .turns(json!({ "weights": weights }), Value::Null);
        self.drafts.push(draft);
        self.refresh_pending(service)
    }

    /// Makes `pending` say what is kept, beside the weights it says.
    pub fn refresh_pending(&mut self, service: &Name) -> Result<(), Refusal> {
        self.book.kept.retain(|_, kept| !kept.is_empty());
        let kept = self.book.kept.get(service);
        let kept = kept.map(super::book::Kept::names).unwrap_or_default();
        let at = self.at;
        let memory = self.book.memory_mut(service)?;
        let (weights, since) = memory
            .pending
            .take()
            .map_or((None, at), |pending| (pending.weights, pending.since));
        memory.pending = (weights.is_some() || !kept.is_empty()).then_some(Pending {
            weights,
            kept,
            since,
        });
        Ok(())
    }

    /// Forgets a service that the file no longer names.
    pub fn forget(&mut self, service: &Name) -> Result<(), Refusal> {
        let gone = self.book.memory.services.remove(service);
        self.book.kept.remove(service);
        self.touched.insert(service.clone());
        gone.map(drop).ok_or_else(|| unknown_service(service))
    }

    /// Nothing was decided: what is asked for is so already.
    pub fn is_idle(&self) -> bool {
        self.touched.is_empty() && self.drafts.is_empty()
    }
}
