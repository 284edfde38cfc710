use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::task::AbortHandle;

/// The connections of one listener: at most so many. Who comes when all are taken gets the place of the one that has
/// been there longest without a request under way, so that silent clients keep nobody out.
#[derive(Clone)]
pub struct Guests {
    seats: Arc<Mutex<Vec<Seat>>>,
    most: usize,
}

struct Seat {
    number: u64,
    work: Work,
    connection: AbortHandle,
}

/// How many requests of a connection are under way.
#[derive(Clone, Default)]
pub struct Work(Arc<AtomicUsize>);

/// Held until a request's answer has been sent.
pub struct UnderWay(Work);

impl Work {
    pub fn begin(&self) -> UnderWay {
        self.0.fetch_add(1, Relaxed);
        UnderWay(self.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

impl Guests {
    pub fn new(most: usize) -> Self {
        Self {
            seats: Arc::default(),
            most,
        }
    }

    /// Serves the connection in a task of its own; `false` where every other one is at work.
    pub fn admit<F>(&self, serve: impl FnOnce(Work) -> F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut seats = self.seats();
        if seats.len() >= self.most {
            let idle = seats.iter().position(|seat| seat.work.0.load(Relaxed) == 0);
            let Some(idle) = idle else { return false };
            seats.remove(idle).connection.abort();
        }
        let number = seats.last().map_or(0, |seat| seat.number + 1);
        let work = Work::default();
        let (served, all) = (serve(work.clone()), self.clone());
        let task = tokio::spawn(async move {
            served.await;
            all.seats().retain(|seat| seat.number != number);
        });
        seats.push(Seat {
            number,
            work,
            connection: task.abort_handle(),
        });
        true
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Seat>> {
        // The list is whole between any two statements that change it.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    /// A connection that is silent; the receiver tells when it is gone.
    fn silent(guests: &Guests) -> (bool, oneshot::Receiver<()>) {
        let (open, gone) = oneshot::channel();
        let admitted = guests.admit(|_| async move {
            let _open: oneshot::Sender<()> = open;
            pending::<()>().await;
        });
        (admitted, gone)
    }

    #[tokio::test]
    async fn the_oldest_silent_one_goes_when_all_places_are_taken() {
        let guests = Guests::new(2);
        let ((_, first), (_, mut second)) = (silent(&guests), silent(&guests));
        assert!(silent(&guests).0);
        assert!(first.await.is_err(), "gone");
        assert!(
            second
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
    }

    #[tokio::test]
    async fn nobody_at_work_goes() {
        let guests = Guests::new(1);
        guests.admit(|work| async move {
            let _under_way = work.begin();
            pending::<()>().await;
        });
        tokio::task::yield_now().await;
        assert!(!silent(&guests).0);
    }

    #[tokio::test]
    async fn who_leaves_makes_room() {
        let guests = Guests::new(1);
        guests.admit(|_| async {});
        tokio::task::yield_now().await;
        assert!(guests.seats().is_empty());
    }
}
