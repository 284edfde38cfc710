//! From accepting to the end.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    loader::{Event, Site},
    plane::Plane,
    signals::Ask,
};
use crate::{
    config::plan::Shutdown,
    control::{Actor, ActorKind, Handle, Order, Phase},
    server::{Drained, Server},
    telemetry::AccessLog,
};

/// How long the last decisions may take to reach the disk.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a process ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Requests that were cut off at the deadline, or by a second signal.
    pub cut: u64,
    /// A second signal ended it at once.
    pub at_once: bool,
}

/// Serves until asked to stop, then ends without losing a request.
pub async fn live(mut plane: Plane, mut asks: mpsc::Receiver<Ask>) -> Ended {
    let shutdown = serve(&mut plane, &mut asks).await;
    let Plane {
        site,
        controller,
        exporting,
        mut tasks,
        ..
    } = plane;
    let Site {
        control, server, ..
    } = site;
    let ended = end(&control, server, shutdown, &mut asks).await;
    tasks.shutdown().await;
    drop(control);
    exporting.end(LAST_WORDS).await;
    // With the last handle gone the controller writes what is left and ends.
    if timeout(LAST_WORDS, controller).await.is_err() {
        tracing::warn!("ended before the last decisions were written");
    }
    ended
}

/// Accepts, and follows the file and whoever asks, until asked to stop.
async fn serve(plane: &mut Plane, asks: &mut mpsc::Receiver<Ask>) -> Shutdown {
    let wait = plane.plan.startup.wait;
    let early = tokio::select! {
        () = until_ready(&plane.site.control, wait) => false,
        () = stop_asked(asks) => true,
    };
    // Also where the end comes this early: connections that have queued up get an answer.
    if let Some(prepared) = plane.prepared.take() {
        plane.site.server.serve(prepared);
    }
    if early {
        return plane.plan.shutdown;
    }
    plane.site.control.enter(Phase::Serving).await;
    tell(NotifyState::Ready);
    loop {
        tokio::select! {
            event = plane.loader.event() => match event {
                Event::Edited(edit) => plane.loader.follow(edit, &plane.site).await,
                Event::Certificates(news) => plane.loader.hear(news, &plane.site).await,
            },
            Some(load) = plane.loads.recv() => {
                let outcome = plane.loader.load(load.order, &plane.site).await;
                // Whoever asked may have gone; what was done stays.
                let _ = load.reply.send(outcome);
            }
            ask = asks.recv() => match ask {
                Some(Ask::Reload) => {
                    let by = Actor::new("SIGHUP", ActorKind::Person, "signal");
                    // The outcome is an event, a metric and a line in status.
                    let _ = plane.loader.load(Order::by(by), &plane.site).await;
                }
                Some(Ask::ReopenLog) => reopen(&plane.site.access_log),
                Some(Ask::Stop) | None => return plane.loader.shutdown(),
            }
        }
    }
}

fn reopen(log: &AccessLog) {
    if let Err(error) = log.reopen() {
        tracing::error!(%error, "the access log cannot be reopened");
    }
}

/// Returns when every weighted pool is ready, and after `wait` at the latest.
async fn until_ready(control: &Handle, wait: Duration) {
    // Without a controller there is nothing to wait for.
    if let Ok(false) = control.until_weighted_are_ready(wait).await {
        tracing::warn!("accepting although not every weighted pool is ready");
    }
}

async fn stop_asked(asks: &mut mpsc::Receiver<Ask>) {
    while asks.recv().await.is_some_and(|ask| ask != Ask::Stop) {}
}

/// Lame duck, then drain; a second ask ends either at once.
async fn end(
    control: &Handle,
    server: Server,
    shutdown: Shutdown,
    asks: &mut mpsc::Receiver<Ask>,
) -> Ended {
    tell(NotifyState::Stopping);
    control.enter(Phase::LameDuck).await;
    server.lame_duck();
    tracing::info!(lame_duck = ?shutdown.lame_duck, deadline = ?shutdown.deadline, "stopping");
    tokio::select! {
        () = sleep(shutdown.lame_duck) => {}
        () = stop_asked(asks) => return at_once(),
    }
    control.enter(Phase::Draining).await;
    tokio::select! {
        drained = server.drain(shutdown.deadline) => {
            let Drained { cut, tunnels, timed_out } = drained;
            tracing::info!(cut, tunnels, timed_out, "drained");
            Ended { cut, at_once: false }
        }
        () = stop_asked(asks) => at_once(),
    }
}

fn at_once() -> Ended {
    tracing::warn!("asked twice: ending at once");
    Ended {
        cut: 0,
        at_once: true,
    }
}

/// Tells systemd, if it started us.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd was not told");
    }
}
