use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};

use crate::tls::{Authorities, ClientSettings, Trust};

/// The largest answer that is read: it says how many spans were not taken, and why.
const LARGEST: usize = 64 << 10;
/// Where spans go by default at an endpoint that names no place (OTLP specification, "OTLP/HTTP Request").
const PLACE: &str = "/v1/traces";

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) struct Untaken {
    pub said: String,
    /// It may be taken when it is sent again, `after` so long where the collector has said so.
    pub again: bool,
    pub after: Option<Duration>,
}

/// Who takes spans; the connection to it is kept between batches.
pub(super) struct Collector {
    /// Where requests go, in full.
    uri: Uri,
    headers: HeaderMap,
    tls: Option<ClientSettings>,
    connection: Option<Connection>,
}

struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Ends with the connection.
    _driver: JoinSet<hyper::Result<()>>,
}

impl Collector {
    /// Fails where there is nobody to vouch for an `https` endpoint.
    pub(super) fn new(endpoint: &Uri, headers: HeaderMap) -> Result<Self, String> {
        let mut parts = endpoint.clone().into_parts();
        if endpoint.path() == "/" && endpoint.query().is_none() {
            parts.path_and_query = PLACE.parse().ok();
        }
        let uri = Uri::from_parts(parts).map_err(|error| error.to_string())?;
        let tls = (uri.scheme_str() == Some("https")).then(|| {
            let authorities = Authorities::of_system().map_err(|error| error.to_string())?;
            ClientSettings::new(Trust::Authorities(authorities), None, None, (true, false))
        });
        Ok(Self {
            uri,
            headers,
            tls: tls.transpose()?,
            connection: None,
        })
    }

    /// Sends a batch; returns how many spans of it were not taken, with the reason.
    pub(super) async fn send(&mut self, body: Bytes) -> Result<Option<(u64, String)>, Untaken> {
        let mut connection = match self.connection.take() {
            Some(connection) if connection.sender.is_ready() => connection,
            _ => self.connect().await.map_err(unreachable)?,
        };
        let answer = connection.sender.send_request(self.request(body));
        let answer = answer.await.map_err(unreachable)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(unreachable)?;
        self.connection = Some(connection);
        if parts.status.is_success() {
            let said = ExportTraceServiceResponse::decode(body.to_bytes()).unwrap_or_default();
            let partial = said.partial_success.unwrap_or_default();
            let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
            return Ok((rejected > 0).then_some((rejected, partial.error_message)));
        }
        let after = parts.headers.get(header::RETRY_AFTER);
        let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
        Err(Untaken {
            said: format!("the collector answered {}", parts.status),
            again: matches!(
                parts.status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            after: after.map(Duration::from_secs),
        })
    }

    /// Lets go of a connection on which an answer is still to come.
    pub(super) fn reset(&mut self) {
        self.connection = None;
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        let path = self
            .uri
            .path_and_query()
            .map_or(PLACE, |path| path.as_str());
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        let host = self.uri.authority().map_or("", |host| host.as_str());
        if let Ok(host) = HeaderValue::from_str(host) {
            headers.insert(header::HOST, host);
        }
        let kind = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, kind);
        let agent = concat!("cutover/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        request
    }

    async fn connect(&self) -> Result<Connection, String> {
        let host = self.uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let port = self.uri.port_u16().unwrap_or(usual);
        let stream = TcpStream::connect((bare, port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        match &self.tls {
            None => handshake(stream).await,
            Some(tls) => {
                let safe = tls.connect(stream, host).await;
                handshake(safe.map_err(|error| error.to_string())?.stream).await
            }
        }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Connection, String> {
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| error.to_string())?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok(Connection {
        sender,
        _driver: driver,
    })
}

fn unreachable(why: impl fmt::Display) -> Untaken {
    Untaken {
        said: format!("the collector cannot be reached: {why}"),
        again: true,
        after: None,
    }
}
