//! Every key of the file: its shape, what holds without it, and a sentence that the schema shows. The one table that the
//! walk, the checks, the JSON Schema and the tests of the documentation share.

mod admin;
mod events;
mod listener;
mod pool;
mod rollout;
mod route;
mod service;

use super::{Fallback, Key, Section, Shape, Syntax, syntax};
pub use admin::*;
pub use events::EVENTS;
pub use listener::*;
pub use pool::*;
pub use rollout::*;
pub use route::*;
pub use service::*;

const DAY: u64 = 24 * 3_600_000;
const HOUR: u64 = 3_600_000;

const fn text(syntax: &'static Syntax) -> Shape {
    Shape::Text(syntax)
}

/// A file that is named on the command line.
pub const ROOT: Section = &[&[
    Key::new(
        "include",
        Shape::Array(&Shape::Text(&syntax::GLOB)),
        "Files with more services and routes, as paths or patterns relative to this file; read in the order of their names.",
    ),
    Key::new(
        "state_dir",
        text(&syntax::FILE),
        "Folder for what is decided at run time; one process owns it. Default: $STATE_DIRECTORY, else a folder `NAME-state` beside the file `NAME.toml`.",
    ),
    Key::new(
        "workers",
        Shape::Either(&[Shape::Integer { min: 1, max: 1024 }, Shape::Word(&["auto"])]),
        "Threads that carry traffic. A change takes a restart.",
    )
    .or_text("auto"),
    Key::new(
        "watch",
        Shape::Bool,
        "Apply edits of the file by themselves.",
    )
    .or(Fallback::Bool(true)),
    Key::new(
        "startup",
        Shape::Table(STARTUP),
        "Before the first request.",
    ),
    Key::new(
        "shutdown",
        Shape::Table(SHUTDOWN),
        "After SIGTERM or SIGINT.",
    ),
    Key::new("admin", Shape::Table(ADMIN), "The door for operators."),
    Key::new("telemetry", Shape::Table(TELEMETRY), "Metrics and logs."),
    Key::new(
        "defaults",
        Shape::Table(DEFAULTS),
        "Holds for every service that does not say otherwise; tables merge per key, arrays replace.",
    ),
    Key::new(
        "listeners",
        Shape::Array(&Shape::Table(LISTENER)),
        "Addresses to accept on.",
    )
    .required(),
    Key::new(
        "routes",
        Shape::Array(&Shape::Table(ROUTE)),
        "Which requests go to which service: the most specific route wins.",
    ),
    Key::new("services", SERVICES, "The apps, by name.").required(),
    Key::new(
        "notify",
        Shape::Array(&Shape::Table(NOTIFY)),
        "Who is told of events.",
    ),
]];

/// A file that `include` names.
pub const INCLUDED: Section = &[&[
    Key::new(
        "routes",
        Shape::Array(&Shape::Table(ROUTE)),
        "Routes, after those of the file that includes this one.",
    ),
    Key::new(
        "services",
        SERVICES,
        "The apps, by name; each in one file only.",
    ),
]];

const SERVICES: Shape = Shape::Map(&syntax::NAME, &Shape::Table(SERVICE));

pub const STARTUP: Section = &[&[
    Key::new("wait", Shape::Span { min: 0, max: HOUR }, "Listeners are bound at once; connections are accepted when every weighted pool is ready, or after this.").or_text("10s"),
]];

pub const SHUTDOWN: Section = &[&[
    Key::new(
        "lame_duck",
        Shape::Span { min: 0, max: HOUR },
        "How long to go on accepting after /readyz has turned 503.",
    )
    .or_text("5s"),
    Key::new(
        "deadline",
        Shape::Span { min: 0, max: DAY },
        "How long, after that, requests under way and idle connections are kept.",
    )
    .or_text("30s"),
]];

/// What `[defaults]` may hold.
pub const DEFAULTS: Section = &[PER_SERVICE, PER_POOL];

pub const SECRET: Section = &[&[
    Key::new(
        "file",
        text(&syntax::FILE),
        "A file that holds the secret; one newline at its end is no part of it.",
    ),
    Key::new(
        "env",
        text(&syntax::VARIABLE),
        "An environment variable that holds the secret.",
    ),
    Key::new(
        "credential",
        text(&syntax::CREDENTIAL),
        "A systemd credential (LoadCredential=) that holds the secret.",
    ),
]];
