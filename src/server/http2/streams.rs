use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::Poll,
};

use hyper::rt;
use tokio::time::Instant;

use crate::proxy::{Phase, Progress};

/// What is open on a connection.
pub(super) struct Streams {
    open: Cell<usize>,
    begun: Cell<u64>,
    /// When the last one ended.
    quiet: Cell<Instant>,
    /// Of the stream whose task begins next.
    next: RefCell<Option<Rc<Progress>>>,
}

impl Streams {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            open: Cell::new(0),
            begun: Cell::new(0),
            quiet: Cell::new(Instant::now()),
            next: RefCell::default(),
        })
    }

    /// A request has come; its task begins right after.
    pub(super) fn announce(&self, progress: &Rc<Progress>) {
        self.next.replace(Some(progress.clone()));
    }

    /// Since when nothing is open.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        (self.open.get() == 0).then(|| self.quiet.get())
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.get()
    }

    fn begin(self: Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        self.begun.set(self.begun.get() + 1);
        Open(self)
    }
}

/// A stream that is open.
struct Open(Rc<Streams>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.quiet.set(Instant::now());
    }
}

/// Gives each stream a task on the worker's own thread, which ends it when it stands still for too long: a client that takes nothing
/// of an answer holds what it does not take.
#[derive(Clone)]
pub(super) struct Executor(pub(super) Rc<Streams>);

impl<F> rt::Executor<F> for Executor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, task: F) {
        let Some(progress) = self.0.next.take() else {
            // Of a stream that has become a tunnel, which has times of its own.
            tokio::task::spawn_local(task);
            return;
        };
        let open = self.0.clone().begin();
        tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|context| {
                let before = progress.phase();
                if task.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                progress.polled(before);
                match (progress.phase(), progress.poll_late(context)) {
                    // A request that waits is answered that it was too slow.
                    (_, Poll::Pending) | (Phase::Waiting, _) => Poll::Pending,
                    (_, Poll::Ready(())) => Poll::Ready(()),
                }
            })
            .await;
            drop(open);
        });
    }
}
