//! Both ends of a WebSocket, byte by byte.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use super::{Proxy, app::Plan, endpoint, within};
use cutover::proxy::tunnel::handshake::accept;

/// The example of RFC 6455 §1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub fn request() -> String {
    format!(
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
         sec-websocket-key: {KEY}\r\nsec-websocket-version: 13\r\n\r\n"
    )
}

/// The endpoint's agreement to [`request`].
pub fn switching() -> Vec<u8> {
    proven(ACCEPT)
}

/// The endpoint's agreement to any request.
pub fn agreement(request: &str) -> Vec<u8> {
    proven(&accept(key(request).as_bytes()))
}

/// The key of a request.
pub fn key(request: &str) -> &str {
    let named = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key: ");
    let line = request.split("\r\n").find(named).expect("a key");
    &line["sec-websocket-key: ".len()..]
}

fn proven(accept: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// An unmasked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(u8::try_from(short).unwrap()),
        long => {
            bytes.push(0x7f);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// The status of a masked close frame that these bytes end with.
fn close_code(bytes: &[u8]) -> Option<u16> {
    match bytes {
        [.., 0x88, 0x82, a, b, _, _, high, low] => Some(u16::from_be_bytes([high ^ a, low ^ b])),
        _ => None,
    }
}

/// Whether what was heard ends with a close frame that says "going away".
pub fn is_told(seen: &Mutex<Vec<u8>>) -> bool {
    close_code(&seen.lock().unwrap()) == Some(1001)
}

/// Whether what was heard ends with this.
pub fn heard(seen: &Mutex<Vec<u8>>, what: &[u8]) -> bool {
    seen.lock().unwrap().ends_with(what)
}

/// Sends back every byte until the proxy closes.
pub fn pong_server() -> Plan {
    endpoint("pong").serve(|mut peer| async move {
        let Ok(request) = peer.request().await else {
            return;
        };
        peer.write(&agreement(&request)).await;
        let (mut reader, mut writer) = peer.stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
        let _ = writer.shutdown().await;
    })
}

/// Says nothing, and keeps what it hears until the proxy closes.
pub fn recording_server() -> (Plan, Arc<Mutex<Vec<u8>>>) {
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let kept = seen.clone();
    let plan = endpoint("records").serve(move |mut peer| {
        let kept = kept.clone();
        async move {
            let Ok(request) = peer.request().await else {
                return;
            };
            peer.write(&agreement(&request)).await;
            while let Some(byte) = peer.try_byte().await {
                kept.lock().unwrap().push(byte);
            }
        }
    });
    (plan, seen)
}

/// A client's end of a tunnel.
pub struct Socket {
    pub reader: Reader,
    pub writer: Writer,
}

pub struct Reader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
}

pub struct Writer(OwnedWriteHalf);

/// A tunnel through the proxy, once the client has its 101.
pub async fn handshake(proxy: &Proxy) -> Socket {
    let mut client = proxy.client().await;
    client.send(request()).await;
    assert_eq!(client.answer().await.status, 101);
    let (stream, buffer) = client.into_parts();
    let (half, writer) = stream.into_split();
    Socket {
        reader: Reader { half, buffer },
        writer: Writer(writer),
    }
}

impl Socket {
    pub fn reset(self) {
        let stream = self.reader.half.reunite(self.writer.0).unwrap();
        stream.set_zero_linger().unwrap();
    }
}

impl Reader {
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        within("bytes", async {
            while self.buffer.len() < count {
                assert!(
                    self.half.read_buf(&mut self.buffer).await.unwrap() > 0,
                    "closed"
                );
            }
        })
        .await;
        self.buffer.drain(..count).collect()
    }

    /// Waits for the connection's orderly end; returns what came before it.
    pub async fn until_closed(&mut self) -> Vec<u8> {
        within("the end", async {
            while self.half.read_buf(&mut self.buffer).await.unwrap() > 0 {}
        })
        .await;
        std::mem::take(&mut self.buffer)
    }
}

impl Writer {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Says that nothing more will come.
    pub async fn end(&mut self) {
        self.0.shutdown().await.unwrap();
    }
}
