use std::{path::PathBuf, sync::Arc};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{
    problem::{Code, Problem},
    view::Beside,
};
use crate::{
    config::plan::Token,
    control::{Applied, Handle, Order, Refusal, view},
    telemetry::Window,
    units::PoolKey,
};

/// What the admin API is given to work with.
#[derive(Clone)]
pub struct State {
    pub control: Handle,
    /// Of the plan in force.
    pub tokens: watch::Receiver<Vec<Token>>,
    /// The file in force; `None` where there is none (`cutover proxy`).
    pub config: Option<ConfigFile>,
    pub measured: Measured,
    /// Bounds the event streams that are open at once.
    pub(super) streams: Arc<Semaphore>,
}

/// The file on disk and who loads it.
#[derive(Clone)]
pub struct ConfigFile {
    pub path: PathBuf,
    /// Asks for the file to be read, checked, prepared and applied.
    pub loader: mpsc::Sender<Load>,
}

/// An order to load the file; with `dry_run`, to say what that would change.
pub struct Load {
    pub order: Order,
    pub reply: oneshot::Sender<Result<Applied, Rejected>>,
}

/// Why the file was not applied.
#[derive(Debug)]
pub enum Rejected {
    /// What is wrong with it: for a person as `cutover check` prints it, and problem by problem for a program.
    Invalid {
        report: String,
        problems: Vec<serde_json::Value>,
    },
    Refused(Refusal),
}

/// Where figures come from.
#[derive(Clone)]
pub struct Measured {
    /// All metrics in the Prometheus text format.
    pub metrics: Arc<dyn Fn(&view::View) -> String + Send + Sync>,
    /// A pool's last minute.
    pub window: Arc<dyn Fn(&PoolKey) -> Window + Send + Sync>,
}

/// More followers of events than this have to take turns.
const STREAMS: usize = 64;

impl State {
    pub fn new(
        control: Handle,
        tokens: watch::Receiver<Vec<Token>>,
        config: Option<ConfigFile>,
        measured: Measured,
    ) -> Self {
        Self {
            control,
            tokens,
            config,
            measured,
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }

    /// Shows something with what is measured now.
    pub(super) fn beside<T>(&self, show: impl FnOnce(&Beside<'_>) -> T) -> T {
        let lives = self.control.live().borrow();
        show(&Beside {
            measured: &self.measured,
            lives: &lives,
            now: jiff::Timestamp::now(),
        })
    }

    pub(super) async fn load(&self, order: Order) -> Result<Applied, Rejected> {
        let gone = || {
            Rejected::Refused(Refusal::new(
                crate::control::Code::ShuttingDown,
                "the process is shutting down",
            ))
        };
        let Some(file) = &self.config else {
            let none = Refusal::new(
                crate::control::Code::InvalidRequest,
                "this process runs without a file",
            );
            return Err(Rejected::Refused(none));
        };
        let (reply, answer) = oneshot::channel();
        file.loader
            .send(Load { order, reply })
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Refused(refusal) => refusal.into(),
            Rejected::Invalid { report, problems } => {
                let mut problem = Self::new(Code::InvalidConfig, report).hint("cutover check");
                problem.0.problems = problems;
                problem
            }
        }
    }
}
