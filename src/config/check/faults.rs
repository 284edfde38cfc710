use std::{collections::BTreeMap, time::Duration};

use http::StatusCode;

use super::{Check, listeners::tables};
use crate::{
    config::{
        file::{View, keys},
        plan::Pool,
        problem::{Code, Problem},
    },
    units::{InjectedFault, Name, Timestamp},
};

impl Check<'_> {
    pub(super) fn faults(
        &mut self,
        view: &View<'_>,
        pools: &BTreeMap<Name, Pool>,
    ) -> Vec<InjectedFault> {
        let faults = tables(view, "faults", keys::FAULT);
        let faults = faults.iter();
        faults.filter_map(|view| self.fault(view, pools)).collect()
    }

    fn fault(&mut self, view: &View<'_>, pools: &BTreeMap<Name, Pool>) -> Option<InjectedFault> {
        view.require("share", self.problems);
        view.require("until", self.problems);
        if !view.has("delay") && !view.has("abort") {
            self.tell(
                Problem::new(
                    Code::MissingKey,
                    view.place,
                    format!("`{}` does nothing", view.path),
                )
                .key(&view.path)
                .expected("`delay`, `abort` or both"),
            );
        }
        let headers = view.entries("headers");
        let headers = headers
            .filter_map(|(name, _, node)| Some((name.parse().ok()?, node.text()?.to_owned())));
        let headers = headers.collect();
        let pool = view.parsed::<Name>("pool");
        if let Some(pool) = &pool {
            self.is_pool(view, pool, pools);
        }
        let until: Timestamp = view.parsed("until")?;
        self.soon(view, until);
        Some(InjectedFault {
            delay: Some(view.span("delay")).filter(|delay| !delay.is_zero()),
            abort: StatusCode::from_u16(view.integer("abort")).ok(),
            share: view.parsed("share")?,
            headers,
            pool,
            until,
        })
    }

    /// What has no end in sight is forgotten.
    fn soon(&mut self, view: &View<'_>, until: Timestamp) {
        let left = Duration::try_from(until.duration_since(self.world.now));
        if left.is_ok_and(|left| left > InjectedFault::LONGEST) {
            let problem = Problem::new(
                Code::InvalidValue,
                view.place_of("until"),
                format!("{until} is more than 24h ahead"),
            );
            self.tell(
                problem
                    .key(view.path_of("until"))
                    .expected("a moment within the next 24h, or one that is over"),
            );
        }
    }
}
