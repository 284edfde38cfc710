//! What a probe asks.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header, uri::Scheme};
use http_body_util::Full;

use super::{
    failure::{Failure, Reason},
    grpc,
    talk::plain,
};
use crate::{
    config::plan::{HttpProbe, Probe, ProbeKind},
    units::Address,
};

const USER_AGENT: &str = concat!("cutover-probe/", env!("CARGO_PKG_VERSION"));

/// The question as the endpoint's version of HTTP has it.
pub fn question(
    address: &Address,
    probe: &Probe,
    h2: bool,
    safe: bool,
) -> Result<Request<Full<Bytes>>, Failure> {
    let request = match &probe.kind {
        ProbeKind::Http(http) => request(address, http)?,
        ProbeKind::Grpc(_) if !h2 => {
            let why = "the endpoint chose HTTP/1.1 (ALPN), over which there is no gRPC";
            return Err(Failure::new(Reason::Malformed, why));
        }
        ProbeKind::Grpc(service) => grpc_request(service),
        // It asks nothing; it is not asked for a question.
        ProbeKind::Tcp => Request::default(),
    };
    let host = host(address, probe);
    if h2 {
        over_h2(request, &host, safe)
    } else {
        Ok(over_h1(request, &host))
    }
}

fn host(address: &Address, probe: &Probe) -> String {
    let named = match &probe.kind {
        ProbeKind::Http(http) => http.host.clone(),
        ProbeKind::Grpc(_) | ProbeKind::Tcp => None,
    };
    named.unwrap_or_else(|| match address {
        Address::Unix(_) => "localhost".to_owned(),
        address => address.to_string(),
    })
}

fn request(address: &Address, probe: &HttpProbe) -> Result<Request<Full<Bytes>>, Failure> {
    let request = Request::builder()
        .method(probe.method.clone())
        .uri(&probe.path)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, HeaderValue::from_static("*/*"))
        .body(Full::default());
    let mut request = request.map_err(|error| unaskable(address, &error))?;
    for (name, value) in &probe.headers {
        request.headers_mut().insert(name, value.clone());
    }
    Ok(request)
}

fn grpc_request(service: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(grpc::question(service)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(grpc::PATH);
    let fields = [
        (header::USER_AGENT, USER_AGENT),
        (header::CONTENT_TYPE, "application/grpc"),
        (header::TE, "trailers"),
    ];
    for (name, value) in fields {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    request
}

fn over_h1(mut request: Request<Full<Bytes>>, host: &str) -> Request<Full<Bytes>> {
    let headers = request.headers_mut();
    if let (false, Ok(host)) = (
        headers.contains_key(header::HOST),
        HeaderValue::from_str(host),
    ) {
        headers.insert(header::HOST, host);
    }
    headers
        .entry(header::CONNECTION)
        .or_insert(HeaderValue::from_static("close"));
    request
}

fn over_h2(
    mut request: Request<Full<Bytes>>,
    host: &str,
    safe: bool,
) -> Result<Request<Full<Bytes>>, Failure> {
    let scheme = if safe { Scheme::HTTPS } else { Scheme::HTTP };
    let path = request.uri().path_and_query().cloned();
    let target = Uri::builder()
        .scheme(scheme)
        .authority(host)
        .path_and_query(path.map_or_else(|| "/".to_owned(), |path| path.to_string()))
        .build();
    *request.uri_mut() = target.map_err(|error| unaskable(&host, &error))?;
    Ok(request)
}

fn unaskable(whom: &impl std::fmt::Display, error: &http::Error) -> Failure {
    Failure::new(
        Reason::Malformed,
        format!("{} can't be asked: {}", plain(whom), plain(error)),
    )
}
