//! Writes to `state_dir`, one after the other, off the control thread.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    task,
};

use super::{disk::Disk, memory::Memory};
use crate::units::Timestamp;

/// `Err`: why not.
pub(super) type Written = Result<(), String>;

enum Job {
    /// What is to be remembered from now on.
    Save(Memory, oneshot::Sender<Written>),
    /// Lines of the journal.
    Append(String),
}

/// Takes jobs in order. Of several memories that wait, only the last is written: it contains the others.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Writer {
    /// The writer and the task that does the work; it ends when the last writer is gone and all is written.
    pub fn new(disk: Disk) -> (Self, impl Future<Output = ()> + Send + 'static) {
        // Unbounded, and yet bounded: every save has a decision that waits for it, every line an event of one.
        let (jobs, queue) = mpsc::unbounded_channel();
        (Self { jobs }, work(Arc::new(disk), queue))
    }

    pub fn save(&self, memory: Memory) -> oneshot::Receiver<Written> {
        let (reply, written) = oneshot::channel();
        // A writer that is gone drops the reply, and that is the answer.
        let _ = self.jobs.send(Job::Save(memory, reply));
        written
    }

    pub fn append(&self, lines: String) {
        let _ = self.jobs.send(Job::Append(lines));
    }
}

async fn work(disk: Arc<Disk>, mut queue: mpsc::UnboundedReceiver<Job>) {
    while let Some(first) = queue.recv().await {
        let (mut memory, mut lines, mut replies) = (None, String::new(), Vec::new());
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Save(latest, reply) => {
                    memory = Some(latest);
                    replies.push(reply);
                }
                Job::Append(more) => lines.push_str(&more),
            }
            next = queue.try_recv().ok();
        }
        let disk = disk.clone();
        let written = task::spawn_blocking(move || {
            let saved = memory.map_or(Ok(()), |memory| disk.save(&memory, Timestamp::now()));
            if !lines.is_empty()
                && let Err(error) = disk.append(&lines)
            {
                tracing::warn!(%error, "events could not be written to the journal");
            }
            saved.map_err(|error| error.to_string())
        });
        let written = written
            .await
            .unwrap_or_else(|_| Err("the writing thread died".to_owned()));
        for reply in replies {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(written.clone());
        }
    }
}
