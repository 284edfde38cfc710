//! Requests to an authority, over TLS as endpoints are met.

use std::{error::Error as StdError, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, header::HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::tls::{Authorities, ClientSettings, Trust};

/// For one request, from the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer: a chain is some KiB.
const LARGEST: usize = 1 << 20;

type Anything = Box<dyn StdError + Send + Sync>;

/// A connection for each request: there are ten of them every two months.
#[derive(Clone)]
pub(super) struct Directory(Arc<ClientSettings>);

impl Directory {
    /// `ca`: who signs the authority's own certificate, where it is not one that the system trusts.
    pub(super) fn new(ca: Option<&[u8]>) -> Result<Self, String> {
        let authorities = match ca {
            Some(ca) => Authorities::new(ca),
            None => Authorities::of_system(),
        };
        let trust = Trust::Authorities(authorities.map_err(|error| error.to_string())?);
        ClientSettings::new(trust, None, None, (true, false)).map(|settings| Self(settings.into()))
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Anything> {
        let uri = request.uri().clone();
        let host = uri.host().ok_or("no host in the authority's URL")?;
        if uri.scheme_str() != Some("https") {
            return Err(format!("{uri} is no https URL").into());
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, uri.port_u16().unwrap_or(443))).await?;
        let safe = self.0.connect(stream, host).await?;
        exchange(safe.stream, &uri, request).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Anything> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the exchange.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (mut parts, body) = request.into_parts();
    let authority = uri.authority().ok_or("no host in the authority's URL")?;
    parts.headers.insert(HOST, authority.as_str().parse()?);
    parts.uri = uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .parse()?;
    let answer = sender
        .send_request(Request::from_parts(parts, body))
        .await?;
    let (parts, body) = answer.into_parts();
    let bytes = Limited::new(body, LARGEST).collect().await?.to_bytes();
    let answer = http::Response::from_parts(parts, Full::new(bytes));
    Ok(BytesResponse::from(answer))
}

impl HttpClient for Directory {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = self.clone().ask(request);
        Box::pin(async move {
            match timeout(PATIENCE, asked).await {
                Ok(answer) => answer.map_err(Error::Other),
                Err(_) => Err(Error::Other("the authority does not answer".into())),
            }
        })
    }
}
