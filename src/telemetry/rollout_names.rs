//! The part of the table of metrics that is about rollouts.

use super::names::{
    Metric,
    MetricKind::{Counter, Gauge, Histogram, Summary},
    metric,
};

pub const ROLLOUT_STATE: Metric = metric(
    Gauge,
    "cutover_rollout_state",
    &["service", "state"],
    "1 for the state that the service's rollout is in; none where none is under way",
);
pub const ROLLOUT_INFO: Metric = metric(
    Gauge,
    "cutover_rollout_info",
    &["service", "rollout", "from", "to", "version"],
    "1 while a rollout is under way, with its number, its pools and the version that the new one runs",
);
pub const ROLLOUT_STEP: Metric = metric(
    Gauge,
    "cutover_rollout_step",
    &["service"],
    "The step that the service's rollout is at, counted from 1; 0 where it is at none",
);
pub const ROLLOUT_STEPS: Metric = metric(
    Gauge,
    "cutover_rollout_steps",
    &["service"],
    "How many steps the rollout has that is under way",
);
pub const ROLLOUT_SHARE: Metric = metric(
    Gauge,
    "cutover_rollout_share_ratio",
    &["service"],
    "The part of the service's requests that the new version is to have",
);
pub const ROLLOUTS: Metric = metric(
    Counter,
    "cutover_rollout_outcomes_total",
    &["service", "outcome"],
    "Rollouts that have come to their end",
);
pub const ROLLOUT_DURATION: Metric = metric(
    Summary,
    "cutover_rollout_duration_seconds",
    &["service", "outcome"],
    "How long rollouts took from their start to their end",
);
pub const ROLLOUT_FELT: Metric = metric(
    Counter,
    "cutover_rollout_felt_failures_total",
    &["service"],
    "Errors of new versions that users saw, of rollouts that are over",
);
pub const ROLLOUT_RESCUED: Metric = metric(
    Counter,
    "cutover_rollout_rescued_requests_total",
    &["service"],
    "Errors of new versions that the stable ones made up for, of rollouts that are over",
);
pub const TRIED_REQUESTS: Metric = metric(
    Counter,
    "cutover_rollout_requests_total",
    &["service", "pool"],
    "First attempts that a pool has answered or failed while it was compared with another in a rollout",
);
pub const TRIED_ERRORS: Metric = metric(
    Counter,
    "cutover_rollout_errors_total",
    &["service", "pool"],
    "Those of them that its endpoints have failed",
);
pub const TRIED_RESCUED: Metric = metric(
    Counter,
    "cutover_rollout_rescued_total",
    &["service", "pool"],
    "Those of the errors that the stable pool has answered instead",
);
pub const TRIED_FELT: Metric = metric(
    Counter,
    "cutover_rollout_felt_total",
    &["service", "pool"],
    "Those of the errors after which the client got a failure",
);
pub const TRIED_RESPONSE: Metric = metric(
    Histogram,
    "cutover_rollout_response_seconds",
    &["service", "pool"],
    "From the request written to the answer's head, of what a rollout compares",
);
