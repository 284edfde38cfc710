use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, Write};

use super::Frames;

/// Turns of one poll, so that a busy tunnel leaves its thread to others now and then.
const TURNS: usize = 16;

/// One direction of a tunnel: from a source to a sink. Bytes are read into a buffer that all tunnels of a worker share; only
/// what the sink does not take at once is kept, and nothing more is read until it has taken it.
pub(super) struct Way {
    /// Read and not yet taken, up to `gone`, which has been.
    left: Vec<u8>,
    gone: usize,
    /// Of a WebSocket.
    frames: Option<Frames>,
    state: State,
    /// Bytes that the source has sent.
    pub bytes: u64,
    /// Bytes have moved since it was last asked.
    moved: bool,
    unflushed: bool,
}

enum State {
    Open,
    /// Ends with these bytes as soon as the frame that is passing has passed.
    Closing(Vec<u8>),
    /// What is left goes out, and the sink is told that nothing more will come.
    Ending {
        by_source: bool,
    },
    /// Ended by us: what the source still sends is taken and dropped, so that it is not answered with a reset, which would
    /// destroy our last words.
    Draining,
    Done,
}

/// Which end a direction broke at.
#[derive(Debug)]
pub(super) enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

impl Way {
    /// `early` is what the source has sent before.
    pub(super) fn new(early: &[u8], frames: Option<Frames>) -> Self {
        let mut way = Self {
            left: Vec::new(),
            gone: 0,
            frames,
            state: State::Open,
            bytes: 0,
            moved: false,
            unflushed: false,
        };
        way.took(early);
        way.left.extend_from_slice(early);
        way
    }

    /// Ends it once the frame that is passing has passed, with a frame of ours if the source has not said its last one.
    pub(super) fn close(&mut self, farewell: Vec<u8>) {
        if let State::Open = self.state {
            self.state = State::Closing(farewell);
        }
    }

    /// Ends it where it stands: its source has broken. With a frame of ours where one can stand, the one it was to end with if there
    /// is such.
    pub(super) fn cut(&mut self, farewell: &[u8]) {
        let farewell = match &self.state {
            State::Open => farewell,
            State::Closing(farewell) => farewell,
            _ => return,
        };
        if self
            .frames
            .as_ref()
            .is_some_and(|frames| frames.at_boundary() && !frames.closed())
        {
            self.left.extend_from_slice(farewell);
        }
        self.state = State::Ending { by_source: true };
    }

    /// Passes nothing on any more: its sink has broken.
    pub(super) fn abandon(&mut self) {
        self.left = Vec::new();
        self.gone = 0;
        if !self.is_done() {
            self.state = State::Draining;
        }
    }

    /// Whether the source has said that nothing more will come, and the sink has been told.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the source has said its last frame.
    pub(super) fn said_last(&self) -> bool {
        self.frames.as_ref().is_some_and(Frames::closed)
    }

    /// Whether bytes have moved since this was last asked.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Passes on what there is; ready once the source has ended and the sink knows.
    pub(super) fn poll<R, W>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        scratch: &mut [u8],
    ) -> Poll<Result<(), Broken>>
    where
        R: Read + Unpin,
        W: Write + Unpin,
    {
        for _ in 0..TURNS {
            ready!(self.poll_left(context, sink)).map_err(Broken::Sink)?;
            match &mut self.state {
                State::Closing(_) if self.frames.as_ref().is_none_or(Frames::at_boundary) => {
                    self.take_leave();
                }
                State::Open | State::Closing(_) => {
                    let Poll::Ready(read) = poll_read(source, context, scratch) else {
                        return self.poll_idle(context, sink).map_err(Broken::Sink);
                    };
                    match read.map_err(Broken::Source)? {
                        0 => self.state = State::Ending { by_source: true },
                        read => self
                            .pass(context, sink, &scratch[..read])
                            .map_err(Broken::Sink)?,
                    }
                }
                State::Ending { by_source } => {
                    let by_source = *by_source;
                    ready!(poll_end(sink, context)).map_err(Broken::Sink)?;
                    self.state = if by_source {
                        State::Done
                    } else {
                        State::Draining
                    };
                }
                State::Draining => match ready!(poll_read(source, context, scratch)) {
                    Ok(0) | Err(_) => self.state = State::Done,
                    Ok(_) => {}
                },
                State::Done => return Poll::Ready(Ok(())),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// At a boundary: our last words, unless the source has said its own.
    fn take_leave(&mut self) {
        if let State::Closing(farewell) = &mut self.state
            && self.frames.as_ref().is_some_and(|frames| !frames.closed())
        {
            self.left = std::mem::take(farewell);
        }
        self.state = State::Ending { by_source: false };
    }

    /// Takes note of what the source has sent; returns how much of it is to be passed on.
    fn took(&mut self, bytes: &[u8]) -> usize {
        self.bytes += bytes.len() as u64;
        match (&mut self.frames, &self.state) {
            (None, _) => bytes.len(),
            (Some(frames), State::Closing(_)) => frames.follow_to_boundary(bytes),
            (Some(frames), _) => {
                frames.follow(bytes);
                bytes.len()
            }
        }
    }

    /// Hands bytes to the sink; keeps what it does not take.
    fn pass<W: Write + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut W,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.moved = true;
        let bytes = &bytes[..self.took(bytes)];
        let taken = match Pin::new(sink).poll_write(context, bytes) {
            Poll::Ready(taken) => some(taken?)?,
            Poll::Pending => 0,
        };
        self.unflushed = true;
        self.left.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    fn poll_left<W: Write + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.gone < self.left.len() {
            let taken = ready!(Pin::new(&mut *sink).poll_write(context, &self.left[self.gone..]))?;
            self.gone += some(taken)?;
            self.moved = true;
            self.unflushed = true;
        }
        if self.gone > 0 {
            self.left = Vec::new();
            self.gone = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// The source has nothing: what the sink may hold back of what it has taken goes out.
    fn poll_idle<W: Write + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        if self.unflushed && Pin::new(sink).poll_flush(context)?.is_ready() {
            self.unflushed = false;
        }
        Poll::Pending
    }
}

/// A sink that takes nothing and says that it can is broken.
fn some(taken: usize) -> io::Result<usize> {
    match taken {
        0 => Err(io::ErrorKind::WriteZero.into()),
        taken => Ok(taken),
    }
}

fn poll_read<R: Read + Unpin>(
    source: &mut R,
    context: &mut Context<'_>,
    scratch: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(scratch);
    ready!(Pin::new(source).poll_read(context, buffer.unfilled()))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

fn poll_end<W: Write + Unpin>(sink: &mut W, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    ready!(Pin::new(&mut *sink).poll_flush(context))?;
    match ready!(Pin::new(sink).poll_shutdown(context)) {
        // It has gone already.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
        ended => Poll::Ready(ended),
    }
}
