//! A proxy that is hyper and nothing else, for `benches/compare --proxy hyper`: what a request costs before anything of ours is done for it.
//!
//! One thread, one endpoint, connections parked where the last answer has ended, one forwarding field. It has no limits, no timeouts
//! and no checks: it is there to be measured.
//!
//! `hyper PORT ENDPOINT_PORT`

use std::{
    cell::RefCell,
    io,
    net::Ipv4Addr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The way to the endpoint.
struct Line {
    port: u16,
    idle: RefCell<Vec<SendRequest<Incoming>>>,
}

impl Line {
    async fn connection(&self) -> io::Result<SendRequest<Incoming>> {
        let parked = self.idle.borrow_mut().pop();
        if let Some(parked) = parked.filter(SendRequest::is_ready) {
            return Ok(parked);
        }
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.set_nodelay(true)?;
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, driver) = shaken.map_err(io::Error::other)?;
        spawn_local(driver);
        Ok(sender)
    }

    async fn ask(
        self: Rc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Answer>, io::Error> {
        let headers = request.headers_mut();
        headers.remove(header::CONNECTION);
        headers.insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
        let mut sender = self.connection().await?;
        let sent = sender.send_request(request).await;
        let mut answer = sent.map_err(io::Error::other)?;
        answer.headers_mut().remove(header::CONNECTION);
        Ok(answer.map(|body| Answer {
            body,
            line: self,
            sender: Some(sender),
        }))
    }
}

/// An answer's body, which parks its connection where it ends.
struct Answer {
    body: Incoming,
    line: Rc<Line>,
    sender: Option<SendRequest<Incoming>>,
}

impl Answer {
    fn park(&mut self) {
        let Some(mut sender) = self.sender.take() else {
            return;
        };
        let line = self.line.clone();
        if sender.is_ready() {
            line.idle.borrow_mut().push(sender);
            return;
        }
        spawn_local(async move {
            if sender.ready().await.is_ok() {
                line.idle.borrow_mut().push(sender);
            }
        });
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() && self.body.is_end_stream() {
            self.park();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn serve(port: u16, line: Rc<Line>) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let line = line.clone();
        let service = service_fn(move |request| line.clone().ask(request));
        spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn main() -> io::Result<()> {
    let ports = std::env::args().skip(1).map(|port| port.parse().ok());
    let Some(&[port, endpoint]) = ports.collect::<Option<Vec<u16>>>().as_deref() else {
        return Err(io::Error::other("hyper PORT ENDPOINT_PORT"));
    };
    let line = Rc::new(Line {
        port: endpoint,
        idle: RefCell::default(),
    });
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(port, line))
}
