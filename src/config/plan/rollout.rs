use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use crate::units::{Absolute, Freeze, GuardSettings, JudgeSettings, Name, Percent, Secret, Unsure};

/// How a service goes to a new version.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    pub strategy: Strategy,
    /// Of a canary: rising shares. Of blue/green: what is waited for before the switch. Of a rolling replacement: what follows each
    /// batch.
    pub steps: Vec<Step>,
    /// Of a rolling replacement: how many endpoints at once. One where it is none.
    pub batch: Batch,
    /// How long the new pool may take to be ready.
    pub ready_timeout: Duration,
    /// After each rise, how long its latency says nothing: connections, caches and compilers are cold.
    pub warm_up: Duration,
    /// How long the new version is judged with all traffic.
    pub bake: Duration,
    /// How long the old pool is kept to go back to in one step.
    pub undo_window: Duration,
    pub guard: GuardSettings,
    pub judge: JudgeSettings,
    pub rescue: Rescue,
    pub absolute: Absolute,
    /// When none is begun.
    pub freeze: Vec<Freeze>,
    pub metrics: Vec<Metric>,
    pub hooks: Vec<Hook>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    Canary,
    BlueGreen,
    Rolling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Of the new pool from this step on; `None`: as before.
    pub share: Option<Percent>,
    /// Before it has one: the part of the stable pool's requests that it gets copies of.
    pub mirror: Option<Percent>,
    pub then: Then,
}

/// What a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Its time; bad news ends it sooner.
    Hold(Duration),
    /// A judgement over so long a time.
    Judge(Duration),
    /// Somebody who says so.
    Approval {
        /// `None`: it waits for as long as it takes.
        timeout: Option<Duration>,
        on_timeout: Unsure,
    },
}

/// Of a pool's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    Count(u32),
    Part(Percent),
}

/// Requests that the new version has failed go once to the stable one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescue {
    /// None: it is off.
    pub methods: Vec<Method>,
    /// Largest request body in bytes that is kept for it.
    pub max_body: u64,
}

/// A figure from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    pub name: Name,
    pub source: MetricSource,
    /// The value of `Authorization` that the source is sent.
    pub authorization: Option<Secret>,
    pub bound: Bound,
    pub interval: Duration,
    pub timeout: Duration,
    /// It is told and changes nothing.
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum MetricSource {
    /// An instant query; `{{pool}}` and `{{service}}` in it are replaced.
    Prometheus { url: String, query: String },
    /// A JSON document, and the pointer (RFC 6901) to the number. `{{pool}}` and `{{service}}` in the URL are replaced.
    Http {
        url: String,
        pointer: String,
        headers: Vec<(HeaderName, HeaderValue)>,
    },
}

/// What the figure must keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Of the new pool beside the stable one.
    Stable {
        max_drop: Option<Percent>,
        max_rise: Option<Percent>,
    },
    Between {
        min: Option<f64>,
        max: Option<f64>,
    },
}

/// Somebody who is asked before, or told after, a part of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub at: Vec<HookPoint>,
    pub url: String,
    /// Signs what is sent.
    pub secret: Option<Secret>,
    /// Over all of its attempts.
    pub timeout: Duration,
    pub on_timeout: Unsure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookPoint {
    BeforeStart,
    BeforeStep,
    BeforePromote,
    AfterPromote,
    AfterRollback,
}

impl HookPoint {
    pub const ALL: [Self; 5] = [
        Self::BeforeStart,
        Self::BeforeStep,
        Self::BeforePromote,
        Self::AfterPromote,
        Self::AfterRollback,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeStart => "before-start",
            Self::BeforeStep => "before-step",
            Self::BeforePromote => "before-promote",
            Self::AfterPromote => "after-promote",
            Self::AfterRollback => "after-rollback",
        }
    }
}

/// Who is told of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Whoever knows it may write there.
    pub url: Secret,
    pub format: NotifyFormat,
    /// Types of events; none: those of rollouts.
    pub on: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyFormat {
    Json,
    Slack,
    Statuspage,
}
