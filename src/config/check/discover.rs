//! Where endpoints are found.

use super::Check;
use crate::config::{
    file::View,
    plan::{Discover, Source},
    problem::{Code, Problem},
};

impl Check<'_> {
    pub(super) fn discover(&mut self, pool: &View<'_>) -> Option<Discover> {
        let node = pool.node("discover").filter(|node| !node.is_faulty())?;
        node.table()?;
        let view = pool.within("discover");
        let Some(file) = view.text("file") else {
            self.tell(
                Problem::new(
                    Code::MissingKey,
                    node.place,
                    format!("`{}` names no source", view.path),
                )
                .key(&view.path)
                .expected("{ file = }"),
            );
            return None;
        };
        Some(Discover {
            source: Source::File(self.world.base.join(file)),
            most: view.integer("most"),
        })
    }
}
