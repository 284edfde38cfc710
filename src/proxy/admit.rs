//! What a request must be like before anything is decided on it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, uri::PathAndQuery,
};

use super::{Kind, client::Client};

/// Checks a request's head and brings it into the one form that is decided on and passed on: the target in origin form,
/// one `Host`, HTTP/1.1.
pub(super) fn admit<B>(request: &mut Request<B>, client: &Client) -> Result<(), Kind> {
    if request.headers().len() > client.door.max_headers {
        return Err(Kind::TooManyHeaders);
    }
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return Err(Kind::MethodNotAllowed);
    }
    check_transfer_encoding(request.headers())?;
    settle_host(request, client)?;
    settle_target(request)?;
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// `chunked`, once, or nothing (RFC 9112 §6.1): anything else is a body whose end two readers may see differently.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Kind> {
    match headers.get(header::TRANSFER_ENCODING) {
        None => Ok(()),
        Some(only)
            if only.as_bytes().eq_ignore_ascii_case(b"chunked")
                && is_single(headers, &header::TRANSFER_ENCODING) =>
        {
            Ok(())
        }
        Some(_) => Err(Kind::Malformed),
    }
}

/// The authority of an absolute target wins over `Host` (RFC 9112 §3.2.2); else there is exactly one valid `Host`, which
/// HTTP/1.0 may lack (§3.2).
fn settle_host<B>(request: &mut Request<B>, client: &Client) -> Result<(), Kind> {
    if let Some(authority) = request.uri().authority() {
        // Without a scheme it is the form that belongs to CONNECT.
        if request.uri().scheme().is_none() || !is_authority(authority.as_str().as_bytes()) {
            return Err(Kind::Malformed);
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Kind::Malformed)?;
        request.headers_mut().insert(header::HOST, host);
        return Ok(());
    }
    match request.headers().get(header::HOST) {
        Some(only)
            if is_authority(only.as_bytes()) && is_single(request.headers(), &header::HOST) =>
        {
            Ok(())
        }
        None if request.version() == Version::HTTP_10 => {
            let own = HeaderValue::from_str(&client.door.address.to_string())
                .map_err(|_| Kind::Malformed)?;
            request.headers_mut().insert(header::HOST, own);
            Ok(())
        }
        _ => Err(Kind::Malformed),
    }
}

/// Whether a field that is there is there once. Most requests repeat no field at all, which is quicker to see.
fn is_single(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.len() == headers.keys_len() || headers.get_all(name).iter().count() == 1
}

/// A host and perhaps a port (RFC 3986 §3.2), without user information, and with nothing in it that another reader could
/// take for a path, a list or a quote.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !text[colon..].contains(&b']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, &b""[..]),
    };
    let port_fits = port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && port
            .iter()
            .fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0'))
            <= 65_535;
    let host_fits = match host {
        [b'[', address @ .., b']'] => std::str::from_utf8(address)
            .is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        _ => {
            !host.is_empty()
                && host
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte))
        }
    };
    host_fits && port_fits
}

/// The target in origin form; `*` for `OPTIONS` only (RFC 9112 §3.2.4).
fn settle_target<B>(request: &mut Request<B>) -> Result<(), Kind> {
    let uri = request.uri();
    if let Some(scheme) = uri.scheme_str()
        && scheme != "http"
    {
        return Err(Kind::Malformed);
    }
    let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
    if target == "*" {
        return if request.method() == Method::OPTIONS {
            Ok(())
        } else {
            Err(Kind::Malformed)
        };
    }
    if uri.authority().is_some() {
        let target = uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(target);
        return Ok(());
    }
    if target.starts_with('/') {
        Ok(())
    } else {
        Err(Kind::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in [
            "a",
            "shop.example.com",
            "shop:8080",
            "10.0.0.1",
            "[::1]",
            "[2001:db8::1]:443",
            "a:",
            "xn--a_b%20~",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a/b", "u@a", "a,b", "a b", "a:99999", "a:65536", "a:x", "a:123456", "[::1",
            "::1", "[::1]x", "[v1.x]", "a\"b", "a\\b", "a:80:80", "\u{e4}", "a?b", "a#b", "[]",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
