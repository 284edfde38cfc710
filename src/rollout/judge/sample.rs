use super::distributions::Part;
use crate::{
    rollout::figures::{number, part},
    telemetry::Reading,
};

/// What one version did in a time: first attempts only.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub requests: u64,
    /// Those that it failed itself.
    pub errors: u64,
    /// From the request written to the head of the answer, of those that succeeded.
    pub latency: Reading,
    /// Where clients keep to their version: how many of them met an error, each once. Elsewhere each request is dealt out anew, and it does
    /// not matter whose it is.
    pub failing_clients: Option<u64>,
}

/// Both versions over the same time.
#[derive(Debug, Clone, Default)]
pub struct Pair {
    pub candidate: Sample,
    pub stable: Sample,
    pub baseline: Baseline,
}

/// What stands for stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Baseline {
    /// What it did in the same time.
    #[default]
    Now,
    /// What it did before it lost its traffic. Hours differ: twice the increase of latency is allowed, and half a percentage point of
    /// errors at least.
    Frozen,
}

impl Sample {
    pub fn rate(&self) -> f64 {
        part(self.errors, self.requests.max(self.errors))
    }

    pub(super) fn failed(&self) -> Part {
        Part::new(number(self.errors), number(self.requests.max(self.errors)))
    }

    /// With one error for each client, where clients keep to their version: what fails again and again for one is no proof of harm.
    pub(super) fn failed_anew(&self) -> Part {
        let clients = self.failing_clients.unwrap_or(self.errors);
        let errors = clients.min(self.errors);
        Part::new(number(errors), number(self.requests.max(self.errors)))
    }
}
