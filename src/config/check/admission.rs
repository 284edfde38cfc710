use http::StatusCode;

use super::{Check, listeners::networks};
use crate::{
    config::{
        file::View,
        problem::{Code, Problem},
    },
    units::{Admission, Holding, Maintenance},
};

pub(super) fn admission(view: &View<'_>) -> Admission {
    match view.text("admission") {
        Some("hold") => Admission::Hold,
        Some("maintenance") => Admission::Maintenance,
        _ => Admission::Open,
    }
}

pub(super) fn holding(view: &View<'_>) -> Holding {
    Holding {
        span: view.span("for"),
        length: view.integer("length"),
    }
}

impl Check<'_> {
    pub(super) fn maintenance(&mut self, view: &View<'_>) -> Maintenance {
        let status = StatusCode::from_u16(view.integer("status"));
        let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let page = if view.has("file") {
            self.error_page(status.as_str(), view)
        } else {
            self.page_is_named(view);
            None
        };
        Maintenance {
            status,
            page,
            retry_after: view.span("retry_after"),
            allow: networks(view, "allow"),
        }
    }

    /// A type without a page means that the page was forgotten.
    fn page_is_named(&mut self, view: &View<'_>) {
        if view.has("content_type") {
            let message = format!("`{}` is missing", view.path_of("file"));
            self.tell(
                Problem::new(Code::MissingKey, view.place_of("content_type"), message)
                    .key(view.path_of("file"))
                    .expected("the page that `content_type` is of"),
            );
        }
    }
}
