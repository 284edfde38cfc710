//! Binding: one socket per worker and address, all of which the process keeps.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Mutex, PoisonError},
};

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

/// Connections the kernel keeps ready for a worker; it lowers this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A listener that could not be bound. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// The sockets of one address, one for each worker, kept by the process. A worker is lent a handle of its own, and takes
/// the process's when the listener goes away: so that its own is the last one, or that what is queued in a socket it never
/// served is not lost.
pub(super) struct Sockets {
    /// As bound.
    pub address: SocketAddr,
    each: Vec<Mutex<Option<TcpListener>>>,
}

impl Sockets {
    pub(super) fn lend(&self, worker: usize) -> io::Result<Option<TcpListener>> {
        let kept = self.each[worker].lock();
        let kept = kept.unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(TcpListener::try_clone).transpose()
    }

    pub(super) fn take(&self, worker: usize) -> Option<TcpListener> {
        let kept = self.each[worker].lock();
        kept.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether every worker has taken its own.
    pub(super) fn are_taken(&self) -> bool {
        let taken = |kept: &Mutex<Option<TcpListener>>| {
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_none()
        };
        self.each.iter().all(taken)
    }
}

/// Sockets that accept on `address`. The kernel queues connections from now on.
pub(super) fn bind(address: SocketAddr, workers: usize) -> Result<Sockets, BindError> {
    let failed = |source| BindError { address, source };
    refuse_if_taken(address).map_err(failed)?;
    let first = open(address, true).map_err(failed)?;
    // With port 0 the kernel has chosen one: the other sockets get the same.
    let bound = first.local_addr().map_err(failed)?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(open(bound, true).map_err(failed)?);
    }
    Ok(Sockets {
        address: bound,
        each: sockets
            .into_iter()
            .map(|socket| Mutex::new(Some(socket)))
            .collect(),
    })
}

/// `SO_REUSEPORT` would let us share an address with another process of the same user, and half the connections would
/// be its own. So the address is tried without it first.
fn refuse_if_taken(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    open(address, false).map(drop)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

/// Lets no new handshake begin on a socket that will be closed, while those under way may end: drops each segment with SYN.
/// To close a socket resets whoever has come since the last look into its queue; a SYN that got no answer is sent again by
/// the client's kernel and then meets whoever listens there, or is refused. `false` where the kernel can't.
pub(super) fn refuse_handshakes(listener: &tokio::net::TcpListener) -> bool {
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
    SockRef::from(listener).attach_filter(&program).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_gets_a_socket_on_the_same_port() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        for worker in 0..3 {
            let lent = sockets.lend(worker).unwrap().unwrap();
            assert_eq!(lent.local_addr().unwrap(), sockets.address);
        }
        assert_ne!(sockets.address.port(), 0);
    }

    #[tokio::test]
    async fn no_handshake_begins_on_a_socket_that_will_be_closed_and_who_has_come_is_kept() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let listener = sockets.take(0).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let connect = || tokio::net::TcpStream::connect(sockets.address);
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

    #[test]
    fn an_address_that_is_served_already_is_refused_even_where_it_could_be_shared() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let refused = bind(first.address, 1).map(|_| ()).unwrap_err();
        assert_eq!(refused.source.kind(), io::ErrorKind::AddrInUse);
        let taken = first.take(0).unwrap();
        assert!(first.are_taken() && first.lend(0).unwrap().is_none());
        drop(taken);
        bind(first.address, 2).unwrap();
    }
}
