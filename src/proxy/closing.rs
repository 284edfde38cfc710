use std::cell::Cell;

use tokio::sync::{Notify, futures::Notified};

/// Whether what clients come in by is going away: shared by a listener's connections on one worker.
#[derive(Default)]
pub struct Closing {
    now: Cell<bool>,
    told: Notify,
}

impl Closing {
    pub fn get(&self) -> bool {
        self.now.get()
    }

    /// Tells those that wait to be told.
    pub fn set(&self, now: bool) {
        if !self.now.replace(now) && now {
            self.told.notify_waiters();
        }
    }

    /// Ready when it goes away after this was enabled.
    pub fn told(&self) -> Notified<'_> {
        self.told.notified()
    }
}
