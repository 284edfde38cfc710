//! A listening socket, of TCP or of Unix, and what it accepts.

use std::{
    io,
    net::{self, SocketAddr},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
};

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};

/// A listening socket of which no runtime has heard.
pub(super) enum Handle {
    Tcp(net::TcpListener),
    Unix(UnixListener),
}

/// A listening socket that a worker waits on.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(tokio::net::UnixListener),
}

/// A connection, and whose it is: the client's address, unless it has come by a Unix socket.
pub(super) type Accepted = (TcpStream, Option<SocketAddr>);

impl Handle {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }

    pub(super) fn listen(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(listener) => Listener::Unix(tokio::net::UnixListener::from_std(listener)?),
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
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((as_any_stream(stream)?, None))
            }
        }
    }
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((stream, Some(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((as_any_stream(stream.into_std()?)?, None))
            }
        }
    }

    pub(super) fn into_handle(self) -> io::Result<Handle> {
        Ok(match self {
            Self::Tcp(listener) => Handle::Tcp(listener.into_std()?),
            Self::Unix(listener) => Handle::Unix(listener.into_std()?),
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
}
