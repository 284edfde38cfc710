use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use crate::{
    outbound::{Client, Connection},
    units::Timestamp,
};

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
    client: Client,
    connection: Option<Connection>,
}

impl Collector {
    /// Fails where there is nobody to vouch for an `https` endpoint.
    pub(super) fn new(endpoint: &Uri, headers: HeaderMap) -> Result<Self, String> {
        let mut parts = endpoint.clone().into_parts();
        if endpoint.path() == "/" && endpoint.query().is_none() {
            parts.path_and_query = PLACE.parse().ok();
        }
        let uri = Uri::from_parts(parts).map_err(|error| error.to_string())?;
        let client = Client::default();
        let client = match uri.scheme_str() {
            Some("https") => client.ready()?,
            _ => client,
        };
        Ok(Self {
            uri,
            headers,
            client,
            connection: None,
        })
    }

    /// Sends a batch; returns how many spans of it were not taken, with the reason.
    pub(super) async fn send(&mut self, body: Bytes) -> Result<Option<(u64, String)>, Untaken> {
        let mut connection = match self.connection.take() {
            Some(connection) if connection.is_ready() => connection,
            _ => self.client.connect(&self.uri).await.map_err(unreachable)?,
        };
        let answer = connection.send(self.request(body), LARGEST).await;
        let answer = answer.map_err(unreachable)?;
        if answer.is_whole {
            self.connection = Some(connection);
        }
        if answer.status.is_success() {
            let said = ExportTraceServiceResponse::decode(answer.body.clone()).unwrap_or_default();
            let partial = said.partial_success.unwrap_or_default();
            let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
            return Ok((rejected > 0).then_some((rejected, partial.error_message)));
        }
        Err(Untaken {
            said: format!("the collector answered {}", answer.status),
            again: matches!(
                answer.status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            after: answer.retry_after(Timestamp::now()),
        })
    }

    /// Lets go of a connection on which an answer is still to come.
    pub(super) fn reset(&mut self) {
        self.connection = None;
    }

    fn request(&self, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        request.uri_mut().clone_from(&self.uri);
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        let kind = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, kind);
        request
    }
}

fn unreachable(why: impl fmt::Display) -> Untaken {
    Untaken {
        said: format!("the collector {why}"),
        again: true,
        after: None,
    }
}
