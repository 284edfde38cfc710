//! What stands under `[[routes]]`.

use super::text;
use crate::config::file::{Key, Section, Shape, syntax};

pub const ROUTE: Section = &[&[
    Key::new(
        "host",
        Shape::Array(&Shape::Text(&syntax::HOST)),
        "Any of these, exact or *.example.com. Default: any host.",
    ),
    Key::new(
        "path",
        text(&syntax::PATH),
        "A prefix that ends at a segment's boundary.",
    ),
    Key::new("path_exact", text(&syntax::PATH), "The whole path."),
    Key::new(
        "path_regex",
        text(&syntax::REGEX),
        "An expression that the whole path must match.",
    ),
    Key::new(
        "methods",
        Shape::Array(&Shape::Text(&syntax::METHOD)),
        "Any of these. Default: any method.",
    ),
    Key::new(
        "headers",
        Shape::Map(&syntax::HEADER, &Shape::Text(&syntax::HEADER_VALUE)),
        "All of these headers, by exact value.",
    ),
    Key::new(
        "cookies",
        Shape::Map(&syntax::COOKIE, &Shape::Text(&syntax::ANY)),
        "All of these cookies, by exact value.",
    ),
    Key::new(
        "query",
        Shape::Map(&syntax::FULL, &Shape::Text(&syntax::ANY)),
        "All of these query parameters, by exact value.",
    ),
    Key::new("service", text(&syntax::NAME), "Where these requests go.").required(),
]];
