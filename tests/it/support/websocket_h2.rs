//! The ends of a WebSocket on a stream of HTTP/2.

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{Method, Request, Response};
use tokio::{net::TcpStream, task::AbortHandle};

use super::{Proxy, until, within};

/// A connection of HTTP/2.
pub struct Http2 {
    send: SendRequest<Bytes>,
    task: AbortHandle,
}

/// A client's end of a tunnel, with the answer's head; or an app's, with the request's.
pub struct Socket<Head = Response<()>> {
    pub head: Head,
    pub reader: RecvStream,
    pub writer: SendStream<Bytes>,
}

/// A connection on which the proxy has said that a WebSocket may be asked for.
pub async fn connect(proxy: &Proxy) -> Http2 {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    let task = tokio::spawn(connection).abort_handle();
    let send = send.ready().await.unwrap();
    until("the proxy's settings", || {
        send.is_extended_connect_protocol_enabled()
    })
    .await;
    Http2 { send, task }
}

/// Asks for one.
pub fn websocket(target: &str) -> Request<()> {
    let mut asked = Request::new(());
    *asked.method_mut() = Method::CONNECT;
    *asked.uri_mut() = target.parse().unwrap();
    let extensions = asked.extensions_mut();
    extensions.insert(Protocol::from_static("websocket"));
    asked
}

impl Http2 {
    /// Breaks the connection.
    pub fn abort(&self) {
        self.task.abort();
    }

    fn send(&mut self, asked: Request<()>, end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        self.send.send_request(asked, end).unwrap()
    }

    pub async fn ask(&mut self, asked: Request<()>) -> Socket {
        let (answer, writer) = self.send(asked, false);
        let (head, reader) = within("an answer", answer).await.unwrap().into_parts();
        Socket {
            head: Response::from_parts(head, ()),
            reader,
            writer,
        }
    }

    pub async fn tunnel(&mut self) -> Socket {
        let socket = self.ask(websocket("http://a/chat")).await;
        assert_eq!(socket.head.status(), 200);
        socket
    }

    pub async fn get(&mut self, path: &str) -> u16 {
        let asked = Request::get(format!("http://a{path}")).body(()).unwrap();
        let (answer, _) = self.send(asked, true);
        within("an answer", answer).await.unwrap().status().into()
    }
}

impl<Head> Socket<Head> {
    pub fn send(&mut self, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.writer.send_data(bytes, false).unwrap();
    }

    pub fn end(&mut self) {
        self.writer.send_data(Bytes::new(), true).unwrap();
    }

    async fn part(&mut self) -> Option<Bytes> {
        let part = within("bytes", self.reader.data()).await?.unwrap();
        let window = self.reader.flow_control();
        window.release_capacity(part.len()).unwrap();
        Some(part)
    }

    /// Gives back what comes, until the other end or this one has ended.
    pub async fn echo(mut self) {
        while let Some(Ok(part)) = self.reader.data().await {
            let _ = self.reader.flow_control().release_capacity(part.len());
            if self.writer.send_data(part, false).is_err() {
                return;
            }
        }
        let _ = self.writer.send_data(Bytes::new(), true);
    }

    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.extend(self.part().await.expect("not the end"));
        }
        bytes
    }

    pub async fn until_ended(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(part) = self.part().await {
            bytes.extend(part);
        }
        bytes
    }

    pub async fn echoes(&mut self, what: &[u8]) {
        self.send(what);
        assert_eq!(self.bytes(what.len()).await, what);
    }
}
