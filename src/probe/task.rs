//! The life of one endpoint's probes.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    check::Checked,
    failure::{Failures, Reason},
    place::url,
    streak::{self, Streak},
};
use crate::{
    config::plan::Probe,
    control::{LastProbe, Probed},
    units::{Address, EndpointKey, Timestamp},
};

/// How an endpoint is asked: over the network, or in tests not at all.
pub type Check = Arc<dyn Fn(Address, Arc<Probe>) -> BoxFuture<'static, Checked> + Send + Sync>;

/// What a task is told while it lives.
#[derive(Clone)]
pub struct Wish {
    pub probe: Arc<Probe>,
    /// Grows when somebody wants fresh proof.
    pub nudges: u64,
    /// Somebody waits for proof: every probe is quick.
    pub hurried: bool,
    /// How long the probe that this wish calls for is put off.
    pub delay: Duration,
}

/// One endpoint's probes. Ends when nobody wishes for them any more, which is when the sender is dropped.
pub struct Task {
    endpoint: EndpointKey,
    wishes: watch::Receiver<Wish>,
    wish: Wish,
    streak: Streak,
    /// Before this, no probe begins.
    rested: Instant,
    next: Instant,
    failures: Failures,
    report: mpsc::Sender<Probed>,
    check: Check,
}

impl Task {
    pub fn new(
        endpoint: EndpointKey,
        mut wishes: watch::Receiver<Wish>,
        failures: Failures,
        report: mpsc::Sender<Probed>,
        check: Check,
    ) -> Self {
        let wish = wishes.borrow_and_update().clone();
        let now = Instant::now();
        Self {
            endpoint,
            wishes,
            streak: Streak::default(),
            rested: now,
            next: now + wish.delay,
            wish,
            failures,
            report,
            check,
        }
    }

    pub async fn run(mut self) {
        while self.wait().await {
            if let Some(probed) = self.probe().await
                && self.report.send(probed).await.is_err()
            {
                return;
            }
        }
    }

    /// Until the next probe is due; a wish may bring it nearer. `false` when no probes are wanted.
    async fn wait(&mut self) -> bool {
        while Instant::now() < self.next {
            tokio::select! {
                () = sleep_until(self.next) => {}
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                    self.adopt();
                }
            }
        }
        self.wishes.has_changed().is_ok()
    }

    fn adopt(&mut self) {
        let wish = self.wishes.borrow_and_update().clone();
        let calls = wish.nudges != self.wish.nudges || wish.probe != self.wish.probe;
        self.wish = wish;
        if calls {
            self.streak.hurry(&self.wish.probe);
            let wished = self.rested.max(Instant::now() + self.wish.delay);
            self.next = self.next.min(wished);
        }
    }

    /// `None` when the question is no longer asked, because the settings changed or no probes are wanted, or when it could not be
    /// asked: that the machine has nothing left to ask with says nothing of the endpoint.
    async fn probe(&mut self) -> Option<Probed> {
        let begun = Instant::now();
        let probe = self.wish.probe.clone();
        let checked = tokio::select! {
            checked = (self.check)(self.endpoint.address.clone(), probe.clone()) => checked,
            () = other_than(&probe, self.wishes.clone()) => {
                self.adopt();
                return None;
            }
        };
        let failed = checked.result.as_ref().err();
        if let Some(failure) = failed {
            self.failures.count(&self.endpoint, failure.reason);
        }
        let short = failed.filter(|failure| failure.reason == Reason::Shortage);
        if short.is_none() {
            self.streak.record(failed.is_none());
        }
        self.rested = Instant::now() + streak::rest(&probe);
        // Jitter, so that probes which once began together do not stay together.
        let gap = self
            .streak
            .gap(&probe, self.wish.hurried)
            .mul_f64(0.9 + 0.2 * fastrand::f64());
        self.next = self.rested.max(begun + gap);
        if let Some(short) = short {
            tracing::warn!(endpoint = %self.endpoint, error = %short, "cannot probe");
            return None;
        }
        Some(probed(&self.endpoint, &probe, begun, self.streak, checked))
    }
}

/// Until other settings are wished for, or nobody wishes any more. On a receiver of its own, so that nudges stay unseen.
async fn other_than(probe: &Arc<Probe>, mut wishes: watch::Receiver<Wish>) {
    let _ = wishes.wait_for(|wish| wish.probe != *probe).await;
}

fn probed(
    endpoint: &EndpointKey,
    probe: &Probe,
    begun: Instant,
    streak: Streak,
    checked: Checked,
) -> Probed {
    Probed {
        endpoint: endpoint.clone(),
        begun: begun.into_std(),
        passed: checked.result.is_ok(),
        last: LastProbe {
            at: Timestamp::now(),
            url: url(&endpoint.address, probe),
            status: checked.status,
            latency_ms: checked.latency.as_secs_f64() * 1000.0,
            error: checked.result.err().map(|failure| failure.detail),
            streak: streak.run(),
        },
    }
}
