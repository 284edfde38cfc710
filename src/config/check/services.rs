use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};

use super::{
    Check,
    admission::{admission, holding},
    rollout::nearer_in,
};
use crate::{
    config::{
        file::{Table, Value, View, keys, merge},
        plan::{FailOpen, Pool, Preview, Service, Sticky, WeightsMode},
        problem::{Code, Problem},
    },
    units::{
        ByteSize, Limits, Name, Outliers, Percent, Protocol, Queueing, Retries, Span, StickyBy,
        Timeouts, WebsocketDrain, Weights,
    },
};

impl Check<'_> {
    pub(super) fn services(&mut self, root: &View<'_>) -> BTreeMap<Name, Arc<Service>> {
        root.require("services", self.problems);
        let node = root.node("services").filter(|node| !node.is_faulty());
        if node.is_some_and(|_| root.entries("services").next().is_none()) {
            self.tell(
                Problem::new(
                    Code::MissingKey,
                    root.place_of("services"),
                    "there is no service",
                )
                .key("services")
                .expected("at least one [services.NAME]"),
            );
        }
        let empty = Table::default();
        let defaults = root.node("defaults").and_then(|node| node.table());
        let defaults = defaults.unwrap_or(&empty);
        self.probe_keys_fit(defaults, "defaults");
        let mut services = BTreeMap::new();
        for (name, place, node) in root.entries("services") {
            let (Ok(name), Some(own)) = (name.parse::<Name>(), node.table()) else {
                continue;
            };
            let path = format!("services.{name}");
            self.probe_keys_fit(own, &path);
            self.pages_fit(own, &path);
            let mut merged = merge(defaults, own);
            nearer_in(defaults, own, &mut merged);
            let view = View::new(&merged, keys::SERVICE, place, path);
            let service = self.service(name.clone(), &view, (own, &merged));
            self.connections_suffice(&view.within("limits"), &service, self.workers(root));
            self.factor_fits(own, &format!("services.{name}"), service.pools.values());
            services.insert(name, Arc::new(service));
        }
        services
    }

    /// `own` is what is written under it, `merged` that over the defaults.
    fn service(&mut self, name: Name, view: &View<'_>, (own, merged): (&Table, &Table)) -> Service {
        let pools = self.pools(view, merged);
        let weights = self.weights(view, &pools);
        let drain = view.within("drain");
        Service {
            name,
            weights,
            weights_mode: match view.text("weights_mode") {
                Some("initial") => WeightsMode::Initial,
                _ => WeightsMode::Declared,
            },
            min_ready: self.min_ready(view),
            sticky: self.sticky(view),
            preview: self.preview(view),
            fail_open: fail_open(view),
            timeouts: timeouts(&view.within("timeouts")),
            retries: retries(&view.within("retry")),
            outliers: outliers(view),
            max_body: view
                .within("limits")
                .parsed("body")
                .map(|size: ByteSize| size.0),
            limits: limits(&view.within("limits")),
            queueing: queueing(&view.within("queue")),
            admission: admission(view),
            holding: holding(&view.within("hold")),
            maintenance: self.maintenance(&view.within("maintenance")),
            drain_deadline: drain.span("deadline"),
            drain_websockets: match drain.text("websockets") {
                Some("keep") => WebsocketDrain::Keep,
                Some("close-now") => WebsocketDrain::CloseNow,
                _ => WebsocketDrain::CloseAtDeadline,
            },
            errors: self.error_pages(view),
            pool_header: view.flag("pool_header"),
            upgrades: upgrades(view),
            faults: self.faults(view, &pools),
            mirror: self.mirror(view, &pools),
            rollout: Arc::new(self.rollout_of(view, own, &pools)),
            rolls_out: view.has("rollout"),
            pools,
        }
    }

    /// Workers share no connections: over HTTP/2 each needs one of its own.
    fn connections_suffice(&mut self, view: &View<'_>, service: &Service, workers: NonZeroUsize) {
        let key = "connections_per_endpoint";
        let Some(most) = service.limits.connections else {
            return;
        };
        let shares = |pool: &&Pool| pool.transport.protocol != Protocol::H1;
        if most as usize >= workers.get() {
            return;
        }
        if let Some(pool) = service.pools.values().find(shares) {
            let what = format!(
                "the {workers} workers can't share {most} connections to an endpoint of pool `{}`, which speaks HTTP/2: each needs one",
                pool.name
            );
            let problem = Problem::new(Code::Conflict, view.place_of(key), what);
            self.tell(
                problem
                    .key(view.path_of(key))
                    .expected(format!("at least {workers}, or fewer `workers`")),
            );
        }
    }

    fn weights(&mut self, view: &View<'_>, pools: &BTreeMap<Name, Pool>) -> Weights {
        let Some(node) = view.node("weights") else {
            return self.weights_of_one(view, pools);
        };
        let path = view.path_of("weights");
        let mut whole = true;
        let mut weights = Vec::new();
        for (pool, place, node) in view.entries("weights") {
            let Value::Integer(weight) = node.value else {
                whole = false;
                continue;
            };
            let Some((name, _)) = pools.get_key_value(pool) else {
                whole = false;
                if !has_pool(view, pool) {
                    let names = pools.keys().map(Name::as_str);
                    self.tell(
                        Problem::new(
                            Code::UnknownName,
                            place,
                            format!("there is no pool `{pool}`"),
                        )
                        .key(format!("{path}.{pool}"))
                        .nearest(self.near(pool, names)),
                    );
                }
                continue;
            };
            let weight = u32::try_from(weight).unwrap_or_default();
            if weight > 0 && is_empty(&pools[name]) {
                self.empty_with_weight(view, name, place);
            }
            weights.push((name.clone(), weight));
        }
        let weights: Weights = weights.into_iter().collect();
        if whole && weights.is_empty() && !node.is_faulty() {
            self.tell(
                Problem::new(
                    Code::InvalidWeights,
                    node.place,
                    "the weights come to nothing: no pool would get a request",
                )
                .key(path)
                .expected("at least one weight above 0"),
            );
        }
        weights
    }

    /// Without `weights` a single pool has all.
    fn weights_of_one(&mut self, view: &View<'_>, pools: &BTreeMap<Name, Pool>) -> Weights {
        let mut names = pools.keys();
        match (names.next(), names.next()) {
            (Some(one), None) => {
                if is_empty(&pools[one]) {
                    self.empty_with_weight(view, one, view.place);
                }
                Weights::all_to(one.clone())
            }
            (Some(first), Some(_)) => {
                let list = pools
                    .keys()
                    .map(|name| format!("{name} = {}", if name == first { 100 } else { 0 }))
                    .collect::<Vec<_>>()
                    .join(", ");
                self.tell(
                    Problem::new(
                        Code::MissingKey,
                        view.place,
                        format!("`{}` is missing", view.path_of("weights")),
                    )
                    .key(view.path_of("weights"))
                    .expected("weights, because there is more than one pool")
                    .hint(format!("such as weights = {{ {list} }}")),
                );
                Weights::default()
            }
            (None, _) => Weights::default(),
        }
    }

    fn empty_with_weight(
        &mut self,
        view: &View<'_>,
        pool: &Name,
        weight: crate::config::file::Place,
    ) {
        if pool_is_faulty(view, pool.as_str()) {
            return;
        }
        self.tell(
            Problem::new(
                Code::InvalidWeights,
                weight,
                format!("the pool `{pool}` has weight but no endpoint"),
            )
            .key(view.path_of("weights"))
            .expected("an endpoint in every pool with weight"),
        );
    }

    fn min_ready(&mut self, view: &View<'_>) -> Percent {
        let part: Percent = view.parsed("min_ready").unwrap_or(Percent::WHOLE);
        if part.millionths() == 0 {
            let problem = Problem::new(
                Code::InvalidValue,
                view.place_of("min_ready"),
                "0% would move traffic to a pool that is not ready",
            );
            self.tell(
                problem
                    .key(view.path_of("min_ready"))
                    .expected("a percentage above 0%; a single change may be forced"),
            );
        }
        part
    }

    fn sticky(&mut self, view: &View<'_>) -> Option<Sticky> {
        let sticky = view.within("sticky");
        let by = match sticky.text("by").unwrap_or("none") {
            "none" => return None,
            "cookie" => StickyBy::Cookie {
                max_age: sticky.span("max_age"),
            },
            "ip" => StickyBy::Ip,
            text => StickyBy::Header(text.strip_prefix("header:")?.parse().ok()?),
        };
        let secret = self.secret(&sticky, "secret");
        Some(Sticky { by, secret })
    }

    fn preview(&mut self, view: &View<'_>) -> Option<Preview> {
        let preview = view.within("preview");
        view.node("preview")?.table()?;
        if !preview.has("secret") {
            self.tell(
                Problem::new(
                    Code::MissingKey,
                    preview.place,
                    format!("`{}` is missing", preview.path_of("secret")),
                )
                .key(preview.path_of("secret"))
                .expected("a secret, because a preview reaches what has no traffic yet")
                .hint("such as secret = { file = \"preview.secret\" }"),
            );
            return None;
        }
        Some(Preview {
            header: preview.parsed("header")?,
            secret: self.secret(&preview, "secret")?,
        })
    }
}

fn fail_open(view: &View<'_>) -> FailOpen {
    match view.parsed("fail_open") {
        Some(part) => FailOpen::Below(part),
        None if view.flag("fail_open") => FailOpen::Below(Percent::NONE),
        None => FailOpen::Never,
    }
}

/// It has no endpoints, and nowhere to find any.
fn is_empty(pool: &Pool) -> bool {
    pool.endpoints.is_empty() && pool.discover.is_none()
}

fn timeouts(view: &View<'_>) -> Timeouts {
    let request: Option<Span> = view.parsed("request");
    let positive = |span: Duration| span.max(Duration::from_millis(1));
    Timeouts {
        connect: positive(view.span("connect")),
        response: positive(view.span("response")),
        idle: positive(view.span("idle")),
        request: request.map(|span| span.0),
        keep_alive: positive(view.span("keep_alive")),
        tunnel: positive(view.span("tunnel")),
    }
}

fn retries(view: &View<'_>) -> Retries {
    let per_try: Option<Span> = view.parsed("per_try");
    let body: Option<ByteSize> = view.parsed("body");
    let statuses = view.statuses("statuses");
    Retries {
        attempts: view.integer("attempts"),
        budget: view.parsed("budget").unwrap_or(Percent::NONE),
        statuses: statuses
            .into_iter()
            .flat_map(|(first, last)| first..=last)
            .collect(),
        per_try: per_try.map(|span| span.0),
        max_body: body.map_or(0, |size| size.0),
        backoff: view.span("backoff"),
    }
}

fn limits(view: &View<'_>) -> Limits {
    // Zero can't be written: it stands for none.
    let limit = |key| Some(view.integer(key)).filter(|most| *most > 0);
    Limits {
        service: limit("requests"),
        pool: limit("requests_per_pool"),
        endpoint: limit("requests_per_endpoint"),
        connections: limit("connections_per_endpoint"),
    }
}

fn queueing(view: &View<'_>) -> Queueing {
    let unready: Option<Span> = view.parsed("unready");
    Queueing {
        length: view.integer("length"),
        wait: view.span("wait"),
        unready: unready.map(|span| span.0),
    }
}

fn outliers(view: &View<'_>) -> Option<Outliers> {
    if view
        .node("outlier")
        .is_some_and(|node| node.table().is_none())
    {
        return None;
    }
    let view = view.within("outlier");
    Some(Outliers {
        consecutive: view.integer("consecutive"),
        ratio: view.parsed("ratio").unwrap_or(Percent::NONE),
        volume: view.integer("volume"),
        eject: view.span("eject"),
        max_eject: view.span("max_eject").max(view.span("eject")),
        max_ejected: view.parsed("max_ejected").unwrap_or(Percent::NONE),
    })
}

fn upgrades(view: &View<'_>) -> Vec<String> {
    let mut names: Vec<_> = view
        .texts("upgrades")
        .iter()
        .map(|(text, _)| text.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn has_pool(view: &View<'_>, pool: &str) -> bool {
    view.entry("pools", pool).is_some()
}

/// A part of the pool was told to be wrong already.
fn pool_is_faulty(view: &View<'_>, pool: &str) -> bool {
    let endpoints = match view.entry("pools", pool) {
        Some(node) => node.table().and_then(|table| table.get("endpoints")),
        None => view.node("endpoints"),
    };
    endpoints.is_none_or(|node| node.is_faulty() || !node.items().is_empty())
}
