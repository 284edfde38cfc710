//! A client that speaks HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};

use super::{App, Peer, Proxy, answer, endpoint, within};

/// A client's connection.
pub struct Caller {
    pub send: SendRequest<Bytes>,
    pub ended: JoinHandle<Result<(), h2::Error>>,
}

/// An answer, and how its body ended.
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Result<String, h2::Error>,
    pub trailers: HeaderMap,
}

pub fn get(path: &str) -> Request<()> {
    let uri = format!("http://shop.test{path}");
    Request::get(uri).body(()).unwrap()
}

impl Caller {
    pub async fn to(proxy: &Proxy) -> Self {
        Self::with(proxy, &Builder::new()).await
    }

    pub async fn with(proxy: &Proxy, builder: &Builder) -> Self {
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        Self::over(stream, builder).await
    }

    pub async fn over<S>(stream: S, builder: &Builder) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let met = within("a handshake", builder.handshake(stream)).await;
        let (send, connection) = met.unwrap();
        Self {
            send,
            ended: tokio::spawn(connection),
        }
    }

    /// Sends a request without a body.
    pub async fn begin(&mut self, request: Request<()>) -> ResponseFuture {
        let ready = within("a free stream", self.send.clone().ready()).await;
        ready.unwrap().send_request(request, true).unwrap().0
    }

    pub async fn ask(&mut self, request: Request<()>) -> Got {
        let answer = self.begin(request).await;
        whole(answer).await
    }

    pub async fn get(&mut self, path: &str) -> Got {
        self.ask(get(path)).await
    }

    /// Waits to be told that no more requests are taken.
    pub async fn until_told(&self) {
        within("GOAWAY", async {
            loop {
                match self.send.clone().ready().await {
                    Err(error) => return assert!(error.is_go_away(), "{error}"),
                    Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        })
        .await;
    }

    /// Waits for the connection's end; it must be an orderly one.
    pub async fn until_closed(self) {
        drop(self.send);
        let ended = within("the connection's end", self.ended).await;
        ended.unwrap().unwrap();
    }
}

pub async fn whole(answer: ResponseFuture) -> Got {
    let answer = within("an answer", answer).await;
    rest(answer.unwrap()).await
}

/// The same, where the head has come.
pub async fn rest(answer: Response<RecvStream>) -> Got {
    let (head, mut body) = answer.into_parts();
    let text = read(&mut body).await;
    let trailers = within("trailers", body.trailers()).await;
    Got {
        status: head.status.as_u16(),
        headers: head.headers,
        body: text,
        trailers: trailers.ok().flatten().unwrap_or_default(),
    }
}

pub async fn read(body: &mut RecvStream) -> Result<String, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = within("a body", body.data()).await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

impl Got {
    pub fn told(&self) -> (u16, &str) {
        (self.status, self.body.as_ref().unwrap())
    }
}

/// An app that answers `/held` once it is let.
pub async fn holding(name: &'static str) -> (App, watch::Sender<bool>) {
    let (let_go, held) = watch::channel(false);
    let app = endpoint(name)
        .serve(move |mut peer: Peer| {
            let mut held = held.clone();
            async move {
                while let Ok(request) = peer.request().await {
                    if request.starts_with("GET /held ") {
                        let _ = held.wait_for(|held| *held).await;
                    }
                    peer.write(&answer(200, &[], name.as_bytes())).await;
                }
            }
        })
        .start()
        .await;
    (app, let_go)
}
