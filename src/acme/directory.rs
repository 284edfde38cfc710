//! Requests to an authority, over TLS as endpoints are met.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use crate::{
    outbound::{Client, Limits},
    tls::Authorities,
};

/// A chain is some KiB.
const LIMITS: Limits = Limits {
    within: Duration::from_secs(30),
    largest: 1 << 20,
};

/// A connection for each request: there are ten of them every two months.
#[derive(Clone)]
pub(super) struct Directory(Client);

impl Directory {
    /// `ca`: who signs the authority's own certificate, where it is not one that the system trusts.
    pub(super) fn new(ca: Option<&[u8]>) -> Result<Self, String> {
        let authorities = match ca {
            Some(ca) => Authorities::new(ca),
            None => Authorities::of_system(),
        };
        Client::trusting(authorities.map_err(|error| error.to_string())?).map(Self)
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (parts, body) = request.into_parts();
        if parts.uri.scheme_str() != Some("https") {
            return Err(Error::Other(
                format!("{} is no https URL", parts.uri).into(),
            ));
        }
        let body = body
            .collect()
            .await
            .map_err(|error| Error::Other(error.into()))?;
        let request = Request::from_parts(parts, body.to_bytes());
        let asked = self.0.send(request, LIMITS).await;
        let answer =
            asked.map_err(|error| Error::Other(format!("the authority {error}").into()))?;
        if !answer.is_whole {
            return Err(Error::Other("the authority answers too much".into()));
        }
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(BytesResponse::from(response))
    }
}

impl HttpClient for Directory {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().ask(request))
    }
}
