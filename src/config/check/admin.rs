use std::{collections::BTreeMap, path::Path, sync::Arc};

use http::HeaderValue;

use super::{
    Check,
    listeners::{mode, tables},
    twice,
};
use crate::{
    config::{
        file::{View, keys},
        plan::{AccessLog, Admin, LogFormat, Otlp, Role, Telemetry, Token},
        problem::{Code, Problem},
    },
    units::{Address, Name, Percent},
};

impl Check<'_> {
    pub(super) fn admin(&mut self, root: &View<'_>, state_dir: &Path) -> Admin {
        let view = root.within("admin");
        let address = match view.parsed("address") {
            Some(address) => address,
            None => self.default_socket(root, state_dir),
        };
        self.admin_is_private(&view, &address);
        Admin {
            address,
            mode: mode(&view),
            group: view.text("group").map(str::to_owned),
            tokens: self.tokens(root, &view),
        }
    }

    fn default_socket(&mut self, root: &View<'_>, state_dir: &Path) -> Address {
        let folder = self.world.runtime_dir.as_deref().unwrap_or(state_dir);
        let path = folder.join("admin.sock");
        match format!("unix:{}", path.display()).parse() {
            Ok(address) => address,
            Err(_) if root.within("admin").has("address") => Address::Unix(Arc::new(path)),
            Err(_) => {
                self.tell(
                    Problem::new(
                        Code::MissingKey,
                        root.place,
                        format!("{} is too long for a socket", path.display()),
                    )
                    .key("admin.address")
                    .expected("admin.address with a path of at most 107 bytes"),
                );
                Address::Unix(Arc::new(path))
            }
        }
    }

    fn admin_is_private(&mut self, view: &View<'_>, address: &Address) {
        let Address::Ip(ip) = address else { return };
        if !ip.ip().is_loopback() {
            self.tell(
                Problem::new(
                    Code::Insecure,
                    view.place_of("address"),
                    "the admin API would be open to the network without TLS",
                )
                .key(view.path_of("address"))
                .expected("unix:/absolute/path, or a loopback address such as 127.0.0.1:9900"),
            );
        }
        self.only_unix_sockets_have_files(view);
    }

    fn tokens(&mut self, root: &View<'_>, view: &View<'_>) -> Vec<Token> {
        let mut seen = BTreeMap::new();
        let mut tokens = Vec::new();
        for token in tables(view, "tokens", keys::TOKEN) {
            for key in ["name", "role", "sha256"] {
                token.require(key, self.problems);
            }
            let services = self.token_services(root, &token);
            let Some((name, role, sha256)) = token
                .parsed::<Name>("name")
                .zip(token.text("role").and_then(role))
                .zip(token.text("sha256").and_then(digest))
                .map(|((name, role), sha256)| (name, role, sha256))
            else {
                continue;
            };
            if let Some(first) = seen.insert(name.clone(), token.place_of("name")) {
                let (path, place) = (token.path_of("name"), token.place_of("name"));
                self.tell(twice(&format!("the token `{name}`"), &path, first, place));
            }
            tokens.push(Token {
                name,
                role,
                services,
                sha256,
            });
        }
        tokens
    }

    fn token_services(&mut self, root: &View<'_>, token: &View<'_>) -> Option<Vec<Name>> {
        let node = token.node("services")?;
        if node.items().is_empty() && !node.is_faulty() {
            self.tell(
                Problem::new(
                    Code::InvalidValue,
                    node.place,
                    "a token for no service can do nothing",
                )
                .key(token.path_of("services"))
                .expected("at least one service, or no `services` for all"),
            );
        }
        let texts = token.texts("services");
        for (text, place) in &texts {
            if root.entry("services", text).is_none() {
                let names = root.entries("services").map(|(name, ..)| name);
                self.tell(
                    Problem::new(
                        Code::UnknownName,
                        *place,
                        format!("there is no service `{text}`"),
                    )
                    .key(token.path_of("services"))
                    .nearest(self.near(text, names)),
                );
            }
        }
        Some(
            texts
                .iter()
                .filter_map(|(text, _)| text.parse().ok())
                .collect(),
        )
    }

    pub(super) fn telemetry(&mut self, view: &View<'_>) -> Telemetry {
        let log = view.within("access_log");
        Telemetry {
            address: view.parsed("address"),
            access_log: AccessLog {
                sample: log.parsed("sample").unwrap_or(Percent::WHOLE),
                format: match log.text("format") {
                    Some("text") => LogFormat::Text,
                    _ => LogFormat::Json,
                },
                path: log.text("path").map(|path| self.world.base.join(path)),
            },
            otlp: self.otlp(view),
        }
    }

    fn otlp(&mut self, telemetry: &View<'_>) -> Option<Otlp> {
        let node = telemetry.node("otlp").filter(|node| !node.is_faulty())?;
        let view = telemetry.within("otlp");
        if !cfg!(feature = "otlp") {
            let what = "this program was built without OTLP";
            let problem = Problem::new(Code::NotSupported, node.place, what).key(&view.path);
            self.tell(problem.expected("a build with `--features otlp`, or no such table"));
        }
        view.require("endpoint", self.problems);
        let mut headers = Vec::new();
        for header in tables(&view, "headers", keys::OTLP_HEADER) {
            header.require("name", self.problems);
            header.require("secret", self.problems);
            let secret = self.secret(&header, "secret");
            if let Some(secret) = &secret
                && HeaderValue::from_bytes(secret.expose()).is_err()
            {
                let what = "the secret is no value of a header: it holds control characters";
                let place = header.place_of("secret");
                let problem = Problem::new(Code::InvalidValue, place, what);
                self.tell(problem.key(header.path_of("secret")));
            }
            headers.extend(header.parsed("name").zip(secret));
        }
        Some(Otlp {
            endpoint: view.parsed("endpoint")?,
            headers,
            timeout: view.span("timeout"),
            service_name: view.text("service_name").unwrap_or_default().to_owned(),
        })
    }
}

fn role(text: &str) -> Option<Role> {
    match text {
        "viewer" => Some(Role::Viewer),
        "operator" => Some(Role::Operator),
        "admin" => Some(Role::Admin),
        _ => None,
    }
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}
