use std::{
    future,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    certificates::Certificates,
    exporting::Exporting,
    figures::{Figures, sample},
    loader::{Loader, Site},
    running::{Bound, Options, StartError},
    signals::{self, Ask},
};
use crate::{
    admin,
    config::{self, Loaded, Plan, plan},
    control, discovery,
    notices::{self, Tally},
    outbound::Client,
    outlier, pool, probe,
    rollout::{self, Outside},
    server::{self, Server},
    telemetry::{AccessLog, SpanCounts, Windows, WorkerShard, access_log},
    tls::Challenges,
    units::{PoolKey, Seed},
};

/// Everything that runs, bound and not yet accepting.
pub struct Plane {
    pub site: Site,
    pub loader: Loader,
    /// Served once the process accepts.
    pub prepared: Option<server::Prepared>,
    pub plan: Plan,
    /// Orders of the admin API to load the file.
    pub loads: mpsc::Receiver<admin::Load>,
    /// Ends when the last handle on control is gone.
    pub controller: tokio::task::JoinHandle<()>,
    /// Ends when it is told to.
    pub exporting: Exporting,
    /// End with the plane.
    pub tasks: JoinSet<()>,
}

impl Plane {
    /// Starts every part in the order in which they need one another. A failure leaves nothing behind.
    pub fn raise(options: &Options, asks: &mpsc::Sender<Ask>) -> Result<(Self, Bound), StartError> {
        let Loaded { plan, hash, .. } = load(&options.config)?;
        let access_log = AccessLog::start(&log_settings(&plan.telemetry.access_log))?;
        // Takes the lock on `state_dir`, which the admin socket may lie in.
        let (control, controller) = control::start(plan.clone())?;
        let controller = tokio::spawn(controller.run());
        let admin_listener = admin::bind(&plan.admin)?;
        let telemetry_listener = plan.telemetry.address.map(admin::bind_tcp).transpose()?;
        let mut tasks = JoinSet::new();

        let workers: Vec<Arc<WorkerShard>> =
            (0..plan.workers.get()).map(|_| Arc::default()).collect();
        let exporting = Exporting::start(plan.telemetry.otlp.as_ref())?;
        let (nudge, nudges) = pool::nudges();
        let (faults, reports) = pool::faults(Seed::new(fastrand::u128(..).to_le_bytes()));
        let challenges = Arc::<Challenges>::default();
        let mut certificates = Certificates::new(&plan.state_dir, challenges.clone());
        certificates.keep(&plan);
        let server = Server::start(server::Settings {
            workers: plan.workers,
            readers: control.readers().clone(),
            shards: workers.clone(),
            nudge,
            faults,
            access_log: access_log.clone(),
            spans: exporting.spans.clone(),
            challenges,
        })?;
        let prepared = server.prepare(&plan.listeners, &certificates.issued())?;
        let windows = sampled(&control, &mut tasks);
        let told = (nudges, reports, windows.clone());
        let watched = watch_endpoints(&control, told, &options.config, &mut tasks);
        let (told, tally) = tell_others(&control, &plan, &mut tasks);

        let (tokens, given) = watch::channel(plan.admin.tokens.clone());
        let (orders, loads) = mpsc::channel(16);
        let (path, loader) = (options.config.clone(), orders);
        let file = admin::ConfigFile { path, loader };
        let logs = (access_log.clone(), exporting.counts());
        let measured = measured(&server, workers, (watched, tally), windows, logs);
        let state = admin::State::new(control.clone(), given, Some(file), measured);
        let bound = Bound {
            listeners: prepared.addresses(),
            admin: admin_listener.address(),
            telemetry: telemetry_listener.as_ref().map(admin::Listener::address),
        };
        answer((admin_listener, telemetry_listener), state, &mut tasks);
        if options.signals {
            signals::listen(asks)?;
        }
        let loader = Loader::new(&options.config, &plan, hash, tokens, certificates)?;
        let site = Site {
            control,
            server,
            access_log,
            told,
        };
        let plane = Self {
            site,
            loader,
            prepared: Some(prepared),
            plan,
            loads,
            controller,
            exporting,
            tasks,
        };
        Ok((plane, bound))
    }
}

/// What the pools did of late, kept from now on.
fn sampled(control: &control::Handle, tasks: &mut JoinSet<()>) -> Arc<Mutex<Windows>> {
    let windows = Arc::new(Mutex::new(Windows::new(now())));
    tasks.spawn(sample(control.readers().clone(), windows.clone()));
    windows
}

/// Starts what tells control which endpoints there are, and how they are: by asking them, and by what they do to requests; and what takes
/// rollouts on by it.
fn watch_endpoints(
    control: &control::Handle,
    (nudges, reports, windows): (pool::Nudges, pool::FaultReports, Arc<Mutex<Windows>>),
    config: &Path,
    tasks: &mut JoinSet<()>,
) -> (probe::Failures, Outside) {
    let (probes, outside) = (probe::Failures::default(), Outside::default());
    tasks.spawn(probe::run(control.clone(), nudges, probes.clone()));
    tasks.spawn(outlier::run(control.clone()));
    tasks.spawn(rollout::run(
        control.clone(),
        reports,
        outside.clone(),
        windows,
        config.to_owned(),
    ));
    tasks.spawn(discovery::run(control.clone()));
    (probes, outside)
}

/// Starts who tells events to others, those that the plan names; whom to tell later is said by what is returned.
fn tell_others(
    control: &control::Handle,
    plan: &Plan,
    tasks: &mut JoinSet<()>,
) -> (watch::Sender<Vec<Arc<plan::Notify>>>, Tally) {
    let (told, named) = watch::channel(plan.notify.clone());
    let tally = Tally::default();
    let telling = notices::run(control.clone(), named, Client::default(), tally.clone());
    tasks.spawn(telling);
    (told, tally)
}

/// The file, with certificates whatever their time: to refuse the start would make of one listener's trouble everybody's.
fn load(path: &Path) -> Result<Loaded, StartError> {
    let loaded = config::load(path).map_err(StartError::Config)?;
    if let Err(problems) = loaded.judge_times(None, SystemTime::now()) {
        tracing::error!("certificates are shown that no client takes:\n{problems}");
    }
    Ok(loaded)
}

/// Opens the operator's door, and where there is one, that for telemetry alone.
fn answer(
    (operator, telemetry): (admin::Listener, Option<admin::Listener>),
    state: admin::State,
    tasks: &mut JoinSet<()>,
) {
    tasks.spawn(serve(operator, admin::router(state.clone())));
    if let Some(listener) = telemetry {
        tasks.spawn(serve(listener, admin::telemetry(state)));
    }
}

async fn serve(listener: admin::Listener, router: admin::Router) {
    if let Err(error) = listener.serve(router).await {
        tracing::error!(%error, "an admin listener ended");
        future::pending::<()>().await;
    }
}

/// What status and metrics are read from.
fn measured(
    server: &Server,
    workers: Vec<Arc<WorkerShard>>,
    ((probes, outside), notices): ((probe::Failures, Outside), Tally),
    windows: Arc<Mutex<Windows>>,
    (access_log, spans): (AccessLog, Option<Arc<SpanCounts>>),
) -> admin::Measured {
    let gauge = server.gauge();
    let sampled = windows.clone();
    let metrics = move |view: &control::View| {
        let figures = Figures {
            view,
            workers: &workers,
            connections: &gauge.connections(),
            certificates: &gauge.certificates(),
            probes: &probes,
            outside: &outside,
            notices: &notices,
            windows: &sampled,
            access_log: &access_log,
            spans: spans.as_deref(),
        };
        figures.render()
    };
    let window = move |pool: &PoolKey| {
        let windows = windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.window(pool)
    };
    admin::Measured {
        metrics: Arc::new(metrics),
        window: Arc::new(window),
    }
}

pub fn log_settings(log: &plan::AccessLog) -> access_log::Settings {
    access_log::Settings {
        sample: log.sample,
        format: match log.format {
            plan::LogFormat::Text => access_log::Format::Text,
            plan::LogFormat::Json => access_log::Format::Json,
        },
        path: log.path.clone(),
    }
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
