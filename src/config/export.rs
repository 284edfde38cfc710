//! The file that would say what runs.

use std::{collections::BTreeMap, sync::Arc, thread};

use super::{describe::describe, plan};
use crate::units::{Admission, Name, PoolKey, Weights};

/// What is decided at run time on top of a plan.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    pub weights: BTreeMap<Name, Weights>,
    pub admissions: BTreeMap<Name, Admission>,
    /// All of a pool's endpoints.
    pub endpoints: BTreeMap<PoolKey, Vec<plan::Endpoint>>,
}

impl Overlay {
    fn over(&self, plan: &plan::Plan) -> plan::Plan {
        let mut plan = plan.clone();
        for (name, service) in &mut plan.services {
            if let Some(weights) = self.weights.get(name) {
                Arc::make_mut(service).weights = weights.clone();
            }
            if let Some(admission) = self.admissions.get(name) {
                Arc::make_mut(service).admission = *admission;
            }
        }
        for (key, endpoints) in &self.endpoints {
            if let Some(service) = plan.services.get_mut(&key.service)
                && let Some(pool) = Arc::make_mut(service).pools.get_mut(&key.pool)
            {
                pool.endpoints.clone_from(endpoints);
            }
        }
        plan
    }
}

/// A file that loads as `plan` with `overlay`. What is as usual is left out, secrets are named by where they come from.
pub fn export(plan: &plan::Plan, overlay: &Overlay) -> String {
    let mut text = String::new();
    for block in describe(&overlay.over(plan)) {
        // One worker per core is what another machine should have too.
        let cores = |key: &str| {
            key == "workers" && Ok(plan.workers) == thread::available_parallelism().map_err(drop)
        };
        let mut lines: Vec<_> = block
            .entries
            .iter()
            .filter(|entry| !entry.usual && !cores(entry.key))
            .map(|entry| format!("{} = {}\n", entry.key, entry.field))
            .collect();
        // A table that says nothing may go, an item of an array not.
        let needed = block.header.starts_with("[[") || is_service(&block.name);
        if lines.is_empty() && !needed {
            continue;
        }
        if !block.header.is_empty() {
            let blank = if text.is_empty() { "" } else { "\n" };
            lines.insert(0, format!("{blank}{}\n", block.header));
        }
        text.push_str(&lines.concat());
    }
    text
}

fn is_service(name: &str) -> bool {
    name.strip_prefix("services.")
        .is_some_and(|rest| !rest.contains('.'))
}
