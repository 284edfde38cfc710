//! What rollouts have come to, as a table.

use std::fmt::Write;

use super::Report;
use crate::{
    admin::wire::{Delivery, DeliveryReport, Spread},
    cli::{
        args::Door,
        client::query,
        exit::{Exit, Failure},
        output::{FAINT, ODD, STRONG, Styled, clean, say, say_json},
        share::percent,
    },
};

pub async fn report(door: &Door, args: &Report) -> Result<Exit, Failure> {
    let pairs = [
        ("service", args.service.as_ref().map(ToString::to_string)),
        ("window", args.window.map(|window| window.to_string())),
    ];
    let target = format!("/v1/reports/delivery{}", query(pairs));
    let report: DeliveryReport = door.client()?.get(&target).await?;
    if args.reading.json {
        say_json(&report)?;
    } else {
        say(text(&report));
    }
    Ok(Exit::Done)
}

fn text(report: &DeliveryReport) -> String {
    let day = |at: crate::units::Timestamp| at.strftime("%Y-%m-%d %H:%M").to_string();
    let (since, until) = (day(report.since), day(report.until));
    let span = format!("{since} to {until}");
    let mut text = format!("{}\n", Styled(FAINT, span));
    if !report.complete {
        let lacks = "there were more rollouts than are remembered: counts are too low";
        let _ = writeln!(text, "{}", Styled(ODD, lacks));
    }
    // Of one service all that is to be said is said by its own figures.
    if report.services.len() != 1 {
        text += &of_one("all services", &report.total);
    }
    let acted = |of: &Delivery| of.changes + of.deployments + of.running + of.refused > 0;
    for (service, of) in &report.services {
        if report.services.len() == 1 || acted(of) {
            text += &of_one(service.as_str(), of);
        }
    }
    text
}

fn of_one(name: &str, of: &Delivery) -> String {
    let rate = of.change_failure_rate.map_or_else(
        || "none to tell by".to_owned(),
        |rate| format!("{} ({} of {})", percent(rate), of.failed, of.changes),
    );
    let causes: Vec<_> = of
        .causes
        .iter()
        .map(|(cause, count)| format!("{} {count}", clean(cause)))
        .collect();
    let rows = [
        (
            "deployments",
            format!("{}, {:.2} a day", of.deployments, of.deployments_per_day),
        ),
        ("lead time", "not known to a proxy".to_owned()),
        ("  of it, rollout", seconds(&of.rollout_seconds)),
        ("change failure rate", rate),
        ("  taken back for", causes.join(", ")),
        ("time to detect", seconds(&of.detect_seconds)),
        ("time to restore", seconds(&of.restore_seconds)),
        (
            "errors of new versions",
            format!(
                "{}: {} made up for, {} seen by users",
                of.errors, of.rescued, of.felt
            ),
        ),
        ("paused", span(of.paused_seconds)),
    ];
    let mut text = format!("{}\n", Styled(STRONG, name));
    for (what, told) in rows.iter().filter(|(_, told)| !told.is_empty()) {
        let _ = writeln!(text, "  {what:<23} {told}");
    }
    text
}

fn seconds(of: &Spread) -> String {
    match (of.median, of.worst) {
        (Some(median), Some(worst)) => {
            format!(
                "{} (median of {}), at worst {}",
                span(median),
                of.count,
                span(worst)
            )
        }
        _ => "none to tell by".to_owned(),
    }
}

fn span(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..120.0 => format!("{seconds:.1} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
