//! What stands under `[[routes]]`.

use super::{DAY, listener::NETWORKS, text};
use crate::config::file::{Fallback, Key, Section, Shape, syntax};

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
    Key::new(
        "service",
        text(&syntax::NAME),
        "Where these requests go. One of service, redirect and respond must be given.",
    ),
    Key::new(
        "redirect",
        Shape::Table(REDIRECT),
        "Sends clients elsewhere.",
    ),
    Key::new(
        "respond",
        Shape::Table(RESPOND),
        "Answers the same to everybody.",
    ),
    Key::new(
        "allow",
        NETWORKS,
        "Networks of clients who may use this route, behind trusted_proxies by the address that they tell; others get 403. Default: all.",
    ),
    Key::new(
        "deny",
        NETWORKS,
        "Networks of clients who get 403; wins over allow.",
    ),
    Key::new(
        "rate_limit",
        Shape::Table(RATE_LIMIT),
        "How often each client may use this route; who comes more often gets 429.",
    ),
    Key::new(
        "strip_prefix",
        Shape::Either(&[Shape::Bool, Shape::Text(&syntax::PATH)]),
        "Taken off the path before the app sees it, at a segment's boundary; `true`: the route's `path`.",
    ),
    Key::new(
        "replace_prefix",
        text(&syntax::PATH),
        "Put where `strip_prefix` was, or where the route's `path` or `path_exact` was; before every path where the route has none of them.",
    ),
    Key::new(
        "rewrite_host",
        text(&syntax::AUTHORITY),
        "The Host that the app is sent. Default: the client's.",
    ),
    Key::new(
        "request_headers",
        Shape::Table(HEADER_EDITS),
        "Changes of the request's headers.",
    ),
    Key::new(
        "response_headers",
        Shape::Table(HEADER_EDITS),
        "Changes of the answer's headers, of the proxy's own answers on this route too.",
    ),
]];

const FIELDS: Shape = Shape::Map(&syntax::HEADER, &Shape::Text(&syntax::HEADER_VALUE));

pub const HEADER_EDITS: Section = &[&[
    Key::new("set", FIELDS, "In place of all headers of these names."),
    Key::new("add", FIELDS, "Beside those that are there."),
    Key::new(
        "remove",
        Shape::Array(&Shape::Text(&syntax::HEADER)),
        "All headers of these names.",
    ),
]];

pub const RATE_LIMIT: Section = &[&[
    Key::new(
        "requests",
        Shape::Integer {
            min: 1,
            max: 1_000_000,
        },
        "So many, evenly spread, in each `per`.",
    )
    .required(),
    Key::new(
        "per",
        Shape::Span {
            min: 1000,
            max: DAY,
        },
        "The time that `requests` are spread over.",
    )
    .or_text("1s"),
    Key::new(
        "burst",
        Shape::Integer {
            min: 1,
            max: 1_000_000,
        },
        "So many may come at once, after a pause. Default: as many as `requests`.",
    ),
    Key::new(
        "by",
        text(&syntax::RATE_KEY),
        "Who a client is: ip: its address, of IPv6 the /64; header:NAME: a header's value, and the address where it is missing.",
    )
    .or_text("ip"),
]];

pub const REDIRECT: Section = &[&[
    Key::new(
        "to",
        text(&syntax::LOCATION),
        "Where to. {path} is the path after strip_prefix and replace_prefix, {query} has its question mark, {host} no port.",
    ),
    Key::new(
        "scheme",
        Shape::Word(&["http", "https"]),
        "In place of `to`: another scheme. The port that was asked for is dropped.",
    ),
    Key::new(
        "host",
        text(&syntax::AUTHORITY),
        "In place of `to`: another host, with a port if it needs one.",
    ),
    Key::new(
        "path",
        text(&syntax::PROBE_PATH),
        "In place of `to`: another path. The query is kept unless it has one of its own.",
    ),
    Key::new(
        "status",
        Shape::Number(&[301, 302, 303, 307, 308]),
        "301 and 308 are for good and may be kept by browsers; 307 and 308 keep the method.",
    )
    .or(Fallback::Integer(302)),
]];

pub const RESPOND: Section = &[&[
    Key::new(
        "status",
        Shape::Integer { min: 200, max: 599 },
        "Of the answer.",
    )
    .required(),
    Key::new("body", text(&syntax::BODY), "Of the answer. Default: none."),
    Key::new("content_type", text(&syntax::HEADER_VALUE), "Of the body.")
        .or_text("text/plain; charset=utf-8"),
]];
