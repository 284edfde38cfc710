use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
};

use tokio::sync::Notify;

/// Rings when something comes on a connection that is parked.
pub struct Bell {
    rang: AtomicBool,
    /// Whoever looks after all of them.
    keeper: Arc<Notify>,
}

impl Bell {
    pub fn new(keeper: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            // Nobody has listened yet.
            rang: AtomicBool::new(true),
            keeper: keeper.clone(),
        })
    }

    /// Whether it has rung since it was last silenced.
    pub fn has_rung(&self) -> bool {
        self.rang.load(Ordering::Relaxed)
    }

    pub fn silence(&self) {
        self.rang.store(false, Ordering::Relaxed);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Relaxed);
        self.keeper.notify_one();
    }
}
