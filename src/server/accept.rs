use std::{
    io,
    net::{self, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::TcpListener, net::TcpStream, sync::watch};

use super::{
    connection,
    crowd::{Crowd, Guest},
    guard::{Bounds, Guard},
    http2,
    listen::refuse_handshakes,
    preamble,
    stream::Stream,
    worker::Worker,
};
use crate::{
    proxy::{Client, Door, Progress},
    telemetry::Rejection,
    tls::Alpn,
    units::{Access, is_shortage},
};

/// How long to wait when there are no file descriptors or buffers left: connections must end first.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How long handshakes under way may take to end once no new one can begin: a slow round trip.
const SETTLE: Duration = Duration::from_millis(250);

/// What one worker accepts on, and under which settings. The settings may be replaced while it accepts.
pub(super) struct Entry {
    pub door: Rc<Door>,
    pub limit: u32,
    pub header_bytes: usize,
    pub open: Arc<AtomicU32>,
    pub access: Access,
    /// The connections of each client, and how many it may have.
    pub per_client: Option<(Arc<Crowd>, u32)>,
    pub guard: Option<(Arc<Guard>, Bounds)>,
    /// Trusted proxies say who their client is before the first byte.
    pub proxy_protocol: bool,
}

/// Accepts until there is no entry any more, and then what the kernel has queued.
pub(super) async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    mut entry: watch::Receiver<Option<Rc<Entry>>>,
) {
    let Some(mut current) = entry.borrow_and_update().clone() else {
        return;
    };
    loop {
        // Biased to accepting: several connections are taken at one wake, until the queue is empty.
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => worker.admit(stream, peer, &current),
                Err(error) => back_off(&error).await,
            },
            changed = entry.changed() => match entry.borrow_and_update().clone() {
                Some(next) if changed.is_ok() => current = next,
                _ => break,
            },
        }
    }
    // A listener that only moves or comes back soon must leave its address at once.
    if worker.ends() && refuse_handshakes(&listener) {
        finish_handshakes(&worker, &listener, &current).await;
    }
    match listener.into_std() {
        Ok(listener) => worker.take_queued(&listener, &current),
        Err(error) => tracing::warn!(%error, "connections queued on a listener are lost"),
    }
}

/// Accepts those whose handshake had begun when the listener was to go away: for them the connection exists already.
async fn finish_handshakes(worker: &Rc<Worker>, listener: &TcpListener, entry: &Entry) {
    let settled = tokio::time::sleep(SETTLE);
    tokio::pin!(settled);
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => worker.admit(stream, peer, entry),
                Err(error) => back_off(&error).await,
            },
            () = &mut settled => return,
        }
    }
}

/// After a shortage the next try would fail at once, too. Anything else is about one connection.
async fn back_off(error: &io::Error) {
    if is_shortage(error) {
        tracing::warn!(%error, "cannot accept; waiting for connections to end");
        tokio::time::sleep(BACK_OFF).await;
    } else {
        tracing::debug!(%error, "a connection was gone before it was accepted");
    }
}

impl Worker {
    /// Takes what the kernel has queued, of which the runtime may not have heard: so the kernel itself is asked. To be
    /// closed right after, so that what would still come in is refused, not lost.
    pub(super) fn take_queued(self: &Rc<Self>, listener: &net::TcpListener, entry: &Entry) {
        loop {
            let accepted = listener.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, peer))
            });
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, entry),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(%error, "connections queued on a listener are lost");
                    return;
                }
                Err(_) => {}
            }
        }
    }

    /// Serves a connection, or says that there is no room for it. Who may not come in is told nothing.
    fn admit(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, entry: &Entry) {
        let client = Client::new(peer, entry.door.clone(), None);
        if !entry.access.permits(client.address.ip()) {
            self.proxy.shard().rejected(Rejection::Forbidden);
            return;
        }
        let place = match Place::take(entry, &client) {
            Ok(place) => place,
            Err(rejection) => {
                self.proxy.shard().rejected(rejection);
                self.turn_away(stream);
                return;
            }
        };
        // It only costs time on small answers; a socket that refuses it is already broken.
        let _ = stream.set_nodelay(true);
        let worker = self.clone();
        let header_bytes = entry.header_bytes;
        let announced = entry.proxy_protocol && client.trusted;
        if entry.guard.is_none() && !announced {
            let progress = Progress::new(client, &self.clock);
            let stream = Stream::Plain(stream);
            let connection = connection::serve(stream, progress, self.proxy.clone(), header_bytes);
            tokio::task::spawn_local(async move {
                let _open = worker.opened();
                connection.await;
                drop(place);
            });
            return;
        }
        let guard = entry.guard.clone();
        // A task of its own kind, so that one in clear text does not grow by it.
        tokio::task::spawn_local(async move {
            let _open = worker.clone().opened();
            let met = worker.meet(stream, client, announced, guard).await;
            if let Some((stream, client)) = met {
                worker.converse(stream, client, header_bytes).await;
            }
            drop(place);
        });
    }

    /// Learns who the client is, from the proxy before us and from a handshake. `None`: it is nobody who is served.
    async fn meet(
        &self,
        mut stream: TcpStream,
        mut client: Rc<Client>,
        announced: bool,
        guard: Option<(Arc<Guard>, Bounds)>,
    ) -> Option<(Stream, Rc<Client>)> {
        let door = client.door.clone();
        if announced {
            match preamble::take(&mut stream, door.header_timeout).await {
                Ok(None) => {}
                Ok(Some(said)) => client = Client::new(said, door.clone(), None),
                Err(error) => {
                    tracing::debug!(peer = %client.address, %error, "a trusted proxy does not say who its client is");
                    self.proxy.shard().rejected(Rejection::Preamble);
                    return None;
                }
            }
        }
        let Some((guard, bounds)) = guard else {
            return Some((Stream::Plain(stream), client));
        };
        let met = guard.admit(stream, &bounds, self.proxy.shard()).await;
        met.map(|(stream, secure)| (stream, Client::new(client.address, door, Some(secure))))
    }

    /// Serves a client in the protocol that was agreed on.
    async fn converse(&self, stream: Stream, client: Rc<Client>, header_bytes: usize) {
        let (proxy, clock) = (self.proxy.clone(), self.clock.clone());
        let agreed = client.secure.as_ref().map(|secure| secure.alpn);
        if agreed == Some(Alpn::H2) {
            http2::serve(stream, Bytes::new(), client, proxy, clock, header_bytes).await;
        } else {
            let progress = Progress::new(client, &clock);
            connection::serve(stream, progress, proxy, header_bytes).await;
        }
    }
}

/// A connection's place among those a listener may have open, and among its client's.
struct Place {
    open: Arc<AtomicU32>,
    guest: Option<Guest>,
}

impl Place {
    fn take(entry: &Entry, client: &Client) -> Result<Self, Rejection> {
        let mut place = Self {
            open: entry.open.clone(),
            guest: None,
        };
        if place.open.fetch_add(1, Relaxed) >= entry.limit {
            return Err(Rejection::Connections);
        }
        if let Some((crowd, most)) = &entry.per_client
            && !client.trusted
        {
            let guest = crowd.enter(client.address.ip(), *most);
            place.guest = Some(guest.ok_or(Rejection::ClientConnections)?);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}
