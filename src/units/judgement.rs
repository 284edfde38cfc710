//! What a new version is measured by during a rollout, as it is set.

use std::time::Duration;

use super::Percent;

/// When the new version's errors alone are enough to take it back, at once and whatever the step is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuardSettings {
    /// The chance of taking back a version that is no worse than `ratio` times the stable one, over the whole rollout.
    pub alpha: f64,
    /// How many times the stable version's error rate is still taken for no worse.
    pub ratio: f64,
    /// Errors of the new version below which nothing is concluded.
    pub min_errors: u32,
    /// Clients that must have met them.
    pub min_clients: u32,
    /// The new version's error rate below which it stays, however much better the stable one is.
    pub min_error_rate: Percent,
    /// Failures that users may see above what the stable version would have shown them.
    pub max_excess_failures: u64,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            alpha: 0.001,
            ratio: 1.5,
            min_errors: 5,
            min_clients: 3,
            min_error_rate: Percent::from_millionths(10_000),
            max_excess_failures: 50,
        }
    }
}

/// What must be shown of the new version before it gets more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgeSettings {
    /// Between two looks.
    pub interval: Duration,
    /// Of the new version, below which nothing is concluded.
    pub min_requests: u64,
    pub error_margin: ErrorMargin,
    /// `None`: its latency is not looked at.
    pub latency: Option<LatencyMargin>,
    /// When the time of a step is over and too little is known.
    pub on_insufficient_data: Insufficient,
    /// How long a step may hold for more data.
    pub max_hold: Duration,
    /// What follows then.
    pub on_max_hold: Unsure,
}

impl Default for JudgeSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            min_requests: 100,
            error_margin: ErrorMargin::Auto,
            latency: Some(LatencyMargin::default()),
            on_insufficient_data: Insufficient::Hold,
            max_hold: Duration::from_mins(30),
            on_max_hold: Unsure::Pause,
        }
    }
}

/// How much higher its error rate may be, in percentage points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorMargin {
    /// As small as the step's traffic can prove.
    Auto,
    Fixed(Percent),
}

/// How much slower it may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyMargin {
    /// 0.5 to 0.999.
    pub quantile: f64,
    pub increase: Percent,
    /// Less than this is no increase, whatever part it is.
    pub floor: Duration,
}

impl Default for LatencyMargin {
    fn default() -> Self {
        Self {
            quantile: 0.95,
            increase: Percent::from_millionths(200_000),
            floor: Duration::from_millis(10),
        }
    }
}

/// What follows from too little data at the end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insufficient {
    /// It waits for more, up to `max_hold`.
    Hold,
    Promote,
    Pause,
    Rollback,
}

/// What follows when nothing more is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsure {
    Promote,
    Pause,
    Rollback,
}

/// Bounds that hold whatever the stable version does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Absolute {
    /// Of the new version, below which no bound is looked at.
    pub min_requests: u64,
    pub max_error_rate: Option<Percent>,
    pub max_p95: Option<Duration>,
    /// The part of its requests that must succeed, and for how long it may be below that.
    pub min_success: Option<(Percent, Duration)>,
    /// The part of its probes that may fail.
    pub probe_failures: Option<Percent>,
}

impl Default for Absolute {
    fn default() -> Self {
        Self {
            min_requests: 200,
            max_error_rate: None,
            max_p95: None,
            min_success: None,
            probe_failures: None,
        }
    }
}
