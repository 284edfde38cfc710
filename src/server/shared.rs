use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};

use tokio::sync::{mpsc, watch};

use super::{
    BindError,
    crowd::Crowd,
    drain::{Drained, Ended},
    guard::{Guard, Issued, ended},
    listen::{Sockets, bind, permit},
    worker,
};
use crate::{
    config::plan,
    pool::{Faults, Nudge, Recalls, recalls},
    proxy::Previewing,
    snapshot::Readers,
    telemetry::{AccessLog, Spans, WorkerShard},
    tls::{Certificate, Challenges, Failure},
    units::ListenAddress,
    unix_socket::Permit,
};

/// What the data plane is made of.
pub struct Settings {
    pub workers: NonZeroUsize,
    pub readers: Readers,
    /// One for each worker.
    pub shards: Vec<Arc<WorkerShard>>,
    pub nudge: Nudge,
    pub faults: Faults,
    pub access_log: AccessLog,
    /// Who takes spans, where anybody does.
    pub spans: Option<Spans>,
    /// What authorities may be looking for.
    pub challenges: Arc<Challenges>,
}

/// The data plane: the workers' threads and the sockets they accept on.
///
/// The process owns the sockets and lends them: a worker that starts again after a panic finds its sockets, and the
/// connections that have queued up in them, where it left them.
pub struct Server {
    shared: Arc<Shared>,
    ended: mpsc::UnboundedReceiver<Ended>,
}

/// Listeners that are bound and wait to be served. Dropped, nothing has changed.
pub struct Prepared(Vec<Lent>);

/// What workers shall do; they bring themselves in line with it whenever it changes.
pub(super) struct Shared {
    pub settings: Settings,
    /// One for each worker.
    pub recalls: Vec<Recalls>,
    wanted: Mutex<Wanted>,
    changed: watch::Sender<()>,
}

#[derive(Clone)]
pub(super) struct Wanted {
    pub stage: Stage,
    pub listeners: Vec<Lent>,
    /// Listeners that go away: each worker takes its socket, empties its queue, and closes it.
    pub retiring: Vec<Lent>,
}

/// A listener and its sockets.
#[derive(Clone)]
pub(super) struct Lent {
    pub plan: Arc<plan::Listener>,
    pub sockets: Arc<Sockets>,
    /// Who may connect, where it is a Unix socket.
    permit: Permit,
    /// Connections open over all workers.
    pub open: Arc<AtomicU32>,
    pub crowd: Arc<Crowd>,
    pub guard: Option<Arc<Guard>>,
    pub preview: Arc<Previewing>,
    /// Handshakes under way over all workers.
    pub under_way: Arc<AtomicU32>,
}

/// How far the process is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    /// Still accepting; answers announce that the connection will be closed.
    LameDuck,
    /// Accepting no more; what is open may end.
    Draining,
    /// What is still open is cut.
    Ended,
}

/// Reads what the data plane measures of its sockets, from any thread.
#[derive(Clone)]
pub struct Gauge(Arc<Shared>);

impl Gauge {
    /// Open connections of each listener.
    pub fn connections(&self) -> Vec<(ListenAddress, u32)> {
        let listeners = self.0.wanted().listeners;
        listeners
            .iter()
            .map(|lent| (lent.plan.address.clone(), lent.open.load(Relaxed)))
            .collect()
    }

    /// The certificates that each listener shows.
    pub fn certificates(&self) -> Vec<(ListenAddress, Certificate)> {
        let listeners = self.0.wanted().listeners;
        let shown = listeners.iter().flat_map(|lent| {
            let guard = lent.guard.iter().flat_map(|guard| &guard.certificates);
            guard.map(|certificate| (lent.plan.address.clone(), certificate.clone()))
        });
        shown.collect()
    }

    /// How TLS handshakes have ended, as [`WorkerShard::handshakes`] numbers them: each by its name.
    pub fn ends_of_handshakes() -> impl Iterator<Item = (usize, &'static str)> {
        let failures = Failure::ALL.map(|failure| (ended(failure), failure.as_str()));
        std::iter::once((0, "done")).chain(failures)
    }
}

impl Prepared {
    /// The addresses that are listened on, as bound.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        let bound = self.0.iter().map(|lent| lent.sockets.address.clone());
        bound.collect()
    }
}

impl Server {
    /// Starts the workers. They accept nothing until [`Server::serve`].
    pub fn start(settings: Settings) -> std::io::Result<Self> {
        let workers = settings.workers.get();
        let shared = Arc::new(Shared {
            settings,
            recalls: recalls(workers),
            wanted: Mutex::new(Wanted {
                stage: Stage::Serving,
                listeners: Vec::new(),
                retiring: Vec::new(),
            }),
            changed: watch::Sender::new(()),
        });
        let (sender, ended) = mpsc::unbounded_channel();
        for index in 0..workers {
            let (shared, ended) = (shared.clone(), sender.clone());
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || worker::run(index, &shared, &ended))?;
        }
        Ok(Self { shared, ended })
    }

    /// Binds what of `listeners` is not served yet, with the certificates that there are. A refusal leaves everything as it
    /// was.
    pub fn prepare(
        &self,
        listeners: &[Arc<plan::Listener>],
        issued: &Issued,
    ) -> Result<Prepared, BindError> {
        let served = self.shared.wanted().listeners;
        let settings = &self.shared.settings;
        let mut prepared = Vec::with_capacity(listeners.len());
        for plan in listeners {
            let kept = served.iter().find(|lent| lent.plan.address == plan.address);
            let before = kept.and_then(|lent| lent.guard.as_ref());
            let guard = Guard::of(plan, issued, &settings.challenges, before);
            let failed = |source| BindError {
                address: plan.address.clone(),
                source,
            };
            let guard = guard.map_err(failed)?;
            let permit = permit(plan).map_err(failed)?;
            prepared.push(match kept {
                Some(lent) => Lent {
                    plan: plan.clone(),
                    guard,
                    permit,
                    ..lent.clone()
                },
                None => Lent {
                    plan: plan.clone(),
                    sockets: bind(plan, settings.workers.get())?.into(),
                    permit,
                    open: Arc::default(),
                    crowd: Arc::default(),
                    guard,
                    preview: Arc::default(),
                    under_way: Arc::default(),
                },
            });
        }
        Ok(Prepared(prepared))
    }

    /// Serves these listeners and no others. Connections of a listener that goes away are served to their end.
    pub fn serve(&self, Prepared(listeners): Prepared) {
        self.shared.want(|wanted| wanted.serve(listeners));
    }

    pub fn gauge(&self) -> Gauge {
        Gauge(self.shared.clone())
    }

    /// Announces to clients, with every answer, that their connection will be closed; goes on accepting.
    pub fn lame_duck(&self) {
        self.shared.want(|wanted| wanted.stage = Stage::LameDuck);
    }

    /// Stops accepting, lets what is open end until `deadline`, cuts the rest.
    pub async fn drain(mut self, deadline: std::time::Duration) -> Drained {
        self.shared.want(|wanted| {
            wanted.stage = Stage::Draining;
            wanted.serve(Vec::new());
        });
        let mut drained = Drained::default();
        let mut left = self.shared.settings.workers.get();
        let cut = tokio::time::sleep(deadline);
        tokio::pin!(cut);
        while left > 0 {
            tokio::select! {
                ended = self.ended.recv() => {
                    let Ended { cut, tunnels } = ended.unwrap_or_default();
                    drained.cut += cut;
                    drained.tunnels += tunnels;
                    left = if ended.is_some() { left - 1 } else { 0 };
                }
                () = &mut cut, if !drained.timed_out => {
                    drained.timed_out = true;
                    self.shared.want(|wanted| wanted.stage = Stage::Ended);
                }
            }
        }
        drained
    }
}

impl Drop for Server {
    /// Ends the workers; [`Server::drain`] is the gentle way.
    fn drop(&mut self) {
        self.shared.want(|wanted| {
            wanted.stage = Stage::Ended;
            wanted.serve(Vec::new());
        });
    }
}

impl Wanted {
    fn serve(&mut self, listeners: Vec<Lent>) {
        let same = |lent: &&Lent, kept: &Lent| Arc::ptr_eq(&kept.sockets, &lent.sockets);
        let before = std::mem::take(&mut self.listeners);
        for kept in &listeners {
            let known = before.iter().find(|lent| same(lent, kept));
            if known.is_some_and(|lent| lent.permit != kept.permit) {
                kept.sockets.permit(kept.permit);
            }
            kept.preview.set(kept.plan.preview);
        }
        self.retiring.retain(|lent| !lent.sockets.are_taken());
        let gone = before
            .into_iter()
            .filter(|lent| !listeners.iter().any(|kept| same(&lent, kept)))
            .inspect(|lent| lent.sockets.retire());
        self.retiring.extend(gone);
        self.listeners = listeners;
    }
}

impl Shared {
    pub(super) fn wanted(&self) -> Wanted {
        self.lock().clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn want(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.lock());
        self.changed.send_replace(());
    }

    /// What is behind the lock is replaced in whole steps: a panic elsewhere leaves it sound.
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
