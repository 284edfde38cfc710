//! Faults that a rehearsal injects: a request draws one at most, once, when its pool is first chosen and before an endpoint is.
//! Services without any never come here.

use std::{cell::Cell, sync::Arc, time::Duration};

use http::StatusCode;

use super::{
    Kind, Proxy,
    handle::Refused,
    queue::{Asking, Undecided},
    rules::Applied,
};
use crate::{
    pool::PoolStats,
    routing::{Head, drawn_fault},
    snapshot::{Pool, Rules, Service},
    telemetry::{Failure, Injected},
    units::Timestamp,
};

/// How far a request is with the fault that it may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Undrawn,
    /// It was delayed, and then nobody is to be asked.
    Aborts(StatusCode),
    Over,
}

/// What a request has to do with faults.
#[derive(Default)]
pub(super) struct Rehearsal {
    stage: Cell<Stage>,
    /// What divides it between pools; kept while it is delayed, so that it goes to the pool that it was delayed for.
    lot: Cell<Option<u64>>,
    delayed: Cell<bool>,
}

impl Rehearsal {
    /// What has been done to it, as the access log says it.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.delayed.get().then(|| Injected::Delay.reason())
    }

    /// A random number; the same one again after a delay.
    pub(super) fn lot(&self) -> u64 {
        self.lot.take().unwrap_or_else(|| fastrand::u64(..))
    }

    /// Has it fall to the same again, however often it is decided on.
    pub(super) fn keep(&self, lot: u64) {
        self.lot.set(Some(lot));
    }
}

/// A request is to wait before it is decided anew.
pub(super) struct Delay {
    pub span: Duration,
    /// How long it may take in all.
    pub request: Option<Duration>,
    /// What it is told when that is over first.
    pub late: Box<Refused>,
}

impl Proxy {
    /// Lets the request draw, where it has not. `lot`: what its pool was chosen by.
    pub(super) fn inject(
        &self,
        service: &Service,
        pool: &Pool,
        head: &Head,
        asking: &Asking,
        (lot, rules): (u64, Option<&Arc<Rules>>),
    ) -> Result<(), Undecided> {
        let rehearsal = &asking.rehearsal;
        let shard = pool.stats.shard(self.worker);
        let abort = match rehearsal.stage.replace(Stage::Over) {
            Stage::Over => return Ok(()),
            Stage::Aborts(status) => Some(status),
            Stage::Undrawn => {
                let faults = &service.plan.faults;
                let lots = || fastrand::u64(..);
                let fault = drawn_fault(faults, head, pool.name(), lots, Timestamp::now);
                let Some(fault) = fault else {
                    return Ok(());
                };
                if let Some(span) = fault.delay {
                    shard.injected.count(Injected::Delay);
                    rehearsal.delayed.set(true);
                    rehearsal.lot.set(Some(lot));
                    let stage = fault.abort.map_or(Stage::Over, Stage::Aborts);
                    rehearsal.stage.set(stage);
                    let request = service.plan.timeouts.request;
                    let late = Refused::of(Kind::RequestTimeout, &service.stats, rules);
                    let late = Box::new(late);
                    return Err(Undecided::Delayed(Delay {
                        span,
                        request,
                        late,
                    }));
                }
                fault.abort
            }
        };
        let Some(status) = abort else {
            return Ok(());
        };
        shard.injected.count(Injected::Abort);
        if status.is_server_error() {
            shard.failed(Failure::Injected);
        }
        let applied = rules.map(|rules| Box::new(Applied::new(rules)));
        Err(Refused::aborted(status, &service.stats, &pool.stats, applied).into())
    }

    /// Keeps a request for as long as it is to be delayed. It holds nothing meanwhile.
    pub(super) async fn delay(&self, delay: Delay, asking: &Asking) -> Result<(), Refused> {
        let whole = delay.request.map(|whole| asking.began + whole);
        let until = tokio::time::Instant::now() + delay.span;
        match whole {
            // Nobody is asked for an answer that would come too late.
            Some(whole) if whole <= until => {
                tokio::time::sleep_until(whole).await;
                Err(*delay.late)
            }
            _ => {
                tokio::time::sleep_until(until).await;
                Ok(())
            }
        }
    }
}

/// Answered in the place of the pool.
pub(super) struct Aborted {
    pub status: StatusCode,
    pub pool: Arc<PoolStats>,
}
