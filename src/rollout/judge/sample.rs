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
    /// Where clients keep to their version. Elsewhere each request is dealt out anew, and it does not matter whose it is.
    pub clients: Option<Clients>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clients {
    pub seen: u64,
    /// Those that met an error.
    pub failing: u64,
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

/// How alike two requests of one client are, of 1: for what is not known, a usual figure.
const ALIKE: f64 = 0.1;

impl Sample {
    pub fn rate(&self) -> f64 {
        part(self.errors, self.requests.max(self.errors))
    }

    pub(super) fn failed(&self) -> Part {
        Part::new(number(self.errors), number(self.requests.max(self.errors)))
    }

    /// With one error for each client, where clients keep to their version: what fails again and again for one is no proof of harm.
    pub(super) fn failed_anew(&self) -> Part {
        let errors = match self.clients {
            Some(clients) => clients.failing.min(self.errors),
            None => self.errors,
        };
        Part::new(number(errors), number(self.requests.max(self.errors)))
    }

    /// What part of its requests count as if nobody had sent more than one: clients that keep to a version are each of their own kind.
    pub(super) fn weight(&self) -> f64 {
        let each = match self.clients {
            Some(clients) => part(self.requests, clients.seen.max(1)),
            None => 1.0,
        };
        1.0 / (1.0 + (each - 1.0).max(0.0) * ALIKE)
    }
}
