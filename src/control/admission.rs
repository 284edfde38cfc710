//! Holds and maintenance: their order, by run time or by the file, and their end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Kind, Order, Refusal,
    book::Book,
    command::Actor,
    memory::ServiceMemory,
    stage::{Draft, Stage},
    view::Admitted,
};
use crate::units::{Admission, Name, Timestamp};

/// What an order is called in events and history.
fn verb(admission: Admission) -> (Kind, &'static str) {
    match admission {
        Admission::Open => (Kind::Resume, "resume"),
        Admission::Hold => (Kind::Hold, "hold"),
        Admission::Maintenance => (Kind::Maintenance, "maintenance"),
    }
}

/// As it was asked for. A hold that is in force already begins anew.
pub(super) fn admit(
    stage: &mut Stage,
    service: &Name,
    admission: Admission,
    span: Option<Duration>,
) -> Result<(), Refusal> {
    let (_, memory) = stage.book.service(service)?;
    let endless = memory.until().is_none() && span.is_none();
    match admission {
        Admission::Open if memory.admission() == admission => {
            let note = format!("requests of {service} flow already");
            stage.notes.push(note);
            return Ok(());
        }
        Admission::Maintenance if memory.admission() == admission && endless => {
            let note = format!("{service} is in maintenance already");
            stage.notes.push(note);
            return Ok(());
        }
        _ => {}
    }
    let (kind, what) = verb(admission);
    put(stage, service, (admission, span), kind, what)
}

/// As the file says, now that it says something else than before.
pub(super) fn follow(stage: &mut Stage, service: &Name) -> Result<(), Refusal> {
    let (plan, memory) = stage.book.service(service)?;
    let declared = plan.admission;
    if declared == Admission::Open && memory.admission() == Admission::Open {
        stage.book.memory_mut(service)?.admitted = None;
        return Ok(());
    }
    put(stage, service, (declared, None), verb(declared).0, "config")
}

/// As the file says, whatever was decided beside it.
pub(super) fn revert(stage: &mut Stage, service: &Name) -> Result<(), Refusal> {
    let (plan, _) = stage.book.service(service)?;
    let declared = plan.admission;
    put(stage, service, (declared, None), Kind::Revert, "revert")
}

fn put(
    stage: &mut Stage,
    service: &Name,
    (admission, span): (Admission, Option<Duration>),
    kind: Kind,
    what: &str,
) -> Result<(), Refusal> {
    let (plan, memory) = stage.book.service(service)?;
    let (declared, before) = (plan.admission, memory.admitted.clone());
    let span = match admission {
        Admission::Open => None,
        Admission::Hold => Some(span.unwrap_or(plan.holding.span)),
        Admission::Maintenance => span,
    };
    let admitted = Admitted {
        admission,
        until: span.map(|span| stage.at + span),
        ends: span.map(|span| super::wait::now() + span),
        by: stage.actor.clone(),
        at: stage.at,
        reason: stage.reason.clone(),
    };
    let after = (admission, declared) != (Admission::Open, Admission::Open);
    let after = after.then_some(admitted);
    stage.book.memory_mut(service)?.admitted.clone_from(&after);
    stage.decide(service, what)?;
    let (was, is) = (words(before.as_ref()), words(after.as_ref()));
    stage.differs(service, "admission", was, is);
    let draft = stage.draft(kind, service);
    let draft = draft.turns(told(before.as_ref()), told(after.as_ref()));
    stage.drafts.push(draft);
    Ok(())
}

/// For a person.
fn words(admitted: Option<&Admitted>) -> Value {
    let admission = admitted.map_or(Admission::Open, |admitted| admitted.admission);
    match admitted.and_then(|admitted| admitted.until) {
        Some(until) => json!(format!("{} until {until:.0}", admission.as_str())),
        None => json!(admission),
    }
}

/// In an event.
fn told(admitted: Option<&Admitted>) -> Value {
    let admission = admitted.map_or(Admission::Open, |admitted| admitted.admission);
    match admitted.and_then(|admitted| admitted.until) {
        Some(until) => json!({ "admission": admission, "until": until }),
        None => json!({ "admission": admission }),
    }
}

/// When the first of what is in force ends by itself.
pub(super) fn next_end(book: &Book) -> Option<Instant> {
    let memories = book.memory.services.values();
    memories.filter_map(|memory| memory.ends()).min()
}

/// What has ended by itself, noted. Requests flow already: workers look at the clock.
pub(super) fn over(book: &Book, now: Instant, at: Timestamp) -> Option<Stage> {
    let memories = book.memory.services.iter();
    let over = memories.filter(|(_, memory)| memory.ends().is_some_and(|ends| now >= ends));
    let over: Vec<_> = over.map(|(name, _)| name.clone()).collect();
    if over.is_empty() {
        return None;
    }
    let mut stage = Stage::new(book, &Order::by(Actor::system()), at);
    for name in &over {
        end(&mut stage, name).ok()?;
    }
    Some(stage)
}

fn end(stage: &mut Stage, service: &Name) -> Result<(), Refusal> {
    let (plan, memory) = stage.book.service(service)?;
    let (declared, before) = (plan.admission, memory.admitted.clone());
    // Though the file may say otherwise still: what it asked for has had its time.
    let after = (declared != Admission::Open).then(|| Admitted {
        admission: Admission::Open,
        until: None,
        ends: None,
        by: stage.actor.clone(),
        at: stage.at,
        reason: None,
    });
    stage.touched.insert(service.clone());
    stage.book.memory_mut(service)?.admitted.clone_from(&after);
    let draft = Draft::new(Kind::Resume, &stage.actor).of(service);
    let draft = draft.because("its time is over");
    let draft = draft.turns(told(before.as_ref()), told(after.as_ref()));
    stage.drafts.push(draft);
    Ok(())
}

/// After a restart: what is left of its time.
pub(super) fn go_on(memory: &mut ServiceMemory, now: Instant, at: Timestamp) {
    let Some(admitted) = &mut memory.admitted else {
        return;
    };
    admitted.ends = admitted.until.map(|until| {
        // However the clock was set meanwhile, no longer than it may be ordered for.
        let left = Duration::try_from(until.duration_since(at)).unwrap_or_default();
        now + left.min(admitted.admission.longest())
    });
}
