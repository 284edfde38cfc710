//! How rollouts look. Pure text of what was answered.

use std::fmt::Write;

use crate::{
    admin::wire::{
        Rollout, RolloutArm, RolloutChanged, RolloutDetail, RolloutEntry, RolloutMember, Service,
    },
    cli::{
        exit::Exit,
        output::{BAD, FAINT, GOOD, ODD, STRONG, Styled, age, clean, lines},
        share::percent,
    },
    units::Timestamp,
};

/// Of a progress bar.
const CELLS: usize = 24;
/// Of a log, unless it is followed.
const LAST: usize = 8;

/// All there is to say of one.
pub fn page(detail: &RolloutDetail, now: Timestamp) -> String {
    let of = &detail.rollout;
    let mut text = heading(of);
    let _ = writeln!(text, "  {} {}", bar(of, now), standing(of, now));
    text += &worries(of);
    for finding in &of.findings {
        let _ = writeln!(text, "  {}", clean(finding));
    }
    if let Some(live) = &detail.live {
        text += &arm("old version", &live.stable);
        text += &arm("new version", &live.candidate);
        for (name, value) in &live.metrics {
            let value = value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
            let _ = writeln!(text, "  {:<14} {value}", clean(name).to_string());
        }
    }
    text += &counts(of);
    let kept = detail.log.len().saturating_sub(LAST);
    for line in &detail.log[kept..] {
        text += &entry(line, of.steps);
    }
    if let Some(command) = next(of) {
        let _ = writeln!(text, "{} {command}", Styled(FAINT, "next:"));
    }
    text
}

/// One line of a list.
pub fn line(of: &Rollout, now: Timestamp) -> String {
    format!(
        "{:>5}  {}  {}  {} {}\n",
        of.id,
        Styled(FAINT, of.started.strftime("%Y-%m-%d %H:%M:%S")),
        Styled(style(of), format_args!("{:<12}", clean(&of.state))),
        members(of),
        Styled(FAINT, standing(of, now)),
    )
}

fn heading(of: &Rollout) -> String {
    let by = clean(&of.by.name);
    let reason = of.reason.as_deref();
    let reason = reason.map_or_else(String::new, |reason| format!(": {}", clean(reason)));
    format!(
        "{} {}  {}  {}\n",
        Styled(STRONG, format_args!("rollout {}", of.id)),
        members(of),
        Styled(style(of), clean(&of.state)),
        Styled(FAINT, format_args!("by {by}{reason}")),
    )
}

fn members(of: &Rollout) -> String {
    let told = of.members.iter().map(|member| {
        let RolloutMember {
            service,
            from,
            to,
            version,
            ..
        } = member;
        let version = version.as_deref();
        let version = version.map_or_else(String::new, |is| format!(" ({})", clean(is)));
        format!("{service}: {from} → {to}{version}")
    });
    told.collect::<Vec<_>>().join(", ")
}

fn style(of: &Rollout) -> anstyle::Style {
    match of.state.as_str() {
        "failed" | "rolling-back" => BAD,
        "paused" | "superseded" => ODD,
        _ => GOOD,
    }
}

/// `step 2 of 4, 10 %, judged, 3 min left`
fn standing(of: &Rollout, now: Timestamp) -> String {
    let mut parts = Vec::new();
    match (of.step, of.stage.as_str()) {
        (Some(step), _) => parts.push(format!("step {step} of {}", of.steps)),
        (None, stage) => parts.push(clean(stage).to_string()),
    }
    if of.ended.is_none() {
        parts.push(match of.copies {
            Some(part) => format!("copies of {}", percent(part)),
            None => percent(of.share),
        });
    }
    if of.paused.is_none() && of.ended.is_none() {
        parts.extend(waiting(of));
        if let Some(until) = of.until {
            let left = until.duration_since(now).as_secs();
            let left = u64::try_from(left).unwrap_or(0);
            parts.push(format!("{} left", age(left)));
        }
    }
    if let Some(ended) = of.ended {
        let span = ended.duration_since(of.started).as_secs();
        let ago = u64::try_from(now.duration_since(ended).as_secs()).unwrap_or(0);
        let took = age(u64::try_from(span).unwrap_or(0));
        parts.push(format!("after {took}, {} ago", age(ago)));
    }
    parts.join(", ")
}

fn waiting(of: &Rollout) -> Option<String> {
    let text = match (of.phase.as_deref()?, of.awaits.as_deref()) {
        ("proving", _) if of.batch.is_some() => "the batch is being proven",
        ("proving", _) => "the new pool is being proven",
        ("asking", _) => "hooks are asked",
        ("shifting", _) if of.batch.is_some() => "the batch is about to be drained",
        ("shifting", _) => "about to shift",
        ("emptying", _) => "the batch ends its work",
        ("replacing", _) => "the batch is to be replaced",
        ("restoring", _) => "the batch is about to be put back",
        ("warming-up", _) => "warming up",
        ("extending", _) => "too little is known yet",
        (_, Some("judge")) => "judged",
        (_, Some("approval")) => "waits for somebody's approval",
        (_, Some("hold")) => "holds",
        _ => return None,
    };
    Some(text.to_owned())
}

fn worries(of: &Rollout) -> String {
    let mut text = String::new();
    if let Some(paused) = &of.paused {
        let why = format!(
            "paused ({}): {}",
            clean(&paused.reason),
            clean(&paused.detail)
        );
        let _ = writeln!(text, "  {}", Styled(ODD, why));
        if paused.alarmed {
            let _ = writeln!(
                text,
                "  {}",
                Styled(BAD, "it would have been taken back by itself")
            );
        }
    }
    if let Some(cause) = &of.cause {
        let why = format!("{}: {}", clean(&cause.kind), lines(&cause.detail));
        let _ = writeln!(text, "  {}", Styled(BAD, why));
    }
    text
}

fn arm(name: &str, of: &RolloutArm) -> String {
    let millis =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let latency = of.latency_ms;
    format!(
        "  {name:<14} {} req, {} err, p50 {} p95 {} p99 {} ms\n",
        of.requests,
        of.errors,
        millis(latency.p50),
        millis(latency.p95),
        millis(latency.p99),
    )
}

fn counts(of: &Rollout) -> String {
    let counts = &of.counts;
    if counts.requests == 0 {
        return String::new();
    }
    format!(
        "  {:<14} {} req to the new version, {} err: {} made up for, {} seen by users\n",
        "in all", counts.requests, counts.errors, counts.rescued, counts.felt
    )
}

/// One line of what happened.
pub fn entry(of: &RolloutEntry, steps: usize) -> String {
    let place = match of.step {
        Some(step) => format!("step {step} of {steps}"),
        None => clean(&of.stage).to_string(),
    };
    format!(
        "  {} {place:<12} {:>7}  {}\n",
        Styled(FAINT, of.at.strftime("%H:%M:%S")),
        percent(of.share),
        clean(&of.detail),
    )
}

/// What is written over and over while it is followed.
pub fn live_line(of: &Rollout, now: Timestamp) -> String {
    let counts = &of.counts;
    format!(
        "{} {}, {} req, {} err",
        bar(of, now),
        standing(of, now),
        counts.requests,
        counts.errors
    )
}

fn bar(of: &Rollout, now: Timestamp) -> String {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a few cells"
    )]
    let full = (progress(of, now) * CELLS as f64).round() as usize;
    let full = full.min(CELLS);
    format!("[{}{}]", "#".repeat(full), "-".repeat(CELLS - full))
}

/// How far it has come, 0.0 to 1.0: steps count alike, however long they take.
#[expect(clippy::cast_precision_loss, reason = "there are few steps")]
fn progress(of: &Rollout, now: Timestamp) -> f64 {
    let within = of.until.map_or(0.0, |until| {
        let whole = until.duration_since(of.since).as_secs_f64();
        let gone = now.duration_since(of.since).as_secs_f64();
        if whole > 0.0 {
            (gone / whole).clamp(0.0, 1.0)
        } else {
            0.0
        }
    });
    // The bake counts as one more.
    let all = of.steps as f64 + 1.0;
    match (of.step, of.stage.as_str()) {
        (Some(step), _) => (step as f64 - 1.0 + within) / all,
        (None, "promoting") => of.steps as f64 / all,
        (None, "baking") => (of.steps as f64 + within) / all,
        (None, "draining" | "succeeded") => 1.0,
        _ => 0.0,
    }
}

/// How it came to be over, or does not go on.
pub fn of_end(of: &Rollout, exit: Exit) -> String {
    let first = of.members.first();
    let (to, from) = first.map_or(("", ""), |member| {
        (member.to.as_str(), member.from.as_str())
    });
    let cause = of.cause.as_ref();
    let cause = cause.map_or_else(String::new, |cause| lines(&cause.detail));
    let mut text = match (exit, &of.paused) {
        (Exit::Done, _) if of.batch.is_some() => {
            Styled(GOOD, format!("all endpoints of {to} are replaced")).to_string()
        }
        (Exit::RolledBack | Exit::Refused, _) if of.batch.is_some() => {
            let batch = of.batch.iter().flatten().map(String::as_str);
            let batch: Vec<_> = batch.collect();
            let out = match &batch[..] {
                [] => String::new(),
                batch => format!(", {} of {to} stay drained", clean(&batch.join(", "))),
            };
            Styled(BAD, format!("stopped{out}: {cause}")).to_string()
        }
        (Exit::Done, _) => Styled(GOOD, format!("promoted: {to} has all requests")).to_string(),
        (Exit::RolledBack, _) => Styled(
            BAD,
            format!("rolled back, {from} has all requests: {cause}"),
        )
        .to_string(),
        (Exit::Refused, _) => Styled(
            BAD,
            format!("refused, {from} has had all requests: {cause}"),
        )
        .to_string(),
        (Exit::Conflict, _) => Styled(ODD, "another rollout was begun in its place").to_string(),
        (_, Some(paused)) => Styled(ODD, format!("paused: {}", lines(&paused.detail))).to_string(),
        _ => Styled(ODD, "not over yet; it goes on").to_string(),
    };
    text.push('\n');
    text += &counts(of);
    if let Some(command) = next(of) {
        let _ = writeln!(text, "{} {command}", Styled(FAINT, "next:"));
    }
    text
}

/// The command that a person most likely wants to type.
pub fn next(of: &Rollout) -> Option<String> {
    let service = &of.service;
    let may = |verb: &str| of.verbs.iter().any(|may| may == verb);
    let paused = of.paused.as_ref().map(|paused| paused.reason.as_str());
    let verb = match paused {
        Some("manual") if may("resume") && of.batch.is_none() => {
            format!("resume {service} --restore-step")
        }
        Some(_) if may("resume") => format!("resume {service}"),
        Some(_) if may("abort") => format!("abort {service}"),
        _ if of.awaits.as_deref() == Some("approval") && may("promote") => {
            format!("promote {service}")
        }
        _ if may("retry") => format!("retry {service}"),
        _ if may("undo") => format!("undo {service}"),
        _ if of.ended.is_none() => format!("status {service} --watch"),
        _ => return None,
    };
    Some(format!("cutover rollout {verb}"))
}

/// What status shows of a service's.
pub fn of_service(service: &Service, now: Timestamp) -> String {
    let Some(of) = service.rollout.as_ref().filter(|of| is_news(of, now)) else {
        return String::new();
    };
    let mut text = format!(
        "  {} {}, {}\n",
        Styled(STRONG, format_args!("rollout {}", of.id)),
        members(of),
        standing(of, now)
    );
    if of.ended.is_none() {
        let _ = writeln!(text, "    {}", bar(of, now));
    }
    for line in worries(of)
        .lines()
        .chain(of.findings.iter().map(String::as_str))
    {
        let _ = writeln!(text, "    {}", line.trim_start());
    }
    text
}

/// What is not as it should be.
pub fn worry(of: &Rollout) -> Option<String> {
    let service = &of.service;
    let what = match (&of.paused, &of.cause) {
        (Some(paused), _) => format!("is paused: {}", clean(&paused.detail)),
        (None, Some(cause)) if of.ended.is_none() => {
            format!("goes back: {}", clean(&cause.detail))
        }
        _ => return None,
    };
    Some(format!("{service}: rollout {} {what}", of.id))
}

/// It is under way, or there is still something to say of it.
fn is_news(of: &Rollout, now: Timestamp) -> bool {
    let recent = |ended: Timestamp| now.duration_since(ended).as_secs() < 3600;
    of.ended.is_none_or(recent) || of.stage == "failed"
}

/// What an order has come to.
pub fn changed(told: &RolloutChanged) -> String {
    let of = &told.rollout.rollout;
    let mut text = heading(of);
    let _ = writeln!(text, "  {}", standing(of, Timestamp::now()));
    text += &worries(of);
    for note in &told.notes {
        let _ = writeln!(text, "  {}", lines(note));
    }
    if told.dry_run {
        let _ = writeln!(text, "{}", Styled(ODD, "dry run: nothing was changed"));
    } else if !told.durable {
        let unsaved = "in force, but not written to disk: a restart would forget it";
        let _ = writeln!(text, "{}", Styled(ODD, unsaved));
    } else if let Some(command) = next(of) {
        let _ = writeln!(text, "{} {command}", Styled(FAINT, "next:"));
    }
    text
}
