use super::Check;
use crate::{
    config::{
        file::{Node, Table, Value, View},
        plan::{Endpoint, HttpProbe, Probe, ProbeKind, Transport},
        problem::{Code, Problem},
    },
    units::{Address, Protocol},
};

/// Keys that only an HTTP probe has.
const OF_HTTP: [&str; 5] = ["path", "method", "host", "headers", "expect"];

impl Check<'_> {
    /// A table that asks for another probe may not ask for HTTP in the same breath; what it inherits of HTTP is dropped.
    pub(super) fn probe_keys_fit(&mut self, table: &Table, path: &str) {
        let Some(probe) = table.get("probe").and_then(Node::table) else {
            return;
        };
        let other = probe.get("type").and_then(Node::text);
        if !matches!(other, Some("tcp" | "grpc")) {
            return;
        }
        for key in OF_HTTP {
            if let (Some(place), Some(other)) = (probe.place_of(key), probe.place_of("type")) {
                self.tell(
                    Problem::new(Code::Conflict, place, format!("`{key}` is for HTTP probes"))
                        .key(format!("{path}.probe.{key}"))
                        .also(other, "this one is not"),
                );
            }
        }
    }

    pub(super) fn probe(
        &mut self,
        pool: &View<'_>,
        endpoints: &[Endpoint],
        transport: &Transport,
    ) -> Option<Probe> {
        if let Some(Value::Bool(false)) = pool.node("probe").map(|node| &node.value) {
            return None;
        }
        let view = pool.within("probe");
        let port: u16 = view.integer("port");
        let unix = endpoints
            .iter()
            .find(|endpoint| matches!(endpoint.address, Address::Unix(_)));
        if let (true, Some(endpoint)) = (port != 0, unix) {
            self.tell(
                Problem::new(
                    Code::Conflict,
                    view.place_of("port"),
                    format!("{} has no ports", endpoint.address),
                )
                .key(view.path_of("port"))
                .expected("no `port` where an endpoint is a Unix socket"),
            );
        }
        let asked = OF_HTTP.iter().any(|key| view.has(key));
        let kind = match view.text("type") {
            Some("http") => ProbeKind::Http(self.http_probe(&view)),
            Some("grpc") => {
                if transport.protocol == Protocol::H1 {
                    let problem = Problem::new(
                        Code::Conflict,
                        view.place_of("type"),
                        "gRPC is spoken over HTTP/2, and these endpoints speak HTTP/1.1",
                    );
                    self.tell(
                        problem
                            .key(view.path_of("type"))
                            .expected("a pool with protocol = \"h2\"")
                            .also(pool.place_of("protocol"), "this pool"),
                    );
                }
                ProbeKind::Grpc(view.text("service").unwrap_or_default().to_owned())
            }
            None if asked => ProbeKind::Http(self.http_probe(&view)),
            _ => ProbeKind::Tcp,
        };
        Some(Probe {
            kind,
            interval: view.span("interval"),
            timeout: view.span("timeout"),
            rise: view.integer("rise"),
            fall: view.integer("fall"),
            port: (port != 0).then_some(port),
            transport: transport.clone(),
        })
    }

    fn http_probe(&mut self, view: &View<'_>) -> HttpProbe {
        let expect = view.within("expect");
        let method = view.parsed("method").unwrap_or(http::Method::GET);
        for key in ["body", "json"] {
            if method == http::Method::HEAD && expect.has(key) {
                self.tell(
                    Problem::new(
                        Code::Conflict,
                        expect.place_of(key),
                        "the answer to HEAD has no body",
                    )
                    .key(expect.path_of(key))
                    .also(view.place_of("method"), "HEAD here"),
                );
            }
        }
        let headers = view
            .entries("headers")
            .filter_map(|(name, _, node)| Some((name.parse().ok()?, node.text()?.parse().ok()?)));
        let json = expect
            .entries("json")
            .filter(|(_, _, node)| !node.is_faulty());
        HttpProbe {
            method,
            path: view.text("path").unwrap_or("/").to_owned(),
            host: view.text("host").map(str::to_owned),
            headers: headers.collect(),
            status: self.statuses(&expect),
            body: expect.text("body").map(str::to_owned),
            json: json
                .map(|(pointer, _, node)| (pointer.to_owned(), json_of(node)))
                .collect(),
        }
    }

    fn statuses(&mut self, expect: &View<'_>) -> Vec<(u16, u16)> {
        if let Some(node) = expect.node("status")
            && node.items().is_empty()
            && !node.is_faulty()
        {
            self.tell(
                Problem::new(Code::InvalidValue, node.place, "no status would pass")
                    .key(expect.path_of("status"))
                    .expected("at least one status, such as \"2xx\""),
            );
        }
        expect.statuses("status")
    }
}

fn json_of(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Table(table) => table
            .iter()
            .map(|(key, _, node)| (key.to_owned(), json_of(node)))
            .collect(),
        Value::Faulty => serde_json::Value::Null,
    }
}
