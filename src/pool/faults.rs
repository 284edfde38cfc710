use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::mpsc;

use super::PoolStats;
use crate::units::{Arm, Seed};

/// As many may wait to be looked at; a trial that has that many is over.
const WAITING: usize = 1024;

/// What a worker tells whoever guards a trial, at once and of errors only.
#[derive(Clone)]
pub struct FaultReport {
    /// The trial's number.
    pub trial: u64,
    /// Of the arm that has failed the request.
    pub pool: Arc<PoolStats>,
    pub arm: Arm,
    /// The candidate's part of the two, as it was in force when the request was decided.
    pub share: f64,
    /// A number for the client: of its authentic sticky cookie, else of its address. The same in all workers, until the process ends.
    pub client: Option<u64>,
    pub event: FaultEvent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultEvent {
    /// A first attempt was failed by its endpoint.
    Failed,
    /// And the client has got a failure. Comes after the other, of the same request.
    Felt,
    /// And another endpoint of the same pool has answered instead, as late as that. Of an arm that is a pool its counts say so.
    Rescued,
}

/// A worker's end. Never waits: when too many reports do, one more is dropped, and counted.
#[derive(Clone)]
pub struct Faults {
    reports: mpsc::Sender<FaultReport>,
    dropped: Arc<AtomicU64>,
    /// What clients' addresses are made numbers with.
    pub seed: Seed,
}

/// The other end: whoever guards.
pub struct FaultReports {
    reports: mpsc::Receiver<FaultReport>,
    dropped: Arc<AtomicU64>,
}

/// `seed`: random, so that nobody who chooses his address knows his number.
pub fn faults(seed: Seed) -> (Faults, FaultReports) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let dropped = Arc::<AtomicU64>::default();
    let faults = Faults {
        reports: sender,
        dropped: dropped.clone(),
        seed,
    };
    let reports = FaultReports {
        reports: receiver,
        dropped,
    };
    (faults, reports)
}

impl Faults {
    pub fn report(&self, report: FaultReport) {
        if self.reports.try_send(report).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl FaultReports {
    /// The next report; `None` when every worker is gone.
    pub async fn next(&mut self) -> Option<FaultReport> {
        self.reports.recv().await
    }

    /// How many came while too many waited. They are in the counts of their pool all the same.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pool::Directory, units::PoolKey};

    #[tokio::test]
    async fn reports_that_nobody_takes_are_dropped_and_counted() {
        let (faults, mut reports) = faults(Seed::PUBLIC);
        let key = PoolKey {
            service: "shop".parse().unwrap(),
            pool: "green".parse().unwrap(),
        };
        let report = FaultReport {
            trial: 7,
            pool: Directory::new(1).pool(&key),
            arm: Arm::Candidate,
            share: 0.05,
            client: None,
            event: FaultEvent::Failed,
        };
        for _ in 0..WAITING + 3 {
            faults.report(report.clone());
        }
        assert_eq!(reports.dropped(), 3);
        assert_eq!(reports.next().await.unwrap().trial, 7);
        drop(faults);
        let mut left = 0;
        while reports.next().await.is_some() {
            left += 1;
        }
        assert_eq!(left, WAITING - 1);
    }
}
