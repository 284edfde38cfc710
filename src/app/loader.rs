//! The file, read again: by itself when it has changed, and when somebody asks.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    certificates::{Certificates, News, changes},
    plane::log_settings,
};
use crate::{
    admin::Rejected,
    config::{
        self, Edit, Hash, Loaded, Plan, Problems, SURELY,
        plan::{self, Admin, Notify, Shutdown, Token},
        problem,
    },
    control::{Actor, Applied, Code, Handle, Order, Refusal},
    server::Server,
    telemetry::AccessLog,
};

/// Between two tries at an edit that a rollout stands against.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads, checks, binds and has control apply. Nothing has changed unless all of it went well.
pub struct Loader {
    path: PathBuf,
    plan: Plan,
    /// Of the bytes in force.
    in_force: Hash,
    /// Of the bytes that were refused last, until others are applied.
    refused: Option<Hash>,
    /// An edit that a rollout stands against, and when it is tried again.
    waits: Option<(Edit, Instant)>,
    /// Of the plan the process was started with: what needs a restart to change.
    fixed: Fixed,
    tokens: watch::Sender<Vec<Token>>,
    /// `None`: not watched, or the watch has died.
    edits: Option<(config::Watch, mpsc::Receiver<Edit>)>,
    certificates: Certificates,
}

/// What happens by itself.
pub enum Event {
    Edited(Edit),
    Certificates(News),
}

/// Settings that are read at the start alone.
#[derive(PartialEq)]
struct Fixed {
    workers: usize,
    state_dir: PathBuf,
    admin: Admin,
    telemetry: Option<std::net::SocketAddr>,
    otlp: Option<plan::Otlp>,
}

impl Fixed {
    fn of(plan: &Plan) -> Self {
        Self {
            workers: plan.workers.get(),
            state_dir: plan.state_dir.clone(),
            admin: Admin {
                tokens: Vec::new(),
                ..plan.admin.clone()
            },
            telemetry: plan.telemetry.address,
            otlp: plan.telemetry.otlp.clone(),
        }
    }
}

/// Who has to do with what the file says.
pub struct Site {
    pub control: Handle,
    pub server: Server,
    pub access_log: AccessLog,
    /// Who is told of events.
    pub told: watch::Sender<Vec<Arc<Notify>>>,
}

impl Loader {
    pub fn new(
        path: &Path,
        plan: &Plan,
        hash: Hash,
        tokens: watch::Sender<Vec<Token>>,
        certificates: Certificates,
    ) -> io::Result<Self> {
        let edits = plan.watch.then(|| config::watch(path, hash)).transpose()?;
        Ok(Self {
            path: path.to_owned(),
            plan: plan.clone(),
            in_force: hash,
            refused: None,
            waits: None,
            fixed: Fixed::of(plan),
            tokens,
            edits,
            certificates,
        })
    }

    /// The next edit of the file, where it is watched, or news of a certificate.
    pub async fn event(&mut self) -> Event {
        tokio::select! {
            edit = edited(&mut self.edits) => Event::Edited(edit),
            edit = once_more(self.waits) => Event::Edited(edit),
            news = self.certificates.news() => Event::Certificates(news),
        }
    }

    /// Shows the certificates that there are now, or tells what has become of one.
    pub async fn hear(&mut self, news: News, site: &Site) {
        match news {
            News::Issued => self.show_certificates(site),
            News::Said { failed, said } => site.control.certificate(failed, said).await,
        }
    }

    /// Connections that are open stay as they are.
    pub fn show_certificates(&mut self, site: &Site) {
        let issued = self.certificates.issued();
        match site.server.prepare(&self.plan.listeners, &issued) {
            Ok(prepared) => site.server.serve(prepared),
            Err(error) => tracing::error!(%error, "the certificates stay as they were"),
        }
    }

    /// As the plan in force says.
    pub fn shutdown(&self) -> Shutdown {
        self.plan.shutdown
    }

    /// Applies an edit that was saved. One that takes something away waits until the file has been still for longer,
    /// because a file that is half written is often valid.
    pub async fn follow(&mut self, edit: Edit, site: &Site) {
        let known = edit.hash == self.in_force && self.refused.is_none();
        if known || self.refused == Some(edit.hash) {
            self.waits = None;
            return;
        }
        let again = self.waits.take().is_some_and(|(waits, _)| waits == edit);
        let loaded = config::load(&self.path);
        if let Ok(loaded) = &loaded
            && edit.still_for < SURELY
            && config::diff(&self.plan, &loaded.plan).removes
        {
            return;
        }
        // Nobody is told the same again every few seconds.
        if again && self.still_waits(&loaded, site).await {
            self.waits = Some((edit, Instant::now() + AGAIN));
            return;
        }
        // The outcome is an event, a metric and a line in status.
        match self.apply(loaded, Order::by(Actor::file()), site).await {
            Ok(_) => {}
            Err(rejected) if waits_for_a_rollout(&rejected) => {
                self.waits = Some((edit, Instant::now() + AGAIN));
            }
            Err(_) => self.refused = Some(edit.hash),
        }
    }

    /// Whether what has stood against an edit still does.
    async fn still_waits(&self, loaded: &Result<Loaded, Problems>, site: &Site) -> bool {
        let Ok(loaded) = loaded else {
            return false;
        };
        let mut order = Order::by(Actor::file());
        order.dry_run = true;
        let would = site.control.load(loaded.plan.clone(), order).await;
        would.is_err_and(|refusal| refusal.code == Code::RolloutRunning)
    }

    /// Reads the file because somebody asks.
    pub async fn load(&mut self, order: Order, site: &Site) -> Result<Applied, Rejected> {
        self.apply(config::load(&self.path), order, site).await
    }

    async fn apply(
        &mut self,
        loaded: Result<Loaded, Problems>,
        order: Order,
        site: &Site,
    ) -> Result<Applied, Rejected> {
        let (dry_run, actor) = (order.dry_run, order.actor.clone());
        let loaded = loaded.and_then(|loaded| {
            loaded.judge_times(Some(&self.plan), SystemTime::now())?;
            Ok(loaded)
        });
        if let Err(problems) = &loaded
            && !dry_run
        {
            let of_certificates =
                |found: &&config::Problem| found.code == problem::Code::Certificate;
            for found in problems.iter().filter(of_certificates) {
                let said = format!("{}: {}", found.key, found.message);
                site.control.certificate(true, said).await;
            }
        }
        let outcome = match loaded {
            Ok(loaded) => self.enforce(loaded, order, site).await,
            Err(problems) => Err(invalid(&problems)),
        };
        if let Err(rejected) = &outcome
            && !dry_run
        {
            let report = match rejected {
                Rejected::Invalid { report, .. } => report.clone(),
                Rejected::Refused(refusal) => refusal.to_string(),
            };
            tracing::error!("the file is not applied:\n{report}");
            site.control.rejected(report, actor).await;
        }
        outcome
    }

    async fn enforce(
        &mut self,
        loaded: Loaded,
        order: Order,
        site: &Site,
    ) -> Result<Applied, Rejected> {
        let Loaded { plan, hash, .. } = loaded;
        let dry_run = order.dry_run;
        // A dry run binds too, and lets go again: whether that can be done is part of the question.
        let issued = self.certificates.issued();
        let prepared = site
            .server
            .prepare(&plan.listeners, &issued)
            .map_err(|error| {
                Rejected::Refused(Refusal::new(Code::BindFailed, error.to_string()))
            })?;
        let applied = site.control.load(plan.clone(), order).await;
        let mut applied = applied.map_err(Rejected::Refused)?;
        applied.notes.extend(self.remark(&plan));
        if dry_run {
            return Ok(applied);
        }
        site.server.serve(prepared);
        self.tokens.send_replace(plan.admin.tokens.clone());
        site.told.send_replace(plan.notify.clone());
        if let Err(error) = site
            .access_log
            .apply(&log_settings(&plan.telemetry.access_log))
        {
            tracing::error!(%error, "the access log stays as it was");
        }
        for said in changes(&self.plan, &plan) {
            site.control.certificate(false, said).await;
        }
        self.certificates.keep(&plan);
        (self.plan, self.in_force, self.refused, self.waits) = (plan, hash, None, None);
        self.show_certificates(site);
        Ok(applied)
    }

    /// Says what was read and waits for a restart.
    fn remark(&self, plan: &Plan) -> Option<String> {
        (Fixed::of(plan) != self.fixed).then(|| {
            let note = "workers, state_dir, where admin and telemetry listen, and where spans go, change at the next start";
            tracing::warn!("{note}");
            note.to_owned()
        })
    }
}

/// Never returns where nothing waits.
async fn once_more(waits: Option<(Edit, Instant)>) -> Edit {
    match waits {
        Some((edit, at)) => {
            sleep_until(at).await;
            edit
        }
        None => std::future::pending().await,
    }
}

fn waits_for_a_rollout(rejected: &Rejected) -> bool {
    matches!(rejected, Rejected::Refused(refusal) if refusal.code == Code::RolloutRunning)
}

/// Never returns where nothing is watched, or nothing any more.
async fn edited(edits: &mut Option<(config::Watch, mpsc::Receiver<Edit>)>) -> Edit {
    if let Some((_, edits)) = edits
        && let Some(edit) = edits.recv().await
    {
        return edit;
    }
    *edits = None;
    std::future::pending().await
}

fn invalid(problems: &Problems) -> Rejected {
    Rejected::Invalid {
        report: problems.render(false),
        problems: match problems.to_json() {
            serde_json::Value::Array(problems) => problems,
            other => vec![other],
        },
    }
}
