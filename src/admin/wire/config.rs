use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Actor, Difference};
use crate::units::{Name, Timestamp};

/// `GET /v1/config`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Config {
    /// Of the file in force; `null` where there is none.
    pub path: Option<String>,
    /// When it was applied.
    pub applied: Timestamp,
    /// A file that would say what runs.
    pub toml: String,
}

/// `POST /v1/config/check`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    pub valid: bool,
    /// What a reload would change.
    pub diff: Vec<Difference>,
    /// As `cutover check --format json` prints them.
    pub problems: Vec<serde_json::Value>,
    /// The same for a person, with the lines of the file.
    pub report: Option<String>,
}

/// `POST /v1/config/reload`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /v1/drift`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drifts {
    pub drift: Vec<Drift>,
}

/// A field that differs from the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drift {
    pub service: Name,
    /// As `DELETE /v1/services/{service}/overrides/{field}` takes it.
    pub field: String,
    /// What the file says; null where it does not name the field.
    pub declared: serde_json::Value,
    pub value: serde_json::Value,
    pub by: Actor,
    pub since: Timestamp,
    pub reason: Option<String>,
}

/// `GET /v1/explain`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The status that the proxy would answer by itself; `null` where an endpoint would be asked.
    pub answer: Option<u16>,
    pub service: Option<Name>,
    /// The route's place in the file's order, and what it asks for.
    pub route: Option<String>,
    /// The one pool, where it does not depend on chance.
    pub pool: Option<Name>,
    /// The chance of each pool, 0.0 to 1.0.
    pub chances: BTreeMap<Name, f64>,
    /// What was decided on the way, in order.
    pub steps: Vec<Reasoned>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reasoned {
    /// `listener`, `route`, `rules`, `service`, `admission`, `preview`, `sticky`, `trial`, `split` or `pool`.
    pub of: String,
    pub because: String,
}
