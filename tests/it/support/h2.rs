//! App servers that speak HTTP/2: one that keeps to the rules ([`h2_endpoint`]), with TLS if it is asked to, and the bare
//! frames ([`Wire`]) for those that don't.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use cutover::tls::{
    Accepted, Acceptor, Alpn, Authorities, Certificate, ClientAuth, ServerSettings, Tickets,
    Version,
};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::AbortHandle,
};

use super::{Authority, Pair, Peer, until, websocket_h2::Socket};

type Serve = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// An app server that is yet to be started: says its name to every request.
pub fn h2_endpoint(name: &str) -> Plan {
    let name = Bytes::copy_from_slice(name.as_bytes());
    Plan {
        serve: Arc::new(move |call| {
            let name = name.clone();
            Box::pin(async move { call.answer(200, name) })
        }),
        max_streams: None,
        tunnels: false,
        tls: None,
        until_close: None,
    }
}

pub struct Plan {
    serve: Serve,
    max_streams: Option<u32>,
    tunnels: bool,
    tls: Option<ServerSettings>,
    until_close: Option<(&'static str, bool)>,
}

/// A running app server. Stops when it is dropped.
pub struct H2App {
    pub address: SocketAddr,
    site: Arc<Site>,
    task: AbortHandle,
}

#[derive(Default)]
struct Site {
    connections: AtomicUsize,
    open: AtomicUsize,
    calls: AtomicUsize,
    handshakes: Mutex<Vec<String>>,
    closers: Mutex<Vec<mpsc::UnboundedSender<()>>>,
}

/// A request, and the way to answer it.
pub struct Call {
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
    /// Which connection it came on, and how many came on it before.
    pub connection: usize,
    pub before: usize,
}

impl Call {
    pub fn answer(mut self, status: u16, body: Bytes) {
        let head = Response::builder().status(status).body(()).unwrap();
        if let Ok(mut stream) = self.respond.send_response(head, body.is_empty()) {
            let _ = stream.send_data(body, true);
        }
    }

    /// Agrees to be a tunnel.
    pub fn agree(mut self, headers: &[(&'static str, &str)]) -> Socket<Request<()>> {
        let mut answer = Response::builder();
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let writer = self.respond.send_response(answer.body(()).unwrap(), false);
        let (head, reader) = self.request.into_parts();
        Socket {
            head: Request::from_parts(head, ()),
            reader,
            writer: writer.unwrap(),
        }
    }

    /// All of the request's body, and its trailers.
    pub async fn body(&mut self) -> (Vec<u8>, HeaderMap) {
        let body = self.request.body_mut();
        let mut bytes = Vec::new();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            bytes.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.ok().flatten();
        (bytes, trailers.unwrap_or_default())
    }
}

impl Plan {
    /// Requests that it takes on one connection at a time.
    pub fn max_streams(mut self, most: u32) -> Self {
        self.max_streams = Some(most);
        self
    }

    /// Says that tunnels may be asked for (RFC 8441 §3).
    pub fn tunnels(mut self) -> Self {
        self.tunnels = true;
        self
    }

    /// Speaks TLS with this certificate, in these protocols.
    pub fn tls(mut self, pair: &Pair, (h1, h2): (bool, bool)) -> Self {
        self.tls = Some(ServerSettings {
            certificates: vec![
                Certificate::new(pair.cert.as_bytes(), pair.key.as_bytes()).unwrap(),
            ],
            min_version: Version::Tls12,
            h1,
            h2,
            client_auth: None,
            strict_sni: false,
            tickets: Tickets::new().unwrap(),
            challenges: Arc::default(),
        });
        self
    }

    /// Demands a certificate from whoever comes.
    pub fn clients_of(mut self, authority: &Authority) -> Self {
        let tls = self.tls.as_mut().unwrap();
        tls.client_auth = Some(ClientAuth {
            authorities: Authorities::new(authority.pem.as_bytes()).unwrap(),
            required: true,
        });
        self
    }

    /// Over HTTP/1.1: answers with this body, which ends with the connection, and TLS in order or not.
    pub fn until_close(mut self, body: &'static str, in_order: bool) -> Self {
        self.until_close = Some((body, in_order));
        self
    }

    pub fn serve<F>(mut self, serve: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.serve = Arc::new(move |call| Box::pin(serve(call)));
        self
    }

    pub async fn start(mut self) -> H2App {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let site = Arc::<Site>::default();
        let tls = self.tls.take();
        let acceptor = tls.map(|tls| Arc::new(Acceptor::new(tls).unwrap()));
        let task = tokio::spawn({
            let site = site.clone();
            async move {
                let mut peers = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).unwrap();
                    let nth = site.connections.fetch_add(1, SeqCst);
                    let (site, serve) = (site.clone(), self.serve.clone());
                    let builder = builder(self.max_streams, self.tunnels);
                    let (acceptor, until_close) = (acceptor.clone(), self.until_close);
                    peers.spawn(async move {
                        site.open.fetch_add(1, SeqCst);
                        let _open = OnDrop(site.clone());
                        let Some(acceptor) = acceptor else {
                            return speak(stream, nth, &site, serve, &builder).await;
                        };
                        match acceptor.accept(stream).await {
                            Ok(Accepted { stream, secure }) => {
                                let name = secure.identity.as_ref();
                                let name = name.map(|identity| identity.0.subject.clone());
                                let said = (secure.sni.as_deref(), name);
                                site.handshakes.lock().unwrap().push(format!("{said:?}"));
                                if secure.alpn == Alpn::H2 {
                                    speak(stream, nth, &site, serve, &builder).await;
                                } else {
                                    speak_h1(stream, &site, until_close).await;
                                }
                            }
                            Err(refused) => {
                                let failure = refused.failure.as_str().to_owned();
                                site.handshakes.lock().unwrap().push(failure);
                            }
                        }
                    });
                }
            }
        });
        H2App {
            address,
            site,
            task: task.abort_handle(),
        }
    }
}

struct OnDrop(Arc<Site>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

fn builder(max_streams: Option<u32>, tunnels: bool) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    if let Some(most) = max_streams {
        builder.max_concurrent_streams(most);
    }
    if tunnels {
        builder.enable_connect_protocol();
    }
    builder
}

async fn speak<S>(stream: S, nth: usize, site: &Site, serve: Serve, builder: &h2::server::Builder)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let (closer, mut told) = mpsc::unbounded_channel();
    site.closers.lock().unwrap().push(closer);
    let mut calls = tokio::task::JoinSet::new();
    let mut before = 0;
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    site.calls.fetch_add(1, SeqCst);
                    calls.spawn(serve(Call { request, respond, connection: nth, before }));
                    before += 1;
                }
                _ => break,
            },
            Some(()) = told.recv() => connection.graceful_shutdown(),
        }
    }
}

async fn speak_h1<S>(mut stream: S, site: &Site, until_close: Option<(&str, bool)>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            site.calls.fetch_add(1, SeqCst);
            let upgrades = String::from_utf8_lossy(&head).contains("upgrade: websocket");
            let uploads = head.starts_with(b"POST /echo ");
            head.clear();
            if upgrades {
                return echo(stream, super::websocket::switching()).await;
            }
            if uploads {
                return echo(stream, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).await;
            }
            if let Some((body, in_order)) = until_close {
                let answer = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.flush().await;
                if in_order {
                    let _ = stream.shutdown().await;
                }
                return;
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh1";
            if stream.write_all(answer).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}

/// Says this, and gives back what comes, as it comes.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, mut bytes: Vec<u8>) {
    while stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok() {
        let mut more = [0; 1024];
        match stream.read(&mut more).await {
            Ok(read) if read > 0 => bytes = more[..read].to_vec(),
            _ => return,
        }
    }
}

impl H2App {
    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.site.connections.load(SeqCst)
    }

    /// Connections that have not ended.
    pub fn open(&self) -> usize {
        self.site.open.load(SeqCst)
    }

    /// Requests so far.
    pub fn calls(&self) -> usize {
        self.site.calls.load(SeqCst)
    }

    /// What was agreed on in handshakes: the name that was asked for, and who the client is; or why they failed.
    pub fn handshakes(&self) -> Vec<String> {
        self.site.handshakes.lock().unwrap().clone()
    }

    /// Tells every connection that it takes no more requests.
    pub fn go_away(&self) {
        for closer in self.site.closers.lock().unwrap().drain(..) {
            let _ = closer.send(());
        }
    }

    pub async fn until_calls(&self, count: usize) {
        until("calls to arrive", || self.calls() >= count).await;
    }

    pub async fn until_closed(&self) {
        until("the app's connections to close", || self.open() == 0).await;
    }
}

impl Drop for H2App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// HTTP/2 frame by frame, from the app's side (RFC 9113 §4).
pub struct Wire {
    peer: Peer,
}

pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

impl Wire {
    /// Reads the client's preface and sends these settings.
    pub async fn meet(mut peer: Peer, settings: &[(u16, u32)]) -> Option<Self> {
        let mut preface = [0; 24];
        peer.stream.read_exact(&mut preface).await.ok()?;
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut wire = Self { peer };
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        wire.send(SETTINGS, 0, 0, &payload).await;
        Some(wire)
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = Vec::with_capacity(9 + payload.len());
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        frame.extend_from_slice(&length[1..]);
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        let _ = self.peer.stream.write_all(&frame).await;
    }

    /// The next frame; the other side's settings are acknowledged on the way.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.peer.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.peer.stream.read_exact(&mut payload).await.ok()?;
            let frame = Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload,
            };
            if frame.kind != SETTINGS {
                return Some(frame);
            }
            if frame.flags & ACK == 0 {
                self.send(SETTINGS, ACK, 0, &[]).await;
            }
        }
    }

    /// The stream of the next request's head.
    pub async fn request(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame().await?;
            if frame.kind == HEADERS {
                return Some(frame.stream);
            }
        }
    }

    /// `:status: 200`, as the static table of HPACK has it.
    pub async fn ok(&mut self, stream: u32, flags: u8) {
        self.send(HEADERS, END_HEADERS | flags, stream, &[0x88])
            .await;
    }

    /// As many interim answers, of three digits.
    pub async fn interim(&mut self, stream: u32, status: &str, times: usize) {
        let mut frame = vec![0, 0, 5, HEADERS, END_HEADERS];
        frame.extend(stream.to_be_bytes());
        frame.extend([0x08, 3]);
        frame.extend(status.as_bytes());
        let _ = self.peer.stream.write_all(&frame.repeat(times)).await;
    }

    pub async fn data(&mut self, stream: u32, flags: u8, bytes: &[u8]) {
        self.send(DATA, flags, stream, bytes).await;
    }

    pub async fn reset(&mut self, stream: u32, reason: h2::Reason) {
        let code: u32 = reason.into();
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub async fn go_away(&mut self, last: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend_from_slice(&[0; 4]);
        self.send(GOAWAY, 0, 0, &payload).await;
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.peer.stream
    }
}
