//! What stands under `[[listeners]]`.

use super::{DAY, HOUR, text};
use crate::config::file::{Fallback, Key, Section, Shape, syntax};

pub(super) const NETWORKS: Shape = Shape::Array(&Shape::Text(&syntax::NETWORK));

pub const LISTENER: Section = &[&[
    Key::new("address", text(&syntax::SOCKET), "IP and port.").required(),
    Key::new(
        "trusted_proxies",
        Shape::Array(&Shape::Text(&syntax::NETWORK)),
        "Networks of proxies before this one, whose X-Forwarded-*, Forwarded and X-Request-Id are believed.",
    ),
    Key::new(
        "allow",
        NETWORKS,
        "Networks whose connections are served; judged on the peer's address. Default: all.",
    ),
    Key::new(
        "deny",
        NETWORKS,
        "Networks whose connections are closed at once; wins over allow.",
    ),
    Key::new(
        "via",
        Shape::Bool,
        "Say in Via, to apps and to clients, that a message came through Cutover (RFC 9110 section 7.6.3).",
    )
    .or(Fallback::Bool(false)),
    Key::new(
        "traceparent",
        text(&syntax::PERCENT),
        "Start a W3C trace for requests without a valid traceparent, and call so many of them sampled; a valid one goes on as it came. Default: start none, pass on what comes.",
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
        "connections_per_client",
        Shape::Integer {
            min: 1,
            max: 10_000_000,
        },
        "Open at once from one address (of IPv6 a /64), over all workers; trusted_proxies may have more. Default: any number.",
    ),
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
