use http::{HeaderMap, Method, Request, Uri, header, uri::Authority};
use hyper::ext::Protocol;

use crate::units::Address;

/// Writes a request's head as HTTP/2 has it (RFC 9113 §8.3.1): the host beside the target, and nothing that is meant for one
/// connection. `te: trailers` stays (§8.2.2). A wish to switch to another protocol becomes an extended `CONNECT` (RFC 8441 §5), whose
/// answer needs no proof.
pub fn write<B>(request: &mut Request<B>, secure: bool, address: &Address) {
    let authority = authority(request.headers(), address);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if secure {
        http::uri::Scheme::HTTPS
    } else {
        http::uri::Scheme::HTTP
    });
    parts.authority = authority.or(parts.authority);
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    // What can't be put together is sent without a target, which the HTTP library refuses.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = http::Version::HTTP_2;
    if let Some(wish) = request.headers_mut().remove(header::UPGRADE) {
        let protocol = Protocol::from(wish.to_str().unwrap_or_default());
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(protocol);
        request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
    }
    let headers = request.headers_mut();
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// The `Host` of the request; where it has none that can stand there, the endpoint's own.
fn authority(headers: &HeaderMap, address: &Address) -> Option<Authority> {
    let asked = headers.get(header::HOST);
    let asked = asked.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    asked.or_else(|| match address {
        Address::Unix(_) => Some(Authority::from_static("localhost")),
        address => Authority::try_from(address.to_string()).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_switch_is_an_extended_connect_without_a_key() {
        let request = Request::get("/chat")
            .header("host", "shop.test")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-version", "13");
        let mut request = request.body(()).unwrap();
        write(&mut request, false, &"10.0.0.1:3000".parse().unwrap());
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.uri(), "http://shop.test/chat");
        let protocol = request.extensions().get::<Protocol>();
        assert_eq!(protocol.map(Protocol::as_str), Some("websocket"));
        let left: Vec<_> = request.headers().keys().collect();
        assert_eq!(left, ["sec-websocket-version"]);
    }

    fn written(uri: &str, fields: &[(&str, &str)]) -> (String, Vec<String>) {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        write(&mut request, true, &"10.0.0.1:3000".parse().unwrap());
        let left = request.headers().keys();
        let left = left.map(|name| name.as_str().to_owned()).collect();
        (request.uri().to_string(), left)
    }

    #[test]
    fn the_host_stands_beside_the_target_and_nothing_of_the_connection_is_left() {
        let fields = [
            ("host", "shop.test:8443"),
            ("connection", "te"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
        ];
        let (uri, left) = written("/a?b=c", &fields);
        assert_eq!(uri, "https://shop.test:8443/a?b=c");
        assert_eq!(left, ["te"]);
        assert_eq!(written("/", &[]).0, "https://10.0.0.1:3000/");
        // The path is the asterisk; so it is printed.
        assert_eq!(written("*", &[("host", "a")]).0, "https://a*");
        let absolute = written("http://other/x", &[("host", "shop.test")]).0;
        assert_eq!(absolute, "https://shop.test/x");
    }
}
