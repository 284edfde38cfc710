use super::{
    Block, Field, page_fields, pages, rollout,
    value::{array, map, of_json, quoted, table},
};
use crate::{
    config::{
        file::keys,
        plan::{
            Discover, Endpoint, FailOpen, HttpProbe, Pool, Probe, ProbeKind, Service, Source, Tls,
            WeightsMode,
        },
    },
    units::{
        ByteSize, InjectedFault, Percent, PreambleVersion, Retries, SlowStart, Span, StickyBy,
        WebsocketDrain,
    },
};

pub fn describe(service: &Service, routed: bool, blocks: &mut Vec<Block>) {
    let path = format!("services.{}", service.name);
    let mut block = Block::table(&path, keys::SERVICE);
    if !routed {
        block.put("routed", false.to_string());
    }
    // Zeros too: who reads it sees every pool.
    let weights = service.pools.keys();
    let weights = weights.map(|pool| {
        (
            pool.as_str(),
            service.weights.get(pool.as_str()).to_string(),
        )
    });
    if let Some(weights) = table(weights) {
        block.put("weights", weights);
    }
    block.text(
        "weights_mode",
        match service.weights_mode {
            WeightsMode::Declared => "declared",
            WeightsMode::Initial => "initial",
        },
    );
    block.text("admission", service.admission.as_str());
    block.text("min_ready", service.min_ready);
    match service.fail_open {
        FailOpen::Below(part) if part != Percent::NONE => block.text("fail_open", part),
        on => block.put("fail_open", (on != FailOpen::Never).to_string()),
    }
    block.put("upgrades", array(&service.upgrades));
    block.put("pool_header", service.pool_header.to_string());
    if service.outliers.is_none() {
        block.put("outlier", false.to_string());
    }
    if !service.faults.is_empty() {
        let faults = service.faults.iter().map(fault);
        block.put("faults", Field::List(faults.collect()));
    }
    blocks.push(block);
    blocks.extend(pages(&service.errors, &path));
    blocks.extend(mirror(service, &path));
    blocks.extend(sticky(service, &path));
    blocks.extend(preview(service, &path));
    blocks.extend(times_and_limits(service, &path));
    blocks.extend(of_admission(service, &path));
    blocks.extend(outliers(service, &path));
    let mut of_rollouts = rollout::describe(&service.rollout, &format!("{path}.rollout"));
    // That there is a plan is said even where it says what is usual.
    let first = of_rollouts.iter_mut().flat_map(|it| &mut it.entries).next();
    if let Some(first) = first {
        first.usual &= !service.rolls_out;
    }
    blocks.append(&mut of_rollouts);
    for pool in service.pools.values() {
        pool_blocks(pool, &format!("{path}.pools.{}", pool.name), blocks);
    }
}

fn fault(fault: &InjectedFault) -> String {
    let headers = fault.headers.iter();
    let headers = map(headers.map(|(name, value)| (name.as_str(), value.as_str())));
    let said = [
        (
            "delay",
            fault.delay.map(|delay| quoted(&Span(delay).to_string())),
        ),
        (
            "abort",
            fault.abort.map(|status| status.as_u16().to_string()),
        ),
        ("share", Some(quoted(&fault.share.to_string()))),
        ("headers", headers),
        (
            "pool",
            fault.pool.as_ref().map(|pool| quoted(pool.as_str())),
        ),
        ("until", Some(quoted(&fault.until.to_string()))),
    ];
    let said = said
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    table(said).unwrap_or_default()
}

fn mirror(service: &Service, path: &str) -> Option<Block> {
    let mirror = service.mirror.as_ref()?;
    let mut block = Block::table(format!("{path}.mirror"), keys::MIRROR);
    block.text("pool", &mirror.pool);
    block.text("share", mirror.share);
    block.put("most", mirror.most.to_string());
    block.span("timeout", mirror.timeout);
    block.put("compare", mirror.compare.is_some().to_string());
    if let Some(compared) = &mirror.compare {
        let headers = compared.headers.iter().map(http::HeaderName::as_str);
        block.put("headers", array(headers));
        block.text("body", ByteSize(compared.body));
    }
    Some(block)
}

fn sticky(service: &Service, path: &str) -> Option<Block> {
    let sticky = service.sticky.as_ref()?;
    let mut block = Block::table(format!("{path}.sticky"), keys::STICKY);
    match &sticky.by {
        StickyBy::Cookie { max_age } => {
            block.text("by", "cookie");
            block.span("max_age", *max_age);
        }
        StickyBy::Header(name) => block.text("by", format_args!("header:{name}")),
        StickyBy::Ip => block.text("by", "ip"),
    }
    if let Some(secret) = &sticky.secret {
        block.put("secret", Field::Secret(secret.clone()));
    }
    Some(block)
}

fn preview(service: &Service, path: &str) -> Option<Block> {
    let preview = service.preview.as_ref()?;
    let mut block = Block::table(format!("{path}.preview"), keys::PREVIEW);
    block.text("header", &preview.header);
    block.put("secret", Field::Secret(preview.secret.clone()));
    Some(block)
}

fn times_and_limits(service: &Service, path: &str) -> [Block; 5] {
    let mut timeouts = Block::table(format!("{path}.timeouts"), keys::TIMEOUTS);
    timeouts.span("connect", service.timeouts.connect);
    timeouts.span("response", service.timeouts.response);
    timeouts.span("idle", service.timeouts.idle);
    let request = service.timeouts.request.map(|span| Span(span).to_string());
    timeouts.text("request", request.as_deref().unwrap_or("none"));
    timeouts.span("keep_alive", service.timeouts.keep_alive);
    timeouts.span("tunnel", service.timeouts.tunnel);
    let mut limits = Block::table(format!("{path}.limits"), keys::LIMITS);
    let body = service.max_body.map(|size| ByteSize(size).to_string());
    limits.text("body", body.as_deref().unwrap_or("none"));
    for (key, most) in [
        ("requests", service.limits.service),
        ("requests_per_pool", service.limits.pool),
        ("requests_per_endpoint", service.limits.endpoint),
        ("connections_per_endpoint", service.limits.connections),
    ] {
        match most {
            Some(most) => limits.put(key, most.to_string()),
            None => limits.text(key, "none"),
        }
    }
    let mut queue = Block::table(format!("{path}.queue"), keys::QUEUE);
    queue.put("length", service.queueing.length.to_string());
    queue.span("wait", service.queueing.wait);
    let unready = service.queueing.unready.map(|span| Span(span).to_string());
    queue.text("unready", unready.as_deref().unwrap_or("none"));
    let mut drain = Block::table(format!("{path}.drain"), keys::DRAIN);
    drain.span("deadline", service.drain_deadline);
    drain.text(
        "websockets",
        match service.drain_websockets {
            WebsocketDrain::CloseAtDeadline => "close-at-deadline",
            WebsocketDrain::Keep => "keep",
            WebsocketDrain::CloseNow => "close-now",
        },
    );
    [
        timeouts,
        retries(&service.retries, path),
        limits,
        queue,
        drain,
    ]
}

fn of_admission(service: &Service, path: &str) -> [Block; 2] {
    let mut hold = Block::table(format!("{path}.hold"), keys::HOLD);
    hold.span("for", service.holding.span);
    hold.put("length", service.holding.length.to_string());
    let mut block = Block::table(format!("{path}.maintenance"), keys::MAINTENANCE);
    let maintenance = &service.maintenance;
    if let Some(page) = &maintenance.page {
        page_fields(page, &mut block);
    }
    block.put("status", maintenance.status.as_u16().to_string());
    block.span("retry_after", maintenance.retry_after);
    if !maintenance.allow.written().is_empty() {
        block.put("allow", array(maintenance.allow.written()));
    }
    [hold, block]
}

fn retries(retries: &Retries, path: &str) -> Block {
    let mut block = Block::table(format!("{path}.retry"), keys::RETRY);
    block.put("attempts", retries.attempts.to_string());
    block.text("budget", retries.budget);
    block.put("statuses", array(retries.statuses.iter()));
    let per_try = retries.per_try.map(|span| Span(span).to_string());
    block.text("per_try", per_try.as_deref().unwrap_or("none"));
    block.text("body", ByteSize(retries.max_body));
    block.span("backoff", retries.backoff);
    block
}

fn outliers(service: &Service, path: &str) -> Option<Block> {
    let outliers = service.outliers?;
    let mut block = Block::table(format!("{path}.outlier"), keys::OUTLIER);
    block.put("consecutive", outliers.consecutive.to_string());
    block.text("ratio", outliers.ratio);
    block.put("volume", outliers.volume.to_string());
    block.span("eject", outliers.eject);
    block.span("max_eject", outliers.max_eject);
    block.text("max_ejected", outliers.max_ejected);
    Some(block)
}

fn slow_start(of: &SlowStart, path: &str) -> Block {
    let mut block = Block::table(format!("{path}.slow_start"), keys::SLOW_START);
    block.span("window", of.window);
    block.put("aggression", of.aggression.to_string());
    block.text("min_weight", of.min_weight);
    block
}

fn pool_blocks(pool: &Pool, path: &str, blocks: &mut Vec<Block>) {
    let mut block = Block::table(path, keys::POOL);
    let endpoints = pool.endpoints.iter().map(endpoint);
    block.put("endpoints", Field::List(endpoints.collect()));
    if let Some(discover) = &pool.discover {
        block.put("discover", self::discover(discover));
    }
    block.text("balance", &pool.balance);
    let factor = pool.balance.load_factor();
    let factor = factor.map(|factor| factor.to_string());
    block.text("hash_balance_factor", factor.as_deref().unwrap_or("none"));
    block.text("protocol", pool.transport.protocol.as_str());
    let preamble = pool.transport.preamble;
    block.text(
        "proxy_protocol",
        preamble.map_or("none", PreambleVersion::as_str),
    );
    if pool.probe.is_none() {
        block.put("probe", false.to_string());
    }
    if pool.slow_start.is_none() {
        block.put("slow_start", false.to_string());
    }
    blocks.push(block);
    blocks.extend(pool.slow_start.map(|it| slow_start(&it, path)));
    blocks.extend(pool.transport.tls.as_ref().map(|tls| tls_block(tls, path)));
    let Some(probe) = &pool.probe else {
        return;
    };
    let path = format!("{path}.probe");
    let mut block = Block::table(&path, keys::PROBE);
    let expect = match &probe.kind {
        ProbeKind::Tcp => {
            block.text("type", "tcp");
            None
        }
        ProbeKind::Grpc(service) => {
            block.text("type", "grpc");
            if !service.is_empty() {
                block.text("service", service);
            }
            None
        }
        ProbeKind::Http(http) => Some(http_probe(http, &mut block, &path)),
    };
    probe_times(probe, &mut block);
    blocks.push(block);
    blocks.extend(expect);
}

fn discover(discover: &Discover) -> String {
    let mut said = match &discover.source {
        Source::File(path) => vec![("file", quoted(&path.display().to_string()))],
        Source::Dns(dns) => {
            let (key, name) = match dns.port {
                Some(port) => ("dns", format!("{}:{port}", dns.name)),
                None => ("srv", dns.name.clone()),
            };
            let resolver = dns.resolver.map(|resolver| quoted(&resolver.to_string()));
            let mut said = vec![(key, quoted(&name))];
            said.extend(resolver.map(|resolver| ("resolver", resolver)));
            said.push(("min_ttl", quoted(&Span(dns.min_ttl).to_string())));
            said
        }
    };
    said.push(("most", discover.most.to_string()));
    table(said.into_iter()).unwrap_or_default()
}

fn tls_block(tls: &Tls, path: &str) -> Block {
    let mut block = Block::table(format!("{path}.tls"), keys::UPSTREAM_TLS);
    block.put("verify", tls.verify.to_string());
    if let Some(name) = &tls.server_name {
        block.text("server_name", name);
    }
    for (key, file) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
        if let Some(file) = file {
            let digest = file.digest.unwrap_or_default().to_vec();
            block.put(key, Field::File(file.path.clone(), digest.into()));
        }
    }
    block.text("min_version", tls.min_version.as_number());
    block
}

fn endpoint(endpoint: &Endpoint) -> String {
    let address = quoted(&endpoint.address.to_string());
    match endpoint.weight {
        1 => address,
        weight => format!("{{ address = {address}, weight = {weight} }}"),
    }
}

fn probe_times(probe: &Probe, block: &mut Block) {
    if let Some(port) = probe.port {
        block.put("port", port.to_string());
    }
    block.span("interval", probe.interval);
    block.span("timeout", probe.timeout);
    block.put("rise", probe.rise.to_string());
    block.put("fall", probe.fall.to_string());
}

/// Fills in the block and makes that of what is expected.
fn http_probe(http: &HttpProbe, block: &mut Block, path: &str) -> Block {
    block.text("type", "http");
    block.text("path", &http.path);
    block.text("method", &http.method);
    if let Some(host) = &http.host {
        block.text("host", host);
    }
    let headers = http.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
    if let Some(headers) = map(headers) {
        block.put("headers", headers);
    }
    let mut expect = Block::table(format!("{path}.expect"), keys::EXPECT);
    expect.put(
        "status",
        array(http.status.iter().map(|range| status(*range))),
    );
    if let Some(body) = &http.body {
        expect.text("body", body);
    }
    let json = http
        .json
        .iter()
        .map(|(pointer, value)| (pointer.as_str(), of_json(value)));
    if let Some(json) = table(json) {
        expect.put("json", json);
    }
    expect
}

fn status((first, last): (u16, u16)) -> String {
    if first == last {
        first.to_string()
    } else if first.is_multiple_of(100) && last == first + 99 {
        format!("{}xx", first / 100)
    } else {
        format!("{first}-{last}")
    }
}
