use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use super::{
    shape::{Shape, Written},
    tally::{Sent, Tally},
    wants,
};
use crate::{
    config::plan::Notify,
    control::{Event, Kind},
    outbound::{Answer, Backoff, Client, Limits, printable},
    units::Timestamp,
};

/// Notices that wait for those before them.
const QUEUE: usize = 256;
/// How often one is sent.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A status page's answer names the incident.
const LIMITS: Limits = Limits {
    within: Duration::from_secs(10),
    largest: 64 << 10,
};
/// Of an answer that is no good.
const SHOWN: usize = 200;

/// One who is told.
pub(super) struct Desk {
    notify: Arc<Notify>,
    /// In the file, from 1; it may move.
    place: Arc<AtomicUsize>,
    queue: mpsc::Sender<Arc<Event>>,
    tally: Tally,
    /// Ends with the desk.
    _clerk: JoinSet<()>,
}

impl Desk {
    pub fn open(notify: &Arc<Notify>, client: Client, tally: Tally) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let place = Arc::<AtomicUsize>::default();
        let clerk = Clerk {
            shape: Shape::new(notify),
            place: place.clone(),
            client,
            tally: tally.clone(),
            fails: false,
        };
        let mut clerks = JoinSet::new();
        clerks.spawn(clerk.work(waiting));
        Self {
            notify: notify.clone(),
            place,
            queue,
            tally,
            _clerk: clerks,
        }
    }

    /// It is the same one who is told, whatever of.
    pub fn is_of(&self, notify: &Notify) -> bool {
        self.notify.url == notify.url && self.notify.format == notify.format
    }

    pub fn at(mut self, place: usize, notify: &Arc<Notify>) -> Self {
        self.place.store(place, Relaxed);
        self.notify = notify.clone();
        self.tally.open(place);
        self
    }

    pub fn wants(&self, kind: Kind) -> bool {
        wants(&self.notify.on, kind)
    }

    /// Never waits.
    pub fn put(&self, event: Arc<Event>) {
        if self.queue.try_send(event).is_err() {
            self.tally.count(self.place.load(Relaxed), Sent::Dropped);
        }
    }
}

/// Who sends what waits at a desk, one after another, so that it arrives in order.
struct Clerk {
    shape: Shape,
    place: Arc<AtomicUsize>,
    client: Client,
    tally: Tally,
    /// The last was not taken; told when that turns.
    fails: bool,
}

impl Clerk {
    async fn work(mut self, mut waiting: mpsc::Receiver<Arc<Event>>) {
        while let Some(event) = waiting.recv().await {
            let sent = match self.shape.write(&event) {
                Written::Nothing => continue,
                Written::Request(request) => self.send(*request).await,
                Written::Unusable(why) => Err(why),
            };
            let place = self.place.load(Relaxed);
            match sent {
                Ok(answer) => {
                    self.shape.taken(&event, &answer);
                    self.tally.count(place, Sent::Taken);
                    if std::mem::take(&mut self.fails) {
                        tracing::info!(place, "notices are taken again");
                    }
                }
                Err(why) => {
                    self.tally.count(place, Sent::Failed);
                    if !std::mem::replace(&mut self.fails, true) {
                        tracing::warn!(place, event = event.id, "a notice is given up: {why}");
                    }
                }
            }
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Answer, String> {
        let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut tries = 1;
        loop {
            let (why, may_pass, after) = match self.client.send(request.clone(), LIMITS).await {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) => {
                    let said = printable(&answer.body, SHOWN);
                    let after = answer.retry_after(Timestamp::now());
                    let why = format!("it answered {} {said}", answer.status);
                    (why.trim_end().to_owned(), answer.may_pass(), after)
                }
                Err(error) => (format!("it {error}"), error.may_pass(), None),
            };
            if !may_pass || tries == TRIES {
                return Err(why);
            }
            tries += 1;
            let pause = pauses.pause();
            sleep(after.map_or(pause, |after| after.min(LONGEST_PAUSE))).await;
        }
    }
}
