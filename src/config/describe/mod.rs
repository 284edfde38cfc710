//! A plan in the file's words: what `export` prints and `diff` compares, so that neither can forget a field.

mod listener;
pub mod rollout;
mod route;
mod service;
pub mod value;

use super::{
    file::{Fallback, Section, keys, keys_of},
    plan::{Admin, LogFormat, Otlp, Plan, Role, Telemetry, Token},
};
use crate::units::{Access, ErrorPage, ErrorPages, Name, Secret, Span};
pub use value::Field;
use value::{array, quoted};

/// One table of the file.
#[derive(Debug)]
pub struct Block {
    /// What sets it apart from all others: `services.shop.timeouts`, `listeners "0.0.0.0:80"`.
    pub name: String,
    /// `[services.shop.timeouts]` or `[[listeners]]`; empty at the top.
    pub header: String,
    section: Section,
    pub entries: Vec<Entry>,
}

#[derive(Debug)]
pub struct Entry {
    pub key: &'static str,
    pub field: Field,
    /// The same as if it were not written.
    pub usual: bool,
}

impl Block {
    fn table(path: impl Into<String>, section: Section) -> Self {
        let name = path.into();
        Self {
            header: format!("[{name}]"),
            name,
            section,
            entries: Vec::new(),
        }
    }

    fn item(array: &str, identity: &str, section: Section) -> Self {
        Self {
            name: format!("{array} {identity}"),
            header: format!("[[{array}]]"),
            section,
            entries: Vec::new(),
        }
    }

    fn put(&mut self, key: &'static str, field: impl Into<Field>) {
        let field = field.into();
        let known = keys_of(self.section).find(|known| known.name == key);
        debug_assert!(known.is_some(), "{key} is a key of {}", self.name);
        let usual = known.is_some_and(|known| field.is(known.fallback));
        self.put_as(key, field, usual);
    }

    /// What is usual depends on more than the key.
    fn put_as(&mut self, key: &'static str, field: impl Into<Field>, usual: bool) {
        let field = field.into();
        self.entries.push(Entry { key, field, usual });
    }

    fn real(&mut self, key: &'static str, number: f64) {
        self.put(key, real(number));
    }

    fn text(&mut self, key: &'static str, text: impl std::fmt::Display) {
        self.put(key, quoted(&text.to_string()));
    }

    fn span(&mut self, key: &'static str, span: std::time::Duration) {
        self.text(key, Span(span));
    }
}

/// All of a plan, in the order of a file.
pub fn describe(plan: &Plan) -> Vec<Block> {
    let mut blocks = vec![top(plan)];
    let mut startup = Block::table("startup", keys::STARTUP);
    startup.span("wait", plan.startup.wait);
    let mut shutdown = Block::table("shutdown", keys::SHUTDOWN);
    shutdown.span("lame_duck", plan.shutdown.lame_duck);
    shutdown.span("deadline", plan.shutdown.deadline);
    blocks.extend([startup, shutdown]);
    admin(&plan.admin, &mut blocks);
    telemetry(&plan.telemetry, &mut blocks);
    blocks.extend(pages(&plan.errors, "defaults"));
    for listener in &plan.listeners {
        listener::describe(listener, &mut blocks);
    }
    blocks.extend(plan.routes.iter().map(|r| route::describe(r)));
    for service in plan.services.values() {
        let routed = plan
            .routes
            .iter()
            .any(|r| r.service() == Some(&service.name));
        service::describe(service, routed, &mut blocks);
    }
    let notify = plan.notify.iter();
    blocks.extend(rollout::notify(notify.map(AsRef::as_ref)));
    blocks
}

fn top(plan: &Plan) -> Block {
    let mut block = Block::table("", keys::ROOT);
    block.header = String::new();
    block.text("state_dir", plan.state_dir.display());
    block.put("workers", plan.workers.get().to_string());
    block.put("watch", plan.watch.to_string());
    block
}

fn admin(admin: &Admin, blocks: &mut Vec<Block>) {
    let mut block = Block::table("admin", keys::ADMIN);
    block.text("address", &admin.address);
    block.text("mode", format_args!("{:04o}", admin.mode));
    // Neither may be said of an address that is no socket.
    if !matches!(admin.address, crate::units::Address::Unix(_)) {
        block.entries.pop();
    }
    if let Some(group) = &admin.group {
        block.text("group", group);
    }
    blocks.push(block);
    blocks.extend(admin.tokens.iter().map(token));
}

fn token(token: &Token) -> Block {
    let mut block = Block::item("admin.tokens", token.name.as_str(), keys::TOKEN);
    block.text("name", &token.name);
    block.text(
        "role",
        match token.role {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        },
    );
    if let Some(services) = &token.services {
        block.put("services", array(services.iter().map(Name::as_str)));
    }
    let digits: Vec<_> = token.sha256.iter().map(|b| format!("{b:02x}")).collect();
    block.text("sha256", digits.concat());
    block
}

fn telemetry(telemetry: &Telemetry, blocks: &mut Vec<Block>) {
    let mut block = Block::table("telemetry", keys::TELEMETRY);
    if let Some(address) = telemetry.address {
        block.text("address", address);
    }
    let mut log = Block::table("telemetry.access_log", keys::ACCESS_LOG);
    log.text("sample", telemetry.access_log.sample);
    log.text(
        "format",
        match telemetry.access_log.format {
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        },
    );
    if let Some(path) = &telemetry.access_log.path {
        log.text("path", path.display());
    }
    blocks.extend([block, log]);
    blocks.extend(telemetry.otlp.iter().flat_map(otlp));
}

fn otlp(otlp: &Otlp) -> Vec<Block> {
    let mut block = Block::table("telemetry.otlp", keys::OTLP);
    block.text("endpoint", &otlp.endpoint);
    block.span("timeout", otlp.timeout);
    block.text("service_name", &otlp.service_name);
    let header = |(name, secret): &(http::HeaderName, Secret)| {
        let of = "telemetry.otlp.headers";
        let mut block = Block::item(of, name.as_str(), keys::OTLP_HEADER);
        block.text("name", name);
        block.put("secret", Field::Secret(secret.clone()));
        block
    };
    let headers = otlp.headers.iter().map(header);
    std::iter::once(block).chain(headers).collect()
}

/// `errors` of a service or of all.
fn pages(pages: &ErrorPages, of: &str) -> Vec<Block> {
    let block = |page: &ErrorPage| {
        let status = match page.statuses {
            (first, last) if first == last => first.to_string(),
            (first, _) => format!("{}xx", first / 100),
        };
        let mut block = Block::table(format!("{of}.errors.{status}"), keys::ERROR_PAGE);
        page_fields(page, &mut block);
        block
    };
    pages.iter().map(block).collect()
}

fn page_fields(page: &ErrorPage, block: &mut Block) {
    let contents = page.contents().clone();
    block.put("file", Field::File(page.file.clone(), contents));
    let kind = page.content_type.to_str().unwrap_or_default();
    block.text("content_type", kind);
}

/// `allow` and `deny` of a route or a listener.
fn access(access: &Access, block: &mut Block) {
    if let Some(allow) = &access.allow {
        block.put("allow", array(allow.written()));
    }
    if !access.deny.written().is_empty() {
        block.put("deny", array(access.deny.written()));
    }
}

/// A number with a fraction, so that it reads as the very same.
fn real(number: f64) -> String {
    format!("{number:?}")
}

impl Field {
    /// Whether an absent key reads the same.
    fn is(&self, fallback: Fallback) -> bool {
        let usual = match fallback {
            Fallback::None => return false,
            // 60s is written 1m.
            Fallback::Text(text) => match text.parse::<Span>() {
                Ok(span) => Self::from(quoted(&span.to_string())),
                Err(_) => Self::from(quoted(text)),
            },
            Fallback::Integer(number) => Self::from(number.to_string()),
            Fallback::Real(number) => Self::from(real(number)),
            Fallback::Bool(flag) => Self::from(flag.to_string()),
            Fallback::Texts(texts) => Self::from(array(texts)),
        };
        *self == usual
    }
}
