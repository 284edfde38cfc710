use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::Counts;
use crate::units::Timestamp;

/// What is seen of a rollout under way between its changes, which nobody needs after a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Live {
    /// In the words of the last look: what it proves, and what it lacks.
    pub findings: Vec<String>,
    /// `good`, `bad`, `not-enough`; `None` before the first look.
    pub verdict: Option<&'static str>,
    /// Since it was begun, where they have grown since its last entry.
    pub counts: Option<Counts>,
    pub stable: ArmLive,
    pub candidate: ArmLive,
    /// When what is waited for is over, where that is known.
    pub until: Option<Timestamp>,
    /// The figures from outside, as they were last.
    pub metrics: Vec<(String, Option<f64>)>,
}

/// One version, since its latency was first looked at in this step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ArmLive {
    pub requests: u64,
    pub errors: u64,
    pub rescued: u64,
    pub felt: u64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// By the numbers of the rollouts.
pub type Lives = BTreeMap<u64, Arc<Live>>;
