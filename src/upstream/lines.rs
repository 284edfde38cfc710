use std::{cell::RefCell, rc::Rc, sync::Arc};

use tokio::time::Instant;

use super::{Line, Payload};
use crate::{
    pool::{Endpoint, PoolStats, Recalls, Seat, Transport},
    units::Name,
};

/// One worker's lines, by the slot of the endpoint.
pub struct Lines<B: Payload> {
    recalls: Recalls,
    table: RefCell<Vec<Option<Rc<Line<B>>>>>,
}

/// What a snapshot wants of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It may get requests: connections to it are kept.
    Serves,
    /// It has no weight: what is idle is closed, what is in flight may end.
    Rests,
    /// It drains, which is the same to its connections.
    Leaves,
    /// What is in flight is ended, too.
    Cut,
}

impl<B: Payload> Lines<B> {
    pub fn new(recalls: Recalls) -> Self {
        Self {
            recalls,
            table: RefCell::default(),
        }
    }

    /// The line to an endpoint, by the newest transport, and with no more than `most` connections over all workers. A new one parks its
    /// connections only if `keep` says so.
    pub fn to(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<PoolStats>,
        transport: &Arc<Transport>,
        most: Option<u32>,
        keep: bool,
    ) -> Rc<Line<B>> {
        let mut table = self.table.borrow_mut();
        if table.len() <= endpoint.slot {
            table.resize(endpoint.slot + 1, None);
        }
        match &mut table[endpoint.slot] {
            // A slot may have passed to another endpoint since.
            Some(line) if Arc::ptr_eq(&line.seat().endpoint, endpoint) => {
                line.go_by(transport);
                line.limit_to(most);
                line.clone()
            }
            place => {
                let seat = Seat::new(endpoint.clone(), pool.clone(), self.recalls.worker());
                let line = Line::new(seat, transport.clone(), self.recalls.clone());
                line.limit_to(most);
                line.keep_idle(keep);
                place.insert(line).clone()
            }
        }
    }

    /// Brings the lines to the `members` that the services for which `of` says so have in a new snapshot. Idle connections
    /// to an endpoint that gets no requests any more are closed, and the line to one that is gone is forgotten. `most` says how many
    /// connections each endpoint of a service may have.
    pub fn reconcile<'a>(
        &self,
        of: impl Fn(&Name) -> bool,
        members: impl Iterator<Item = (&'a Arc<Endpoint>, Use)>,
        most: impl Fn(&Name) -> Option<u32>,
    ) {
        let mut table = self.table.borrow_mut();
        let mut found = vec![false; table.len()];
        for (endpoint, role) in members {
            if let Some(Some(line)) = table.get(endpoint.slot)
                && Arc::ptr_eq(&line.seat().endpoint, endpoint)
            {
                found[endpoint.slot] = true;
                line.limit_to(most(&endpoint.key.service));
                line.keep_idle(role == Use::Serves);
                if role == Use::Cut {
                    line.cut();
                }
            }
        }
        for (place, found) in table.iter_mut().zip(found) {
            if !found
                && let Some(line) = place.take_if(|line| of(&line.seat().endpoint.key.service))
            {
                line.keep_idle(false);
            }
        }
    }

    /// Others wait for room at these endpoints: what carries nothing here is given up for them.
    pub fn recall(&self, endpoints: &[Arc<Endpoint>]) {
        let table = self.table.borrow();
        for endpoint in endpoints {
            if let Some(Some(line)) = table.get(endpoint.slot)
                && Arc::ptr_eq(&line.seat().endpoint, endpoint)
            {
                line.recall();
            }
        }
    }

    /// Leases that this worker holds.
    pub fn in_flight(&self) -> u64 {
        let table = self.table.borrow();
        let counts = table.iter().flatten().map(|line| line.seat().shard());
        counts.map(|shard| shard.in_flight.count()).sum()
    }

    /// Closes idle connections that have been parked too long.
    pub fn sweep(&self, now: Instant) {
        for line in self.table.borrow().iter().flatten() {
            line.sweep(now);
        }
    }
}
