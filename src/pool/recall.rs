use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::Endpoint;

/// A worker's way to ask the others for connections that carry nothing, and to be asked. Only where an endpoint has as many as it may have.
#[derive(Clone)]
pub struct Recalls {
    desks: Arc<[Desk]>,
    worker: usize,
}

/// What one worker is asked for.
#[derive(Default)]
struct Desk {
    asked: Mutex<Vec<Arc<Endpoint>>>,
    called: Notify,
}

/// One for each worker.
pub fn recalls(workers: usize) -> Vec<Recalls> {
    let desks: Arc<[Desk]> = (0..workers).map(|_| Desk::default()).collect();
    let of = |worker| Recalls {
        desks: desks.clone(),
        worker,
    };
    (0..workers).map(of).collect()
}

impl Recalls {
    pub fn worker(&self) -> usize {
        self.worker
    }

    pub fn workers(&self) -> usize {
        self.desks.len()
    }

    /// Tells all the others that somebody waits for room at this endpoint.
    pub fn ask_others(&self, endpoint: &Arc<Endpoint>) {
        let desks = self.desks.iter().enumerate();
        for (_, desk) in desks.filter(|(worker, _)| *worker != self.worker) {
            let mut asked = desk.lock();
            if !asked.iter().any(|known| Arc::ptr_eq(known, endpoint)) {
                asked.push(endpoint.clone());
            }
            drop(asked);
            desk.called.notify_one();
        }
    }

    /// Where others wait for room, as soon as any do.
    pub async fn next(&self) -> Vec<Arc<Endpoint>> {
        let desk = &self.desks[self.worker];
        loop {
            let asked = mem::take(&mut *desk.lock());
            if !asked.is_empty() {
                return asked;
            }
            desk.called.notified().await;
        }
    }
}

impl Desk {
    /// It is changed in whole steps: a panic elsewhere leaves it sound.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Endpoint>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn all_but_the_one_who_asks_are_told_once() {
        let endpoint = Arc::new(Endpoint::new(
            crate::units::EndpointKey {
                service: "shop".parse().unwrap(),
                pool: "blue".parse().unwrap(),
                address: "10.0.0.1:1".parse().unwrap(),
            },
            0,
            3,
        ));
        let workers = recalls(3);
        workers[1].ask_others(&endpoint);
        workers[1].ask_others(&endpoint);
        for (worker, told) in [(0, true), (1, false), (2, true)] {
            let asked = workers[worker].next().now_or_never();
            assert_eq!(asked.map(|asked| asked.len()), told.then_some(1));
            assert!(workers[worker].next().now_or_never().is_none());
        }
    }
}
