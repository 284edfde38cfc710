//! A listening socket, of TCP or of Unix, and what it accepts.

use std::{
    io,
    net::{self, Shutdown, SocketAddr},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    sync::Arc,
};

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};

/// A listening socket of which no runtime has heard.
pub(super) enum Handle {
    Tcp(net::TcpListener),
    /// Of one socket there are many; each has a part of what tells which is the last.
    Unix(UnixListener, Arc<()>),
}

/// A listening socket that a worker waits on.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(tokio::net::UnixListener, Arc<()>),
}

/// A connection, and whose it is: the client's address, unless it has come by a Unix socket.
pub(super) type Accepted = (TcpStream, Option<SocketAddr>);

impl Handle {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener, all) => Self::Unix(listener.try_clone()?, all.clone()),
        })
    }

    pub(super) fn listen(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(listener, all) => {
                Listener::Unix(tokio::net::UnixListener::from_std(listener)?, all)
            }
        })
    }

    /// What is queued, without waiting.
    pub(super) fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, Some(peer)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((as_any_stream(stream)?, None))
            }
        }
    }

    /// The last handle on a Unix socket, to which nobody can connect from now on: who had found its file before that was
    /// removed could until now, and would have been lost with the socket. `None` where another is the last, and for TCP.
    pub(super) fn shut(self) -> Option<Self> {
        let Self::Unix(listener, all) = self else {
            return None;
        };
        Arc::into_inner(all)?;
        // Not before: a runtime that waits on a socket in that state would ask it over and over.
        SockRef::from(&listener).shutdown(Shutdown::Read).ok()?;
        Some(Self::Unix(listener, Arc::default()))
    }
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((stream, Some(peer)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((as_any_stream(stream.into_std()?)?, None))
            }
        }
    }

    pub(super) fn into_handle(self) -> io::Result<Handle> {
        Ok(match self {
            Self::Tcp(listener) => Handle::Tcp(listener.into_std()?),
            Self::Unix(listener, all) => Handle::Unix(listener.into_std()?, all),
        })
    }
}

/// The kernel reads, writes and closes every stream socket by the same calls: so what serves connections knows one kind, and
/// what only TCP has (its delay of small segments, addresses) is not asked of the others.
fn as_any_stream(stream: UnixStream) -> io::Result<TcpStream> {
    TcpStream::from_std(OwnedFd::from(stream).into())
}

/// Lets no new handshake begin on a socket that will be closed, while those under way may end: drops each segment with SYN.
/// To close a socket resets whoever has come since the last look into its queue; a SYN that got no answer is sent again by
/// the client's kernel and then meets whoever listens there, or is refused. `false` where the kernel can't, and for a Unix
/// socket, where nothing is between connected and not, and whose file is gone by then.
pub(super) fn refuse_handshakes(listener: &Listener) -> bool {
    // Classic BPF over the TCP header (Linux, Documentation/networking/filter.rst): byte 13 holds the flags, 2 is SYN.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_SET, 0, 1, 2),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    let Listener::Tcp(listener) = listener else {
        return false;
    };
    SockRef::from(listener).attach_filter(&program).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_handshake_begins_on_a_socket_that_will_be_closed_and_who_has_come_is_kept() {
        let bound = net::TcpListener::bind("127.0.0.1:0").unwrap();
        bound.set_nonblocking(true).unwrap();
        let address = bound.local_addr().unwrap();
        let listener = Handle::Tcp(bound).listen().unwrap();
        let connect = || TcpStream::connect(address);
        let mut early = connect().await.unwrap();
        assert!(refuse_handshakes(&listener));
        let late = tokio::spawn(connect());
        let (mut accepted, _) = listener.accept().await.unwrap();
        let soon = std::time::Duration::from_millis(100);
        let nobody = tokio::time::timeout(soon, listener.accept()).await;
        assert!(nobody.is_err() && !late.is_finished());
        drop(listener);
        tokio::io::AsyncWriteExt::write_all(&mut accepted, b"x")
            .await
            .unwrap();
        let read = tokio::io::AsyncReadExt::read_u8(&mut early).await;
        assert_eq!(read.unwrap(), b'x');
        let refused = late.await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn nobody_connects_to_a_unix_socket_that_its_last_worker_closes_and_who_has_come_is_kept()
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let bound = UnixListener::bind(&path).unwrap();
        bound.set_nonblocking(true).unwrap();
        let first = Handle::Unix(bound, Arc::default());
        let second = first.try_clone().unwrap().listen().unwrap();
        let _early = UnixStream::connect(&path).unwrap();
        assert!(first.shut().is_none(), "the other still waits on it");
        let _late = UnixStream::connect(&path).unwrap();
        let last = second.into_handle().unwrap().shut().unwrap();
        let refused = UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let queued: Vec<_> = std::iter::repeat_with(|| last.accept().is_ok())
            .take(3)
            .collect();
        assert_eq!(queued, [true, true, false]);
    }
}
