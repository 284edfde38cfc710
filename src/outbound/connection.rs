use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};

use super::{Answer, Error};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("cutover/", env!("CARGO_PKG_VERSION")));

/// A connection to somebody outside.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Ends with the connection.
    _driver: JoinSet<hyper::Result<()>>,
}

impl Connection {
    pub(super) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, Error> {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self {
            sender,
            _driver: driver,
        })
    }

    /// Another request may be sent on it.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Sends a request for the one at its other end, and reads up to so much of the answer.
    pub async fn send(&mut self, request: Request<Bytes>, largest: usize) -> Result<Answer, Error> {
        let (mut parts, body) = request.into_parts();
        parts.headers.insert(header::HOST, host(&parts.uri)?);
        if !parts.headers.contains_key(header::USER_AGENT) {
            parts.headers.insert(header::USER_AGENT, AGENT);
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse().map_err(unusable)?;
        let request = Request::from_parts(parts, Full::new(body));
        let answer = self.sender.send_request(request).await.map_err(broken)?;
        let (parts, body) = answer.into_parts();
        Answer::read(parts, body, largest).await
    }
}

/// As RFC 9110 §7.2 has it: without a user.
fn host(uri: &Uri) -> Result<HeaderValue, Error> {
    let host = uri.host().unwrap_or_default();
    let host = match uri.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    host.parse().map_err(unusable)
}

fn unusable(why: impl std::fmt::Display) -> Error {
    Error::Unusable(why.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: hyper::Error) -> Error {
    Error::Broken(error.to_string())
}
