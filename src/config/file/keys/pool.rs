//! What stands under `[services.NAME.pools.NAME]`, its endpoints and its probe.

use super::{DAY, HOUR, text};
use crate::config::file::{Fallback, Key, Section, Shape, syntax};

pub const POOL: Section = &[POOL_OWN, PER_POOL];

const POOL_OWN: &[Key] = &[
    Key::new(
        "endpoints",
        ENDPOINTS,
        "Where this version answers. Must be given without `discover`, and may then be empty only without weight.",
    ),
    Key::new(
        "discover",
        Shape::Table(DISCOVER),
        "Where more endpoints of this version are found while it runs.",
    ),
];

pub const DISCOVER: Section = &[&[
    Key::new(
        "file",
        text(&syntax::FILE),
        "A file with an endpoint on each line, looked at five times a second.",
    ),
    Key::new(
        "dns",
        text(&syntax::DNS_PORT),
        "A name whose A and AAAA records are the endpoints, at this port.",
    ),
    Key::new(
        "srv",
        text(&syntax::DNS),
        "A name whose SRV records are the endpoints: those of the best priority, with their ports and weights.",
    ),
    Key::new(
        "resolver",
        text(&syntax::SOCKET),
        "Whom to ask for `dns` and `srv`. Default: whom /etc/resolv.conf names.",
    ),
    Key::new(
        "min_ttl",
        Shape::Span {
            min: 1000,
            max: HOUR,
        },
        "Names are asked for again when their records are too old, and no sooner than after this.",
    )
    .or_text("1s"),
    Key::new(
        "most",
        Shape::Integer { min: 1, max: 4096 },
        "Endpoints that are taken; a source that names more has failed.",
    )
    .or(Fallback::Integer(256)),
]];

/// Keys of a pool that stand in a service for all its pools, and in `[defaults]` for all services.
pub const PER_POOL: &[Key] = &[
    Key::new(
        "balance",
        text(&syntax::BALANCE),
        "How a pool chooses among its ready endpoints.",
    )
    .or_text("round-robin"),
    Key::new(
        "hash_balance_factor",
        text(&syntax::LOAD_FACTOR_OR_NONE),
        "With `balance = \"hash:...\"`: how many requests an endpoint may have in flight, against its part of the pool's. Keys whose endpoint has more go to their next one.",
    )
    .or_text("none"),
    Key::new(
        "probe",
        Shape::Either(&[Shape::Table(PROBE), Shape::Off]),
        "What proves that an endpoint can serve; `false`: endpoints count as ready.",
    ),
    Key::new(
        "protocol",
        Shape::Word(&["h1", "h2", "auto"]),
        "What endpoints speak: HTTP/1.1, HTTP/2 (without TLS from the first byte), or what they choose in the handshake of TLS.",
    )
    .or_text("h1"),
    Key::new(
        "proxy_protocol",
        Shape::Word(&["none", "v1", "v2"]),
        "Begin each connection with the PROXY protocol, which says who the client is. A connection then carries the requests of one client alone.",
    )
    .or_text("none"),
    Key::new(
        "slow_start",
        Shape::Either(&[Shape::Span { min: 1000, max: DAY }, Shape::Table(SLOW_START), Shape::Off]),
        "How an endpoint that has become ready comes to its share of requests: over so long; `false`: at once.",
    )
    .or(Fallback::Bool(false)),
    Key::new(
        "tls",
        Shape::Either(&[Shape::Table(UPSTREAM_TLS), Shape::Bool]),
        "TLS to endpoints; `true`: with the defaults of the table.",
    )
    .or(Fallback::Bool(false)),
];

pub const SLOW_START: Section = &[&[
    Key::new(
        "window",
        Shape::Span {
            min: 1000,
            max: DAY,
        },
        "After so long it has its whole share. A table must say it.",
    ),
    Key::new(
        "aggression",
        Shape::Real {
            min: 0.1,
            max: 10.0,
        },
        "1: it grows evenly; above: faster in the beginning; below: faster in the end.",
    )
    .or(Fallback::Integer(1)),
    Key::new(
        "min_weight",
        text(&syntax::PERCENT),
        "The part of its weight that it has from the beginning; at least 1%.",
    )
    .or_text("10%"),
]];

pub const UPSTREAM_TLS: Section = &[&[
    Key::new(
        "verify",
        Shape::Bool,
        "An endpoint must show a certificate for its name, signed by somebody who is believed.",
    )
    .or(Fallback::Bool(true)),
    Key::new(
        "server_name",
        text(&syntax::SERVER_NAME),
        "The name or IP address that the certificate is for, and that is asked for (SNI). Default: the endpoint's host.",
    ),
    Key::new(
        "ca",
        text(&syntax::FILE),
        "A PEM file with the certificates of those who are believed. Default: whom the system trusts.",
    ),
    Key::new(
        "cert",
        text(&syntax::FILE),
        "A PEM file with the certificate, and its chain, that endpoints are shown; with `key`.",
    ),
    Key::new(
        "key",
        text(&syntax::FILE),
        "A PEM file with the key of `cert`.",
    ),
    Key::new(
        "min_version",
        Shape::Word(&["1.2", "1.3"]),
        "The oldest version of TLS that is spoken.",
    )
    .or_text("1.2"),
]];

pub(super) const ENDPOINTS: Shape = Shape::Array(&Shape::Either(&[
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

pub const PROBE: Section = &[&[
    Key::new("type", Shape::Word(&["http", "tcp", "grpc"]), "http: a request; tcp: a connection that opens, its handshake of TLS included; grpc: a call of grpc.health.v1.Health/Check, for endpoints that speak HTTP/2. Default: http where any key of an HTTP probe is set, else tcp."),
    Key::new("service", text(&syntax::GRPC_SERVICE), "What a gRPC probe asks about. Default: the endpoint as a whole."),
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
