//! Binding: one socket per worker and address, all of which the process keeps.

use std::{
    io,
    net::{self, SocketAddr},
    os::unix::net::UnixListener,
    sync::{Arc, Mutex, PoisonError},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::listener::Handle;
use crate::{
    config::plan,
    units::ListenAddress,
    unix_socket::{self, Permit, SocketFile},
};

/// Connections the kernel keeps ready for a worker; it lowers this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A listener that could not be bound. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    pub address: ListenAddress,
    pub source: io::Error,
}

/// The sockets of one address, one for each worker, kept by the process. A worker is lent a handle of its own, and takes
/// the process's when the listener goes away: so that its own is the last one, or that what is queued in a socket it never
/// served is not lost.
///
/// `SO_REUSEPORT` is for TCP: of a Unix socket there is one, and each worker has a handle on it.
pub(super) struct Sockets {
    /// As bound.
    pub address: ListenAddress,
    each: Vec<Mutex<Option<Handle>>>,
    /// Of a Unix socket.
    file: Option<SocketFile>,
}

impl Sockets {
    pub(super) fn lend(&self, worker: usize) -> io::Result<Option<Handle>> {
        let kept = self.each[worker].lock();
        let kept = kept.unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(Handle::try_clone).transpose()
    }

    pub(super) fn take(&self, worker: usize) -> Option<Handle> {
        let kept = self.each[worker].lock();
        kept.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether every worker has taken its own.
    pub(super) fn are_taken(&self) -> bool {
        let taken = |kept: &Mutex<Option<Handle>>| {
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_none()
        };
        self.each.iter().all(taken)
    }

    /// Before the queue of a Unix socket is emptied for good: who comes now would be lost in it.
    pub(super) fn retire(&self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }

    pub(super) fn permit(&self, permit: Permit) {
        if let Some(file) = &self.file
            && let Err(error) = file.permit(permit)
        {
            tracing::error!(%error, address = %self.address, "who may connect stays as it was");
        }
    }
}

/// Sockets that accept where this listener does. The kernel queues connections from now on.
pub(super) fn bind(listener: &plan::Listener, workers: usize) -> Result<Sockets, BindError> {
    let bound = match &listener.address {
        ListenAddress::Ip(address) => bind_tcp(*address, workers),
        ListenAddress::Unix(path) => permit(listener)
            .and_then(|permit| Ok(unix_socket::bind(path, permit)?))
            .and_then(|(socket, file)| share(socket, file, &listener.address, workers)),
    };
    bound.map_err(|source| BindError {
        address: listener.address.clone(),
        source,
    })
}

/// Who may connect to a listener's socket, if it is one with a file.
pub(super) fn permit(listener: &plan::Listener) -> io::Result<Permit> {
    Ok(Permit::new(listener.mode, listener.group.as_deref())?)
}

fn share(
    socket: UnixListener,
    file: SocketFile,
    address: &ListenAddress,
    workers: usize,
) -> io::Result<Sockets> {
    SockRef::from(&socket).listen(BACKLOG)?;
    let first = Handle::Unix(socket, Arc::default());
    let mut each = Vec::with_capacity(workers);
    for _ in 1..workers {
        each.push(first.try_clone()?);
    }
    each.push(first);
    Ok(Sockets {
        address: address.clone(),
        each: kept(each),
        file: Some(file),
    })
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<Sockets> {
    refuse_if_taken(address)?;
    let first = open(address, true)?;
    // With port 0 the kernel has chosen one: the other sockets get the same.
    let bound = first.local_addr()?;
    let mut sockets = vec![Handle::Tcp(first)];
    for _ in 1..workers {
        sockets.push(Handle::Tcp(open(bound, true)?));
    }
    Ok(Sockets {
        address: bound.into(),
        each: kept(sockets),
        file: None,
    })
}

fn kept(handles: Vec<Handle>) -> Vec<Mutex<Option<Handle>>> {
    let kept = |handle| Mutex::new(Some(handle));
    handles.into_iter().map(kept).collect()
}

/// `SO_REUSEPORT` would let us share an address with another process of the same user, and half the connections would
/// be its own. So the address is tried without it first.
fn refuse_if_taken(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    open(address, false).map(drop)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<net::TcpListener> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_gets_a_socket_on_the_same_port() {
        let sockets = bind_tcp("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        for worker in 0..3 {
            let Handle::Tcp(lent) = sockets.lend(worker).unwrap().unwrap() else {
                panic!("bound to TCP");
            };
            assert_eq!(Some(lent.local_addr().unwrap()), sockets.address.ip());
        }
        assert_ne!(sockets.address.ip().unwrap().port(), 0);
    }

    #[test]
    fn an_address_that_is_served_already_is_refused_even_where_it_could_be_shared() {
        let first = bind_tcp("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = first.address.ip().unwrap();
        let refused = bind_tcp(address, 1).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        let taken = first.take(0).unwrap();
        assert!(first.are_taken() && first.lend(0).unwrap().is_none());
        drop(taken);
        bind_tcp(address, 2).unwrap();
    }
}
