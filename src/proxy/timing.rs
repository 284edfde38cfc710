use tokio::time::Instant;

use super::{
    decide::Decision,
    progress::{Progress, UploadState},
};
use crate::pool::Endpoint;

/// A request that was sent to an endpoint whose pool is balanced by how long its endpoints take to answer.
///
/// However it ends it says something of that: one that is given up before it is answered, by its client or because it takes too long, would
/// have taken longer still.
pub(super) struct Timing<'a> {
    endpoint: &'a Endpoint,
    progress: &'a Progress,
    answered: bool,
}

impl<'a> Timing<'a> {
    /// `None` where nobody asks for it, and of a request that may become a tunnel: the answer to it is another kind of work.
    pub(super) fn begin(decision: &'a Decision, progress: &'a Progress) -> Option<Self> {
        let counts = decision.timed && decision.terms.is_none();
        counts.then(|| Self {
            endpoint: &decision.lease.seat().endpoint,
            progress,
            answered: false,
        })
    }

    /// The answer has begun.
    pub(super) fn answered(timing: Option<Self>) {
        if let Some(mut timing) = timing {
            timing.answered = true;
        }
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        let upload = self.progress.upload();
        let waits = matches!(upload, UploadState::Done | UploadState::AwaitsEndpoint);
        // Else it is the client who has taken its time.
        if self.answered || waits {
            let now = Instant::now();
            let latency = now.saturating_duration_since(self.progress.sent());
            if self.answered {
                let draw = fastrand::u64(..);
                self.endpoint.observe_latency(latency, now.into_std(), draw);
            } else {
                self.endpoint.observe_given_up(latency, now.into_std());
            }
        }
    }
}
