use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Frame, SizeHint};
use hyper::{rt, upgrade::OnUpgrade};
use tokio::time::Instant;

use super::tunnel::Crossing;
use crate::proxy::{Body, BodyError, Phase, Progress};

/// What is open on a connection.
pub(super) struct Streams {
    open: Cell<usize>,
    begun: Cell<u64>,
    /// Parts of answers that the library keeps until the client takes them, be their streams' tasks over or not.
    kept: Cell<usize>,
    /// Answers that are read as fast as they come.
    large: Cell<usize>,
    /// When the last stream ended, or something of a part was taken last.
    quiet: Cell<Instant>,
    /// Of the stream whose task begins next.
    next: RefCell<Option<Next>>,
    /// Of the stream that is being polled, which asks for what it becomes to be run.
    crossing: Cell<Option<Box<Crossing>>>,
}

/// So many answers at a time are read as fast as their endpoints send, up to 256 KiB at once, and their parts hold the buffers which they
/// were read into. Others are read in sips, and copied out of theirs.
const LARGE: usize = 4;

/// While so many parts are kept, no more of an answer that is read in sips is handed over before its last one was taken.
const MANY: usize = 32;

type Next = (Rc<Progress>, Option<OnUpgrade>);

impl Streams {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            open: Cell::new(0),
            begun: Cell::new(0),
            kept: Cell::new(0),
            large: Cell::new(0),
            quiet: Cell::new(Instant::now()),
            next: RefCell::default(),
            crossing: Cell::default(),
        })
    }

    /// A request has come; its task begins right after. It may ask for a tunnel on its stream.
    pub(super) fn announce(&self, progress: &Rc<Progress>, upgrade: Option<OnUpgrade>) {
        self.next.replace(Some((progress.clone(), upgrade)));
    }

    /// Since when nothing is open.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        (self.open.get() == 0).then(|| self.quiet.get())
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// Whether the client has yet to take something of an answer.
    pub(super) fn keeps(&self) -> bool {
        self.kept.get() > 0
    }

    /// An answer, whose parts are known for as long as they are kept.
    pub(super) fn hand(
        self: &Rc<Self>,
        answer: Response<Body>,
        progress: Rc<Progress>,
    ) -> Response<Handed> {
        let streams = self.clone();
        answer.map(|body| Handed {
            body,
            begun: false,
            large: false,
            streams,
            progress,
        })
    }

    fn begin(self: Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        self.begun.set(self.begun.get() + 1);
        Open(self)
    }
}

/// A stream that is open.
struct Open(Rc<Streams>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.quiet.set(Instant::now());
    }
}

/// The body of an answer that is handed to the library.
pub(super) struct Handed {
    body: Body,
    /// It was asked for before, so it is no small one.
    begun: bool,
    /// It is one of those that are read as fast as they come.
    large: bool,
    streams: Rc<Streams>,
    progress: Rc<Progress>,
}

/// A part of it, which the library lets go when it is on its way.
pub(super) struct Part {
    bytes: Bytes,
    streams: Rc<Streams>,
    /// Of its stream, which is not late while something of it goes on its way.
    progress: Rc<Progress>,
}

impl Handed {
    /// Has the body read as fast as it comes, where there is more than a sip of it and not too many others are.
    fn hurry(&mut self) {
        let large = &self.streams.large;
        if self.begun && !self.large && large.get() < LARGE {
            large.set(large.get() + 1);
            self.large = true;
            self.body.read_freely();
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let large = &self.streams.large;
        large.set(large.get() - usize::from(self.large));
    }
}

impl http_body::Body for Handed {
    type Data = Part;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, BodyError>>> {
        self.hurry();
        if !self.large && self.streams.kept.get() >= MANY {
            ready!(self.progress.poll_taken(context));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let lends = self.large || !self.begun;
        self.begun = true;
        let part = |bytes: Bytes| {
            let bytes = if lends {
                bytes
            } else {
                Bytes::copy_from_slice(&bytes)
            };
            Part::new(bytes, &self)
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Part {
    fn new(bytes: Bytes, of: &Handed) -> Self {
        let (streams, progress) = (of.streams.clone(), of.progress.clone());
        streams.kept.set(streams.kept.get() + 1);
        progress.keep();
        Self {
            bytes,
            streams,
            progress,
        }
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.progress.has_written();
        self.streams.quiet.set(Instant::now());
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.streams.kept.set(self.streams.kept.get() - 1);
        self.progress.let_go();
        if self.has_remaining() {
            self.streams.quiet.set(Instant::now());
        }
    }
}

/// Gives each stream a task on the worker's own thread, which ends it when it stands still for too long: a client that takes nothing
/// of an answer holds what it does not take.
#[derive(Clone)]
pub(super) struct Executor(pub(super) Rc<Streams>);

impl<F> rt::Executor<F> for Executor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, task: F) {
        let open = self.0.clone().begin();
        if let Some(crossing) = self.0.crossing.take() {
            // Of a stream that becomes a tunnel, which has times of its own.
            tokio::task::spawn_local(async move {
                crossing.run(task).await;
                drop(open);
            });
            return;
        }
        let Some((progress, upgrade)) = self.0.next.take() else {
            tokio::task::spawn_local(task);
            return;
        };
        let mut crossing = upgrade.map(|upgrade| {
            Box::new(Crossing {
                progress: progress.clone(),
                upgrade,
            })
        });
        tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|context| {
                let before = progress.phase();
                open.0.crossing.set(crossing.take());
                let polled = task.as_mut().poll(context);
                crossing = open.0.crossing.take();
                if polled.is_ready() {
                    return Poll::Ready(());
                }
                progress.polled(before);
                match (progress.phase(), progress.poll_late(context)) {
                    // A request that waits is answered that it was too slow.
                    (_, Poll::Pending) | (Phase::Waiting, _) => Poll::Pending,
                    (_, Poll::Ready(())) => Poll::Ready(()),
                }
            })
            .await;
            drop(open);
        });
    }
}
