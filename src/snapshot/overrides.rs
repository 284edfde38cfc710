use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::{Address, Name, Timestamp, Weights};

/// What was decided at run time, laid over the plan. Kept in `state_dir`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overrides {
    pub services: BTreeMap<Name, ServiceOverrides>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceOverrides {
    pub weights: Option<Override<Weights>>,
    /// By pool and address.
    pub endpoints: BTreeMap<Name, BTreeMap<Address, Override<EndpointOverride>>>,
}

/// A decision on one field and the file's value at that time: when the file's value changes, the file wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Override<T> {
    pub value: T,
    /// The file's value when this was decided; `None` where the file did not name the field.
    pub declared: Option<T>,
    pub by: String,
    pub at: Timestamp,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum EndpointOverride {
    /// As declared in the file; what an override remembers as `declared`.
    Present {
        weight: u32,
    },
    /// Added at run time, or its weight changed.
    Added {
        weight: u32,
    },
    Removed,
    Drained,
}
