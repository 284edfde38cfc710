use std::{path::PathBuf, thread};

use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

use super::{
    life::{self, Ended},
    plane::Plane,
    signals::Ask,
};
use crate::{admin, config::Problems, control, server, units::ListenAddress};

/// What a process is started with.
#[derive(Debug, Clone)]
pub struct Options {
    pub config: PathBuf,
    /// Act on signals: SIGTERM and SIGINT stop, SIGHUP reloads, SIGUSR1 reopens the access log.
    pub signals: bool,
}

/// Why a process could not be started; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(Problems),
    #[error("{0}")]
    Locked(#[from] control::Locked),
    #[error("{0}")]
    Bind(#[from] server::BindError),
    #[error("{0}")]
    Admin(#[from] admin::BindError),
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// A whole Cutover in this process: the workers' threads, and a control thread that owns everything else.
pub struct Running {
    bound: Bound,
    asks: mpsc::Sender<Ask>,
    ended: oneshot::Receiver<Ended>,
}

/// Where a process listens, with the ports that were picked for port 0.
#[derive(Debug, Clone)]
pub struct Bound {
    pub listeners: Vec<ListenAddress>,
    /// As `--admin` takes it.
    pub admin: String,
    pub telemetry: Option<String>,
}

impl Running {
    /// Returns once everything is bound. Requests are accepted when every weighted pool is ready, or after
    /// `startup.wait`; the kernel keeps connections that come before.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (asks, asked) = mpsc::channel(8);
        let (report, started) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let feedback = asks.clone();
        thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                let live = async {
                    match Plane::raise(&options, &feedback) {
                        Ok((plane, bound)) => {
                            // Nobody waits where the start was given up; then nobody asks either, and it ends.
                            let _ = report.send(Ok(bound));
                            let _ = end.send(life::live(plane, asked).await);
                        }
                        Err(error) => drop(report.send(Err(error))),
                    }
                };
                match runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime.block_on(live),
                    Err(error) => tracing::error!(%error, "no runtime for the control thread"),
                }
            })?;
        let gone = || StartError::Io(std::io::Error::other("the control thread could not run"));
        let bound = started.await.map_err(|_| gone())??;
        Ok(Self { bound, asks, ended })
    }

    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Stops as on SIGTERM and waits for the end.
    pub async fn stop(self) -> Ended {
        // It may have ended by itself.
        let _ = self.asks.send(Ask::Stop).await;
        self.wait().await
    }

    /// Waits for the end, which a signal brings.
    pub async fn wait(self) -> Ended {
        self.ended.await.unwrap_or_default()
    }
}
