use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};

use super::{Payload, Stream, h2::Lane, room::Counted};

/// A connection, or a stream of one, whose endpoint has switched to another protocol, with what it has sent in that one already.
pub struct Switched<B: Payload> {
    pub way: Crossed<B>,
    pub early: Bytes,
}

/// What bytes go by from then on.
pub enum Crossed<B: Payload> {
    Connection(Own),
    Lane(Lane<B>),
}

/// A connection that nothing else goes over.
pub struct Own {
    pub(super) stream: Stream,
    /// Counts it as open until it is closed.
    _counted: Counted,
}

impl Own {
    pub(super) fn new(stream: Stream, counted: Counted) -> Self {
        Self {
            stream,
            _counted: counted,
        }
    }
}

impl<B: Payload> Read for Crossed<B> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(own) => Pin::new(&mut own.stream).poll_read(context, buffer),
            Self::Lane(lane) => Pin::new(lane).poll_read(context, buffer),
        }
    }
}

impl<B: Payload> Write for Crossed<B> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Connection(own) => Pin::new(&mut own.stream).poll_write(context, bytes),
            Self::Lane(lane) => Pin::new(lane).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(own) => Pin::new(&mut own.stream).poll_flush(context),
            Self::Lane(lane) => Pin::new(lane).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(own) => Pin::new(&mut own.stream).poll_shutdown(context),
            Self::Lane(lane) => Pin::new(lane).poll_shutdown(context),
        }
    }
}
