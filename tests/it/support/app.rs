use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use super::{until, within};

type Serve = Arc<dyn Fn(Peer) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// An app server that is yet to be started: says its name with status 200, and keeps connections alive.
pub fn endpoint(name: &str) -> Plan {
    let answer = answer(200, &[], name.as_bytes());
    Plan {
        serve: answering(answer),
    }
}

pub struct Plan {
    serve: Serve,
}

/// A running app server. Stops when it is dropped.
pub struct App {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    task: AbortHandle,
}

/// One connection to an app server, from the app's side.
pub struct Peer {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    seen: Arc<Mutex<Vec<String>>>,
    _open: Open,
}

impl Plan {
    /// Answers every request with this status and a body that says it.
    pub fn reply(self, status: u16) -> Self {
        let body = status.to_string();
        self.bytes(answer(status, &[], body.as_bytes()))
    }

    /// Answers every request with these bytes.
    pub fn bytes(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            serve: answering(bytes.into()),
        }
    }

    /// Answers every request with these bytes, and closes.
    pub fn bytes_then_close(self, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        self.serve(move |mut peer| {
            let bytes = bytes.clone();
            async move {
                if peer.request().await.is_ok() {
                    peer.write(&bytes).await;
                }
            }
        })
    }

    /// Reads a request, and does not answer it.
    pub fn silent(self) -> Self {
        self.serve(|mut peer| async move {
            if peer.request().await.is_ok() {
                peer.until_closed().await;
            }
        })
    }

    /// Does as it likes with each connection.
    pub fn serve<F>(self, serve: impl Fn(Peer) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            serve: Arc::new(move |peer| Box::pin(serve(peer))),
        }
    }

    pub async fn start(self) -> App {
        self.start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Starts where another app server was before.
    pub async fn start_at(self, address: SocketAddr) -> App {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let open = Arc::<AtomicUsize>::default();
        let task = tokio::spawn({
            let (seen, connections, open) = (seen.clone(), connections.clone(), open.clone());
            async move {
                let mut peers = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, SeqCst);
                    stream.set_nodelay(true).unwrap();
                    peers.spawn((self.serve)(Peer {
                        stream,
                        buffer: Vec::new(),
                        seen: seen.clone(),
                        _open: Open::new(&open),
                    }));
                }
            }
        });
        App {
            address,
            seen,
            connections,
            open,
            task: task.abort_handle(),
        }
    }
}

fn answering(bytes: Vec<u8>) -> Serve {
    Arc::new(move |mut peer: Peer| {
        let bytes = bytes.clone();
        Box::pin(async move {
            while peer.request().await.is_ok() {
                peer.write(&bytes).await;
            }
        })
    })
}

/// An answer with `Content-Length`.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

impl App {
    /// The heads and bodies of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request so far.
    pub fn request(&self) -> String {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Connections whose handler has not ended.
    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub async fn until_requests(&self, count: usize) {
        until("requests to arrive", || self.requests().len() >= count).await;
    }

    /// Waits until no connection is open on the app's side.
    pub async fn until_closed(&self) {
        until("the app's connections to close", || self.open() == 0).await;
    }

    /// Stops accepting and closes every connection.
    pub async fn stop(self) -> SocketAddr {
        self.task.abort();
        self.until_closed().await;
        // Only then is its address free.
        until("the app to end", || self.task.is_finished()).await;
        self.address
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// Reads a request, its body included, and keeps it for [`App::requests`].
    pub async fn request(&mut self) -> io::Result<String> {
        let head = self.head().await?;
        let body = self.body(&head).await?;
        let whole = format!("{head}{}", String::from_utf8_lossy(&body));
        self.seen.lock().unwrap().push(whole.clone());
        Ok(whole)
    }

    /// Reads a request's head, up to and with the empty line.
    pub async fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Ok(String::from_utf8(head).unwrap());
            }
            self.fill().await?;
        }
    }

    async fn body(&mut self, head: &str) -> io::Result<Vec<u8>> {
        let lower = head.to_ascii_lowercase();
        if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
            return self.chunks().await;
        }
        let length = lower
            .split_once("\r\ncontent-length: ")
            .map_or(0, |(_, rest)| {
                rest.split("\r\n").next().unwrap().parse().unwrap()
            });
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// A chunked body as it came over the wire, framing and trailers included.
    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let last = if self.buffer.starts_with(b"0\r\n") {
                Some(0)
            } else {
                find(&self.buffer, b"\r\n0\r\n").map(|at| at + 2)
            };
            if let Some(last) = last
                && let Some(end) = find(&self.buffer[last..], b"\r\n\r\n")
            {
                return Ok(self.buffer.drain(..last + end + 4).collect());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next byte of a request's body.
    pub async fn byte(&mut self) -> u8 {
        if self.buffer.is_empty() {
            self.fill().await.unwrap();
        }
        self.buffer.remove(0)
    }

    /// The next bytes, after a head.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        within("bytes", async {
            while self.buffer.len() < count {
                self.fill().await.unwrap();
            }
        })
        .await;
        self.buffer.drain(..count).collect()
    }

    /// The next byte, unless the proxy has closed.
    pub async fn try_byte(&mut self) -> Option<u8> {
        if self.buffer.is_empty() {
            self.fill().await.ok()?;
        }
        Some(self.buffer.remove(0))
    }

    /// Whether anything more arrives in this time.
    pub async fn arrives_within(&mut self, time: std::time::Duration) -> bool {
        !self.buffer.is_empty() || tokio::time::timeout(time, self.fill()).await.is_ok()
    }

    pub async fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        // A proxy that has closed is seen by the next read.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Waits until the proxy has closed the connection.
    pub async fn until_closed(&mut self) {
        within("the proxy to close", async {
            let mut sink = [0; 4096];
            while !matches!(self.stream.read(&mut sink).await, Ok(0) | Err(_)) {}
        })
        .await;
    }

    /// Closes so that the proxy sees a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Never returns.
    pub async fn hang(&self) {
        std::future::pending::<()>().await;
    }
}

struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, SeqCst);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
