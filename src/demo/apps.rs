//! The built-in app: one version of it on one free port, with its own readiness.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

/// The answer's header that names the version, so that a client can count shares.
pub const VERSION: &str = "x-version";

/// How a version answers, by and by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Good,
    /// With 500.
    Failing,
    Slow,
}

/// What a slow version takes for an answer.
const SLOW: Duration = Duration::from_millis(40);

/// As whoever holds the app has it.
#[derive(Default)]
struct Orders {
    ready: AtomicBool,
    manner: AtomicU8,
}

impl Orders {
    fn manner(&self) -> Manner {
        [Manner::Good, Manner::Failing, Manner::Slow][usize::from(self.manner.load(Relaxed))]
    }
}

pub struct App {
    pub address: SocketAddr,
    orders: Arc<Orders>,
    accepting: JoinHandle<()>,
}

impl App {
    /// Starts a version that is not ready yet: `/healthz` answers 503 until [`App::warm`].
    pub async fn start(version: &'static str) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let orders = Arc::<Orders>::default();
        let accepting = tokio::spawn(accept(listener, version, orders.clone()));
        Ok(Self {
            address,
            orders,
            accepting,
        })
    }

    pub fn warm(&self) {
        self.orders.ready.store(true, Relaxed);
    }

    pub fn be(&self, manner: Manner) {
        self.orders.manner.store(manner as u8, Relaxed);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, version: &'static str, orders: Arc<Orders>) {
    while let Ok((stream, _)) = listener.accept().await {
        let orders = orders.clone();
        tokio::spawn(async move {
            let service = service_fn(async |request| {
                Ok::<_, Infallible>(answer(&request, version, &orders).await)
            });
            // A connection that breaks is the client's affair, and the client counts it.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn answer(
    request: &Request<Incoming>,
    version: &'static str,
    orders: &Orders,
) -> Response<Full<Bytes>> {
    let manner = orders.manner();
    let (status, text) = match request.uri().path() {
        "/healthz" if !orders.ready.load(Relaxed) => (503, "warming up\n".to_owned()),
        "/healthz" => (200, "ok\n".to_owned()),
        _ if manner == Manner::Failing => (500, "broken\n".to_owned()),
        path => (200, format!("{version} answers {path}\n")),
    };
    if manner == Manner::Slow && request.uri().path() != "/healthz" {
        tokio::time::sleep(SLOW).await;
    }
    let response = Response::builder().status(status).header(VERSION, version);
    response
        .body(Full::new(Bytes::from(text)))
        .expect("a version is a valid header value")
}
