use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use tokio::time::Instant;

use super::{Upload, decide::Cursors};
use crate::{
    pool::{Endpoint, Nudge, State},
    snapshot::{Reader, Service},
    telemetry::{WorkerShard, access_log::Pen},
    units::Name,
    upstream::{Lines, Use},
};

/// One worker's share of the data plane: what a request needs to be decided, sent and counted.
pub struct Proxy {
    pub(super) worker: usize,
    pub(super) reader: Reader,
    pub(super) lines: Lines<Upload>,
    pub(super) cursors: Cursors,
    pub(super) shard: Arc<WorkerShard>,
    pub(super) nudge: Nudge,
    pub(super) pen: Rc<RefCell<Pen>>,
    /// The generation of the snapshot to which `lines` were brought last.
    reconciled: Cell<u64>,
}

impl Proxy {
    pub fn new(
        worker: usize,
        reader: Reader,
        shard: Arc<WorkerShard>,
        nudge: Nudge,
        pen: Pen,
    ) -> Self {
        Self {
            worker,
            reader,
            lines: Lines::new(worker),
            cursors: Cursors::default(),
            shard,
            nudge,
            pen: Rc::new(RefCell::new(pen)),
            reconciled: Cell::new(0),
        }
    }

    pub fn shard(&self) -> &WorkerShard {
        &self.shard
    }

    /// Closes idle connections to endpoints that the newest snapshot sends nothing any more, and ends what is in flight
    /// on those it cuts. To be called after every publication.
    pub fn reconcile(&self) {
        self.reader.with(|snapshot| {
            let since = self.reconciled.replace(snapshot.generation);
            // Where services have come or gone, a line may belong to one that is not there to be looked at.
            let all = snapshot.census > since;
            let looked_at = snapshot.changed_since(if all { 0 } else { since });
            let looked_at: Vec<_> = looked_at.collect();
            let of = |name: &Name| all || looked_at.iter().any(|one| one.plan.name == *name);
            let uses = looked_at.iter().flat_map(|service| uses(service));
            self.lines.reconcile(of, uses);
        });
    }

    /// Requests in progress on this worker.
    pub fn in_flight(&self) -> u64 {
        self.lines.in_flight()
    }

    /// Closes connections that have been idle too long. To be called about once a second.
    pub fn sweep(&self) {
        self.lines.sweep(Instant::now());
    }
}

fn uses(service: &Service) -> impl Iterator<Item = (&Arc<Endpoint>, Use)> {
    service.pools.iter().flat_map(|pool| {
        let weighted = service.weights.get(pool.name().as_str()) > 0;
        pool.members.iter().map(move |member| {
            let role = match member.state {
                _ if member.cut => Use::Cut,
                State::Draining | State::Drained => Use::Rests,
                _ if weighted => Use::Serves,
                _ => Use::Rests,
            };
            (&member.endpoint, role)
        })
    })
}
