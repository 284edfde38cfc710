//! What stands under `[services.NAME.rollout]`, and under `[[notify]]`.

use super::{DAY, HOUR, SECRET, text};
use crate::config::file::{Fallback, Key, Section, Shape, syntax};

const WEEK: u64 = 7 * DAY;
const MOST: i64 = 1_000_000_000;

/// What follows where nothing more is waited for.
const UNSURE: Shape = Shape::Word(&["promote", "pause", "rollback"]);

pub const ROLLOUT: Section = &[&[
    Key::new("strategy", Shape::Word(&["canary", "blue-green", "rolling"]), "canary: the new pool's share grows by steps; blue-green: all traffic at once, after what the steps wait for; rolling: the endpoints of one pool are replaced in batches.").or_text("canary"),
    Key::new("preset", Shape::Word(&["fast", "standard", "careful"]), "Steps and `bake` by one word. Default: standard, where there are no `steps`."),
    Key::new("steps", Shape::Array(&Shape::Table(STEP)), "What comes before all traffic goes to the new version; of rolling, what follows each batch."),
    Key::new("batch", Shape::Either(&[Shape::Integer { min: 1, max: 10_000 }, text(&syntax::PERCENT)]), "Of rolling: how many endpoints are replaced at once, or which part of the pool's.").or(Fallback::Integer(1)),
    Key::new("ready_timeout", Shape::Span { min: 1, max: DAY }, "How long the new version may take to be ready; then nothing is begun.").or_text("5m"),
    Key::new("warm_up", Shape::Span { min: 0, max: HOUR }, "After each rise of its share, how long the new version's latency says nothing. Errors count from the first.").or_text("30s"),
    Key::new("bake", Shape::Span { min: 0, max: WEEK }, "How long the new version is judged with all traffic, the old one still warm. Default: 10m; with the preset fast 5m, careful 30m."),
    Key::new("undo_window", Shape::Span { min: 0, max: WEEK }, "How long the old pool is kept ready to go back to in one step.").or_text("1h"),
    Key::new("guard", Shape::Table(GUARD), "When errors of the new version take it back at once."),
    Key::new("judge", Shape::Table(JUDGE), "What must be shown of the new version before it gets more."),
    Key::new("rescue", Shape::Table(RESCUE), "Requests that the new version has failed go once to the old one."),
    Key::new("absolute", Shape::Table(ABSOLUTE), "Bounds that hold whatever the old version does."),
    Key::new("freeze", Shape::Array(&Shape::Text(&syntax::FREEZE)), "When no rollout is begun."),
    Key::new("metrics", Shape::Array(&Shape::Table(METRIC)), "Figures from outside that are judged too."),
    Key::new("hooks", Shape::Array(&Shape::Table(HOOK)), "Who is asked before, or told after, a part of a rollout."),
]];

pub const STEP: Section = &[&[
    Key::new(
        "share",
        text(&syntax::PERCENT),
        "Of a canary: the new pool's share from this step on, above 0% and below 100%, more than before. Default: as before.",
    ),
    Key::new(
        "mirror",
        text(&syntax::PERCENT),
        "Of canary and blue-green, before the new pool has a share: it gets copies of so many of the requests that can be copied, and is compared by what it answers.",
    ),
    Key::new(
        "hold",
        Shape::Span {
            min: 1,
            max: 30 * DAY,
        },
        "Wait so long; bad news ends it sooner.",
    ),
    Key::new(
        "judge",
        Shape::Span {
            min: 1,
            max: 30 * DAY,
        },
        "Go on once the new version has been judged over so long a time.",
    ),
    Key::new(
        "approval",
        Shape::Bool,
        "`true`: go on when somebody says so.",
    ),
    Key::new(
        "timeout",
        Shape::Span {
            min: 1,
            max: 30 * DAY,
        },
        "How long an approval is waited for. Default: as long as it takes.",
    ),
    Key::new(
        "on_timeout",
        UNSURE,
        "What follows when nobody has said so.",
    )
    .or_text("rollback"),
]];

pub const GUARD: Section = &[&[
    Key::new(
        "alpha",
        Shape::Real {
            min: 1e-9,
            max: 0.1,
        },
        "The chance of taking back a version that is good enough, over the whole rollout.",
    )
    .or(Fallback::Real(0.001)),
    Key::new(
        "ratio",
        Shape::Real {
            min: 1.0,
            max: 100.0,
        },
        "Good enough is up to so many times the old version's error rate.",
    )
    .or(Fallback::Real(1.5)),
    Key::new(
        "min_errors",
        Shape::Integer {
            min: 1,
            max: 10_000,
        },
        "Errors below which nothing is concluded.",
    )
    .or(Fallback::Integer(5)),
    Key::new(
        "min_clients",
        Shape::Integer { min: 1, max: 1000 },
        "Clients that must have met them.",
    )
    .or(Fallback::Integer(3)),
    Key::new(
        "min_error_rate",
        text(&syntax::PERCENT),
        "Its error rate below which the new version stays.",
    )
    .or_text("1%"),
    Key::new(
        "max_excess_failures",
        Shape::Integer { min: 1, max: MOST },
        "Failures that users may see above what the old version would have shown them.",
    )
    .or(Fallback::Integer(50)),
]];

pub const JUDGE: Section = &[&[
    Key::new("interval", Shape::Span { min: 100, max: HOUR }, "Between two looks.").or_text("10s"),
    Key::new("min_requests", Shape::Integer { min: 1, max: MOST }, "Requests to the new version below which nothing is concluded.").or(Fallback::Integer(100)),
    Key::new("error_margin", text(&syntax::MARGIN), "How much higher its error rate may be, in percentage points; auto: as little as the step's traffic can prove.").or_text("auto"),
    Key::new("latency", Shape::Either(&[Shape::Table(LATENCY), Shape::Off]), "How much slower it may be; `false`: that is not looked at."),
    Key::new("on_insufficient_data", Shape::Word(&["hold", "promote", "pause", "rollback"]), "What follows when a step's time is over and too little is known.").or_text("hold"),
    Key::new("max_hold", Shape::Span { min: 1, max: WEEK }, "How long a step may hold for more data.").or_text("30m"),
    Key::new("on_max_hold", UNSURE, "What follows then.").or_text("pause"),
]];

pub const LATENCY: Section = &[&[
    Key::new(
        "quantile",
        Shape::Real {
            min: 0.5,
            max: 0.999,
        },
        "Which latency is compared: 0.95 is that of the slowest twentieth.",
    )
    .or(Fallback::Real(0.95)),
    Key::new(
        "increase",
        text(&syntax::PERCENT),
        "How much more than the old version's it may be.",
    )
    .or_text("20%"),
    Key::new(
        "floor",
        Shape::Span {
            min: 0,
            max: 60_000,
        },
        "Less than this is no increase, whatever part it is.",
    )
    .or_text("10ms"),
]];

pub const RESCUE: Section = &[&[
    Key::new("enabled", Shape::Bool, "`false`: never.").or(Fallback::Bool(true)),
    Key::new(
        "methods",
        Shape::Array(&Shape::Text(&syntax::METHOD)),
        "Of which requests. One that changes something may then be done twice.",
    )
    .or(Fallback::Texts(&["GET", "HEAD"])),
    Key::new(
        "max_body",
        text(&syntax::SIZE),
        "The largest request body that is kept for it, at most 16MiB.",
    )
    .or_text("64KiB"),
]];

pub const ABSOLUTE: Section = &[&[
    Key::new(
        "min_requests",
        Shape::Integer { min: 1, max: MOST },
        "Requests to the new version below which none of these is looked at.",
    )
    .or(Fallback::Integer(200)),
    Key::new(
        "max_error_rate",
        text(&syntax::PERCENT),
        "Its error rate may not be above this.",
    ),
    Key::new(
        "max_p95",
        Shape::Span { min: 1, max: HOUR },
        "Its 95th percentile of latency may not be above this.",
    ),
    Key::new(
        "min_success",
        text(&syntax::PERCENT),
        "The part of its requests that must succeed. Default: 99% with `min_success_for`, else none.",
    ),
    Key::new(
        "min_success_for",
        Shape::Span { min: 1, max: DAY },
        "For how long it may be below that.",
    )
    .or_text("3m"),
    Key::new(
        "probe_failures",
        text(&syntax::PERCENT),
        "The part of its probes that may fail.",
    ),
]];

pub const METRIC: Section = &[&[
    Key::new("name", text(&syntax::NAME), "What it is called.").required(),
    Key::new("prometheus", Shape::Table(PROMETHEUS), "Ask a Prometheus."),
    Key::new(
        "http",
        Shape::Table(DOCUMENT),
        "Read it from a JSON document.",
    ),
    Key::new(
        "authorization",
        Shape::Table(SECRET),
        "The value of the header Authorization that is sent, such as `Bearer ...`.",
    ),
    Key::new(
        "compare",
        Shape::Word(&["stable"]),
        "Compare the new version's with the old one's. Default: with `min` and `max`.",
    ),
    Key::new(
        "max_drop",
        text(&syntax::PERCENT),
        "How much lower than the old version's it may be.",
    ),
    Key::new(
        "max_rise",
        text(&syntax::PERCENT),
        "How much higher than the old version's it may be.",
    ),
    Key::new("min", NUMBER, "It may not be lower."),
    Key::new("max", NUMBER, "It may not be higher."),
    Key::new(
        "interval",
        Shape::Span {
            min: 100,
            max: HOUR,
        },
        "How often it is asked for.",
    )
    .or_text("30s"),
    Key::new(
        "timeout",
        Shape::Span { min: 1, max: HOUR },
        "How long an answer may take.",
    )
    .or_text("5s"),
    Key::new(
        "dry_run",
        Shape::Bool,
        "`true`: it is told and changes nothing.",
    )
    .or(Fallback::Bool(false)),
]];

const NUMBER: Shape = Shape::Real {
    min: -1e15,
    max: 1e15,
};

pub const PROMETHEUS: Section = &[&[
    Key::new(
        "url",
        text(&syntax::ASKED),
        "Where it is, without /api/v1/query.",
    )
    .required(),
    Key::new(
        "query",
        text(&syntax::QUERY),
        "A query that gives one number now. {{pool}} and {{service}} in it are replaced.",
    )
    .required(),
]];

pub const DOCUMENT: Section = &[&[
    Key::new(
        "url",
        text(&syntax::ASKED),
        "Where it is. {{pool}} and {{service}} in it are replaced.",
    )
    .required(),
    Key::new(
        "pointer",
        text(&syntax::POINTER),
        "Where in it the number stands (RFC 6901).",
    )
    .required(),
    Key::new(
        "headers",
        Shape::Map(&syntax::HEADER, &Shape::Text(&syntax::HEADER_VALUE)),
        "More headers to send. No secrets: they are shown.",
    ),
]];

pub const HOOK: Section = &[&[
    Key::new(
        "at",
        Shape::Array(&Shape::Word(&[
            "before-start",
            "before-step",
            "before-promote",
            "after-promote",
            "after-rollback",
        ])),
        "When it is asked or told.",
    )
    .required(),
    Key::new("url", text(&syntax::CALLED), "What is called, by POST.").required(),
    Key::new(
        "secret",
        Shape::Table(SECRET),
        "Signs what is sent. Default: it is not signed.",
    ),
    Key::new(
        "timeout",
        Shape::Span { min: 1, max: DAY },
        "How long it may take to answer, over all attempts.",
    )
    .or_text("10s"),
    Key::new("on_timeout", UNSURE, "What follows when it has not.").or_text("rollback"),
]];

pub const NOTIFY: Section = &[&[
    Key::new(
        "url",
        Shape::Table(SECRET),
        "Where it is sent, by POST: a secret, because whoever knows it may write there.",
    )
    .required(),
    Key::new(
        "format",
        Shape::Word(&["json", "slack", "statuspage"]),
        "How it is written: the event as the API has it, a message for Slack, or for Statuspage.",
    )
    .or_text("json"),
    Key::new(
        "on",
        Shape::Array(&Shape::Text(&syntax::EVENT)),
        "Types of events that are told. Default: those of rollouts.",
    ),
]];
