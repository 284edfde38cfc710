use std::sync::Arc;

use tokio::sync::mpsc;

use super::Endpoint;

/// More than this many waiting nudges say nothing new.
const WAITING: usize = 256;

/// A worker's way to say "this endpoint just failed me, look at it now". Never waits: when many nudges already wait,
/// one more is dropped.
#[derive(Clone)]
pub struct Nudge(mpsc::Sender<Arc<Endpoint>>);

/// The other end: whoever probes.
pub struct Nudges(mpsc::Receiver<Arc<Endpoint>>);

pub fn nudges() -> (Nudge, Nudges) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Nudge(sender), Nudges(receiver))
}

impl Nudge {
    pub fn send(&self, endpoint: &Arc<Endpoint>) {
        let _ = self.0.try_send(endpoint.clone());
    }
}

impl Nudges {
    /// The next endpoint to look at; `None` when every worker is gone.
    pub async fn next(&mut self) -> Option<Arc<Endpoint>> {
        self.0.recv().await
    }
}
