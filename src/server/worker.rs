use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

use super::{
    accept::{Entry, accept},
    connection,
    drain::Ended,
    guard::{Bounds, Guard},
    listen::Sockets,
    shared::{Lent, Shared, Stage},
};
use crate::{
    config::plan,
    proxy::{Clock, Closing, Door, Proxy, hsts as hsts_value, tunnel::GRACE},
};

/// How often idle connections to endpoints are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// The least time between two starts of a worker.
const RESTART: Duration = Duration::from_millis(100);

/// How long the last words may take once everything is cut.
const FAREWELL: Duration = Duration::from_millis(250);

/// Clients that are told at one time that there is no room; more are dropped without a word.
const TURNED_AWAY: usize = 64;

/// One thread's part of the data plane.
pub(super) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    pub proxy: Rc<Proxy>,
    pub clock: Rc<Clock>,
    listening: RefCell<Vec<Listening>>,
    /// Connections open.
    open: Cell<usize>,
    turning_away: Cell<usize>,
    closed: Notify,
}

/// What this worker accepts on.
struct Listening {
    sockets: Arc<Sockets>,
    plan: Arc<plan::Listener>,
    guard: Option<Arc<Guard>>,
    closing: Rc<Closing>,
    entry: watch::Sender<Option<Rc<Entry>>>,
}

/// The body of a worker's thread. A panic in a connection ends that connection; one of the worker itself starts the
/// worker again, with its sockets as they are.
pub(super) fn run(index: usize, shared: &Arc<Shared>, ended: &mpsc::UnboundedSender<Ended>) {
    let left = supervise(index, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .expect("the process may open a few more files");
        runtime.block_on(Worker::serve(index, shared.clone()))
    });
    // Nobody is left to tell when the server was dropped.
    let _ = ended.send(left);
}

/// What `serve` returns, once it returns.
fn supervise<T>(worker: usize, serve: impl Fn() -> T) -> T {
    loop {
        let started = Instant::now();
        if let Ok(done) = catch_unwind(AssertUnwindSafe(&serve)) {
            return done;
        }
        tracing::error!(worker, "a worker panicked; starting it again");
        // At once, unless it panics over and over.
        std::thread::park_timeout(RESTART.saturating_sub(started.elapsed()));
    }
}

impl Worker {
    /// Serves until everything is drained or cut; returns what was cut.
    async fn serve(index: usize, shared: Arc<Shared>) -> Ended {
        let data_plane = &shared.settings;
        let clock = Clock::new();
        let proxy = Proxy::new(
            shared.recalls[index].clone(),
            data_plane.readers.reader(),
            data_plane.shards[index].clone(),
            (data_plane.nudge.clone(), data_plane.faults.clone()),
            data_plane.access_log.pen(),
            data_plane.spans.clone(),
            &clock,
        );
        let worker = Rc::new(Self {
            index,
            proxy: Rc::new(proxy),
            clock,
            listening: RefCell::default(),
            open: Cell::new(0),
            turning_away: Cell::new(0),
            closed: Notify::new(),
            shared,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn_local(worker.clock.clone().sweep());
        tasks.spawn_local(worker.clone().follow_snapshots());
        tasks.spawn_local(worker.clone().sweep_idle());
        tasks.spawn_local(worker.clone().follow_recalls());
        let mut changes = worker.shared.changes();
        let mut accepting = JoinSet::new();
        while worker.reconcile(&mut accepting) < Stage::Draining {
            tokio::select! {
                _ = changes.changed() => {}
                Some(ended) = tasks.join_next() => rethrow(ended),
                Some(ended) = accepting.join_next() => rethrow(ended),
            }
        }
        // The queues are emptied before what is open is counted.
        while let Some(ended) = accepting.join_next().await {
            rethrow(ended);
        }
        worker.drain(&mut changes).await
    }

    /// Brings what it listens on in line with what is wanted.
    fn reconcile(self: &Rc<Self>, accepting: &mut JoinSet<()>) -> Stage {
        let wanted = self.shared.wanted();
        let mut listening = self.listening.borrow_mut();
        for lent in &wanted.retiring {
            // Taken and dropped before the queue is emptied: the worker's own handle is the last one.
            let kept = lent.sockets.take(self.index);
            let known = listening.iter().position(|known| known.serves(lent));
            match (known.map(|place| listening.swap_remove(place)), kept) {
                (Some(known), _) => {
                    known.closing.set(true);
                    known.entry.send_replace(None);
                }
                (None, Some(unserved)) => {
                    self.take_queued(unserved, &self.entry(lent, &gone()));
                }
                (None, None) => {}
            }
        }
        for lent in wanted.listeners {
            let known = listening.iter_mut().find(|known| known.serves(&lent));
            match known {
                Some(known) if known.is_as(&lent) => {}
                Some(known) => {
                    let entry = self.entry(&lent, &known.closing);
                    known.entry.send_replace(Some(entry));
                    (known.plan, known.guard) = (lent.plan, lent.guard);
                }
                None => match self.listen(&lent, accepting) {
                    Ok(new) => listening.extend(new),
                    Err(error) => tracing::error!(worker = self.index, %error, "cannot accept"),
                },
            }
        }
        for known in &*listening {
            known.closing.set(wanted.stage > Stage::Serving);
        }
        wanted.stage
    }

    /// Accepts on a listener; nothing where it has gone away in the meantime.
    fn listen(
        self: &Rc<Self>,
        lent: &Lent,
        accepting: &mut JoinSet<()>,
    ) -> std::io::Result<Option<Listening>> {
        let Some(socket) = lent.sockets.lend(self.index)? else {
            return Ok(None);
        };
        let closing = Rc::<Closing>::default();
        let entry = self.entry(lent, &closing);
        let (sender, receiver) = watch::channel(Some(entry.clone()));
        accepting.spawn_local(accept(self.clone(), socket.listen()?, entry, receiver));
        Ok(Some(Listening {
            sockets: lent.sockets.clone(),
            plan: lent.plan.clone(),
            guard: lent.guard.clone(),
            closing,
            entry: sender,
        }))
    }

    async fn follow_snapshots(self: Rc<Self>) {
        let mut readers = self.shared.settings.readers.clone();
        while readers.changed().await {
            self.proxy.reconcile();
        }
        // The control plane is gone: the last snapshot serves on.
        std::future::pending::<()>().await;
    }

    async fn sweep_idle(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.proxy.sweep();
        }
    }

    /// Gives up idle connections where other workers wait for room.
    async fn follow_recalls(self: Rc<Self>) {
        loop {
            let endpoints = self.shared.recalls[self.index].next().await;
            self.proxy.recall(&endpoints);
        }
    }

    /// Lets what is open end, and cuts what is left when that is wanted.
    async fn drain(&self, changes: &mut watch::Receiver<()>) -> Ended {
        self.proxy.tunnels().drain();
        while self.open.get() > 0 && self.shared.wanted().stage < Stage::Ended {
            tokio::select! {
                _ = changes.changed() => {}
                () = self.closed.notified() => {}
            }
        }
        let tunnels = self.proxy.tunnels().open() as u64;
        let cut = self.proxy.in_flight().saturating_sub(tunnels);
        self.proxy.tunnels().end();
        self.proxy.give_up();
        self.clock.ring_all();
        let farewell = if tunnels > 0 {
            FAREWELL + GRACE
        } else {
            FAREWELL
        };
        // Idle connections are closed in order; the rest ends with this thread's runtime.
        let _ = tokio::time::timeout(farewell, async {
            while self.open.get() > 0 {
                self.closed.notified().await;
            }
        })
        .await;
        Ended { cut, tunnels }
    }

    fn entry(&self, lent: &Lent, closing: &Rc<Closing>) -> Rc<Entry> {
        let plan = &lent.plan;
        let hsts = plan.tls.as_ref().and_then(|tls| tls.hsts);
        Rc::new(Entry {
            address: lent.sockets.address.clone(),
            door: Rc::new(Door {
                trusted_proxies: plan.trusted_proxies.clone(),
                header_timeout: plan.timeouts.header,
                idle_timeout: plan.timeouts.idle,
                max_headers: plan.limits.headers.into(),
                via: plan.via,
                traceparent: plan.traceparent,
                closing: closing.clone(),
                max_age: plan.timeouts.max_connection_age,
                secure: plan.tls.is_some(),
                h2: plan.h2,
                hsts: hsts.map(|it| hsts_value(it.max_age, it.include_subdomains, it.preload)),
                redirect: plan.redirect_https,
                preview: lent.preview.clone(),
                challenges: self.shared.settings.challenges.clone(),
            }),
            limit: plan.limits.connections,
            proxy_protocol: plan.proxy_protocol,
            header_bytes: usize::try_from(plan.limits.header_bytes).unwrap_or(usize::MAX),
            open: lent.open.clone(),
            access: plan.access.clone(),
            per_client: plan
                .limits
                .connections_per_client
                .map(|most| (lent.crowd.clone(), most)),
            guard: lent.guard.clone().map(|guard| {
                let bounds = Bounds {
                    under_way: lent.under_way.clone(),
                    limit: plan.limits.handshakes,
                    time: plan.timeouts.handshake,
                };
                (guard, bounds)
            }),
        })
    }

    /// Whether the process accepts nowhere any more.
    pub(super) fn ends(&self) -> bool {
        self.shared.wanted().stage >= Stage::Draining
    }

    /// Counts a connection as open for as long as what is returned is held.
    pub(super) fn opened(self: Rc<Self>) -> impl Drop {
        self.open.set(self.open.get() + 1);
        Open(self)
    }

    /// Says that there is no room, if not too many are being told already.
    pub(super) fn turn_away(self: &Rc<Self>, stream: TcpStream) {
        if self.turning_away.get() < TURNED_AWAY {
            self.turning_away.set(self.turning_away.get() + 1);
            let worker = self.clone();
            tokio::task::spawn_local(async move {
                connection::turn_away(stream).await;
                worker.turning_away.set(worker.turning_away.get() - 1);
            });
        }
    }
}

impl Listening {
    fn serves(&self, lent: &Lent) -> bool {
        Arc::ptr_eq(&self.sockets, &lent.sockets)
    }

    fn is_as(&self, lent: &Lent) -> bool {
        // Certificates come and go while the plan stays.
        let guarded = match (&self.guard, &lent.guard) {
            (Some(here), Some(there)) => Arc::ptr_eq(here, there),
            (here, there) => here.is_none() && there.is_none(),
        };
        guarded && self.plan == lent.plan
    }
}

struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.closed.notify_one();
    }
}

/// Of a listener that is going away already.
fn gone() -> Rc<Closing> {
    let closing = Rc::<Closing>::default();
    closing.set(true);
    closing
}

/// A task of the worker's own that panicked takes the worker with it, so that all of it is started again.
fn rethrow(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_is_started_again() {
        let starts = Cell::new(0);
        let served = supervise(0, || {
            starts.set(starts.get() + 1);
            assert!(starts.get() > 2, "not yet");
            "served"
        });
        assert_eq!((served, starts.get()), ("served", 3));
    }
}
