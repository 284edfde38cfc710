//! Where endpoints are found.

use super::Check;
use crate::{
    config::{
        file::View,
        plan::{Discover, Dns, Source},
        problem::{Code, Problem},
    },
    units::Address,
};

impl Check<'_> {
    pub(super) fn discover(&mut self, pool: &View<'_>) -> Option<Discover> {
        let node = pool.node("discover").filter(|node| !node.is_faulty())?;
        node.table()?;
        let view = pool.within("discover");
        let sources = ["file", "dns", "srv"];
        let named: Vec<_> = sources.into_iter().filter(|key| view.has(key)).collect();
        let [named] = named[..] else {
            let problem = Problem::new(
                Code::Conflict,
                node.place,
                format!("`{}` names {} sources", view.path, named.len()),
            );
            let problem = problem.key(&view.path);
            self.tell(problem.expected("one of { file = }, { dns = } or { srv = }"));
            return None;
        };
        if named == "file" {
            self.nobody_is_asked(&view);
        }
        let source = match named {
            "file" => Source::File(self.world.base.join(view.text(named)?)),
            "dns" => match view.parsed("dns")? {
                Address::Named(name, port) => Source::Dns(dns(&view, &name, Some(port))),
                _ => return None,
            },
            _ => Source::Dns(dns(&view, view.text("srv")?, None)),
        };
        Some(Discover {
            source,
            most: view.integer("most"),
        })
    }

    fn nobody_is_asked(&mut self, view: &View<'_>) {
        for key in ["resolver", "min_ttl"] {
            if view.has(key) {
                let path = view.path_of(key);
                let problem = Problem::new(
                    Code::Conflict,
                    view.place_of(key),
                    format!("`{path}` is of names in DNS"),
                );
                self.tell(
                    problem
                        .key(path)
                        .expected("`dns` or `srv` in place of `file`"),
                );
            }
        }
    }
}

fn dns(view: &View<'_>, name: &str, port: Option<u16>) -> Dns {
    Dns {
        name: name.to_owned(),
        port,
        resolver: view.text("resolver").and_then(|text| text.parse().ok()),
        min_ttl: view.span("min_ttl"),
    }
}
