//! Every key of the file: its shape, what holds without it, and a sentence that the schema shows. The one table that the
//! walk, the checks, the JSON Schema and the tests of the documentation share.

use super::{Fallback, Key, Section, Shape, syntax};

const DAY: u64 = 24 * 3_600_000;
const HOUR: u64 = 3_600_000;

const fn text(syntax: &'static super::Syntax) -> Shape {
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

pub const LISTENER: Section = &[&[
    Key::new("address", text(&syntax::SOCKET), "IP and port.").required(),
    Key::new(
        "trusted_proxies",
        Shape::Array(&Shape::Text(&syntax::NETWORK)),
        "Networks of proxies before this one, whose X-Forwarded-*, Forwarded and X-Request-Id are believed.",
    ),
    Key::new(
        "timeouts",
        Shape::Table(LISTENER_TIMEOUTS),
        "How long clients may take.",
    ),
    Key::new(
        "limits",
        Shape::Table(LISTENER_LIMITS),
        "How much clients may send.",
    ),
    Key::new(
        "tls",
        Shape::Later,
        "TLS comes with a later version; until then terminate it before this proxy",
    ),
    Key::new(
        "redirect_https",
        Shape::Later,
        "comes with TLS in a later version",
    ),
]];

pub const LISTENER_TIMEOUTS: Section = &[&[
    Key::new(
        "header",
        Shape::Span { min: 1, max: HOUR },
        "From a request's first byte to the end of its head.",
    )
    .or_text("10s"),
    Key::new(
        "idle",
        Shape::Span { min: 1, max: DAY },
        "How long a connection may stand idle between requests.",
    )
    .or_text("75s"),
]];

pub const LISTENER_LIMITS: Section = &[&[
    Key::new(
        "connections",
        Shape::Integer {
            min: 1,
            max: 10_000_000,
        },
        "Open at once, over all workers.",
    )
    .or(Fallback::Integer(20_000)),
    Key::new(
        "header_bytes",
        text(&syntax::SIZE),
        "Of a request's head, 8KiB to 1MiB.",
    )
    .or_text("64KiB"),
    Key::new(
        "headers",
        Shape::Integer { min: 1, max: 1000 },
        "Header lines of a request.",
    )
    .or(Fallback::Integer(100)),
]];

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

/// What `[defaults]` may hold.
pub const DEFAULTS: Section = &[PER_SERVICE, PER_POOL];

pub const SERVICE: Section = &[SERVICE_OWN, PER_SERVICE, PER_POOL];

pub const POOL: Section = &[POOL_OWN, PER_POOL];

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
];

/// Keys of a service that stand in `[defaults]` for all.
const PER_SERVICE: &[Key] = &[
    Key::new("weights_mode", Shape::Word(&["declared", "initial"]), "declared: a change of the file's weights wins over run-time shifts; initial: the file seeds an empty state, then the admin API owns them.").or_text("declared"),
    Key::new("min_ready", text(&syntax::PERCENT), "The part of a pool's endpoints that must be ready before traffic is moved to it; above 0%.").or_text("100%"),
    Key::new("sticky", Shape::Table(STICKY), "Keeps a client on one pool while the weights allow it."),
    Key::new("preview", Shape::Either(&[Shape::Table(PREVIEW), Shape::Off]), "A header that, with a secret, reaches a ready pool whatever its weight."),
    Key::new("fail_open", Shape::Bool, "When every weighted pool is unready, try endpoints that were once proven rather than refuse.").or(Fallback::Bool(true)),
    Key::new("timeouts", Shape::Table(TIMEOUTS), "How long each part of a request may take."),
    Key::new("limits", Shape::Table(LIMITS), "How much a request may carry."),
    Key::new("drain", Shape::Table(DRAIN), "How work ends on what is taken away."),
    Key::new("retry", Shape::Later, "a request of which nothing was written already goes once to another endpoint; more retries come with a later version"),
    Key::new("hold", Shape::Later, "holding requests comes with a later version"),
    Key::new("outlier", Shape::Later, "taking endpoints out by their answers comes with a later version; probes take them out in this one"),
    Key::new("rollout", Shape::Later, "rollouts come with a later version; `cutover shift` moves traffic by steps"),
    Key::new("upgrades", Shape::Array(&Shape::Text(&syntax::UPGRADE)), "Protocols that clients may upgrade a connection to; anything else is answered as if it had not been asked for.").or(Fallback::Texts(&["websocket"])),
];

/// Keys of a pool that stand in a service for all its pools, and in `[defaults]` for all services.
pub const PER_POOL: &[Key] = &[
    Key::new(
        "balance",
        text(&syntax::BALANCE),
        "How a pool chooses among its ready endpoints.",
    )
    .or_text("round-robin"),
    Key::new(
        "probe",
        Shape::Either(&[Shape::Table(PROBE), Shape::Off]),
        "What proves that an endpoint can serve; `false`: endpoints count as ready.",
    ),
    Key::new(
        "protocol",
        Shape::Later,
        "HTTP/1.1 is spoken to endpoints; HTTP/2 comes with a later version",
    ),
    Key::new(
        "tls",
        Shape::Later,
        "TLS to endpoints comes with a later version",
    ),
];

const POOL_OWN: &[Key] = &[Key::new(
    "endpoints",
    ENDPOINTS,
    "Where this version answers. May be empty only without weight.",
)
.required()];

const ENDPOINTS: Shape = Shape::Array(&Shape::Either(&[
    Shape::Text(&syntax::ENDPOINT),
    Shape::Table(ENDPOINT),
]));

pub const ENDPOINT: Section = &[&[
    Key::new(
        "address",
        text(&syntax::ENDPOINT),
        "HOST:PORT or unix:/absolute/path; a host name is resolved when a connection is opened.",
    )
    .required(),
    Key::new(
        "weight",
        Shape::Integer {
            min: 1,
            max: 65_535,
        },
        "Its part of the pool's requests, beside the others' weights.",
    )
    .or(Fallback::Integer(1)),
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

pub const TIMEOUTS: Section = &[&[
    Key::new("connect", Shape::Span { min: 1, max: HOUR }, "To open a connection to an endpoint.").or_text("2s"),
    Key::new("response", Shape::Span { min: 1, max: DAY }, "From a request's last byte to the head of the answer.").or_text("60s"),
    Key::new("idle", Shape::Span { min: 1, max: DAY }, "Without a byte either way while a body is on its way.").or_text("60s"),
    Key::new("request", text(&syntax::SPAN_OR_NONE), "From a request's head to the answer's last byte.").or_text("none"),
    Key::new("keep_alive", Shape::Span { min: 1, max: DAY }, "How long an idle connection to an endpoint is kept. Keep it below the app's own limit, or the app closes first.").or_text("4s"),
    Key::new("tunnel", Shape::Span { min: 1, max: 366 * DAY }, "Without a byte either way in a WebSocket or another tunnel.").or_text("1h"),
]];

pub const LIMITS: Section = &[&[Key::new(
    "body",
    text(&syntax::SIZE_OR_NONE),
    "The largest request body.",
)
.or_text("none")]];

pub const DRAIN: Section = &[&[
    Key::new(
        "deadline",
        Shape::Span { min: 0, max: DAY },
        "How long a drain waits for work under way unless the call says otherwise.",
    )
    .or_text("30s"),
    Key::new("websockets", Shape::Word(&["close-at-deadline", "keep", "close-now"]), "How WebSockets end that a drain finds open: with a close frame (1001) at its deadline, not at all, or at once.").or_text("close-at-deadline"),
]];

pub const PROBE: Section = &[&[
    Key::new("type", Shape::Word(&["http", "tcp"]), "http: a request; tcp: a connection that opens. Default: http where any key of an HTTP probe is set, else tcp."),
    Key::new("path", text(&syntax::PROBE_PATH), "What is asked for.").or_text("/"),
    Key::new("method", Shape::Word(&["GET", "HEAD", "OPTIONS", "POST"]), "How it is asked for.").or_text("GET"),
    Key::new("host", text(&syntax::HEADER_VALUE), "The Host header. Default: the endpoint's address."),
    Key::new("headers", Shape::Map(&syntax::HEADER, &Shape::Text(&syntax::HEADER_VALUE)), "More headers to send."),
    Key::new("port", Shape::Integer { min: 1, max: 65_535 }, "Ask another port of the endpoint's host."),
    Key::new("interval", Shape::Span { min: 10, max: DAY }, "From the begin of one probe to the begin of the next; one that lasts longer delays the next.").or_text("1s"),
    Key::new("timeout", Shape::Span { min: 1, max: HOUR }, "A probe that is not answered by then has failed.").or_text("1s"),
    Key::new("rise", Shape::Integer { min: 1, max: 1000 }, "Passes in a row that make an endpoint ready.").or(Fallback::Integer(2)),
    Key::new("fall", Shape::Integer { min: 1, max: 1000 }, "Failures in a row that make it unready.").or(Fallback::Integer(3)),
    Key::new("expect", Shape::Table(EXPECT), "What an answer must be."),
]];

pub const EXPECT: Section = &[&[
    Key::new(
        "status",
        Shape::Array(&Shape::Either(&[
            Shape::Text(&syntax::STATUS),
            Shape::Integer { min: 100, max: 599 },
        ])),
        "Any of these.",
    )
    .or(Fallback::Texts(&["2xx"])),
    Key::new(
        "body",
        text(&syntax::FULL),
        "A text that the body must contain.",
    ),
    Key::new(
        "json",
        Shape::Map(&syntax::POINTER, &Shape::Json),
        "JSON pointers (RFC 6901) and the values that must stand there.",
    ),
]];
