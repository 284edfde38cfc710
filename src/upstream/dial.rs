//! Opening a byte stream to an endpoint: TCP by address or by name, Unix sockets.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::write_gathered;
use crate::units::Address;

/// An open stream to an endpoint.
pub enum Stream {
    Tcp(TokioIo<TcpStream>),
    Unix(TokioIo<UnixStream>),
}

/// Why an endpoint could not be reached. Nothing has been sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("connect: {0}")]
    Connect(#[from] io::Error),
    #[error("connect: no answer in time")]
    Timeout,
}

/// Opens a stream within `timeout`, the resolution of a name included. A name is resolved at every dial, and each of
/// its addresses tried in turn.
pub async fn dial(address: &Address, timeout: Duration) -> Result<Stream, DialError> {
    let connect = async {
        match address {
            Address::Ip(address) => TcpStream::connect(address).await.and_then(tcp),
            Address::Named(host, port) => TcpStream::connect((&**host, *port)).await.and_then(tcp),
            Address::Unix(path) => {
                let stream = UnixStream::connect(path.as_path()).await?;
                Ok(Stream::Unix(TokioIo::new(stream)))
            }
        }
    };
    match tokio::time::timeout(timeout, connect).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(DialError::Timeout),
    }
}

fn tcp(stream: TcpStream) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(TokioIo::new(stream)))
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => write_gathered(stream, context, slices),
            Self::Unix(stream) => write_gathered(stream, context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is buffered here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
