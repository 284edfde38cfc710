//! What stands under `[[listeners]]`.

use super::{DAY, HOUR, text};
use crate::config::file::{Fallback, Key, Section, Shape, syntax};

pub(super) const NETWORKS: Shape = Shape::Array(&Shape::Text(&syntax::NETWORK));

pub const LISTENER: Section = &[&[
    Key::new(
        "address",
        text(&syntax::LISTEN),
        "IP and port, or a Unix socket: clients of one have no address.",
    )
    .required(),
    Key::new(
        "mode",
        text(&syntax::MODE),
        "Permissions of the Unix socket, in octal.",
    )
    .or_text("0660"),
    Key::new("group", text(&syntax::FULL), "Group of the Unix socket."),
    Key::new(
        "trusted_proxies",
        NETWORKS,
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
        "Say in Via, to apps and to clients, that a message came through Cutover (RFC 9110 section 7.6.3), and answer 508 to a request that goes round.",
    )
    .or(Fallback::Bool(false)),
    Key::new(
        "traceparent",
        text(&syntax::PERCENT),
        "Start a W3C trace for requests without a valid traceparent, and call so many of them sampled; a valid one goes on as it came. Default: start none, pass on what comes.",
    ),
    Key::new(
        "protocols",
        Shape::Array(&Shape::Word(&["h2", "http/1.1"])),
        "What is spoken here, as ALPN names it. HTTP/1.1 always is: without h2, nothing else.",
    )
    .or(Fallback::Texts(&["h2", "http/1.1"])),
    Key::new(
        "proxy_protocol",
        Shape::Bool,
        "The trusted proxies are no HTTP proxies: each connection of theirs begins with the PROXY protocol (version 1 or 2), which says who their client is.",
    )
    .or(Fallback::Bool(false)),
    Key::new(
        "preview",
        Shape::Bool,
        "Show each service's pool without traffic here: while a rollout is under way its new pool, else the only pool without weight. Whoever reaches the listener reaches it, without a secret.",
    )
    .or(Fallback::Bool(false)),
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
        Shape::Table(LISTENER_TLS),
        "Speak TLS here. Without it: clear text.",
    ),
    Key::new(
        "redirect_https",
        Shape::Either(&[Shape::Bool, Shape::Table(REDIRECT_HTTPS)]),
        "Answer every request with the way to the same place over HTTPS, and pass none on.",
    )
    .or(Fallback::Bool(false)),
]];

pub const REDIRECT_HTTPS: Section = &[&[Key::new(
    "port",
    Shape::Integer {
        min: 1,
        max: 65_535,
    },
    "The port that clients reach the listener with TLS by.",
)
.or(Fallback::Integer(443))]];

pub const LISTENER_TLS: Section = &[&[
    Key::new(
        "certificates",
        Shape::Array(&Shape::Table(PAIR)),
        "Who asks for a name gets the certificate that has it; who asks for none, or for one that none has, the first. Two for the same names may have keys of different kinds.",
    ),
    Key::new(
        "acme",
        Shape::Table(ACME),
        "Certificates that are got and renewed by themselves.",
    ),
    Key::new(
        "min_version",
        Shape::Word(&["1.2", "1.3"]),
        "The oldest version of TLS that is spoken.",
    )
    .or_text("1.2"),
    Key::new(
        "client_auth",
        Shape::Table(CLIENT_AUTH),
        "Ask clients for certificates.",
    ),
    Key::new(
        "strict_sni",
        Shape::Bool,
        "Refuse who asks for no name, or for one that no certificate has.",
    )
    .or(Fallback::Bool(false)),
    Key::new(
        "hsts",
        Shape::Table(HSTS),
        "Tell browsers, with every answer, to come over HTTPS only (Strict-Transport-Security).",
    ),
]];

pub const PAIR: Section = &[&[
    Key::new(
        "cert",
        text(&syntax::FILE),
        "The certificate as PEM, then those that lead to its authority.",
    )
    .required(),
    Key::new(
        "key",
        text(&syntax::FILE),
        "Its key as PEM, not encrypted; may be the same file.",
    )
    .required(),
]];

pub const ACME: Section = &[&[
    Key::new(
        "hosts",
        Shape::Array(&Shape::Text(&syntax::HOST)),
        "A certificate each, kept below `state_dir`. No wildcards.",
    )
    .required(),
    Key::new(
        "email",
        text(&syntax::FULL),
        "Where the authority may write to.",
    ),
    Key::new(
        "directory",
        text(&syntax::DIRECTORY),
        "The authority.",
    )
    .or_text("https://acme-v02.api.letsencrypt.org/directory"),
    Key::new(
        "challenge",
        Shape::Word(&["http-01", "tls-alpn-01"]),
        "How the authority is shown that the hosts are ours: by a path on port 80, or in a handshake on port 443.",
    )
    .or_text("http-01"),
    Key::new(
        "renew_before",
        Shape::Span {
            min: 60_000,
            max: 90 * DAY,
        },
        "Before the end of a certificate, but never before two thirds of its life are over.",
    )
    .or_text("30d"),
    Key::new(
        "ca",
        text(&syntax::FILE),
        "Who signs the directory's own certificate, as PEM. Default: those the system trusts.",
    ),
]];

pub const CLIENT_AUTH: Section = &[&[
    Key::new(
        "ca",
        text(&syntax::FILE),
        "Who signs clients' certificates, as PEM.",
    )
    .required(),
    Key::new(
        "crl",
        text(&syntax::FILE),
        "Certificates that were taken back, as PEM.",
    ),
    Key::new(
        "mode",
        Shape::Word(&["required", "optional"]),
        "Whether a client without one is refused.",
    )
    .or_text("required"),
]];

pub const HSTS: Section = &[&[
    Key::new(
        "max_age",
        Shape::Span {
            min: 0,
            max: 366 * DAY,
        },
        "How long browsers keep it in mind.",
    )
    .or_text("365d"),
    Key::new(
        "include_subdomains",
        Shape::Bool,
        "For all hosts below, too.",
    )
    .or(Fallback::Bool(false)),
    Key::new(
        "preload",
        Shape::Bool,
        "Consent to be put on the list that browsers come with.",
    )
    .or(Fallback::Bool(false)),
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
    Key::new(
        "max_connection_age",
        text(&syntax::SPAN_OR_NONE),
        "After about so long, 10 % less or more, a connection of HTTP/2 takes no more requests, so that clients spread over workers and proxies anew; those under way end.",
    )
    .or_text("1h"),
    Key::new(
        "handshake",
        Shape::Span { min: 1, max: HOUR },
        "From a connection's beginning to the end of the TLS handshake.",
    )
    .or_text("10s"),
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
    Key::new(
        "handshakes",
        Shape::Integer {
            min: 1,
            max: 10_000_000,
        },
        "TLS handshakes under way at once, over all workers.",
    )
    .or(Fallback::Integer(1000)),
]];
