//! The start: the first reload, with what was remembered laid over it.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::{
    Actor, Events, Handle, Hurry, Kind, Order, Phase, admission,
    book::Book,
    controller::{Controller, Inbox, Parts},
    disk::{Disk, Locked},
    eligibility::Roster,
    load,
    memory::Memory,
    publish::{self, Press},
    rollout,
    stage::{Draft, Stage},
    teller::Teller,
    view::Durability,
    writer::Writer,
};
use crate::{config::Plan, pool::Directory, snapshot, units::Timestamp};

/// How many decisions may wait to be taken; who comes then waits at the door.
const DECISIONS: usize = 256;
/// How many batches of probes' results.
const VERDICTS: usize = 1024;
const QUESTIONS: usize = 256;

/// Brings the plan and what was remembered in `state_dir` together and publishes the first snapshot. The controller is
/// to be [run](Controller::run) on the control thread; until then nothing that is asked is answered.
///
/// Reads a few files, so it blocks; that is what a start is for.
pub fn start(plan: Plan) -> Result<(Handle, Controller), Locked> {
    let (disk, error) = Disk::open(&plan.state_dir)?;
    Ok(start_on(disk, error, plan))
}

/// The same on a folder that is owned; `error` is why it cannot be written.
pub(super) fn start_on(disk: Disk, mut error: Option<String>, plan: Plan) -> (Handle, Controller) {
    let (at, now) = (Timestamp::now(), super::wait::now());
    let found = disk.read(at);
    let sticky_key = found.key.unwrap_or_else(|| {
        let (key, failed) = disk.make_key();
        error = error.take().or(failed);
        key
    });
    let mut teller = Teller::new(Events::new(found.events), found.memory.last_event);
    for why in found.damaged {
        let draft = Draft::new(Kind::StateDamaged, &Actor::system());
        teller.hold(draft.because(why));
    }
    if let Some(error) = &error {
        let draft = Draft::new(Kind::StateUnwritable, &Actor::system());
        teller.hold(draft.because(error.clone()));
    }
    let (stage, roster) = first_load(plan, found.memory, at, now);
    let mut directory = Directory::new(stage.book.plan.workers.get());
    let first = publish::first(&stage.book, &roster, &mut directory, &sticky_key, now);
    let (publisher, readers) = snapshot::channel(first);
    let (writer, work) = Writer::new(disk);
    let draft = Draft::new(Kind::Phase, &Actor::system());
    let mut drafts = vec![draft.turns(Value::Null, json!(Phase::Starting))];
    drafts.extend(stage.drafts);
    writer.append(teller.tell(drafts, Vec::new(), 1));
    let mut book = stage.book;
    book.memory.last_event = teller.last_id();
    let (decisions, taken) = mpsc::channel(DECISIONS);
    let (verdicts, observed) = mpsc::channel(VERDICTS);
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let (phase, phases) = watch::channel(Phase::Starting);
    let handle = Handle {
        decisions,
        verdicts,
        questions,
        events: teller.events.clone(),
        readers,
        phase: phases,
        hurried: Arc::new(watch::channel(Hurry::new()).0),
        rollouts: rollout::Door::new(QUESTIONS),
    };
    let controller = Controller::new(Parts {
        book,
        roster,
        press: Press {
            publisher,
            directory,
            sticky_key,
        },
        teller,
        durability: Durability {
            writable: error.is_none(),
            error,
            unsaved: true,
        },
        phase,
        at,
        writer,
        work: work.boxed(),
        inbox: Inbox {
            decisions: taken,
            verdicts: observed,
            questions: asked,
        },
    });
    (handle, controller)
}

/// The plan laid under what was remembered, as if it were the first edit of an empty one.
fn first_load(plan: Plan, mut memory: Memory, at: Timestamp, now: Instant) -> (Stage, Roster) {
    for service in memory.services.values_mut() {
        if service.admitted.is_some() {
            admission::go_on(Arc::make_mut(service), now, at);
        }
    }
    let nothing = Book {
        plan: Arc::new(Plan {
            services: BTreeMap::new(),
            ..plan.clone()
        }),
        memory,
        kept: BTreeMap::new(),
        found: BTreeMap::new(),
    };
    let mut roster = Roster::default();
    let mut stage = Stage::new(&nothing, &Order::by(Actor::file()), at);
    load::load(&mut stage, plan, &roster, false)
        .expect("of a checked file nothing is refused where nothing is in force");
    publish::reconcile(&stage.book, &mut roster, &stage.touched, now, at);
    roster.warm_up();
    (stage, roster)
}
