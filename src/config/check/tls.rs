use bytes::Bytes;

use super::Check;
use crate::{
    config::{
        file::{Node, Value, View, keys},
        plan::{Acme, ClientAuth, Hsts, ListenerTls, Pair, Pem},
        problem::{Code, Problem},
    },
    tls::{Authorities, AuthoritiesError, Certificate, Version},
};

/// The list that browsers come with takes nothing that lasts less.
const PRELOAD: std::time::Duration = std::time::Duration::from_hours(365 * 24);

impl Check<'_> {
    pub(super) fn tls(&mut self, listener: &View<'_>) -> Option<ListenerTls> {
        if listener.node("tls").is_none_or(Node::is_faulty) {
            self.needless(listener);
            return None;
        }
        let view = listener.within("tls");
        if view.items("certificates").is_empty() && !view.has("acme") {
            self.tell(
                Problem::new(Code::MissingKey, view.place, "there is no certificate")
                    .key(view.path_of("certificates"))
                    .expected("`certificates` or `acme`"),
            );
        }
        Some(ListenerTls {
            certificates: self.pairs(&view),
            acme: self.acme(&view),
            min_version: match view.text("min_version") {
                Some("1.3") => Version::Tls13,
                _ => Version::Tls12,
            },
            client_auth: self.client_auth(&view),
            strict_sni: view.flag("strict_sni"),
            hsts: self.hsts(&view),
        })
    }

    /// What means nothing on a listener in clear text.
    fn needless(&mut self, listener: &View<'_>) {
        for (table, key) in [("timeouts", "handshake"), ("limits", "handshakes")] {
            let table = listener.within(table);
            if table.has(key) && !listener.has("tls") {
                let path = table.path_of(key);
                self.tell(
                    Problem::new(
                        Code::Conflict,
                        table.place_of(key),
                        format!("`{path}` without `tls`: nobody shakes hands here"),
                    )
                    .key(path),
                );
            }
        }
    }

    pub(super) fn redirect_https(&mut self, listener: &View<'_>) -> Option<u16> {
        let node = listener.node("redirect_https")?;
        if matches!(node.value, Value::Bool(false)) || node.is_faulty() {
            return None;
        }
        if listener.has("tls") {
            let path = listener.path_of("redirect_https");
            self.tell(
                Problem::new(
                    Code::Conflict,
                    node.place,
                    "`redirect_https` with `tls`: who comes here speaks HTTPS already",
                )
                .key(path),
            );
        }
        Some(listener.within("redirect_https").integer("port"))
    }

    fn pairs(&mut self, tls: &View<'_>) -> Vec<Pair> {
        let views = super::listeners::tables(tls, "certificates", keys::PAIR);
        views.iter().filter_map(|view| self.pair(view)).collect()
    }

    fn pair(&mut self, view: &View<'_>) -> Option<Pair> {
        view.require("cert", self.problems);
        view.require("key", self.problems);
        let (cert, key) = (view.text("cert")?.to_owned(), view.text("key")?.to_owned());
        let chain = self.read(view, "cert");
        let secret = self.read(view, "key");
        let certificate =
            chain
                .zip(secret)
                .and_then(|(chain, secret)| match Certificate::new(&chain, &secret) {
                    Ok(certificate) => Some(certificate),
                    Err(error) => {
                        let at = if error.is_of_key() { "key" } else { "cert" };
                        self.unusable(view, at, &error.to_string());
                        None
                    }
                });
        Some(Pair {
            cert,
            key,
            certificate,
        })
    }

    /// A file's bytes; nothing where it is not to be read or can't be, which is told.
    fn read(&mut self, view: &View<'_>, key: &str) -> Option<Bytes> {
        match (self.world.pem)(view.text(key)?) {
            Ok(bytes) => bytes.map(Bytes::from),
            Err(why) => {
                let path = view.path_of(key);
                self.tell(
                    Problem::new(
                        Code::Unreadable,
                        view.place_of(key),
                        format!("the file can't be read: {why}"),
                    )
                    .key(path),
                );
                None
            }
        }
    }

    fn unusable(&mut self, view: &View<'_>, key: &str, why: &str) {
        let path = view.path_of(key);
        self.tell(Problem::new(Code::Certificate, view.place_of(key), why).key(path));
    }

    fn acme(&mut self, tls: &View<'_>) -> Option<Acme> {
        let place = tls.node("acme").filter(|node| !node.is_faulty())?.place;
        let view = tls.within("acme");
        if !cfg!(feature = "acme") {
            let what = "this program was built without ACME";
            self.tell(Problem::new(Code::NotSupported, place, what).key(&view.path));
        }
        view.require("hosts", self.problems);
        let hosts = view.texts("hosts");
        let written = view.node("hosts").is_some_and(|node| !node.is_faulty());
        if written && hosts.is_empty() {
            self.tell(
                Problem::new(Code::MissingKey, view.place_of("hosts"), "there is no host")
                    .key(view.path_of("hosts"))
                    .expected("at least one host"),
            );
        }
        for (host, place) in &hosts {
            if host.starts_with("*.")
                || host.starts_with('[')
                || host.parse::<std::net::IpAddr>().is_ok()
            {
                self.tell(
                    Problem::new(
                        Code::InvalidValue,
                        *place,
                        format!("`{host}` can't be proved by `http-01` or `tls-alpn-01`"),
                    )
                    .key(view.path_of("hosts"))
                    .expected("the full name of a host"),
                );
            }
        }
        let ca = view.text("ca").map(|path| Pem {
            path: path.to_owned(),
            text: self.read(&view, "ca").unwrap_or_default(),
        });
        if let Some(ca) = &ca
            && !ca.text.is_empty()
            && let Err(error) = Authorities::new(&ca.text)
        {
            self.unusable(&view, "ca", &error.to_string());
        }
        Some(Acme {
            hosts: hosts
                .into_iter()
                .map(|(host, _)| host.trim_end_matches('.').to_ascii_lowercase())
                .collect(),
            email: view.text("email").map(str::to_owned),
            directory: view.text("directory")?.to_owned(),
            by_handshake: view.text("challenge") == Some("tls-alpn-01"),
            renew_before: view.span("renew_before"),
            ca,
        })
    }

    fn client_auth(&mut self, tls: &View<'_>) -> Option<ClientAuth> {
        tls.node("client_auth").filter(|node| !node.is_faulty())?;
        let view = tls.within("client_auth");
        view.require("ca", self.problems);
        let ca = view.text("ca")?.to_owned();
        let authorities = self.read(&view, "ca").and_then(|text| {
            let read = Authorities::new(&text);
            self.taken(&view, "ca", read)
        });
        let authorities = match self.read(&view, "crl") {
            None => authorities,
            Some(list) => authorities.and_then(|authorities| {
                let read = authorities.without(&list);
                self.taken(&view, "crl", read)
            }),
        };
        Some(ClientAuth {
            ca,
            crl: view.text("crl").map(str::to_owned),
            authorities,
            required: view.text("mode") != Some("optional"),
        })
    }

    fn taken(
        &mut self,
        view: &View<'_>,
        key: &str,
        read: Result<Authorities, AuthoritiesError>,
    ) -> Option<Authorities> {
        read.map_err(|error| self.unusable(view, key, &error.to_string()))
            .ok()
    }

    fn hsts(&mut self, tls: &View<'_>) -> Option<Hsts> {
        tls.node("hsts").filter(|node| !node.is_faulty())?;
        let view = tls.within("hsts");
        let hsts = Hsts {
            max_age: view.span("max_age"),
            include_subdomains: view.flag("include_subdomains"),
            preload: view.flag("preload"),
        };
        if hsts.preload && !(hsts.include_subdomains && hsts.max_age >= PRELOAD) {
            self.tell(
                Problem::new(
                    Code::Conflict,
                    view.place_of("preload"),
                    "no browser's list takes hosts that do not say so for all hosts below and for a year",
                )
                .key(view.path_of("preload"))
                .expected("`include_subdomains = true` and a `max_age` of at least 365d beside it"),
            );
        }
        Some(hsts)
    }
}
