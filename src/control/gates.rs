//! What may stop a change although it makes sense: what it would send traffic to is not ready.

use std::collections::BTreeMap;

use super::{
    Change, Code, Kind, Order, Refusal, book::pool_key, eligibility::Roster, needed,
    precedence::gainers, stage::Stage,
};
use crate::units::{Admission, Name, Span};

/// Limits of what a caller may say.
const CHANGES: usize = 1000;
const REASON: usize = 1024;
const KEY: usize = 255;
const VERSION: usize = 128;

/// What can be refused without looking at anything.
pub(super) fn shape(changes: &[Change], order: &Order) -> Result<(), Refusal> {
    let invalid = |detail: String| Err(Refusal::new(Code::InvalidRequest, detail));
    if changes.is_empty() || changes.len() > CHANGES {
        return invalid(format!("a change has from 1 to {CHANGES} parts"));
    }
    if order
        .reason
        .as_ref()
        .is_some_and(|reason| reason.len() > REASON)
    {
        return invalid(format!("a reason has at most {REASON} bytes"));
    }
    let key = order.idempotency_key.as_ref();
    if key.is_some_and(|key| key.is_empty() || key.len() > KEY) {
        return invalid(format!("an idempotency key has from 1 to {KEY} bytes"));
    }
    let too_long = |version: &str| version.is_empty() || version.len() > VERSION;
    let bad = changes.iter().any(|change| match change {
        Change::Version { version, .. } => too_long(version),
        Change::Switch { version, .. } => version.as_deref().is_some_and(too_long),
        _ => false,
    });
    if bad {
        return invalid(format!("a version has from 1 to {VERSION} bytes"));
    }
    let spans = changes.iter().filter_map(|change| match change {
        Change::Admit {
            admission, span, ..
        } => span.map(|span| (*admission, span)),
        _ => None,
    });
    for (admission, span) in spans {
        let longest = admission.longest();
        if admission == Admission::Open {
            return invalid("requests that flow need no time".to_owned());
        }
        if span.is_zero() || span > longest {
            let (asked, longest) = (Span(span), Span(longest));
            let what = admission.as_str();
            return invalid(format!("{asked}: a {what} lasts from 1ms to {longest}"));
        }
    }
    Ok(())
}

/// The revision the change was made for is the one in force.
pub(super) fn revision(stage: &Stage, changes: &[Change], order: &Order) -> Result<(), Refusal> {
    let Some(wanted) = order.if_match else {
        return Ok(());
    };
    let memories = &stage.before.memory.services;
    let revisions = changes.iter().filter_map(|change| {
        let service = change.service();
        memories
            .get(service)
            .map(|memory| (service, memory.revision))
    });
    match revisions
        .into_iter()
        .find(|(_, revision)| *revision != wanted)
    {
        None => Ok(()),
        Some((service, revision)) => Err(Refusal::new(
            Code::RevisionMismatch,
            format!("{service} is at revision {revision}, not {wanted}: somebody else changed it"),
        )
        .hint(format!(
            "look at `cutover history {service}`, then decide again"
        ))),
    }
}

/// The two gates that `force` passes, over all changes together: what counts is how things would stand in the end.
pub(super) fn pass(stage: &Stage, roster: &Roster, changes: &[Change]) -> Result<(), Refusal> {
    let mut by_service: BTreeMap<&Name, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        by_service.entry(change.service()).or_default().push(change);
    }
    for (service, changes) in by_service {
        if !changes.iter().any(|change| change.force()) {
            gain(stage, roster, service, &changes)?;
            last(stage, roster, service, &changes)?;
        }
    }
    Ok(())
}

/// A pool that gains weight is ready.
fn gain(
    stage: &Stage,
    roster: &Roster,
    service: &Name,
    changes: &[&Change],
) -> Result<(), Refusal> {
    let (Ok((_, before)), Ok((_, after))) =
        (stage.before.service(service), stage.book.service(service))
    else {
        return Ok(());
    };
    // The way back must work at three in the morning: one ready endpoint is enough for it.
    let is_way_back = changes.iter().all(|change| match change {
        Change::Rollback { .. } => true,
        Change::Rollout { told, .. } => *told == Kind::RolloutRollback,
        _ => false,
    });
    for pool in gainers(&before.weights, &after.weights) {
        let key = pool_key(service, pool);
        let count = stage.book.count(roster, &stage.fresh, &key, None);
        let needed = if is_way_back { 1 } else { count.needed };
        if count.ready >= needed {
            continue;
        }
        let mut refusal = Refusal::new(
            Code::PoolNotReady,
            format!(
                "{key} has {} of {} endpoints ready, and needs {needed} before it gets more traffic",
                count.ready, count.of
            ),
        )
        .hint(forced(changes));
        refusal.evidence = stage.book.evidence(roster, &stage.fresh, &key, None);
        return Err(refusal);
    }
    Ok(())
}

/// A weighted pool that loses endpoints has a ready one left.
fn last(
    stage: &Stage,
    roster: &Roster,
    service: &Name,
    changes: &[&Change],
) -> Result<(), Refusal> {
    let Ok((_, after)) = stage.book.service(service) else {
        return Ok(());
    };
    let narrowed = stage.narrowed.iter().filter(|key| key.service == *service);
    for key in narrowed {
        let weight = after.weights.get(key.pool.as_str());
        let needed = match weight {
            0 => needed::goes_back_to(&stage.book, service, &key.pool),
            weight => Some(format!("has weight {weight}")),
        };
        let Some(needed) = needed else {
            continue;
        };
        let count = stage.book.count(roster, &stage.fresh, key, None);
        if count.ready > 0 {
            continue;
        }
        let mut refusal = Refusal::new(
            Code::LastReadyEndpoint,
            format!("{key} {needed} and would be left without a ready endpoint"),
        )
        .hint(format!(
            "move its traffic first, or insist: {}",
            forced(changes)
        ));
        refusal.evidence = stage.book.evidence(roster, &stage.fresh, key, None);
        return Err(refusal);
    }
    Ok(())
}

/// The command that passes the gates.
pub(super) fn forced(changes: &[&Change]) -> String {
    let commands: Vec<_> = changes
        .iter()
        .filter_map(|change| command(change))
        .map(|command| format!("{command} --force"))
        .collect();
    commands.join(" && ")
}

/// What to type for a change that has a gate.
pub(super) fn command(change: &Change) -> Option<String> {
    let pairs = |weights: &BTreeMap<Name, u32>| {
        let pairs = weights.iter();
        let pairs: Vec<_> = pairs
            .map(|(pool, weight)| format!("{pool}={weight}"))
            .collect();
        pairs.join(" ")
    };
    Some(match change {
        Change::Weights {
            service, weights, ..
        } => format!("cutover shift {service} {}", pairs(weights)),
        Change::Switch {
            service,
            to,
            version,
            ..
        } => {
            let version = version.as_deref().map(quoted);
            let version =
                version.map_or_else(String::new, |version| format!(" --version {version}"));
            format!("cutover switch {service} {to}{version}")
        }
        Change::Rollback {
            service,
            to_revision,
            again,
            ..
        } => {
            let to = to_revision.map_or_else(String::new, |to| format!(" --to {to}"));
            let again = if *again { " --again" } else { "" };
            format!("cutover rollback {service}{to}{again}")
        }
        Change::Drain { target, .. } => format!("cutover drain {}", quoted(&target.to_string())),
        Change::RemoveEndpoint { endpoint, .. } => {
            format!("cutover endpoint remove {}", quoted(&endpoint.to_string()))
        }
        Change::Revert { service, field, .. } => {
            let field = field.as_ref();
            let field = field.map_or_else(String::new, |field| format!(".{field}"));
            format!(
                "cutover config revert {}",
                quoted(&format!("{service}{field}"))
            )
        }
        Change::Cut { .. }
        | Change::Admit { .. }
        | Change::Restore { .. }
        | Change::AddEndpoint { .. }
        | Change::Rollout { .. }
        | Change::Version { .. } => return None,
    })
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Says which pools were waited for in vain, with the command that does not wait.
pub(super) fn too_late(
    lacking: &[super::Readiness],
    timeout: std::time::Duration,
    changes: &[Change],
) -> Refusal {
    let pools: Vec<_> = lacking
        .iter()
        .map(|lack| {
            format!(
                "{} has {} of {} endpoints proven",
                lack.pool, lack.ready, lack.needed
            )
        })
        .collect();
    let detail = format!("after {}: {}", Span(timeout), pools.join(", "));
    let changes: Vec<_> = changes.iter().collect();
    let mut refusal = Refusal::new(Code::PoolNotReady, detail).hint(forced(&changes));
    refusal.evidence = lacking
        .iter()
        .flat_map(|lack| lack.evidence.clone())
        .collect();
    refusal
}
