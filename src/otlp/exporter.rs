use std::{
    io, mem,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Uri};
use prost::Message;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    collector::{Collector, Untaken},
    message,
};
use crate::telemetry::{
    SpanCounts, Spans,
    span::{Finished, Span},
};

/// Requests that are exported together at most.
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// How often a batch is sent.
const TRIES: u32 = 5;
/// Before it is sent again; twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where spans go.
pub struct Settings {
    /// `http` or `https`. Without a path, `/v1/traces`.
    pub endpoint: Uri,
    /// Sent with every batch.
    pub headers: HeaderMap,
    /// For one batch to be taken.
    pub timeout: Duration,
    /// What spans call this program.
    pub service_name: String,
}

/// The exporter's thread.
pub struct Exporter {
    end: watch::Sender<bool>,
    done: oneshot::Receiver<()>,
}

/// Starts the thread, and returns whom to hand spans to.
pub fn start(settings: Settings) -> io::Result<(Spans, Exporter)> {
    let (spans, finished) = Spans::new();
    let collector = Collector::new(&settings.endpoint, settings.headers.clone());
    let collector = collector.map_err(io::Error::other)?;
    let (end, ends) = watch::channel(false);
    let (tell, done) = oneshot::channel();
    let export = Export {
        settings,
        collector,
        counts: spans.counts(),
        finished,
        ends,
        fails: false,
    };
    thread::Builder::new()
        .name("otlp".to_owned())
        .spawn(move || {
            export.run();
            // Whoever waits for it may have lost patience.
            let _ = tell.send(());
        })?;
    Ok((spans, Exporter { end, done }))
}

impl Exporter {
    /// Sends what was handed over until now, and ends. The caller sets the bound.
    pub async fn end(self) {
        self.end.send_replace(true);
        // A thread that is gone has nothing more to send.
        let _ = self.done.await;
    }
}

struct Export {
    settings: Settings,
    collector: Collector,
    counts: Arc<SpanCounts>,
    finished: Finished,
    ends: watch::Receiver<bool>,
    /// The last batch was not taken; told when that turns.
    fails: bool,
}

impl Export {
    fn run(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(async {
                while let Some(batch) = self.gather().await {
                    self.export(batch).await;
                }
            }),
            Err(error) => tracing::error!(%error, "no spans are exported"),
        }
    }

    /// The next batch: full, or with what has come a moment after its first. `None` when the end has come and nothing waits.
    async fn gather(&mut self) -> Option<Vec<Span>> {
        let mut batch = Vec::new();
        let Self { finished, ends, .. } = self;
        tokio::select! {
            _ = ends.wait_for(|end| *end) => {}
            _ = finished.recv_many(&mut batch, BATCH) => {}
        }
        let until = Instant::now() + LINGER;
        while (1..BATCH).contains(&batch.len()) && !is_over(ends) {
            let room = BATCH - batch.len();
            tokio::select! {
                _ = ends.wait_for(|end| *end) => {}
                came = timeout_at(until, finished.recv_many(&mut batch, room)) => {
                    if matches!(came, Err(_) | Ok(0)) {
                        break;
                    }
                }
            }
        }
        while is_over(ends)
            && batch.len() < BATCH
            && let Ok(span) = finished.try_recv()
        {
            batch.push(span);
        }
        (!batch.is_empty()).then_some(batch)
    }

    async fn export(&mut self, batch: Vec<Span>) {
        let count: u64 = batch.iter().map(Span::count).sum();
        let request = message::request(&self.settings.service_name, &batch);
        drop(batch);
        let body = Bytes::from(request.encode_to_vec());
        let mut next = PAUSE;
        for tried in 1.. {
            match self.send(body.clone()).await {
                Ok(rejected) => return self.taken(count, rejected),
                Err(untaken) => {
                    let is_last = tried == TRIES || !untaken.again || is_over(&self.ends);
                    self.tell(&untaken.said);
                    if is_last {
                        self.counts.failed.fetch_add(count, Relaxed);
                        return;
                    }
                    let pause = untaken.after.unwrap_or(next);
                    next *= 2;
                    tokio::select! {
                        () = sleep(pause.min(LONGEST_PAUSE)) => {}
                        _ = self.ends.changed() => {}
                    }
                }
            }
        }
    }

    async fn send(&mut self, body: Bytes) -> Result<Option<(u64, String)>, Untaken> {
        let sent = timeout(self.settings.timeout, self.collector.send(body)).await;
        sent.unwrap_or_else(|_| {
            self.collector.reset();
            Err(Untaken {
                said: "the collector does not answer in time".to_owned(),
                again: true,
                after: None,
            })
        })
    }

    fn taken(&mut self, count: u64, rejected: Option<(u64, String)>) {
        let (rejected, why) = rejected.unwrap_or_default();
        let rejected = rejected.min(count);
        self.counts.exported.fetch_add(count - rejected, Relaxed);
        self.counts.failed.fetch_add(rejected, Relaxed);
        if rejected > 0 {
            tracing::warn!(rejected, why = %why.escape_debug(), "the collector did not take all spans");
        }
        if mem::take(&mut self.fails) {
            tracing::info!("the collector takes spans again");
        }
    }

    /// Once, until it works again.
    fn tell(&mut self, said: &str) {
        if !mem::replace(&mut self.fails, true) {
            tracing::warn!("spans are not exported: {said}");
        }
    }
}

/// What is there is to be sent, and nothing more is waited for.
fn is_over(ends: &watch::Receiver<bool>) -> bool {
    *ends.borrow() || ends.has_changed().is_err()
}
