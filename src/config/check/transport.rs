//! How endpoints are spoken to.

use sha2::{Digest, Sha256};

use super::Check;
use crate::{
    config::{
        file::{Value, View},
        plan::{Endpoint, NamedFile, Tls, Transport},
        problem::{Code, Problem},
    },
    tls::{Authorities, Certificate, ClientSettings, Trust, Version},
    units::{Address, PreambleVersion, Protocol},
};

impl Check<'_> {
    pub(super) fn transport(&mut self, pool: &View<'_>, endpoints: &[Endpoint]) -> Transport {
        let protocol = match pool.text("protocol") {
            Some("h2") => Protocol::H2,
            Some("auto") => Protocol::Auto,
            _ => Protocol::H1,
        };
        let wanted = match pool.node("tls").map(|node| &node.value) {
            None | Some(Value::Bool(false)) => false,
            Some(_) => true,
        };
        if protocol == Protocol::Auto && !wanted {
            let place = pool.place_of("protocol");
            let problem = Problem::new(
                Code::Conflict,
                place,
                "without TLS an endpoint has no say in what is spoken",
            );
            self.tell(
                problem
                    .key(pool.path_of("protocol"))
                    .expected("`tls` beside it, or \"h1\" or \"h2\""),
            );
        }
        let preamble = match pool.text("proxy_protocol") {
            Some("v1") => Some(PreambleVersion::V1),
            Some("v2") => Some(PreambleVersion::V2),
            _ => None,
        };
        if preamble.is_some() && protocol != Protocol::H1 {
            let path = pool.path_of("proxy_protocol");
            let problem = Problem::new(
                Code::Conflict,
                pool.place_of("proxy_protocol"),
                format!(
                    "`{path}` beside HTTP/2, where a connection carries the requests of many clients"
                ),
            );
            self.tell(problem.key(path).expected("protocol = \"h1\""));
        }
        Transport {
            protocol,
            preamble,
            tls: wanted
                .then(|| self.upstream_tls(pool, endpoints, protocol))
                .flatten(),
        }
    }

    fn upstream_tls(
        &mut self,
        pool: &View<'_>,
        endpoints: &[Endpoint],
        protocol: Protocol,
    ) -> Option<Tls> {
        let view = pool.within("tls");
        let verify = view.flag("verify");
        let server_name = view.text("server_name");
        let min_version = match view.text("min_version") {
            Some("1.3") => Version::Tls13,
            _ => Version::Tls12,
        };
        self.names_are_known(&view, endpoints);
        self.a_certificate_has_its_key(&view);
        let mut made_of = Sha256::new();
        made_of.update([u8::from(verify), u8::from(min_version == Version::Tls13)]);
        made_of.update(protocol.as_str());
        let mut file = |check: &mut Self, key: &str| {
            let bytes = check.pem(&view, key);
            for part in [server_name.map(str::as_bytes), bytes.as_deref()] {
                made_of.update(part.map_or(0, <[u8]>::len).to_be_bytes());
                made_of.update(part.unwrap_or_default());
            }
            bytes
        };
        let files = ["ca", "cert", "key"].map(|key| file(self, key));
        let made_of: [u8; 32] = made_of.finalize().into();
        let [ca, cert, key] = &files;
        let trust = self.trust(&view, verify, ca.as_deref())?;
        let certificate = match (cert, key) {
            (Some(cert), Some(key)) => Some(self.certificate(&view, cert, key)?),
            _ => None,
        };
        let mut settings = |alpn, which: u8| {
            let made = ClientSettings::since(
                min_version,
                trust.clone(),
                certificate.as_ref(),
                server_name,
                alpn,
            );
            let digest = Sha256::new_with_prefix(made_of).chain_update([which]);
            match made {
                Ok(settings) => Some(settings.made_of(digest.finalize().into())),
                Err(why) => {
                    self.tell(unfit(&view, "server_name", Code::InvalidValue, why));
                    None
                }
            }
        };
        let h2 = protocol != Protocol::H1;
        Some(Tls {
            usual: settings((protocol != Protocol::H2, h2), 0)?,
            to_switch: settings((true, false), 1)?,
            verify,
            server_name: server_name.map(str::to_owned),
            ca: named(&view, "ca", ca.as_deref()),
            cert: named(&view, "cert", cert.as_deref()),
            key: named(&view, "key", key.as_deref()),
            min_version,
        })
    }

    /// A socket in the file system has no name that a certificate could be for.
    fn names_are_known(&mut self, view: &View<'_>, endpoints: &[Endpoint]) {
        let mut addresses = endpoints.iter().map(|endpoint| &endpoint.address);
        if view.has("server_name") {
            return;
        }
        if let Some(unix) = addresses.find(|address| matches!(address, Address::Unix(_))) {
            let problem = Problem::new(
                Code::MissingKey,
                view.place,
                format!("{unix} has no name that a certificate could be for"),
            );
            self.tell(
                problem
                    .key(view.path_of("server_name"))
                    .expected("`server_name`"),
            );
        }
    }

    fn a_certificate_has_its_key(&mut self, view: &View<'_>) {
        for (there, missing) in [("cert", "key"), ("key", "cert")] {
            if view.has(there) && !view.has(missing) {
                let problem = Problem::new(
                    Code::MissingKey,
                    view.place_of(there),
                    format!("`{there}` has no `{missing}` beside it"),
                );
                self.tell(problem.key(view.path_of(missing)).expected("both"));
            }
        }
    }

    /// What is in a file that is named; `None` where none is, where it can't be read, and where it is not to be.
    fn pem(&mut self, view: &View<'_>, key: &str) -> Option<Vec<u8>> {
        let path = view.text(key).filter(|_| view.has(key))?;
        match (self.world.pem)(path) {
            Ok(bytes) => bytes,
            Err(why) => {
                let problem = Problem::new(
                    Code::Unreadable,
                    view.place_of(key),
                    format!("`{key}` can't be read: {why}"),
                );
                self.tell(problem.key(view.path_of(key)));
                None
            }
        }
    }

    fn trust(&mut self, view: &View<'_>, verify: bool, ca: Option<&[u8]>) -> Option<Trust> {
        // A file that was not read, or could not be, is no reason to look for others.
        if !verify || self.world.offline || (view.has("ca") && ca.is_none()) {
            return Some(Trust::Anybody);
        }
        let authorities = match ca {
            Some(ca) => Authorities::new(ca),
            None => self.of_system(),
        };
        match authorities {
            Ok(authorities) => Some(Trust::Authorities(authorities)),
            Err(why) => {
                self.tell(unfit(view, "ca", Code::Certificate, why));
                None
            }
        }
    }

    /// Read once for all pools.
    fn of_system(&mut self) -> Result<Authorities, crate::tls::AuthoritiesError> {
        if let Some(known) = &self.of_system {
            return Ok(known.clone());
        }
        let found = Authorities::of_system()?;
        Ok(self.of_system.insert(found).clone())
    }

    fn certificate(&mut self, view: &View<'_>, cert: &[u8], key: &[u8]) -> Option<Certificate> {
        match Certificate::new(cert, key) {
            Ok(certificate) => Some(certificate),
            Err(why) => {
                self.tell(unfit(view, "cert", Code::Certificate, why));
                None
            }
        }
    }
}

fn named(view: &View<'_>, key: &str, bytes: Option<&[u8]>) -> Option<NamedFile> {
    Some(NamedFile {
        path: view.text(key)?.to_owned(),
        digest: bytes.map(|bytes| Sha256::digest(bytes).into()),
    })
}

fn unfit(view: &View<'_>, key: &str, code: Code, why: impl std::fmt::Display) -> Problem {
    let place = view.place_of(key);
    Problem::new(code, place, format!("`{key}` can't be used: {why}")).key(view.path_of(key))
}
