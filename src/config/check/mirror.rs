use std::{collections::BTreeMap, sync::Arc};

use super::Check;
use crate::{
    config::{
        file::View,
        plan::Pool,
        problem::{Code, Problem},
    },
    units::{ByteSize, Compared, Mirror, Name},
};

impl Check<'_> {
    pub(super) fn mirror(
        &mut self,
        view: &View<'_>,
        pools: &BTreeMap<Name, Pool>,
    ) -> Option<Arc<Mirror>> {
        view.node("mirror")?.table()?;
        let view = view.within("mirror");
        view.require("pool", self.problems);
        view.require("share", self.problems);
        let pool: Name = view.parsed("pool")?;
        self.is_pool(&view, &pool, pools);
        if !view.flag("compare") {
            for key in ["headers", "body"] {
                if view.has(key) {
                    let problem = Problem::new(
                        Code::Conflict,
                        view.place_of(key),
                        format!(
                            "`{}` says what is compared, and nothing is",
                            view.path_of(key)
                        ),
                    );
                    self.tell(problem.key(view.path_of(key)).expected("compare = true"));
                }
            }
        }
        let headers = view.texts("headers");
        let mut headers: Vec<_> = headers
            .iter()
            .filter_map(|(name, _)| name.parse().ok())
            .collect();
        headers.dedup();
        let body: Option<ByteSize> = view.parsed("body");
        Some(Arc::new(Mirror {
            share: view.parsed("share")?,
            most: view.integer("most"),
            timeout: view.span("timeout"),
            compare: view.flag("compare").then_some(Compared {
                headers,
                body: body.map_or(0, |size| size.0),
            }),
            pool,
        }))
    }

    /// A pool that a table of the service names.
    pub(super) fn is_pool(&mut self, view: &View<'_>, pool: &Name, pools: &BTreeMap<Name, Pool>) {
        if pools.contains_key(pool.as_str()) {
            return;
        }
        let names = pools.keys().map(Name::as_str);
        self.tell(
            Problem::new(
                Code::UnknownName,
                view.place_of("pool"),
                format!("there is no pool `{pool}`"),
            )
            .key(view.path_of("pool"))
            .nearest(self.near(pool.as_str(), names)),
        );
    }
}
