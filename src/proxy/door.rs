//! What a listener says by itself: proofs for authorities, the way to HTTPS, that a connection is the wrong one for a
//! host, and what browsers are to keep in mind.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use super::{Body, Kind, client::Client, handle::Refused};

/// Lets a request pass that the listener does not answer itself.
pub(super) fn pass<B>(request: &Request<B>, client: &Client) -> Result<(), Refused> {
    let door = &client.door;
    if let Some(proof) = door.challenges.answer(request.uri().path()) {
        return Err(Refused::at_door(proved(proof)));
    }
    if let Some(port) = door.redirect {
        return Err(Refused::at_door(redirected(request, port)?));
    }
    if is_misdirected(request, client) {
        return Err(Kind::Misdirected.into());
    }
    Ok(())
}

/// Tells a client what its listener has to say with every answer. An app that says it itself knows better.
pub(super) fn instruct(answer: &mut Response<Body>, client: &Client) {
    if let Some(hsts) = &client.door.hsts {
        let headers = answer.headers_mut();
        headers
            .entry(header::STRICT_TRANSPORT_SECURITY)
            .or_insert_with(|| hsts.clone());
    }
}

/// The value of `Strict-Transport-Security` (RFC 6797 §6.1).
pub fn hsts(max_age: Duration, include_subdomains: bool, preload: bool) -> HeaderValue {
    let mut text = format!("max-age={}", max_age.as_secs());
    if include_subdomains {
        text.push_str("; includeSubDomains");
    }
    if preload {
        text.push_str("; preload");
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("digits, letters and semicolons")
}

/// A proof is the same for whoever asks (RFC 8555 §8.3).
fn proved(proof: String) -> Response<Body> {
    let mut answer = Response::new(Body::own(Bytes::from(proof)));
    let kind = HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// The same place over HTTPS. What may have a body is to be sent there as it is (308); 301 is what every client knows.
fn redirected<B>(request: &Request<B>, port: u16) -> Result<Response<Body>, Kind> {
    let host = host_of(request).ok_or(Kind::Malformed)?;
    let port = match port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    // `OPTIONS *` asks for no place.
    let path = if path == "*" { "/" } else { path };
    let location = HeaderValue::try_from(format!("https://{host}{port}{path}"));
    let mut answer = Response::new(Body::none());
    *answer.status_mut() = match *request.method() {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    let location = location.map_err(|_| Kind::Malformed)?;
    answer.headers_mut().insert(header::LOCATION, location);
    Ok(answer)
}

fn is_misdirected<B>(request: &Request<B>, client: &Client) -> bool {
    let Some(secure) = &client.secure else {
        return false;
    };
    host_of(request).is_none_or(|host| !secure.covers(host))
}

/// `Host` without its port. It has been checked.
fn host_of<B>(request: &Request<B>) -> Option<&str> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    Some(match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(method: &str, host: &str, target: &str, port: u16) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", host)
            .body(())
            .unwrap();
        let answer = redirected(&request, port).unwrap();
        let location = answer.headers()[header::LOCATION].to_str().unwrap();
        (answer.status().as_u16(), location.to_owned())
    }

    #[test]
    fn the_way_to_https_keeps_the_host_and_the_target() {
        for (method, host, target, port, expected) in [
            (
                "GET",
                "a.test",
                "/x?y=1",
                443,
                (301, "https://a.test/x?y=1"),
            ),
            ("HEAD", "a.test:80", "/", 443, (301, "https://a.test/")),
            (
                "POST",
                "a.test:8080",
                "/f",
                8443,
                (308, "https://a.test:8443/f"),
            ),
            ("GET", "[::1]:80", "/", 443, (301, "https://[::1]/")),
            ("GET", "[::1]", "/", 8443, (301, "https://[::1]:8443/")),
            ("OPTIONS", "a.test", "*", 443, (308, "https://a.test/")),
        ] {
            let expected = (expected.0, expected.1.to_owned());
            assert_eq!(way(method, host, target, port), expected);
        }
    }

    #[test]
    fn hsts_says_what_was_asked_for() {
        let year = Duration::from_hours(365 * 24);
        assert_eq!(hsts(year, false, false), "max-age=31536000");
        assert_eq!(
            hsts(year, true, true),
            "max-age=31536000; includeSubDomains; preload"
        );
    }
}
