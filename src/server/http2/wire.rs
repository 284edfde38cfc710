use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::server::stream::Stream;

/// The most that is gathered before it is written, what a record of TLS holds (RFC 8446 §5.1).
const GATHERED: usize = 16 << 10;

/// More than that at once is written as it is, not copied.
const SMALL: usize = 8 << 10;

/// A client's stream as the library has it, and what of it was read already.
///
/// The library writes, and flushes, after each part of an answer. That would be a record and a call into the kernel for each, so
/// here it is gathered: what the answers of one wake-up come to is written by the driver, through the [`Outlet`], before it sleeps.
pub(super) struct Wire {
    early: Bytes,
    outlet: Outlet,
}

/// The driver's share of the stream, which the library does not give back.
#[derive(Clone)]
pub(super) struct Outlet(Rc<RefCell<Gathering>>);

struct Gathering {
    stream: TokioIo<Stream>,
    /// Written by the library and not yet to the stream. Given back whenever it is empty, so that a silent connection holds nothing.
    gathered: Vec<u8>,
    /// How much of it is on its way.
    sent: usize,
    /// The client has not taken all that there was to send.
    kept: bool,
}

impl Wire {
    pub(super) fn new(stream: Stream, early: Bytes) -> Self {
        let gathering = Gathering {
            stream: TokioIo::new(stream),
            gathered: Vec::new(),
            sent: 0,
            kept: false,
        };
        let outlet = Outlet(Rc::new(RefCell::new(gathering)));
        Self { early, outlet }
    }

    pub(super) fn outlet(&self) -> Outlet {
        self.outlet.clone()
    }
}

impl Outlet {
    /// Sends what was gathered; to be called before the driver sleeps, which is woken when there is room for more. Ready when
    /// nothing can be sent any more.
    pub(super) fn poll_broken(&self, context: &mut Context<'_>) -> Poll<io::Error> {
        let gathering = &mut *self.0.borrow_mut();
        let sent = gathering.poll_send(context);
        gathering.kept = sent.is_pending();
        match sent {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Whether the client has yet to take something of what was sent last.
    pub(super) fn keeps(&self) -> bool {
        self.0.borrow().kept
    }

    /// The stream, once the library has let go of it. What was gathered last is sent if the client takes it within that time.
    pub(super) async fn into_stream(self, within: Duration) -> Option<Stream> {
        let mut gathering = Rc::try_unwrap(self.0).ok()?.into_inner();
        // Whoever does not read it does not care.
        let _ = timeout(within, poll_fn(|context| gathering.poll_drain(context))).await;
        Some(gathering.stream.into_inner())
    }
}

impl Gathering {
    /// Sends what was gathered, to its end. Once it has ended, TLS may still keep some of it.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let unsent = &self.gathered[self.sent..]
            && !unsent.is_empty()
        {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        (self.gathered, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Whether so much more is gathered, for which there is room then; if not, nothing is gathered any more.
    fn poll_gathers(&mut self, context: &mut Context<'_>, length: usize) -> Poll<io::Result<bool>> {
        let small = length <= SMALL;
        if !small || self.gathered.len() + length > GATHERED {
            ready!(self.poll_drain(context))?;
        }
        Poll::Ready(Ok(small))
    }

    fn gather(&mut self, slice: &[u8]) {
        if self.gathered.capacity() == 0 {
            self.gathered.reserve_exact(GATHERED);
        }
        self.gathered.extend_from_slice(slice);
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            let gathering = &mut *self.outlet.0.borrow_mut();
            return Pin::new(&mut gathering.stream).poll_read(context, buffer);
        }
        let length = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early.split_to(length));
        if self.early.is_empty() {
            // Lets go of the buffer that it is a part of.
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gathering = &mut *self.outlet.0.borrow_mut();
        if !ready!(gathering.poll_gathers(context, bytes.len()))? {
            return Pin::new(&mut gathering.stream).poll_write(context, bytes);
        }
        gathering.gather(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        let gathering = &mut *self.outlet.0.borrow_mut();
        if !ready!(gathering.poll_gathers(context, length))? {
            return Pin::new(&mut gathering.stream).poll_write_vectored(context, slices);
        }
        for slice in slices {
            gathering.gather(slice);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready at once: the driver sends it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathering = &mut *self.outlet.0.borrow_mut();
        ready!(gathering.poll_send(context))?;
        Pin::new(&mut gathering.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// The library's end, the driver's, and the client.
    async fn wire() -> (Wire, Outlet, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let stream = Stream::Plain(listener.accept().await.unwrap().0);
        let wire = Wire::new(stream, Bytes::new());
        let outlet = wire.outlet();
        (wire, outlet, client.unwrap())
    }

    fn write(wire: &mut Wire, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let flushed = Pin::new(&mut *wire).poll_flush(&mut context);
        assert!(matches!(flushed, Poll::Ready(Ok(()))));
        Pin::new(wire).poll_write_vectored(&mut context, &[io::IoSlice::new(bytes)])
    }

    fn taken(written: Poll<io::Result<usize>>) -> Option<usize> {
        match written {
            Poll::Ready(written) => Some(written.unwrap()),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_is_written_at_one_wake_up_is_sent_by_the_driver_at_once() {
        let (mut wire, outlet, mut client) = wire().await;
        for _ in 0..10 {
            assert_eq!(taken(write(&mut wire, &[b'x'; 1000])), Some(1000));
        }
        let mut buffer = vec![0; 20_000];
        let nothing = client.try_read(&mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        let broken = poll_fn(|context| Poll::Ready(outlet.poll_broken(context))).await;
        assert!(broken.is_pending() && !outlet.keeps());
        assert_eq!(client.read(&mut buffer).await.unwrap(), 10_000);
    }

    #[tokio::test]
    async fn large_parts_are_sent_as_they_are_after_what_was_gathered() {
        let (mut wire, _outlet, mut client) = wire().await;
        assert_eq!(taken(write(&mut wire, b"small")), Some(5));
        assert_eq!(taken(write(&mut wire, &[b'x'; 10_000])), Some(10_000));
        let mut bytes = [0; 10_005];
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes[..6], *b"smallx");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_bounds_what_is_gathered_and_gets_it_in_the_end() {
        let (mut wire, outlet, mut client) = wire().await;
        let mut sum = 0;
        while let Some(more) = taken(write(&mut wire, &[b'x'; 1000])) {
            sum += more;
            assert!(outlet.0.borrow().gathered.len() <= GATHERED);
        }
        let broken = poll_fn(|context| Poll::Ready(outlet.poll_broken(context))).await;
        assert!(broken.is_pending() && outlet.keeps());
        drop(wire);
        let last = tokio::spawn(async move {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).await.map(|_| bytes.len())
        });
        drop(outlet.into_stream(Duration::from_secs(5)).await);
        assert_eq!(last.await.unwrap().unwrap(), sum);
    }
}
