use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::upstream::{Stream, line::Counted};

/// Who wants to know that something has happened on a stream.
#[derive(Clone, Default)]
pub struct Bell(Rc<Cell<Option<Waker>>>);

impl Bell {
    pub fn wake_on_ring(&self, context: &Context<'_>) {
        self.0.set(Some(context.waker().clone()));
    }

    fn ring(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

/// A connection's stream. Counted as open for as long as it is, and rings where bytes may have moved: hyper does not say when
/// the other end's settings have come.
pub struct Watched {
    pub stream: Stream,
    pub bell: Bell,
    pub _counted: Counted,
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.bell.ring();
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.bell.ring();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bell.ring();
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
