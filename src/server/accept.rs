use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::TcpStream, sync::watch};

use super::{
    connection,
    crowd::{Crowd, Guest},
    guard::{Bounds, Guard},
    http2,
    listener::{Accepted, Handle, Listener, refuse_handshakes},
    preamble,
    stream::Stream,
    worker::Worker,
};
use crate::{
    proxy::{Client, Door, Progress},
    telemetry::Rejection,
    tls::Alpn,
    units::{Access, Ends, ListenAddress, is_shortage},
};

/// How long to wait when there are no file descriptors or buffers left: connections must end first.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How long handshakes under way may take to end once no new one can begin: a slow round trip.
const SETTLE: Duration = Duration::from_millis(250);

/// What one worker accepts on, and under which settings. The settings may be replaced while it accepts.
pub(super) struct Entry {
    /// As bound.
    pub address: ListenAddress,
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

impl Entry {
    /// What a client has connected to; `None` for a Unix socket. Who listens everywhere learns it from the connection.
    fn own_address(&self, stream: &TcpStream) -> Option<SocketAddr> {
        let bound = self.address.ip()?;
        if bound.ip().is_unspecified() {
            return stream.local_addr().ok().or(Some(bound));
        }
        Some(bound)
    }
}

/// Accepts until there is no entry any more, and then what the kernel has queued. There may be none from the start: a
/// listener can go before anybody has waited on it.
pub(super) async fn accept(
    worker: Rc<Worker>,
    listener: Listener,
    mut current: Rc<Entry>,
    mut entry: watch::Receiver<Option<Rc<Entry>>>,
) {
    loop {
        // Biased to accepting: several connections are taken at one wake, until the queue is empty.
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok(accepted) => worker.admit(accepted, &current),
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
    match listener.into_handle() {
        Ok(listener) => worker.take_queued(listener, &current),
        Err(error) => tracing::warn!(%error, "connections queued on a listener are lost"),
    }
}

/// Accepts those whose handshake had begun when the listener was to go away: for them the connection exists already.
async fn finish_handshakes(worker: &Rc<Worker>, listener: &Listener, entry: &Entry) {
    let settled = tokio::time::sleep(SETTLE);
    tokio::pin!(settled);
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok(accepted) => worker.admit(accepted, entry),
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
    /// Takes what the kernel has queued, of which the runtime may not have heard: so the kernel itself is asked. Closes right
    /// after, so that what would still come in is refused, not lost.
    pub(super) fn take_queued(self: &Rc<Self>, listener: Handle, entry: &Entry) {
        self.empty(&listener, entry);
        if let Some(last) = listener.shut() {
            self.empty(&last, entry);
        }
    }

    fn empty(self: &Rc<Self>, listener: &Handle, entry: &Entry) {
        loop {
            match listener.accept() {
                Ok(accepted) => self.admit(accepted, entry),
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
    fn admit(self: &Rc<Self>, (stream, peer): Accepted, entry: &Entry) {
        let ends = peer.and_then(|client| {
            let server = entry.own_address(&stream)?;
            Some(Ends { client, server })
        });
        let client = Client::new(ends, entry.door.clone(), None);
        if !entry.access.permits(client.ip()) {
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
        // To wait only costs time on small answers; a socket that refuses this is already broken, or no TCP.
        let _ = stream.set_nodelay(true);
        // From now on, not from when its task first runs: a drain that begins in between would not wait for it.
        let open = self.clone().opened();
        let header_bytes = entry.header_bytes;
        let announced = entry.proxy_protocol && client.trusted;
        if entry.guard.is_none() && !announced {
            let progress = Progress::new(client, &self.clock);
            let stream = Stream::Plain(stream);
            let connection = connection::serve(stream, progress, self.proxy.clone(), header_bytes);
            tokio::task::spawn_local(async move {
                connection.await;
                drop((place, open));
            });
            return;
        }
        let (worker, guard) = (self.clone(), entry.guard.clone());
        // A task of its own kind, so that one in clear text does not grow by it.
        tokio::task::spawn_local(async move {
            let met = worker.meet(stream, client, announced, guard).await;
            if let Some((stream, client)) = met {
                worker.converse(stream, client, header_bytes).await;
            }
            drop((place, open));
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
                Ok(said) => client = Client::new(said, door.clone(), None),
                Err(error) => {
                    tracing::debug!(peer = ?client.ip(), %error, "a trusted proxy does not say who its client is");
                    self.proxy.shard().rejected(Rejection::Preamble);
                    return None;
                }
            }
        }
        let Some((guard, bounds)) = guard else {
            return Some((Stream::Plain(stream), client));
        };
        let met = guard.admit(stream, &bounds, self.proxy.shard()).await;
        met.map(|(stream, secure)| (stream, Client::new(client.ends, door, Some(secure))))
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
            let guest = crowd.enter(client.ip(), *most);
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
