//! The door for operators, and what is told of it all.

use super::{HOUR, SECRET, text};
use crate::config::file::{Key, Section, Shape, syntax};

pub const ADMIN: Section = &[&[
    Key::new(
        "address",
        text(&syntax::ADMIN),
        "Unix socket or TCP on loopback. Default: `admin.sock` in $RUNTIME_DIRECTORY, else in `state_dir`.",
    ),
    Key::new(
        "mode",
        text(&syntax::MODE),
        "Permissions of the Unix socket, in octal.",
    )
    .or_text("0600"),
    Key::new("group", text(&syntax::FULL), "Group of the Unix socket."),
    Key::new(
        "tokens",
        Shape::Array(&Shape::Table(TOKEN)),
        "Who may do what over TCP.",
    ),
    Key::new(
        "tls",
        Shape::Later,
        "the admin API speaks TLS in a later version; until then use a Unix socket or loopback",
    ),
]];

pub const TOKEN: Section = &[&[
    Key::new("name", text(&syntax::NAME), "Who it is, as history and events tell it.").required(),
    Key::new("role", Shape::Word(syntax::ROLE), "viewer reads; operator shifts, drains, adds and removes endpoints; admin reloads and reverts too.").required(),
    Key::new("services", Shape::Array(&Shape::Text(&syntax::NAME)), "The services it may write to. Default: all."),
    Key::new("sha256", text(&syntax::DIGEST), "SHA-256 of the token in hexadecimal; `cutover token new` prints both.").required(),
]];

pub const TELEMETRY: Section = &[&[
    Key::new(
        "address",
        text(&syntax::SOCKET),
        "Where GET /metrics, /livez and /readyz answer without a token. Default: only the admin address has them.",
    ),
    Key::new(
        "access_log",
        Shape::Table(ACCESS_LOG),
        "One line per request.",
    ),
    Key::new(
        "otlp",
        Shape::Table(OTLP),
        "Spans of requests whose traces are sampled (`listeners.traceparent`), for a collector. A change takes a restart.",
    ),
]];

pub const OTLP: Section = &[&[
    Key::new(
        "endpoint",
        text(&syntax::COLLECTOR),
        "Who takes them, by OTLP over HTTP. Without a path: /v1/traces.",
    )
    .required(),
    Key::new(
        "headers",
        Shape::Array(&Shape::Table(OTLP_HEADER)),
        "Sent with them, such as a credential.",
    ),
    Key::new(
        "timeout",
        Shape::Span { min: 1, max: HOUR },
        "How long the collector may take for a batch.",
    )
    .or_text("10s"),
    Key::new(
        "service_name",
        text(&syntax::FULL),
        "What spans call this proxy: `service.name`.",
    )
    .or_text("cutover"),
]];

pub const OTLP_HEADER: Section = &[&[
    Key::new("name", text(&syntax::HEADER), "The header.").required(),
    Key::new("secret", Shape::Table(SECRET), "Its value.").required(),
]];

pub const ACCESS_LOG: Section = &[&[
    Key::new(
        "sample",
        text(&syntax::PERCENT),
        "The part of requests that is logged; 0% is off.",
    )
    .or_text("0%"),
    Key::new(
        "format",
        Shape::Word(&["json", "text"]),
        "How a line is written.",
    )
    .or_text("json"),
    Key::new(
        "path",
        text(&syntax::FILE),
        "A file, opened anew on SIGUSR1. Default: standard output.",
    ),
]];
