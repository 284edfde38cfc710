use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;

use super::stream::Stream;
use crate::{
    proxy::{Phase, Progress},
    upstream::write_gathered,
};

/// A progress's socket, which tells when bytes have moved.
///
/// While a request's head is being read there is nothing to write, unless hyper cannot read the head: then it writes a
/// refusal of its own. That is kept back, for the refusal is ours to word.
pub(super) struct Socket {
    stream: TokioIo<Stream>,
    progress: Rc<Progress>,
    /// The last write took less than it was given: more of an answer is to come.
    unfinished: bool,
    /// A refusal was kept back.
    pub kept_back: bool,
}

impl Socket {
    pub(super) fn new(stream: Stream, progress: Rc<Progress>) -> Self {
        Self {
            stream: TokioIo::new(stream),
            progress,
            unfinished: false,
            kept_back: false,
        }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream.into_inner()
    }

    fn keeps_back(&mut self) -> bool {
        if self.progress.phase() == Phase::Head && !self.unfinished {
            self.kept_back = true;
        }
        self.kept_back
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, of: usize) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.unfinished = bytes < of;
            self.progress.has_written();
        } else {
            self.unfinished = true;
        }
        written
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.progress.has_read();
        }
        read
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.keeps_back() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.keeps_back() {
            return Poll::Ready(Ok(length));
        }
        let written = write_gathered(&mut self.stream, context, slices);
        self.wrote(written, length)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.kept_back {
            return Poll::Ready(Ok(()));
        }
        // Polled whenever the connection is, unlike reads.
        if self.progress.is_due_a_glance() && self.stream.inner().has_left(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        // TLS writes what it had in store.
        self.unfinished |= flushed.is_pending();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.kept_back {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
