use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Actor, Latency};
use crate::units::{Name, Timestamp};

/// `POST /v1/services/{service}/rollouts`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRollout {
    /// The pool that is to get the traffic. Of a rolling replacement it is the one that serves, and needn't be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "green")]
    pub to: Option<Name>,
    /// The pool that has it now; unless said, the one with all the weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Name>,
    /// What the new pools run, as status and metrics show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `fast`, `standard` or `careful`, in the place of the service's own plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A plan, with the keys of `[services.NAME.rollout]` of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub plan: Option<Value>,
    /// Other services that are moved and taken back together with this one, and their new pools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<Name, Name>,
    /// Ends a rollout that is under way, instead of being refused.
    #[serde(default)]
    pub supersede: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/rollouts/{id}/{verb}`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutOrder {
    /// Of `promote`: at once to all traffic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// Of `resume`, after somebody has changed the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<ResumeHow>,
    /// Only while it is at this step, counted from 1: an order that is sent twice does not go two steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResumeHow {
    /// With the weights as they are.
    FromCurrent,
    /// With those of its step.
    RestoreStep,
}

/// What may be said of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutVerb {
    /// On to the next step.
    Promote,
    /// Takes it back.
    Abort,
    Pause,
    Resume,
    /// Past what is waited for now.
    Skip,
    /// Begins one that has failed anew.
    Retry,
    /// Back to the old version after it has succeeded.
    Undo,
}

impl RolloutVerb {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Abort => "abort",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Skip => "skip",
            Self::Retry => "retry",
            Self::Undo => "undo",
        }
    }
}

/// Where a rollout stands, as lists are asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// All that are not over.
    Running,
    Paused,
    Preparing,
    Stepping,
    Promoting,
    Baking,
    Draining,
    RollingBack,
    Succeeded,
    Failed,
    Superseded,
}

impl RolloutState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Preparing => "preparing",
            Self::Stepping => "stepping",
            Self::Promoting => "promoting",
            Self::Baking => "baking",
            Self::Draining => "draining",
            Self::RollingBack => "rolling-back",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

/// What a call that begins or changes a rollout answers, or with `dry_run` would.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutChanged {
    pub rollout: RolloutDetail,
    /// Written to disk before the answer. `false`: in force, but a restart would forget it.
    pub durable: bool,
    pub dry_run: bool,
    /// Remarks for a person.
    pub notes: Vec<String>,
}

/// `GET /v1/rollouts`, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Rollouts {
    pub rollouts: Vec<Rollout>,
}

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    pub id: u64,
    /// The one it is named after.
    pub service: Name,
    /// Those that are moved and taken back together.
    pub members: Vec<RolloutMember>,
    /// `paused`, or its stage.
    pub state: String,
    /// `preparing`, `stepping`, `promoting`, `baking`, `draining`, `succeeded`, `rolling-back`, `failed` or `superseded`.
    pub stage: String,
    /// Counted from 1; `null` where it is in none.
    pub step: Option<usize>,
    /// How many the plan has.
    pub steps: usize,
    /// What is waited for: `proving`, `asking`, `shifting`, `warming-up`, `waiting` or `extending`; of a batch also `emptying`, `replacing`
    /// or `restoring`.
    pub phase: Option<String>,
    /// What its step is: `hold`, `judge` or `approval`.
    pub awaits: Option<String>,
    /// Of the new pool, 0.0 to 1.0.
    pub share: f64,
    /// While it has none: the part of the stable pool's requests that it gets copies of, 0.0 to 1.0. `null` where it gets none.
    pub copies: Option<f64>,
    /// When it came to where it stands.
    pub since: Timestamp,
    /// When what is waited for is over by itself.
    pub until: Option<Timestamp>,
    pub started: Timestamp,
    pub by: Actor,
    pub reason: Option<String>,
    /// When the new version first had all requests.
    pub promoted: Option<Timestamp>,
    /// When the old version had everything again.
    pub restored: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub paused: Option<RolloutPaused>,
    /// Why it goes back, or went.
    pub cause: Option<RolloutCause>,
    pub counts: RolloutCounts,
    /// Of the last look: `good`, `bad` or `not-enough`.
    pub verdict: Option<String>,
    /// What it proves, and what it lacks.
    pub findings: Vec<String>,
    /// What may be said of it now, as `POST /v1/rollouts/{id}/{verb}` takes it.
    pub verbs: Vec<String>,
    /// The one that this is begun anew from.
    pub retry_of: Option<u64>,
    /// Of a rolling replacement: the endpoints of the batch that it is at, or has left drained. `null` elsewhere.
    pub batch: Option<Vec<String>>,
}

/// `GET /v1/rollouts/{id}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutDetail {
    #[serde(flatten)]
    pub rollout: Rollout,
    /// As the file would say it; secrets are named by where they come from.
    #[schema(value_type = Object)]
    pub plan: Value,
    /// While it is under way.
    pub live: Option<RolloutLive>,
    /// What happened, oldest first.
    pub log: Vec<RolloutEntry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutMember {
    pub service: Name,
    /// The stable pool.
    pub from: Name,
    /// The new one.
    pub to: Name,
    /// What the new one runs.
    pub version: Option<String>,
    /// What the stable one runs.
    pub version_before: Option<String>,
}

/// It does not go on by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutPaused {
    /// `person`, `manual` (somebody, or the file, has changed the weights), `approval`, `insufficient-data`, `hook`, `refused` or
    /// `stable-not-ready`.
    pub reason: String,
    pub since: Timestamp,
    pub detail: String,
    /// It would have been taken back meanwhile.
    pub alarmed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutCause {
    /// `guard`, `judge`, `absolute`, `metric`, `probes`, `hook`, `approval`, `insufficient-data`, `not-ready`, `abort`, `rollback` or
    /// `undo`.
    pub kind: String,
    pub detail: String,
    pub at: Timestamp,
    /// The figures that it was concluded from.
    pub evidence: Value,
}

/// What became of first attempts since it was begun, over all its services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutCounts {
    /// Of the new version.
    pub requests: u64,
    pub errors: u64,
    /// Of the errors, those that the stable version made up for.
    pub rescued: u64,
    /// Of the errors, those that a user saw.
    pub felt: u64,
    pub stable_requests: u64,
    pub stable_errors: u64,
    /// When the first error of the new version was seen.
    pub first_error: Option<Timestamp>,
}

/// Both versions since what is looked at was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutLive {
    pub stable: RolloutArm,
    pub candidate: RolloutArm,
    /// The figures from outside, as they were last.
    pub metrics: BTreeMap<String, Option<f64>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutArm {
    pub requests: u64,
    pub errors: u64,
    pub rescued: u64,
    pub felt: u64,
    pub latency_ms: Latency,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutEntry {
    pub at: Timestamp,
    pub stage: String,
    pub step: Option<usize>,
    pub phase: Option<String>,
    pub share: f64,
    pub by: Actor,
    pub detail: String,
}
