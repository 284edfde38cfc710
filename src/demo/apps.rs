//! The built-in app: one version of it on one free port, with its own readiness.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

/// The answer's header that names the version, so that a client can count shares.
pub const VERSION: &str = "x-version";

pub struct App {
    pub address: SocketAddr,
    ready: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl App {
    /// Starts a version that is not ready yet: `/healthz` answers 503 until [`App::warm`].
    pub async fn start(version: &'static str) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let ready = Arc::new(AtomicBool::new(false));
        let accepting = tokio::spawn(accept(listener, version, ready.clone()));
        Ok(Self {
            address,
            ready,
            accepting,
        })
    }

    pub fn warm(&self) {
        self.ready.store(true, Relaxed);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, version: &'static str, ready: Arc<AtomicBool>) {
    while let Ok((stream, _)) = listener.accept().await {
        let ready = ready.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, version, ready.load(Relaxed));
                async { Ok::<_, Infallible>(answer) }
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

fn answer(
    request: &Request<Incoming>,
    version: &'static str,
    ready: bool,
) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/healthz" if !ready => (503, "warming up\n".to_owned()),
        "/healthz" => (200, "ok\n".to_owned()),
        path => (200, format!("{version} answers {path}\n")),
    };
    let response = Response::builder().status(status).header(VERSION, version);
    response
        .body(Full::new(Bytes::from(text)))
        .expect("a version is a valid header value")
}
