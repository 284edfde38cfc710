use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::{
    rt::{Read, ReadBuf, ReadBufCursor, Write},
    upgrade::Upgraded,
};

use super::Place;
use crate::upstream::Payload;

/// What is read first, to see whether there is anything.
const FIRST: usize = 64;

/// The most that is handed over at a time, a frame's worth: two such wait for an endpoint that takes nothing.
const PART: usize = 16 << 10;

/// A stream of a connection that others share, which has become another protocol's (RFC 8441).
pub struct Lane<B: Payload> {
    stream: Upgraded,
    place: Place<B>,
    /// It has ended once; by what is yet to be seen.
    has_ended: bool,
    /// Nothing of it is left: all that was written has been taken by the connection, or the stream has broken.
    is_over: bool,
}

impl<B: Payload> Lane<B> {
    pub(in crate::upstream) fn new(stream: Upgraded, place: Place<B>) -> Self {
        Self {
            stream,
            place,
            has_ended: false,
            is_over: false,
        }
    }

    fn over<T>(&mut self, broken: io::Error) -> Poll<io::Result<T>> {
        self.is_over = true;
        Poll::Ready(Err(broken))
    }

    /// The HTTP library reads a stream that was reset as one that has ended. What writes to it is told the difference, and has a task
    /// of its own, which was woken before us: it has run the next time that we do.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_ended {
            self.has_ended = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Err(reset)) => self.over(reset),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// What its endpoint does not take stays with the connection until that ends: nothing new is sent there.
impl<B: Payload> Drop for Lane<B> {
    fn drop(&mut self) {
        if !self.is_over {
            self.place.retire();
        }
    }
}

impl<B: Payload> Read for Lane<B> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut space = [0; FIRST];
        let mut first = ReadBuf::new(&mut space[..FIRST.min(buffer.remaining())]);
        if let Err(broken) = ready!(Pin::new(&mut self.stream).poll_read(context, first.unfilled()))
        {
            return self.over(broken);
        }
        if first.filled().is_empty() {
            return self.poll_end(context);
        }
        let first = first.filled();
        buffer.put_slice(first);
        if first.len() == FIRST {
            // An error, or the end, is said again the next time.
            let _ = Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<B: Payload> Write for Lane<B> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let part = &bytes[..bytes.len().min(PART)];
        match ready!(Pin::new(&mut self.stream).poll_write(context, part)) {
            Err(broken) => self.over(broken),
            taken => Poll::Ready(taken),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Ready once all has gone to the connection, with the end of it, or the stream is no more.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = ready!(Pin::new(&mut self.stream).poll_shutdown(context));
        self.is_over = true;
        Poll::Ready(ended)
    }
}
