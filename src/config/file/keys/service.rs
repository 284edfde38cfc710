//! What stands under `[services.NAME]`, and of it under `[defaults]`.

use super::{
    DAY, HOUR, SECRET,
    listener::NETWORKS,
    pool::{ENDPOINTS, PER_POOL, POOL},
    rollout::ROLLOUT,
    text,
};
use crate::{
    config::file::{Fallback, Key, Section, Shape, syntax},
    units::Mirror,
};

pub const SERVICE: Section = &[SERVICE_OWN, PER_SERVICE, PER_POOL];

const SERVICE_OWN: &[Key] = &[
    Key::new(
        "hosts",
        Shape::Array(&Shape::Text(&syntax::HOST)),
        "Short form of a route that gives whole hosts to this service.",
    ),
    Key::new(
        "routed",
        Shape::Bool,
        "`false`: no route needs to reach it.",
    )
    .or(Fallback::Bool(true)),
    Key::new(
        "weights",
        Shape::Map(
            &syntax::NAME,
            &Shape::Integer {
                min: 0,
                max: 4_294_967_295,
            },
        ),
        "Integers per pool, their sum above zero. Default with a single pool: all to it.",
    ),
    Key::new(
        "pools",
        Shape::Map(&syntax::NAME, &Shape::Table(POOL)),
        "The versions of the app that run side by side, by name.",
    ),
    Key::new(
        "endpoints",
        ENDPOINTS,
        "Short form for an app without versions: one pool `main`.",
    ),
    Key::new(
        "admission",
        Shape::Word(&["open", "hold", "maintenance"]),
        "open: requests flow; hold: they wait, for as long as `hold.for` says from the edit on, and then flow by themselves; maintenance: they get a page.",
    )
    .or_text("open"),
    Key::new(
        "faults",
        Shape::Array(&Shape::Table(FAULT)),
        "What is done to a part of its requests, for a while, to rehearse what follows from it. Of those that draw a request the first is applied.",
    ),
    Key::new(
        "mirror",
        Shape::Table(MIRROR),
        "A part of its requests is sent to another of its pools as well, whose answers nobody gets.",
    ),
];

/// Keys of a service that stand in `[defaults]` for all.
pub const PER_SERVICE: &[Key] = &[
    Key::new("weights_mode", Shape::Word(&["declared", "initial"]), "declared: a change of the file's weights wins over run-time shifts; initial: the file seeds an empty state, then the admin API owns them.").or_text("declared"),
    Key::new("min_ready", text(&syntax::PERCENT), "The part of a pool's endpoints that must be ready before traffic is moved to it; above 0%.").or_text("100%"),
    Key::new("sticky", Shape::Table(STICKY), "Keeps a client on one pool while the weights allow it."),
    Key::new("preview", Shape::Either(&[Shape::Table(PREVIEW), Shape::Off]), "A header that, with a secret, reaches a ready pool whatever its weight."),
    Key::new("fail_open", Shape::Either(&[Shape::Bool, text(&syntax::PERCENT)]), "When every weighted pool is unready, try endpoints that were once proven rather than refuse. A percentage: also in a pool of whose endpoints a smaller part is ready, so that those don't break under what all of them are to bear.").or(Fallback::Bool(true)),
    Key::new("timeouts", Shape::Table(TIMEOUTS), "How long each part of a request may take."),
    Key::new("limits", Shape::Table(LIMITS), "How much a request may carry, and how many may be under way."),
    Key::new("drain", Shape::Table(DRAIN), "How work ends on what is taken away."),
    Key::new("errors", Shape::Map(&syntax::ERROR_STATUS, &Shape::Table(ERROR_PAGE)), "Pages in place of the proxy's own short answers, by status or class of statuses. Those in [defaults] are for answers before a service is known, too."),
    Key::new("pool_header", Shape::Bool, "Name in each answer's header `cutover-pool` the pool that made it.").or(Fallback::Bool(false)),
    Key::new("retry", Shape::Table(RETRY), "When a request that an endpoint has failed is sent once more."),
    Key::new("queue", Shape::Table(QUEUE), "How requests wait that nobody may be given now."),
    Key::new("hold", Shape::Table(HOLD), "How requests wait that are held."),
    Key::new("maintenance", Shape::Table(MAINTENANCE), "What requests get in maintenance, and who is let through."),
    Key::new("outlier", Shape::Either(&[Shape::Table(OUTLIER), Shape::Off]), "When an endpoint is taken out because of what it does to requests; `false`: never."),
    Key::new("rollout", Shape::Table(ROLLOUT), "How it goes to a new version. Default: a canary by the preset standard."),
    Key::new("upgrades", Shape::Array(&Shape::Text(&syntax::UPGRADE)), "Protocols that clients may upgrade a connection to; anything else is answered as if it had not been asked for.").or(Fallback::Texts(&["websocket"])),
];

pub const ERROR_PAGE: Section = &[&[
    Key::new(
        "file",
        text(&syntax::FILE),
        "Read with the configuration, 64KiB at most; {status} in it becomes the status.",
    )
    .required(),
    Key::new(
        "content_type",
        text(&syntax::HEADER_VALUE),
        "Of the page. Default: by the file's name, for .html, .json and .txt.",
    ),
]];

pub const FAULT: Section = &[&[
    Key::new(
        "delay",
        Shape::Span { min: 1, max: HOUR },
        "How long a request is kept before anybody is asked.",
    ),
    Key::new(
        "abort",
        Shape::Integer { min: 400, max: 599 },
        "The status of an answer that is given in the place of an endpoint, after the delay if there is one.",
    ),
    Key::new(
        "share",
        text(&syntax::PERCENT),
        "The part of the requests that it is meant for.",
    )
    .required(),
    Key::new(
        "headers",
        Shape::Map(&syntax::HEADER, &Shape::Text(&syntax::HEADER_VALUE)),
        "Requests with all of these, by exact value. Default: all requests.",
    ),
    Key::new(
        "pool",
        text(&syntax::NAME),
        "Requests that were decided for this pool. Default: for any.",
    ),
    Key::new("until", text(&syntax::MOMENT), "When it ends; within 24h.").required(),
]];

pub const MIRROR: Section = &[&[
    Key::new("pool", text(&syntax::NAME), "Who gets the copies.").required(),
    Key::new("share", text(&syntax::PERCENT), "The part of the requests that is copied, of those that can be: GET, HEAD and OPTIONS without a body.").required(),
    Key::new("most", Shape::Integer { min: 1, max: 100_000 }, "Copies under way at once; a request above that is not copied.").or(Fallback::Integer(Mirror::MOST.cast_signed())),
    Key::new("timeout", Shape::Span { min: 1, max: HOUR }, "How long a copy may take, to its answer's last byte.").or_text("5s"),
    Key::new("compare", Shape::Bool, "Compare the copy's answer with the one that the client gets.").or(Fallback::Bool(true)),
    Key::new("headers", Shape::Array(&Shape::Text(&syntax::HEADER)), "The headers that are compared.").or(Fallback::Texts(&["content-type", "location"])),
    Key::new("body", text(&syntax::SIZE), "How much of the bodies is compared.").or_text("1MiB"),
]];

pub const STICKY: Section = &[&[
    Key::new("by", text(&syntax::STICKY), "cookie: our own cookie `cutover_SERVICE`; header:NAME: a header's value; ip: the client's address; none.").or_text("none"),
    Key::new("max_age", Shape::Span { min: 1000, max: 366 * DAY }, "How long the cookie is kept.").or_text("1d"),
    Key::new("secret", Shape::Table(SECRET), "Keys the cookie and the hash, the same on every instance. Default: a key made once and kept in `state_dir`."),
]];

pub const PREVIEW: Section = &[&[
    Key::new(
        "header",
        text(&syntax::HEADER),
        "The header, as in `x-cutover-pool: green;SECRET`.",
    )
    .or_text("x-cutover-pool"),
    Key::new(
        "secret",
        Shape::Table(SECRET),
        "What must follow the pool's name.",
    ),
]];

pub const TIMEOUTS: Section = &[&[
    Key::new("connect", Shape::Span { min: 1, max: HOUR }, "To open a connection to an endpoint.").or_text("2s"),
    Key::new("response", Shape::Span { min: 1, max: DAY }, "From a request's last byte to the head of the answer.").or_text("60s"),
    Key::new("idle", Shape::Span { min: 1, max: DAY }, "Without a byte either way while a body is on its way.").or_text("60s"),
    Key::new("request", text(&syntax::SPAN_OR_NONE), "From a request's head to the answer's last byte.").or_text("none"),
    Key::new("keep_alive", Shape::Span { min: 1, max: DAY }, "How long an idle connection to an endpoint is kept. Keep it below the app's own limit, or the app closes first.").or_text("4s"),
    Key::new("tunnel", Shape::Span { min: 1, max: 366 * DAY }, "Without a byte either way in a WebSocket or another tunnel.").or_text("1h"),
]];

/// A status of an app in trouble.
const TROUBLE: Shape = Shape::Either(&[
    Shape::Text(&syntax::TROUBLE),
    Shape::Integer { min: 400, max: 599 },
]);

pub const RETRY: Section = &[&[
    Key::new(
        "attempts",
        Shape::Integer { min: 1, max: 5 },
        "How often a request is sent in all. 1: only one of which nothing was written goes once more.",
    )
    .or(Fallback::Integer(2)),
    Key::new("budget", text(&syntax::PERCENT), "Of the service's requests of the last ten seconds, the part that may be sent once more.").or_text("20%"),
    Key::new("statuses", Shape::Array(&TROUBLE), "Answers that are not passed on while another attempt may be made.").or(Fallback::Texts(&["502", "503", "504"])),
    Key::new("per_try", text(&syntax::SPAN_OR_NONE), "How long an endpoint may take to begin its answer while another attempt may be made.").or_text("none"),
    Key::new("body", text(&syntax::SIZE), "The largest request body that is kept to be sent again.").or_text("64KiB"),
    Key::new("backoff", Shape::Span { min: 0, max: 250 }, "The longest pause before a second attempt at the same endpoint, and before any third; doubled with each, up to 250ms. How much of it is left to chance.").or_text("25ms"),
]];

pub const OUTLIER: Section = &[&[
    Key::new("consecutive", Shape::Integer { min: 0, max: 10_000 }, "Failures in a row for which an endpoint is taken out; 0: for none.").or(Fallback::Integer(5)),
    Key::new("ratio", text(&syntax::PERCENT), "The part of its requests of the last ten seconds that has failed, for which it is taken out; 0%: for none.").or_text("25%"),
    Key::new("volume", Shape::Integer { min: 1, max: 1_000_000 }, "Requests of the last ten seconds below which a part of them says nothing.").or(Fallback::Integer(20)),
    Key::new("eject", Shape::Span { min: 100, max: DAY }, "For how long it is out the first time; the second in a row for twice as long, and so on.").or_text("10s"),
    Key::new("max_eject", Shape::Span { min: 100, max: DAY }, "It is out for no longer than this.").or_text("5m"),
    Key::new("max_ejected", text(&syntax::PERCENT), "The part of a pool's endpoints that may be out at once. One always may, and never the last that is ready.").or_text("50%"),
]];

pub const LIMITS: Section = &[&[
    Key::new(
        "body",
        text(&syntax::SIZE_OR_NONE),
        "The largest request body.",
    )
    .or_text("none"),
    Key::new(
        "requests",
        MOST,
        "Requests of the service under way at once, over all workers.",
    )
    .or_text("none"),
    Key::new(
        "requests_per_pool",
        MOST,
        "Requests under way at once on each of its pools.",
    )
    .or_text("none"),
    Key::new(
        "requests_per_endpoint",
        MOST,
        "Requests under way at once on each endpoint.",
    )
    .or_text("none"),
    Key::new(
        "connections_per_endpoint",
        MOST,
        "Connections open at once to each endpoint, over all workers, idle or in use; over HTTP/2 at least one for each worker. Probes have their own.",
    )
    .or_text("none"),
]];

const MOST: Shape = Shape::Either(&[
    Shape::Integer {
        min: 1,
        max: 1_000_000_000,
    },
    Shape::Word(&["none"]),
]);

pub const QUEUE: Section = &[&[
    Key::new("length", Shape::Integer { min: 0, max: 1_000_000 }, "Requests that may wait at once for the same limit, or for an endpoint that is ready; 0: none.").or(Fallback::Integer(1000)),
    Key::new("wait", Shape::Span { min: 0, max: HOUR }, "For how long one waits while a limit is reached.").or_text("5s"),
    Key::new("unready", text(&syntax::SPAN_OR_NONE), "For how long one waits while no endpoint of a pool with weight is ready, or every one that is can't be reached.").or_text("none"),
]];

pub const HOLD: Section = &[&[
    Key::new(
        "for",
        Shape::Span { min: 1, max: HOUR },
        "For how long, unless the order says; then requests flow by themselves.",
    )
    .or_text("60s"),
    Key::new(
        "length",
        Shape::Integer {
            min: 0,
            max: 1_000_000,
        },
        "Requests that may wait at once while they are held; 0: none.",
    )
    .or(Fallback::Integer(1000)),
]];

pub const MAINTENANCE: Section = &[&[
    Key::new(
        "file",
        text(&syntax::FILE),
        "The page, read with the configuration, 64KiB at most; {status} in it becomes the status. Default: the page that `errors` has for the status.",
    ),
    Key::new(
        "content_type",
        text(&syntax::HEADER_VALUE),
        "Of the page. Default: by the file's name, for .html, .json and .txt.",
    ),
    Key::new(
        "status",
        Shape::Integer { min: 400, max: 599 },
        "The answer's status.",
    )
    .or(Fallback::Integer(503)),
    Key::new(
        "retry_after",
        Shape::Span {
            min: 1000,
            max: DAY,
        },
        "When clients may ask again, where it is not known when the maintenance ends.",
    )
    .or_text("60s"),
    Key::new(
        "allow",
        NETWORKS,
        "Clients whose requests flow meanwhile. Default: nobody's.",
    ),
]];

pub const DRAIN: Section = &[&[
    Key::new(
        "deadline",
        Shape::Span { min: 0, max: DAY },
        "How long a drain waits for work under way unless the call says otherwise.",
    )
    .or_text("30s"),
    Key::new("websockets", Shape::Word(&["close-at-deadline", "keep", "close-now"]), "How WebSockets end that a drain finds open: with a close frame (1001) at its deadline, not at all, or at once.").or_text("close-at-deadline"),
]];
