use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::{Stream, room::Counted};

/// What hyper does not say of the stream it reads.
pub struct Watch {
    /// Who wants to know that bytes may have moved.
    waker: Cell<Option<Waker>>,
}

impl Watch {
    pub fn wake_on_move(&self, context: &Context<'_>) {
        self.waker.set(Some(context.waker().clone()));
    }

    fn moves(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A connection's stream. Counted as open for as long as it is, and watched.
pub struct Watched {
    stream: Stream,
    _counted: Counted,
    watch: Rc<Watch>,
}

impl Watched {
    pub fn new(stream: Stream, counted: Counted) -> (Self, Rc<Watch>) {
        let watch = Rc::new(Watch {
            waker: Cell::default(),
        });
        let watched = Self {
            stream,
            _counted: counted,
            watch: watch.clone(),
        };
        (watched, watch)
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.watch.moves();
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch.moves();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watch.moves();
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
