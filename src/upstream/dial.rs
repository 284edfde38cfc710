//! Opening a byte stream to an endpoint: TCP by address or by name, Unix sockets, and TLS over either.

use std::{
    io,
    net::Shutdown,
    os::fd::AsRawFd,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BufMut;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::write_gathered;
use crate::{
    tls::{ClientSettings, ClientStream, ConnectError},
    units::{Address, is_shortage},
};

/// An open stream to an endpoint.
pub enum Stream {
    Tcp(TokioIo<TcpStream>),
    Unix(TokioIo<UnixStream>),
    TlsTcp(Box<TokioIo<ClientStream<TcpStream>>>),
    TlsUnix(Box<TokioIo<ClientStream<UnixStream>>>),
}

/// Why an endpoint could not be reached. Nothing of a request has been sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("connect: {0}")]
    Connect(io::Error),
    /// This machine has nothing left to open a connection with, whatever the endpoint is like.
    #[error("nothing left to connect with: {0}")]
    Shortage(io::Error),
    /// As many connections to it are open as may be, and none came free in time.
    #[error("no room for another connection")]
    Full,
    #[error("connect: no answer in time")]
    Timeout,
    #[error(transparent)]
    Tls(#[from] ConnectError),
    /// It took the connection, and does not say what it should on it.
    #[error("connect: {0}")]
    Protocol(String),
    /// That of an attempt that several have waited for.
    #[error(transparent)]
    Shared(Arc<DialError>),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        if is_shortage(&error) {
            Self::Shortage(error)
        } else {
            Self::Connect(error)
        }
    }
}

impl DialError {
    /// What happened, however many waited for it.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Shared(error) => error.cause(),
            other => other,
        }
    }
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

/// The same, with `preamble` before the first byte, made safe where `tls` says how, and whether HTTP/2 was agreed on. The timeout
/// covers all of it.
pub async fn dial_with(
    address: &Address,
    preamble: &[u8],
    tls: Option<&ClientSettings>,
    timeout: Duration,
) -> Result<(Stream, bool), DialError> {
    let host = match address {
        Address::Ip(address) => address.ip().to_string(),
        Address::Named(host, _) => host.to_string(),
        // The settings have another name for it.
        Address::Unix(_) => "localhost".to_owned(),
    };
    let connect = async {
        let mut stream = dial(address, timeout).await?;
        if !preamble.is_empty() {
            stream.say(preamble).await?;
        }
        let Some(tls) = tls else {
            return Ok((stream, false));
        };
        Ok(match stream {
            Stream::Tcp(stream) => {
                let safe = tls.connect(stream.into_inner(), &host).await?;
                (Stream::TlsTcp(Box::new(TokioIo::new(safe.stream))), safe.h2)
            }
            Stream::Unix(stream) => {
                let safe = tls.connect(stream.into_inner(), &host).await?;
                let stream = Box::new(TokioIo::new(safe.stream));
                (Stream::TlsUnix(stream), safe.h2)
            }
            safe => (safe, false),
        })
    };
    let connected = tokio::time::timeout(timeout, connect).await;
    connected.unwrap_or(Err(DialError::Timeout))
}

impl Stream {
    /// Writes these bytes before any others.
    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.inner_mut().write_all(bytes).await,
            Self::Unix(stream) => stream.inner_mut().write_all(bytes).await,
            // What is safe already has begun.
            Self::TlsTcp(_) | Self::TlsUnix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Reads into the buffer, in one call; gives how much.
    pub(super) fn poll_read_into(
        &mut self,
        buffer: &mut impl BufMut,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => pin!(stream.inner_mut().read_buf(buffer)).poll(context),
            Self::Unix(stream) => pin!(stream.inner_mut().read_buf(buffer)).poll(context),
            Self::TlsTcp(stream) => pin!(stream.inner_mut().read_buf(buffer)).poll(context),
            Self::TlsUnix(stream) => pin!(stream.inner_mut().read_buf(buffer)).poll(context),
        }
    }

    /// Whether neither bytes nor an end have come, as far as the runtime was told. Takes a byte if there is one.
    pub(super) fn is_quiet(&mut self, context: &mut Context<'_>) -> bool {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let read = match self {
            Self::Tcp(stream) => Pin::new(stream.inner_mut()).poll_read(context, &mut byte),
            Self::Unix(stream) => Pin::new(stream.inner_mut()).poll_read(context, &mut byte),
            Self::TlsTcp(stream) => Pin::new(stream.inner_mut()).poll_read(context, &mut byte),
            Self::TlsUnix(stream) => Pin::new(stream.inner_mut()).poll_read(context, &mut byte),
        };
        read.is_pending()
    }

    /// Whether an end has come, or bytes that nobody asked for, as far as the kernel knows: the runtime learns of them only
    /// when it turns to it. What TLS has to say for itself is no news.
    pub(super) fn has_news(&self) -> bool {
        let mut record = [0; 5];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(self.socket().as_raw_fd(), &mut record, flags) {
            Err(Errno::EAGAIN) => false,
            Ok(1..) if self.is_secure() => is_alert(record),
            Ok(_) | Err(_) => true,
        }
    }

    /// Ends both directions; who waits for it is told.
    pub(super) fn shut(&self) {
        // It may have ended by itself.
        let _ = self.socket().shutdown(Shutdown::Both);
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream.inner()),
            Self::Unix(stream) => SockRef::from(stream.inner()),
            Self::TlsTcp(stream) => SockRef::from(stream.inner().get_ref().0),
            Self::TlsUnix(stream) => SockRef::from(stream.inner().get_ref().0),
        }
    }

    /// Whether nobody between could read it.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::TlsTcp(_) | Self::TlsUnix(_))
    }
}

/// Whether a record of TLS is an alert, as the end of a connection is, by its head. Version 1.3 hides it: its level and description, its
/// kind and the tag of the cipher are 19 bytes, which nothing else is as short as (RFC 8446 §5.2, §6).
fn is_alert([kind, _, _, high, low]: [u8; 5]) -> bool {
    const ALERT: u8 = 21;
    const HIDDEN: u8 = 23;
    kind == ALERT || kind == HIDDEN && u16::from_be_bytes([high, low]) <= 19
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
            Self::TlsTcp(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
            Self::TlsUnix(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
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
            Self::TlsTcp(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
            Self::TlsUnix(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
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
            Self::TlsTcp(stream) => write_gathered(&mut **stream, context, slices),
            Self::TlsUnix(stream) => write_gathered(&mut **stream, context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is buffered in clear.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::TlsTcp(stream) => Pin::new(&mut **stream).poll_flush(context),
            Self::TlsUnix(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::TlsTcp(stream) => Pin::new(&mut **stream).poll_shutdown(context),
            Self::TlsUnix(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use bytes::BytesMut;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Ip(listener.local_addr().unwrap());
        let stream = dial(&address, Duration::from_secs(5)).await.unwrap();
        (stream, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn no_more_is_read_at_a_time_than_there_is_room_for() {
        let (mut stream, mut endpoint) = pair().await;
        endpoint.write_all(b"0123456789").await.unwrap();
        for (most, expected) in [(3, "012"), (4, "3456"), (100, "789")] {
            let mut bytes = BytesMut::new();
            let mut room = (&mut bytes).limit(most);
            let read = poll_fn(|context| stream.poll_read_into(&mut room, context));
            assert_eq!(read.await.unwrap(), expected.len());
            assert_eq!(bytes, expected);
        }
    }

    async fn readable(stream: &Stream) {
        let Stream::Tcp(stream) = stream else {
            panic!("it is one of TCP");
        };
        stream.inner().readable().await.unwrap();
    }

    fn is_quiet(stream: &mut Stream) -> bool {
        stream.is_quiet(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn a_stream_is_quiet_until_something_comes_or_it_ends() {
        let (mut stream, mut endpoint) = pair().await;
        assert!(is_quiet(&mut stream) && !stream.has_news());
        endpoint.write_all(b"0").await.unwrap();
        // The kernel has it at once; the runtime has yet to ask.
        assert!(is_quiet(&mut stream) && stream.has_news());
        readable(&stream).await;
        assert!(!is_quiet(&mut stream));
        assert!(is_quiet(&mut stream) && !stream.has_news());
        drop(endpoint);
        assert!(stream.has_news());
        readable(&stream).await;
        assert!(!is_quiet(&mut stream));
    }

    #[test]
    fn the_end_of_tls_is_told_from_what_else_it_says() {
        let (alert, handshake, hidden) = (21, 22, 23);
        for (kind, length, expected) in [
            (alert, 2, true),
            (alert, 26, true),
            (hidden, 19, true),
            // The smallest of what else comes after a handshake: new keys.
            (hidden, 22, false),
            (hidden, 250, false),
            (handshake, 19, false),
        ] {
            assert_eq!(
                is_alert([kind, 3, 3, 0, length]),
                expected,
                "{kind}, {length}"
            );
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_shut_ends_for_both() {
        let (mut stream, mut endpoint) = pair().await;
        stream.shut();
        let mut bytes = BytesMut::new();
        let read = poll_fn(|context| stream.poll_read_into(&mut bytes, context));
        assert_eq!(read.await.unwrap(), 0);
        assert_eq!(endpoint.read(&mut [0]).await.unwrap(), 0);
    }
}
