//! Binding: one socket per worker and address, all of which the process keeps.

use std::{io, net::SocketAddr, net::TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps ready for a worker; it lowers this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A listener that could not be bound. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// Sockets that accept on `address`, one for each worker. The kernel queues connections from now on.
pub(super) fn bind(address: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError { address, source };
    refuse_if_taken(address).map_err(failed)?;
    let first = open(address, true).map_err(failed)?;
    // With port 0 the kernel has chosen one: the other sockets get the same.
    let bound = first.local_addr().map_err(failed)?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(open(bound, true).map_err(failed)?);
    }
    Ok(sockets)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_gets_a_socket_on_the_same_port() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<_> = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap().port())
            .collect();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    }

    #[test]
    fn an_address_that_is_served_already_is_refused_even_where_it_could_be_shared() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let taken = first[0].local_addr().unwrap();
        let refused = bind(taken, 1).unwrap_err();
        assert_eq!(refused.source.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind(taken, 2).unwrap();
    }
}
