use std::path::Path;

use super::Check;
use crate::{
    config::{
        file::{Table, View, keys, syntax},
        problem::{Code, Problem},
    },
    units::{ErrorPage, ErrorPages},
};

/// What is answered before a service is known, so that only `[defaults]` can have a page for it.
const AT_THE_DOOR: [&str; 5] = ["400", "404", "405", "431", "501"];

impl Check<'_> {
    /// `errors` of a service, with those that hold for all, or of `[defaults]`.
    pub(super) fn error_pages(&mut self, view: &View<'_>) -> ErrorPages {
        let mut pages = Vec::new();
        for (status, place, node) in view.entries("errors") {
            let Some(table) = node.table() else { continue };
            let path = format!("{}.{status}", view.path_of("errors"));
            let view = View::new(table, keys::ERROR_PAGE, place, path);
            view.require("file", self.problems);
            pages.extend(self.error_page(status, &view));
        }
        ErrorPages::new(pages)
    }

    pub(super) fn error_page(&mut self, status: &str, view: &View<'_>) -> Option<ErrorPage> {
        let file = view.text("file")?;
        let tell = |what: String| {
            Problem::new(Code::Unreadable, view.place_of("file"), what).key(view.path_of("file"))
        };
        let Some(kind) = view.text("content_type").or_else(|| kind_of(file)) else {
            let what = format!("what `{file}` holds can't be told from its name");
            self.tell(
                tell(what).expected("content_type, or a name that ends in .html, .json or .txt"),
            );
            return None;
        };
        let content_type = kind.parse().ok()?;
        match (self.world.page)(file) {
            Ok(body) => {
                let statuses = syntax::statuses(status).ok()?;
                Some(ErrorPage::new(
                    statuses,
                    file.to_owned(),
                    content_type,
                    body,
                ))
            }
            Err(why) => {
                self.tell(tell(format!("the page can't be read: {why}")));
                None
            }
        }
    }

    /// `own` is what the service itself says.
    pub(super) fn pages_fit(&mut self, own: &Table, path: &str) {
        let errors = own.get("errors").and_then(|node| node.table());
        for (status, place, _) in errors.into_iter().flat_map(Table::iter) {
            if AT_THE_DOOR.contains(&status) {
                let message = format!("{status} is answered before a service is known");
                self.tell(
                    Problem::new(Code::InvalidValue, place, message)
                        .key(format!("{path}.errors.{status}"))
                        .expected("this page in [defaults]"),
                );
            }
        }
    }
}

fn kind_of(file: &str) -> Option<&'static str> {
    match Path::new(file).extension()?.to_str()? {
        "html" | "htm" => Some("text/html; charset=utf-8"),
        "json" => Some("application/json"),
        "txt" => Some("text/plain; charset=utf-8"),
        _ => None,
    }
}
