//! HTTP/1.1 to one admin API, over TCP or a Unix socket.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

use super::exit::{Exit, Failure};
use crate::{admin::problem::Document, units::Address};

/// To open the connection.
const CONNECT: Duration = Duration::from_secs(3);
/// For an answer that waits for nothing.
pub const PROMPT: Duration = Duration::from_secs(30);
/// How long an instance may be away from whoever waits for something: it comes up again with all that it was doing.
const AWAY: Duration = Duration::from_mins(1);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(250);
/// The longest answer that is read: the status of thousands of services fits.
const LONGEST: usize = 64 << 20;

/// One instance.
#[derive(Clone)]
pub struct Client {
    pub address: Address,
    token: Option<String>,
}

/// A call to make.
pub struct Call {
    pub method: Method,
    /// Path and query, encoded.
    pub target: String,
    pub headers: Vec<(header::HeaderName, String)>,
    /// JSON; empty where there is none.
    pub body: Vec<u8>,
    pub patience: Duration,
}

impl Call {
    pub fn get(target: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
            patience: PROMPT,
        }
    }

    pub fn new(
        method: Method,
        target: impl Into<String>,
        body: &impl Serialize,
    ) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        Ok(Self {
            method,
            body,
            ..Self::get(target)
        })
    }
}

impl Client {
    pub fn new(address: Address, token: Option<String>) -> Self {
        Self { address, token }
    }

    /// The answer's body; a problem document is the failure it tells of.
    pub async fn call(&self, call: Call) -> Result<Bytes, Failure> {
        let patience = call.patience;
        let exchange = async {
            let (status, body) = self.exchange(call).await?;
            let whole = Limited::new(body, LONGEST)
                .collect()
                .await
                .map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        self.unreachable("the answer is longer than 64 MiB")
                    } else {
                        self.unreachable("the answer broke off")
                    }
                })?;
            self.judged(status, whole.to_bytes())
        };
        timeout(patience, exchange)
            .await
            .map_err(|_| self.unreachable(&format!("no answer within {} s", patience.as_secs())))?
    }

    pub async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, Failure> {
        self.read(&self.call(Call::get(target)).await?)
    }

    /// The same from one that has answered before: while it is away it is looked for again, for a minute or `at_most`.
    pub async fn get_again<T: DeserializeOwned>(
        &self,
        target: &str,
        at_most: Option<Duration>,
    ) -> Result<T, Failure> {
        let patience = at_most.map_or(AWAY, |at_most| at_most.min(AWAY));
        let start = Instant::now();
        loop {
            match self.get(target).await {
                Err(failure) if failure.exit == Exit::Unreachable && start.elapsed() < patience => {
                    sleep(LOOK.min(patience)).await;
                }
                answered => return answered,
            }
        }
    }

    pub fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("{}: an answer that I can't read: {error}", self.address),
            )
        })
    }

    /// The body of an answer that goes on and on.
    pub async fn stream(&self, call: Call) -> Result<Incoming, Failure> {
        let opened = timeout(PROMPT, self.exchange(call)).await;
        let (status, body) = opened.map_err(|_| self.unreachable("no answer within 30 s"))??;
        if status.is_success() {
            return Ok(body);
        }
        let whole = Limited::new(body, LONGEST).collect().await;
        let bytes = whole
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        Err(self
            .judged(status, bytes)
            .err()
            .unwrap_or_else(|| self.unreachable("an answer that makes no sense")))
    }

    async fn exchange(&self, call: Call) -> Result<(StatusCode, Incoming), Failure> {
        let connected = match &self.address {
            Address::Unix(path) => {
                match timeout(CONNECT, UnixStream::connect(path.as_path())).await {
                    Ok(Ok(stream)) => self.over(stream, call).await,
                    failed => Err(self.not_connected(failed.map(Result::err))),
                }
            }
            Address::Ip(_) | Address::Named(..) => {
                match timeout(CONNECT, TcpStream::connect(self.address.to_string())).await {
                    Ok(Ok(stream)) => self.over(stream, call).await,
                    failed => Err(self.not_connected(failed.map(Result::err))),
                }
            }
        };
        connected.map(|response: http::Response<Incoming>| {
            let (parts, body) = response.into_parts();
            (parts.status, body)
        })
    }

    async fn over<S>(&self, stream: S, call: Call) -> Result<http::Response<Incoming>, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broke = |error: hyper::Error| self.unreachable(&error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broke)?;
        tokio::spawn(connection);
        let request = self.request(call)?;
        sender.send_request(request).await.map_err(broke)
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, Failure> {
        let host = match &self.address {
            Address::Unix(_) => "localhost".to_owned(),
            Address::Ip(_) | Address::Named(..) => self.address.to_string(),
        };
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.target)
            .header(header::HOST, host)
            .header(
                header::USER_AGENT,
                concat!("cutover/", env!("CARGO_PKG_VERSION")),
            );
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(call.body.into()));
        request.map_err(|error| Failure::usage(format!("this can't be asked: {error}")))
    }

    fn judged(&self, status: StatusCode, body: Bytes) -> Result<Bytes, Failure> {
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Document>(&body) {
            Ok(problem) => Err(Failure::answered(problem)),
            Err(_) if status == StatusCode::SERVICE_UNAVAILABLE => {
                Err(self.unreachable("too many connections are open"))
            }
            Err(_) => Err(Failure::new(
                Exit::Failed,
                format!(
                    "{} answered {status}, which the admin API does not; is it another server?",
                    self.address
                ),
            )),
        }
    }

    fn not_connected(&self, error: Result<Option<std::io::Error>, impl fmt::Display>) -> Failure {
        match error {
            Ok(Some(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => self
                .unreachable("no permission")
                .hint("ask for membership in the socket's group, or use sudo"),
            Ok(Some(error)) => self
                .unreachable(&error.to_string())
                .hint("is cutover running? --admin or CUTOVER_ADMIN says where its admin API is"),
            _ => self.unreachable("no connection within 3 s"),
        }
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::new(Exit::Unreachable, format!("{}: {why}", self.address))
    }
}

/// All but what RFC 3986 §2.3 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One part of a path, with everything encoded that could end it.
pub fn segment(text: impl fmt::Display) -> String {
    utf8_percent_encode(&text.to_string(), RESERVED).to_string()
}

/// A query of the pairs that have a value.
pub fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        if let Some(value) = value {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(key);
            text.push('=');
            text.push_str(&segment(value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_path_can_hold_anything() {
        assert_eq!(segment("unix:/run/app.sock"), "unix%3A%2Frun%2Fapp.sock");
        assert_eq!(segment("../x?y#z"), "..%2Fx%3Fy%23z");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_stays_away_is_looked_for_for_a_minute_and_no_longer_than_is_waited() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = Client::new(Address::Ip(address), None);
        for (at_most, least, most) in [(None, 60, 65), (Some(5), 5, 9), (Some(300), 60, 65)] {
            let start = Instant::now();
            let at_most = at_most.map(Duration::from_secs);
            let away = client
                .get_again::<serde_json::Value>("/livez", at_most)
                .await;
            assert_eq!(away.unwrap_err().exit, Exit::Unreachable);
            let waited = start.elapsed().as_secs();
            assert!((least..most).contains(&waited), "{at_most:?}: {waited} s");
        }
    }

    #[test]
    fn a_query_holds_what_has_a_value() {
        assert_eq!(
            query([
                ("a", None),
                ("b", Some("x y".into())),
                ("c", Some("1".into()))
            ]),
            "?b=x%20y&c=1"
        );
        assert_eq!(query([("a", None)]), "");
    }
}
