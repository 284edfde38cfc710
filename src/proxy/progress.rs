use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    alarm::{Alarm, Clock},
    client::Client,
    note::Notebook,
    tunnel::Tunnel,
};
use crate::units::Timeouts;

/// Where a request and its answer stand, which decides what the silence of a peer means. Shared by the connection, its
/// socket and the request; all of them run on one thread. One serves all the requests of an HTTP/1.1 connection, because
/// they come one after the other.
pub struct Progress {
    pub client: Rc<Client>,
    /// Where the request is to be logged.
    pub(super) notebook: Notebook,
    phase: Cell<Phase>,
    /// Bytes have moved since the deadline was last set.
    moved: Cell<bool>,
    alarm: Alarm,
    /// Rings now and then while an upload is held up; there is none before one was.
    glance: RefCell<Option<Alarm>>,
    /// How long nothing may move in this phase.
    patience: Cell<Duration>,
    /// How long the endpoint may take from the request's last byte to its answer's head.
    response: Cell<Duration>,
    head_read: Cell<Instant>,
    /// The end of the whole request's time.
    limit: Cell<Option<Instant>>,
    upload: Cell<UploadState>,
    /// Bytes of the request's body so far.
    uploaded: Cell<u64>,
    /// When what there is of the request went on its way.
    sent: Cell<Instant>,
    /// The clock, where it was read in the poll under way.
    moment: Cell<Option<Instant>>,
    /// While answering: the endpoint's body was asked for its next part and had none.
    awaits_endpoint: Cell<bool>,
    /// Parts of the answer that are handed over, and that the client has yet to take.
    kept: Cell<usize>,
    /// Who waits for it to take one.
    waits: Cell<Option<Waker>>,
    /// What the connection becomes once the answer that says so has been sent.
    tunnel: Cell<Option<Box<Tunnel>>>,
    /// Other requests share the connection: it does not end with this one.
    pub(super) shares: bool,
}

impl Drop for Progress {
    fn drop(&mut self) {
        // The request was dropped with its connection, before it was answered.
        if let Some(note) = self.notebook.take() {
            note.abandoned(self.bytes_in());
        }
    }
}

/// How often it is looked whether the client of an upload that is held up is there still.
const GLANCE: Duration = Duration::from_secs(1);

/// Where an exchange stands, which decides what the silence of a peer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Between requests.
    Idle,
    /// A request's head has begun.
    Head,
    /// The request is on its way and its answer has not begun.
    Waiting,
    /// The answer's body is on its way.
    Answering,
}

/// How far the request's body has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadState {
    /// There is none, or it has been sent.
    Done,
    /// The next bytes are the client's to send.
    AwaitsClient,
    /// The next bytes are the endpoint's to take.
    AwaitsEndpoint,
    /// The client's connection broke.
    Broken,
    /// What came was no valid body.
    Malformed,
    /// It was larger than allowed.
    TooLarge,
}

impl Progress {
    /// Of a connection that was just made.
    pub fn new(client: Rc<Client>, clock: &Rc<Clock>) -> Rc<Self> {
        Self::of(client, clock, false)
    }

    /// Of a stream that was just begun.
    pub fn of_stream(client: Rc<Client>, clock: &Rc<Clock>) -> Rc<Self> {
        Self::of(client, clock, true)
    }

    fn of(client: Rc<Client>, clock: &Rc<Clock>, shares: bool) -> Rc<Self> {
        let now = Instant::now();
        let progress = Rc::new(Self {
            notebook: Notebook::default(),
            phase: Cell::new(Phase::Idle),
            moved: Cell::default(),
            alarm: clock.alarm(),
            glance: RefCell::default(),
            patience: Cell::new(client.door.header_timeout),
            response: Cell::new(Duration::MAX),
            head_read: Cell::new(now),
            limit: Cell::default(),
            upload: Cell::new(UploadState::Done),
            uploaded: Cell::default(),
            sent: Cell::new(now),
            moment: Cell::default(),
            awaits_endpoint: Cell::default(),
            kept: Cell::default(),
            waits: Cell::default(),
            tunnel: Cell::default(),
            shares,
            client,
        });
        // The first request is awaited as long as a head may take, not as long as a connection may idle.
        progress.alarm.set(now + progress.patience.get());
        progress
    }

    pub fn clock(&self) -> &Rc<Clock> {
        self.alarm.clock()
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// To be called when bytes have come from the client.
    pub fn has_read(&self) {
        self.moved.set(true);
        if self.phase.get() == Phase::Idle {
            self.phase.set(Phase::Head);
        }
    }

    /// To be called when bytes have gone to the client.
    pub fn has_written(&self) {
        self.moved.set(true);
    }

    /// A part of the answer is kept for the client.
    pub fn keep(&self) {
        self.kept.set(self.kept.get() + 1);
    }

    /// A part was taken, or is not wanted any more.
    pub fn let_go(&self) {
        self.kept.set(self.kept.get() - 1);
        if let Some(waits) = self.waits.take() {
            waits.wake();
        }
    }

    /// Ready when no part is kept for the client.
    pub fn poll_taken(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.kept.get() == 0 {
            return Poll::Ready(());
        }
        self.waits.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// The request's head has been read.
    pub(super) fn head_read(&self, now: Instant) {
        self.takes_time();
        self.head_read.set(now);
        self.phase.set(Phase::Waiting);
        self.upload.set(UploadState::Done);
        self.uploaded.set(0);
        self.limit.set(None);
    }

    /// The request is forwarded.
    pub(super) fn waiting(&self, now: Instant, timeouts: &Timeouts) {
        self.limit
            .set(timeouts.request.map(|all| self.head_read.get() + all));
        self.response.set(timeouts.response);
        self.sent.set(now);
        let uploads = self.upload.get() != UploadState::Done;
        self.arm(
            now,
            if uploads {
                timeouts.idle
            } else {
                timeouts.response
            },
        );
    }

    /// Bytes of the request's body that have gone on their way.
    pub(super) fn bytes_in(&self) -> u64 {
        self.uploaded.get()
    }

    /// A part of the request's body has gone on its way.
    pub(super) fn uploaded(&self, bytes: u64, state: UploadState) {
        self.uploaded.set(self.uploaded.get() + bytes);
        self.upload.set(state);
        if self.phase.get() == Phase::Waiting {
            let done = state == UploadState::Done;
            let patience = if done { &self.response } else { &self.patience };
            let now = Instant::now();
            self.sent.set(now);
            self.arm(now, patience.get());
        }
    }

    /// When what has been sent of the request went on its way: its last byte, where all of it has.
    pub(super) fn sent(&self) -> Instant {
        self.sent.get()
    }

    /// Now, as it is in the poll under way: the clock is read once for an answer that comes all at once.
    pub(super) fn now(&self) -> Instant {
        let now = self.moment.get().unwrap_or_else(Instant::now);
        self.moment.set(Some(now));
        now
    }

    /// What is being done takes its time: the clock is to be read again.
    pub(super) fn takes_time(&self) {
        self.moment.set(None);
    }

    /// The request's body goes on its way once more.
    pub(super) fn upload_again(&self) {
        self.uploaded.set(0);
        self.upload.set(UploadState::AwaitsEndpoint);
    }

    /// The answer's head is there; `patience` is how long nothing may move from now on.
    pub(super) fn answering(&self, patience: Duration) {
        self.phase.set(Phase::Answering);
        self.patience.set(patience);
        self.moved.set(true);
    }

    /// The answer has ended.
    pub(super) fn idle(&self, now: Instant) {
        self.phase.set(Phase::Idle);
        self.limit.set(None);
        self.arm(now, self.client.door.idle_timeout);
    }

    /// The connection becomes a tunnel with the answer that is being given.
    pub(super) fn leave_tunnel(&self, tunnel: Tunnel) {
        self.tunnel.set(Some(Box::new(tunnel)));
    }

    /// What the connection has become, where its last answer said so.
    pub fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// Whether the time for what is going on is over.
    pub fn is_late(&self) -> bool {
        self.alarm.has_rung()
    }

    /// Whether the whole request's time is over.
    pub(super) fn is_past_limit(&self) -> bool {
        self.limit
            .get()
            .is_some_and(|limit| limit <= Instant::now())
    }

    /// Whether the next bytes are the endpoint's to send.
    pub(super) fn awaits_endpoint(&self) -> bool {
        self.awaits_endpoint.get()
    }

    pub(super) fn set_awaits_endpoint(&self, awaits: bool) {
        self.awaits_endpoint.set(awaits);
    }

    /// Whether an upload waits for the endpoint, or for its turn: what the client sends is left unread, and its end with it.
    pub fn is_held_up(&self) -> bool {
        self.phase.get() == Phase::Waiting && self.upload.get() == UploadState::AwaitsEndpoint
    }

    /// Whether it is time to look for the client's end.
    pub fn is_due_a_glance(&self) -> bool {
        let has_rung = || self.glance.borrow().as_ref().is_some_and(Alarm::has_rung);
        self.is_held_up() && has_rung()
    }

    /// Has the connection polled when the next glance is due.
    pub fn glance_later(&self, context: &mut Context<'_>) {
        let mut glance = self.glance.borrow_mut();
        let is_new = glance.is_none();
        let glance = glance.get_or_insert_with(|| self.clock().alarm());
        if is_new || glance.has_rung() {
            glance.set(Instant::now() + GLANCE);
        }
        // Wakes the connection when it rings.
        let _ = glance.poll(context);
    }

    pub fn poll_late(&self, context: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll(context)
    }

    /// To be called after the connection was polled and is not done; `before` is the phase it had before. Moves the
    /// deadline if bytes have moved, except where the phase itself has set it: the clock is read for slow exchanges
    /// only, never for one that is over within a poll or two.
    pub fn polled(&self, before: Phase) {
        self.takes_time();
        if !self.moved.replace(false) {
            return;
        }
        let now = Instant::now;
        match (before, self.phase.get()) {
            (Phase::Head, Phase::Head) => {}
            (_, Phase::Head) => self.arm(now(), self.client.door.header_timeout),
            (Phase::Waiting, Phase::Waiting) if self.upload.get() == UploadState::Done => {}
            (Phase::Waiting, Phase::Waiting)
            | (Phase::Idle, Phase::Idle)
            | (_, Phase::Answering) => self.arm(now(), self.patience.get()),
            (_, Phase::Waiting | Phase::Idle) => {}
        }
    }

    pub(super) fn upload(&self) -> UploadState {
        self.upload.get()
    }

    pub(super) fn set_upload(&self, state: UploadState) {
        self.upload.set(state);
    }

    fn arm(&self, now: Instant, patience: Duration) {
        self.patience.set(patience);
        let deadline = now + patience;
        self.alarm.set(
            self.limit
                .get()
                .map_or(deadline, |limit| limit.min(deadline)),
        );
    }
}
