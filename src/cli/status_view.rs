//! How status looks: a verdict, what is in force beside the file, services with the worst first, what happened last, and
//! the command to type next. Pure text of what was answered.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    event_view,
    output::{BAD, FAINT, GOOD, ODD, STRONG, Styled, age, clean, lines, value},
    rollout,
    share::{in_words, percent},
};
use crate::{
    admin::wire::{Endpoint, HoldInForce, Override, Pool, Service, Status},
    units::{Admission, Name, Timestamp},
};

/// What was asked for.
pub enum Shown {
    All(Box<Status>),
    One(Box<Service>),
}

/// Everything that is not as it should be, the worst first; nothing when all is well.
pub fn worries(shown: &Shown) -> Vec<String> {
    match shown {
        Shown::One(service) => of_service(service),
        Shown::All(status) => {
            let mut worries: Vec<_> = status.services.iter().flat_map(of_service).collect();
            if status.phase != "serving" {
                worries.insert(0, format!("the process is {}", clean(&status.phase)));
            }
            if status.config.state != "ok" {
                worries
                    .push("the file as it is now was rejected; what ran before runs on".to_owned());
            }
            if !status.durability.writable {
                let why = status.durability.error.as_deref().unwrap_or("unknown");
                worries.push(format!("changes can't be written to disk: {}", clean(why)));
            }
            worries
        }
    }
}

fn of_service(service: &Service) -> Vec<String> {
    let name = &service.name;
    let mut worries = Vec::new();
    match service.admission {
        Admission::Open => {}
        Admission::Hold => worries.push(format!("{name}: requests are held")),
        Admission::Maintenance => {
            worries.push(format!("{name}: in maintenance; requests get a page"));
        }
    }
    match service.state.as_str() {
        "serving" => {}
        "failing-open" => worries.push(format!(
            "{name}: no weighted pool is ready; endpoints that once were are tried"
        )),
        "unavailable" => worries.push(format!(
            "{name}: no endpoint can be asked; requests get a 503"
        )),
        other => worries.push(format!("{name}: {}", clean(other))),
    }
    let weighted = service
        .pools
        .iter()
        .filter(|(pool, _)| service.weights.get(*pool).is_some_and(|weight| *weight > 0));
    for (pool, seen) in weighted {
        if service.state == "serving" && seen.ready == 0 {
            worries.push(format!(
                "{name}: {pool} has weight and no ready endpoint; its share goes to the others"
            ));
        } else if seen.ready < seen.of {
            worries.push(format!(
                "{name}: {} of {} endpoints of {pool} are ready",
                seen.ready, seen.of
            ));
        }
    }
    for (pool, seen) in &service.pools {
        if let Some(failing) = seen.discovery.as_ref().and_then(|one| one.failing.as_ref()) {
            worries.push(format!(
                "{name}: endpoints of {pool} are not found: {}",
                clean(&failing.error)
            ));
        }
    }
    if let Some(rollout) = &service.rollout {
        worries.extend(rollout::worry(rollout));
    }
    if service.waiting > 0 {
        worries.push(format!(
            "{name}: {} requests wait for their turn",
            service.waiting
        ));
    }
    if let Some(pending) = &service.pending {
        worries.push(format!(
            "{name}: the file asks for {}, which waits for its pools to be ready",
            of_pending(pending)
        ));
    }
    worries
}

fn of_pending(pending: &crate::admin::wire::Pending) -> String {
    match &pending.weights {
        Some(weights) => {
            let told = weights.iter().filter(|(_, weight)| **weight > 0);
            told.map(|(pool, weight)| format!("{pool}={weight}"))
                .collect::<Vec<_>>()
                .join(" ")
        }
        None => format!("{} to go", clean(&pending.kept.join(", "))),
    }
}

/// The whole page.
pub fn page(shown: &Shown, now: Timestamp) -> String {
    let worries = worries(shown);
    let mut text = match worries.as_slice() {
        [] => format!("{}", Styled(GOOD, "All is well.")),
        [one] => format!("{}", Styled(BAD, one)),
        [first, more @ ..] => format!("{} (and {} more)", Styled(BAD, first), more.len()),
    };
    match shown {
        Shown::One(service) => {
            text.push('\n');
            for worry in worries.iter().skip(1) {
                let _ = writeln!(text, "{}", Styled(ODD, worry));
            }
            text += &of_one(service, true, now);
            text += &next(&[&**service]);
        }
        Shown::All(status) => {
            let _ = writeln!(
                text,
                "  {}",
                Styled(
                    FAINT,
                    format_args!(
                        "cutover {}, up {}, generation {}",
                        clean(&status.version),
                        age(status.uptime_seconds),
                        status.generation
                    )
                )
            );
            for worry in worries.iter().skip(1) {
                let _ = writeln!(text, "{}", Styled(ODD, worry));
            }
            text += &of_config(status);
            text += &in_force(status);
            let mut services: Vec<_> = status.services.iter().collect();
            services.sort_by_key(|service| (severity(service), service.name.clone()));
            for service in &services {
                text += &of_one(service, services.len() == 1, now);
            }
            text += &last_events(status);
            text += &next(&services);
        }
    }
    text
}

fn severity(service: &Service) -> u8 {
    match service.state.as_str() {
        "unavailable" => 0,
        "failing-open" => 1,
        _ if !of_service(service).is_empty() => 2,
        _ => 3,
    }
}

fn of_config(status: &Status) -> String {
    match (&status.config.problems, &status.config.path) {
        (Some(problems), path) => format!(
            "\n{} {}\n{}\n",
            Styled(BAD, "rejected"),
            clean(path.as_deref().unwrap_or("the file")),
            lines(problems)
        ),
        (None, _) => String::new(),
    }
}

fn in_force(status: &Status) -> String {
    let mut text = String::new();
    // These have lines of their own.
    let told = |over: &Override| {
        over.field.contains("drained") || status.holds.iter().any(|hold| is_of(hold, over))
    };
    for over in status.overrides.iter().filter(|over| !told(over)) {
        let _ = writeln!(
            text,
            "  {}.{} = {} by {}, {} ago{}",
            over.service,
            clean(&over.field),
            value(&over.value),
            clean(&over.by.name),
            age(over.age_seconds),
            because(over.reason.as_deref()),
        );
    }
    for hold in &status.holds {
        let _ = writeln!(
            text,
            "  {} {}{} by {}, {} ago{}{}",
            hold.service,
            clean(&hold.admission),
            waiting(hold.waiting),
            clean(&hold.by.name),
            age(hold.age_seconds),
            left(hold.left_seconds),
            because(hold.reason.as_deref()),
        );
    }
    for drain in &status.drains {
        let _ = writeln!(
            text,
            "  {}/{}/{} {} ({} in flight{}) by {}, {} ago{}",
            drain.service,
            drain.pool,
            drain.endpoint,
            clean(&drain.state),
            drain.in_flight,
            tunnels(drain.tunnels),
            clean(&drain.by.name),
            age(drain.age_seconds),
            because(drain.reason.as_deref()),
        );
    }
    if text.is_empty() {
        text
    } else {
        format!("\n{}\n{text}", Styled(STRONG, "In force beside the file"))
    }
}

fn is_of(hold: &HoldInForce, over: &Override) -> bool {
    over.field == "admission" && over.service == hold.service
}

fn waiting(count: u64) -> String {
    match count {
        0 => String::new(),
        count => format!(" ({count} waiting)"),
    }
}

/// How long something lasts yet that ends by itself.
fn left(seconds: Option<u64>) -> String {
    seconds.map_or_else(String::new, |seconds| format!(", {} left", age(seconds)))
}

fn because(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {}", clean(reason)))
}

fn of_one(service: &Service, whole: bool, now: Timestamp) -> String {
    let style = match severity(service) {
        0 | 1 => BAD,
        2 => ODD,
        _ => GOOD,
    };
    let mut text = format!(
        "\n{}  {}  {}",
        Styled(STRONG, &service.name),
        Styled(style, clean(&service.state)),
        in_words(&service.share.requested)
    );
    if service.share.requests > 0 {
        let _ = write!(
            text,
            "  {}",
            Styled(
                FAINT,
                format_args!(
                    "observed {} of {} requests in {} s",
                    roughly(&service.share.observed),
                    service.share.requests,
                    service.share.seconds
                )
            )
        );
    }
    let _ = writeln!(
        text,
        "  {}",
        Styled(FAINT, format_args!("revision {}", service.revision))
    );
    for (name, pool) in &service.pools {
        text += &of_pool(service, name.as_str(), pool, whole);
    }
    text + &rollout::of_service(service, now)
}

/// What was observed is a sample, so a tenth of a percent says enough.
fn roughly(shares: &BTreeMap<Name, f64>) -> String {
    let told = shares.iter().filter(|(_, share)| **share > 0.0);
    let told = told.map(|(pool, share)| format!("{pool} {:.1} %", share * 100.0));
    told.collect::<Vec<_>>().join(", ")
}

fn of_pool(service: &Service, name: &str, pool: &Pool, whole: bool) -> String {
    let share = service.share.requested.get(name).copied().unwrap_or(0.0);
    let style = if pool.ready >= pool.needed.max(1) {
        GOOD
    } else if share > 0.0 {
        BAD
    } else {
        ODD
    };
    let latency = pool.window.latency_ms;
    let millis =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let mut text = format!(
        "  {name:<12} {:>8}  {}  {} in flight{}",
        percent(share),
        Styled(style, format_args!("{} of {} ready", pool.ready, pool.of)),
        pool.in_flight,
        tunnels(pool.tunnels),
    );
    if pool.window.requests > 0 {
        let _ = write!(
            text,
            "  {} req, {} err, p50 {} p99 {} ms",
            pool.window.requests,
            pool.window.errors,
            millis(latency.p50),
            millis(latency.p99)
        );
    }
    if let Some(version) = &pool.version {
        let _ = write!(text, "  {}", Styled(FAINT, clean(version)));
    }
    text.push('\n');
    let shown =
        |endpoint: &&Endpoint| whole || endpoint.state != "ready" || endpoint.slow_start.is_some();
    text.extend(pool.endpoints.iter().filter(shown).map(of_endpoint));
    text
}

fn of_endpoint(endpoint: &Endpoint) -> String {
    let style = match endpoint.state.as_str() {
        "ready" => GOOD,
        "unready" | "ejected" => BAD,
        _ => ODD,
    };
    let mut text = format!(
        "    {:<24} {}",
        endpoint.address.to_string(),
        Styled(style, clean(&endpoint.state))
    );
    if let Some(percent) = endpoint.slow_start {
        let _ = write!(text, ", slow start {percent} %");
    }
    if let Some(probe) = &endpoint.probe {
        let outcome = match (&probe.error, probe.status) {
            (Some(error), _) => clean(error).to_string(),
            (None, Some(status)) => status.to_string(),
            (None, None) => "connected".to_owned(),
        };
        let _ = write!(
            text,
            "  {}",
            Styled(FAINT, format_args!("{} → {outcome}", clean(&probe.url)))
        );
    }
    text.push('\n');
    text
}

fn last_events(status: &Status) -> String {
    let events = status.events.iter().rev().take(5).rev();
    let told: String = events.map(event_view::line).collect();
    if told.is_empty() {
        told
    } else {
        format!("\n{}\n{told}", Styled(STRONG, "Last events"))
    }
}

/// The command that a person most likely wants to type.
fn next(services: &[&Service]) -> String {
    let command = services.iter().find_map(|service| {
        let name = &service.name;
        let weighted = service
            .weights
            .values()
            .filter(|weight| **weight > 0)
            .count();
        match (&service.active, &service.idle) {
            _ if service.admission != Admission::Open => Some(format!("cutover resume {name}")),
            _ if is_under_way(service) => service.rollout.as_ref().and_then(rollout::next),
            _ if service.state != "serving" && services.len() > 1 => {
                Some(format!("cutover status {name}"))
            }
            (Some(_), Some(idle))
                if service
                    .pools
                    .get(idle)
                    .is_some_and(|pool| pool.state == "idle") =>
            {
                Some(format!("cutover shift {name} {idle}=10%"))
            }
            _ if weighted > 1 => Some(format!("cutover rollback {name}")),
            _ => None,
        }
    });
    match command {
        Some(command) => format!("\n{} {command}\n", Styled(FAINT, "next:")),
        None => String::new(),
    }
}

fn is_under_way(service: &Service) -> bool {
    let rollout = service.rollout.as_ref();
    rollout.is_some_and(|rollout| rollout.ended.is_none())
}

/// How many of what is in flight are tunnels, where there are any.
pub fn tunnels(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => ", 1 tunnel".to_owned(),
        count => format!(", {count} tunnels"),
    }
}
