//! The loop: commands in, one publication and its events out.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{self, Instant},
};

use super::{
    Actor, Applied, Command, Kind, Phase, Probed, Refusal, admission,
    book::Book,
    eligibility::Roster,
    ended,
    found::Sources,
    handle::Question,
    pending,
    publish::{self, Press},
    ramps::Ramps,
    stage::{Draft, Stage},
    teller::Teller,
    unwritten::{Asked, Unwritten, patiently_from_now},
    view::{ConfigState, Counts, Durability},
    writer::{Writer, Written},
};
use crate::{
    pool::State,
    units::{Name, Timestamp},
};

/// Verdicts are published at most 20 times a second; decisions at once, and the verdicts with them.
const BREATH: Duration = Duration::from_millis(50);
/// Between looks at what nobody tells of: old snapshots to free, a disk that may be writable again.
const CHORES: Duration = Duration::from_secs(1);
pub(super) type Reply = oneshot::Sender<Result<Applied, Refusal>>;

/// What comes in.
pub(super) struct Inbox {
    pub decisions: mpsc::Receiver<Command>,
    pub verdicts: mpsc::Receiver<Vec<Probed>>,
    pub questions: mpsc::Receiver<Question>,
}

/// A change that serves and whose answer waits for the disk.
struct Landed {
    applied: Applied,
    reply: Option<Reply>,
    written: Written,
}

/// The one writer. [`Controller::run`] it on the control thread.
pub struct Controller {
    pub(super) book: Book,
    pub(super) sources: Sources,
    pub(super) roster: Roster,
    pub(super) press: Press,
    pub(super) teller: Teller,
    pub(super) counts: Counts,
    pub(super) config: ConfigState,
    pub(super) durability: Durability,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) started: Timestamp,
    pub(super) writer: Writer,
    pub(super) work: Option<BoxFuture<'static, ()>>,
    pub(super) inbox: Inbox,
    /// What is to be written before it serves.
    pub(super) unwritten: Unwritten,
    landing: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// Services of which a verdict has not been published yet.
    pub(super) dirty: BTreeSet<Name>,
    /// When the next verdicts may be published.
    breath: Instant,
    chores: Instant,
    /// Something drains and is not yet proven empty.
    emptying: bool,
    /// When the first hold or maintenance ends by itself.
    ends: Option<std::time::Instant>,
    ramps: Ramps,
}

/// What wakes the controller.
enum Next {
    Written(Written),
    Landed(Landed),
    Command(Command),
    Verdicts(Vec<Probed>),
    Question(Question),
    Time,
    End,
}

/// What a controller is made of.
pub(super) struct Parts {
    pub book: Book,
    pub roster: Roster,
    pub press: Press,
    pub teller: Teller,
    pub durability: Durability,
    pub phase: watch::Sender<Phase>,
    pub at: Timestamp,
    pub writer: Writer,
    pub work: BoxFuture<'static, ()>,
    pub inbox: Inbox,
}

impl Controller {
    pub(super) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            ends: admission::next_end(&parts.book),
            book: parts.book,
            sources: Sources::default(),
            roster: parts.roster,
            press: parts.press,
            teller: parts.teller,
            counts: Counts::default(),
            config: ConfigState {
                applied: parts.at,
                rejected: None,
            },
            durability: parts.durability,
            phase: parts.phase,
            started: parts.at,
            writer: parts.writer,
            work: Some(parts.work),
            inbox: parts.inbox,
            unwritten: Unwritten::default(),
            landing: FuturesUnordered::new(),
            dirty: BTreeSet::new(),
            breath: now,
            chores: now,
            emptying: true,
            ramps: Ramps::default(),
        }
    }

    /// Until every handle is gone; then all that was decided is written.
    pub async fn run(mut self) {
        let work = self.work.take().map(tokio::spawn);
        self.save();
        loop {
            match self.next().await {
                Next::Written(written) => self.finish(written),
                Next::Landed(landed) => self.land(landed),
                Next::Command(command) => self.take(command),
                Next::Verdicts(probed) => self.observe(probed),
                Next::Question(question) => {
                    self.observe(Vec::new());
                    self.answer(question);
                }
                Next::Time => {}
                Next::End => break,
            }
            self.resume();
            self.review();
            self.let_through();
            self.look_after();
        }
        self.save();
        while let Some(landed) = self.landing.next().await {
            self.land(landed);
        }
        drop(self);
        if let Some(work) = work {
            // A writer that died has said so to whoever waited for it.
            let _ = work.await;
        }
    }

    async fn next(&mut self) -> Next {
        let due = self.due();
        let Self {
            unwritten,
            landing,
            inbox,
            ..
        } = self;
        let has_room = unwritten.has_room();
        tokio::select! {
            written = unwritten.written() => Next::Written(written),
            Some(landed) = landing.next(), if !landing.is_empty() => Next::Landed(landed),
            command = inbox.decisions.recv(), if has_room => command.map_or(Next::End, Next::Command),
            Some(probed) = inbox.verdicts.recv() => Next::Verdicts(probed),
            Some(question) = inbox.questions.recv() => Next::Question(question),
            () = time::sleep_until(due) => Next::Time,
        }
    }

    /// When to look again though nothing comes in.
    fn due(&self) -> Instant {
        let step = self.ramps.due().map(Instant::from_std);
        let step = step.map(|step| step.max(self.breath));
        let due = if self.dirty.is_empty() && !self.emptying {
            self.chores
        } else {
            self.breath.min(self.chores)
        };
        let ends = self.ends.filter(|_| self.unwritten.is_free());
        let ends = ends.map(Instant::from);
        [step, ends].into_iter().flatten().fold(due, Instant::min)
    }

    pub(super) fn take(&mut self, command: Command) {
        self.observe(Vec::new());
        match command {
            Command::Change {
                changes,
                order,
                reply,
            } => self.change(Asked::new(changes, order, reply)),
            Command::Load { plan, order, reply } => self.load(*plan, &order, reply),
            Command::Rejected { problems, actor } => self.rejected(problems, &actor),
            Command::Probed(probed) => self.observe(probed),
            Command::Discovered(discovered) => self.discovered(discovered),
            Command::Suspected(suspects) => self.suspect(suspects),
            Command::Phase(phase) => self.enter(phase),
            Command::Certificate { failed, said } => self.certificate(failed, said),
        }
    }

    /// Takes in all verdicts that wait, so that a storm of them is one publication, and a decision is made on what was
    /// known when it came.
    fn observe(&mut self, first: Vec<Probed>) {
        let mut next = Some(first);
        while let Some(batch) = next {
            for probed in batch {
                self.observe_one(probed);
            }
            next = self.inbox.verdicts.try_recv().ok();
        }
    }

    fn observe_one(&mut self, probed: Probed) {
        let key = probed.endpoint.clone();
        let Ok(pool) = self.book.any_pool(&key.service, &key.pool) else {
            return;
        };
        let Some(probe) = &pool.probe else {
            return;
        };
        let (rise, fall, at) = (probe.rise, probe.fall, Timestamp::now());
        let passed = probed.passed;
        let snapshot = self.press.publisher.current();
        if let Some(stats) = snapshot.pool_stats(&probed.endpoint) {
            stats.probed.count(passed);
        }
        let error = probed.last.error.clone();
        let Some(turn) = self
            .roster
            .observe(probed, rise, fall, super::wait::now(), at)
        else {
            return;
        };
        let kind = match (turn.before, passed) {
            (State::Ejected, true) => Kind::EjectionEnded,
            (_, true) => Kind::EndpointReady,
            (_, false) => Kind::EndpointUnready,
        };
        let actor = Actor::new("probe", super::ActorKind::Probe, "probe");
        let draft = Draft::new(kind, &actor).of(&key.service);
        let mut draft = draft
            .pool(&key.pool)
            .endpoint(&key.address)
            .turns(turn.before.as_str().into(), turn.after.as_str().into());
        draft.reason = error;
        self.teller.hold(draft);
        self.dirty.insert(key.service);
    }

    /// Publishes verdicts when it is time, and applies what waited for them.
    fn review(&mut self) {
        let now = Instant::now();
        if now < self.breath {
            return;
        }
        if self.emptying {
            self.look_for_empty();
        }
        self.bring_back();
        self.dirty.append(&mut self.ramps.take(super::wait::now()));
        if !self.dirty.is_empty() {
            let touched = std::mem::take(&mut self.dirty);
            publish::reconcile(
                &self.book,
                &mut self.roster,
                &touched,
                super::wait::now(),
                Timestamp::now(),
            );
            self.publish(&touched, Vec::new());
            self.breath = now + BREATH;
        } else if self.emptying {
            self.breath = now + BREATH;
        }
        if self.unwritten.is_free() {
            self.apply_pending();
        }
    }

    fn look_for_empty(&mut self) {
        let snapshot = self.press.publisher.current();
        let (emptied, drafts) =
            publish::emptied(&self.book, &mut self.roster, &snapshot, Timestamp::now());
        for draft in drafts {
            self.counts.drains += 1;
            self.counts.drain_seconds += draft.after["seconds"].as_f64().unwrap_or(0.0);
            self.teller.hold(draft);
        }
        self.dirty.extend(emptied);
        self.forget_the_empty(&snapshot);
        self.relieve();
    }

    /// Puts in force what the file asked for and had to wait. It serves before it is written down: the file itself
    /// outlives a restart.
    fn apply_pending(&mut self) {
        let memories = self.book.memory.services.iter();
        let waits: Vec<Name> = memories
            .filter(|(_, memory)| memory.pending.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in waits {
            let stage = pending::review(&self.book, &self.roster, &name, Timestamp::now());
            if let Some(stage) = stage {
                self.commit(stage);
                self.save();
            }
        }
    }

    /// Notes what has ended by itself. Not while something is written that was decided before it; no request waits for this.
    fn let_through(&mut self) {
        let now = super::wait::now();
        if self.unwritten.is_free()
            && self.ends.is_some_and(|ends| now >= ends)
            && let Some(stage) = admission::over(&self.book, now, Timestamp::now())
        {
            self.commit(stage);
            self.save();
        }
    }

    fn look_after(&mut self) {
        if Instant::now() < self.chores {
            return;
        }
        self.chores = Instant::now() + CHORES;
        self.press.sweep();
        let owes = self.durability.unsaved || !self.durability.writable;
        // Not after what is being written, which it would undo on the disk.
        if owes && self.landing.is_empty() && self.unwritten.is_free() {
            self.save();
        }
    }

    /// Publishes a prepared change; the verdicts that waited go with it.
    pub(super) fn commit(&mut self, stage: Stage) {
        let Stage {
            book,
            mut touched,
            fresh,
            drafts,
            shifted,
            at,
            actor,
            ..
        } = stage;
        ended::count(&mut self.counts.rollouts, &self.book, &book, &touched);
        self.book = book;
        let now = super::wait::now();
        for key in &fresh {
            self.roster.put_back(key, now, at);
        }
        touched.append(&mut self.dirty);
        publish::reconcile(&self.book, &mut self.roster, &touched, now, at);
        self.publish(&touched, drafts);
        for service in shifted {
            *self.counts.shifts.entry((service, actor.kind)).or_default() += 1;
        }
    }

    fn publish(&mut self, touched: &BTreeSet<Name>, drafts: Vec<Draft>) {
        let now = super::wait::now();
        let turned = self.press.publish(&self.book, &self.roster, touched, now);
        self.ramps.reckon(&self.book, &self.roster, touched, now);
        let generation = self.press.generation();
        let told = self.teller.tell(drafts, turned, generation);
        self.writer.append(told);
        self.book.memory.last_event = self.teller.last_id();
        self.emptying = publish::is_emptying(&self.book, &self.press.publisher.current());
        self.ends = admission::next_end(&self.book);
    }

    /// Tells of something that is in no snapshot.
    pub(super) fn tell(&mut self, draft: Draft) {
        let generation = self.press.generation();
        let told = self.teller.tell(vec![draft], Vec::new(), generation);
        self.writer.append(told);
        self.book.memory.last_event = self.teller.last_id();
    }

    /// Lowering: it serves; the answer waits until it is written, or cannot be.
    pub(super) fn save_and_answer(&mut self, applied: Applied, reply: Option<Reply>) {
        self.durability.unsaved = true;
        let written = patiently_from_now(self.writer.save(self.book.memory.clone()));
        let landed = written.map(move |written| Landed {
            applied,
            reply,
            written,
        });
        self.landing.push(landed.boxed());
    }

    /// Writes what is in force, for nobody in particular.
    fn save(&mut self) {
        let nothing = Applied {
            generation: 0,
            durable: true,
            dry_run: false,
            services: Vec::new(),
            diff: Vec::new(),
            notes: Vec::new(),
        };
        self.save_and_answer(nothing, None);
    }

    fn land(&mut self, landed: Landed) {
        self.wrote(&landed.written);
        self.durability.unsaved = landed.written.is_err();
        if let Some(reply) = landed.reply {
            let applied = Applied {
                durable: landed.written.is_ok(),
                ..landed.applied
            };
            // As above.
            let _ = reply.send(Ok(applied));
        }
    }

    /// Notes whether the disk works, and tells when that has turned.
    pub(super) fn wrote(&mut self, written: &Written) {
        let turned = self.durability.writable == written.is_err();
        self.durability.writable = written.is_ok();
        self.durability.error = written.clone().err();
        if turned {
            let kind = if written.is_ok() {
                Kind::StateWritable
            } else {
                Kind::StateUnwritable
            };
            let mut draft = Draft::new(kind, &Actor::system());
            draft.reason.clone_from(&self.durability.error);
            self.tell(draft);
        }
    }

    pub(super) fn count_refusal(&mut self, refusal: &Refusal) {
        *self
            .counts
            .refusals
            .entry(refusal.code.as_str())
            .or_default() += 1;
    }
}
