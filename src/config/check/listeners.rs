use std::{collections::BTreeMap, sync::Arc};

use super::{Check, twice};
use crate::{
    config::{
        file::{Place, View, keys},
        plan::{Listener, ListenerLimits, ListenerTimeouts},
        problem::{Code, Problem},
    },
    units::{ByteSize, ListenAddress, Networks, Span},
};

/// What hyper can read with: below this it refuses to start, above it a head is an attack.
const HEADER_BYTES: std::ops::RangeInclusive<u64> = 8 * 1024..=1024 * 1024;

impl Check<'_> {
    pub(super) fn listeners(&mut self, root: &View<'_>) -> Vec<Arc<Listener>> {
        root.require("listeners", self.problems);
        let items = root.node("listeners").filter(|node| !node.is_faulty());
        if items.is_some_and(|node| node.items().is_empty()) {
            self.tell(
                Problem::new(
                    Code::MissingKey,
                    root.place_of("listeners"),
                    "there is no listener",
                )
                .key("listeners")
                .expected("at least one address to accept on"),
            );
        }
        let views = tables(root, "listeners", keys::LISTENER);
        self.some_listener_is_for_users(&views);
        views
            .iter()
            .filter_map(|view| self.listener(view))
            .map(Arc::new)
            .collect()
    }

    fn listener(&mut self, view: &View<'_>) -> Option<Listener> {
        view.require("address", self.problems);
        let timeouts = view.within("timeouts");
        let limits = view.within("limits");
        let header_bytes: ByteSize = limits.parsed("header_bytes")?;
        if !HEADER_BYTES.contains(&header_bytes.0) {
            self.tell(
                Problem::new(
                    Code::InvalidValue,
                    limits.place_of("header_bytes"),
                    format!("{header_bytes} is out of bounds"),
                )
                .key(limits.path_of("header_bytes"))
                .expected("a size from 8KiB to 1MiB"),
            );
        }
        let trusted_proxies = networks(view, "trusted_proxies");
        let proxy_protocol = view.flag("proxy_protocol");
        if proxy_protocol && trusted_proxies.written().is_empty() {
            let path = view.path_of("proxy_protocol");
            self.tell(
                Problem::new(
                    Code::Conflict,
                    view.place_of("proxy_protocol"),
                    format!("`{path}` without `trusted_proxies`: anybody could say to be anyone"),
                )
                .key(path)
                .expected("the networks of the proxies that speak it in `trusted_proxies`"),
            );
        }
        let address = view.parsed("address")?;
        if let ListenAddress::Ip(_) = address {
            self.only_unix_sockets_have_files(view);
        }
        let tls = self.tls(view);
        let redirect_https = self.redirect_https(view);
        self.preview_shows_something(view, redirect_https);
        Some(Listener {
            mode: mode(view),
            group: view.text("group").map(str::to_owned),
            address,
            trusted_proxies,
            h2: self.speaks_h2(view),
            access: self.access(view),
            via: view.flag("via"),
            traceparent: view.parsed("traceparent"),
            preview: view.flag("preview"),
            proxy_protocol,
            timeouts: ListenerTimeouts {
                header: timeouts.span("header"),
                idle: timeouts.span("idle"),
                max_connection_age: timeouts
                    .parsed::<Span>("max_connection_age")
                    .map(|span| span.0),
                handshake: timeouts.span("handshake"),
            },
            limits: ListenerLimits {
                connections: limits.integer("connections"),
                connections_per_client: limits
                    .has("connections_per_client")
                    .then(|| limits.integer("connections_per_client")),
                header_bytes: u32::try_from(header_bytes.0).unwrap_or(u32::MAX),
                headers: limits.integer("headers"),
                handshakes: limits.integer("handshakes"),
            },
            tls: tls.map(Arc::new),
            redirect_https,
        })
    }

    /// Where all listeners are for previews no request goes by weight: whoever wrote so has mistaken the listener, and would send
    /// users to a version that was never promoted.
    fn some_listener_is_for_users(&mut self, views: &[View<'_>]) {
        if let Some(first) = views.first()
            && views.iter().all(|view| view.flag("preview"))
        {
            let path = first.path_of("preview");
            self.tell(
                Problem::new(
                    Code::Conflict,
                    first.place_of("preview"),
                    "there is no listener for users: all are for previews, and nobody would reach what has weight",
                )
                .key(path)
                .expected("a listener without `preview` beside it"),
            );
        }
    }

    fn preview_shows_something(&mut self, view: &View<'_>, redirect_https: Option<u16>) {
        if view.flag("preview") && redirect_https.is_some() {
            self.tell(
                Problem::new(
                    Code::Conflict,
                    view.place_of("preview"),
                    "`preview` with `redirect_https`: no request is passed on here, so nothing can be previewed",
                )
                .key(view.path_of("preview"))
                .also(view.place_of("redirect_https"), "sends everybody elsewhere")
                .hint("put `preview = true` on a listener of its own"),
            );
        }
    }

    /// HTTP/1.1 is what every client falls back to, and what upgrades and redirects to HTTPS are asked for in.
    fn speaks_h2(&mut self, view: &View<'_>) -> bool {
        let protocols = view.texts("protocols");
        let speaks = |name| protocols.iter().any(|(protocol, _)| *protocol == name);
        if !speaks("http/1.1") && view.has("protocols") {
            let path = view.path_of("protocols");
            self.tell(
                Problem::new(
                    Code::InvalidValue,
                    view.place_of("protocols"),
                    format!("`{path}` is without HTTP/1.1"),
                )
                .key(path)
                .expected("[\"http/1.1\"], or [\"h2\", \"http/1.1\"]"),
            );
        }
        speaks("h2")
    }

    /// Mode and group are a file's, and this listens on none.
    pub(super) fn only_unix_sockets_have_files(&mut self, view: &View<'_>) {
        for key in ["mode", "group"] {
            if view.has(key) {
                self.tell(
                    Problem::new(
                        Code::Conflict,
                        view.place_of(key),
                        format!("`{}` is for a Unix socket", view.path_of(key)),
                    )
                    .key(view.path_of(key))
                    .also(view.place_of("address"), "this is none"),
                );
            }
        }
    }

    /// An address is bound once, whoever wants it.
    pub(super) fn no_address_twice(&mut self, root: &View<'_>) {
        let mut bound: BTreeMap<ListenAddress, Place> = BTreeMap::new();
        let mut bind = |view: &View<'_>| {
            let address: ListenAddress = view.parsed("address")?;
            let place = view.node("address")?.place;
            // Port 0 is a different one each time.
            if address.ip().is_some_and(|address| address.port() == 0) {
                return None;
            }
            let what = format!("the address {address}");
            let first = bound.insert(address, place)?;
            Some(twice(&what, &view.path_of("address"), first, place))
        };
        let listeners = tables(root, "listeners", keys::LISTENER);
        let others = [root.within("admin"), root.within("telemetry")];
        let found: Vec<_> = listeners
            .iter()
            .chain(&others)
            .filter_map(&mut bind)
            .collect();
        self.problems.extend(found);
    }
}

/// Of a Unix socket.
pub(super) fn mode(view: &View<'_>) -> u32 {
    let mode = view.text("mode").unwrap_or_default();
    u32::from_str_radix(mode, 8).unwrap_or(0o600)
}

/// Those of a list.
pub(super) fn networks(view: &View<'_>, key: &str) -> Networks {
    let texts = view.texts(key).into_iter();
    Networks::new(texts.filter_map(|(text, _)| text.parse().ok()).collect())
}

/// The tables of an array of tables.
pub(super) fn tables<'a>(
    root: &View<'a>,
    name: &str,
    section: crate::config::file::Section,
) -> Vec<View<'a>> {
    root.items(name)
        .iter()
        .enumerate()
        .filter_map(|(index, item)| {
            let path = format!("{}[{index}]", root.path_of(name));
            Some(View::new(item.table()?, section, item.place, path))
        })
        .collect()
}
