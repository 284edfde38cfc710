use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::units::{Name, Timestamp};

/// `GET /v1/reports/delivery`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryReport {
    pub since: Timestamp,
    pub until: Timestamp,
    /// `false`: there were more rollouts in this time than are remembered, 20 of each service.
    pub complete: bool,
    /// Over all services; a rollout of several counts once.
    pub total: Delivery,
    pub services: BTreeMap<Name, Delivery>,
}

/// What rollouts have come to. DORA's four are `deployments_per_day`, `lead_time_seconds`, `change_failure_rate` and
/// `restore_seconds`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// New versions that got all requests.
    pub deployments: u64,
    pub deployments_per_day: f64,
    /// Always null: from commit to deployment is known to whoever builds, not to a proxy. `rollout_seconds` is its last part.
    pub lead_time_seconds: Option<f64>,
    /// New versions that have met users, and are over.
    pub changes: u64,
    /// Of them, those that were taken back, by themselves or by a person.
    pub failed: u64,
    pub change_failure_rate: Option<f64>,
    /// What they were taken back for.
    pub causes: BTreeMap<String, u64>,
    /// Ended before the new version had a request.
    pub refused: u64,
    pub superseded: u64,
    /// Under way.
    pub running: u64,
    /// From the first error to the decision to go back.
    pub detect_seconds: Spread,
    /// From the first error to the moment when the old version had everything.
    pub restore_seconds: Spread,
    /// From the start to all requests.
    pub rollout_seconds: Spread,
    /// Errors of new versions, the running ones included ...
    pub errors: u64,
    /// ... of which the stable version made up for these ...
    pub rescued: u64,
    /// ... and users saw these.
    pub felt: u64,
    pub paused_seconds: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spread {
    pub count: u64,
    pub median: Option<f64>,
    pub worst: Option<f64>,
}
