use std::{cell::RefCell, rc::Rc, sync::Arc};

use tokio::time::Instant;

use super::{Upload, decide::Cursors};
use crate::{
    pool::{Nudge, State},
    snapshot::{Reader, Snapshot},
    telemetry::{WorkerShard, access_log::Pen},
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
        }
    }

    pub fn shard(&self) -> &WorkerShard {
        &self.shard
    }

    /// Closes idle connections to endpoints that the newest snapshot sends nothing any more, and ends what is in flight
    /// on those it cuts. To be called after every publication.
    pub fn reconcile(&self) {
        self.reader
            .with(|snapshot| self.lines.reconcile(uses(snapshot)));
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

fn uses(snapshot: &Snapshot) -> impl Iterator<Item = (&Arc<crate::pool::Endpoint>, Use)> {
    let services = snapshot.services.iter();
    let pools = services.flat_map(|service| service.pools.iter().map(move |pool| (service, pool)));
    pools.flat_map(|(service, pool)| {
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
