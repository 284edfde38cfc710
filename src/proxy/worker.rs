use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Clock, Upload, budget::Budgets, decide::Cursors, tunnel::Tunnels};
use crate::{
    pool::{Endpoint, Faults, Nudge, Recalls, State},
    snapshot::{Reader, Service},
    telemetry::{Spans, WorkerShard, access_log::Pen},
    units::Name,
    upstream::{Lines, Use},
};

/// One worker's share of the data plane: what a request needs to be decided, sent and counted.
pub struct Proxy {
    pub(super) worker: usize,
    pub(super) reader: Reader,
    pub(super) lines: Lines<Upload>,
    pub(super) cursors: Cursors,
    pub(super) budgets: Budgets,
    pub(super) shard: Arc<WorkerShard>,
    pub(super) nudge: Nudge,
    pub(super) faults: Rc<Faults>,
    pub(super) pen: Rc<RefCell<Pen>>,
    /// Who takes spans, where anybody does.
    pub(super) spans: Option<Spans>,
    /// The generation of the snapshot to which `lines` and `tunnels` were brought last.
    reconciled: Cell<u64>,
    pub(super) tunnels: Rc<Tunnels>,
    /// Copies under way.
    pub(super) copies: Rc<Cell<u64>>,
    /// Nobody waits any longer: all that is open is about to be cut.
    pub(super) gives_up: Cell<bool>,
}

impl Proxy {
    pub fn new(
        recalls: Recalls,
        reader: Reader,
        shard: Arc<WorkerShard>,
        (nudge, faults): (Nudge, Faults),
        pen: Pen,
        spans: Option<Spans>,
        clock: &Rc<Clock>,
    ) -> Self {
        Self {
            worker: recalls.worker(),
            reader,
            cursors: Cursors::of(recalls.worker()),
            lines: Lines::new(recalls),
            budgets: Budgets::new(Instant::now()),
            shard,
            nudge,
            faults: Rc::new(faults),
            pen: Rc::new(RefCell::new(pen)),
            spans,
            reconciled: Cell::new(0),
            tunnels: Tunnels::new(clock),
            copies: Rc::default(),
            gives_up: Cell::new(false),
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
            for service in &looked_at {
                service.call_all();
            }
            let of = |name: &Name| all || looked_at.iter().any(|one| one.plan.name == *name);
            let members = || looked_at.iter().flat_map(|service| uses(service));
            let most = |name: &Name| {
                let service = snapshot.service(name.as_str());
                service.and_then(|service| service.plan.limits.connections)
            };
            self.lines.reconcile(of, members(), most);
            if self.tunnels.open() > 0 {
                let deadline = |name: &Name| {
                    let service = snapshot.service(name.as_str());
                    service.map_or(Duration::ZERO, |service| service.deadline)
                };
                self.tunnels.reconcile(of, members(), deadline);
            }
        });
    }

    /// Gives up connections that carry nothing to endpoints where other workers wait for room.
    pub fn recall(&self, endpoints: &[Arc<Endpoint>]) {
        self.lines.recall(endpoints);
    }

    /// Has requests that wait told to come back, instead of being cut off.
    pub fn give_up(&self) {
        self.gives_up.set(true);
        self.reader.with(|snapshot| {
            for service in &snapshot.services {
                service.call_all();
            }
        });
    }

    /// What the newest snapshot uses an endpoint for, and how long a drain of it waits.
    pub(super) fn role_of(&self, endpoint: &Arc<Endpoint>) -> (Use, Duration) {
        self.reader.with(|snapshot| {
            let service = snapshot.service(endpoint.key.service.as_str());
            let found = service.and_then(|service| {
                let mut members = uses(service);
                let (_, role) = members.find(|(member, _)| Arc::ptr_eq(member, endpoint))?;
                Some((role, service.deadline))
            });
            found.unwrap_or((Use::Leaves, Duration::ZERO))
        })
    }

    /// Tunnels that pass through this worker.
    pub fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// Requests in progress on this worker, which copies are not.
    pub fn in_flight(&self) -> u64 {
        self.lines.in_flight().saturating_sub(self.copies.get())
    }

    /// Closes connections that have been idle too long. To be called about once a second.
    pub fn sweep(&self) {
        self.lines.sweep(Instant::now());
    }
}

fn uses(service: &Service) -> impl Iterator<Item = (&Arc<Endpoint>, Use)> {
    service.pools.iter().flat_map(|pool| {
        let mirror = service.mirror.as_ref();
        let used = service.weights.get(pool.name().as_str()) > 0
            || mirror.is_some_and(|mirror| mirror.pool == *pool.name());
        pool.members.iter().map(move |member| {
            let role = match member.state {
                _ if member.cut => Use::Cut,
                State::Draining | State::Drained => Use::Leaves,
                _ if used => Use::Serves,
                _ => Use::Rests,
            };
            (&member.endpoint, role)
        })
    })
}
