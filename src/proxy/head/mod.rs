//! What a message's head must be like before anything is decided on it.
//!
//! Owns the rules that keep two readers from understanding a message differently, where the HTTP library is lenient: one
//! framing, one host, one target, one normal form of its path. Pure: knows a head and which door it came in by, nothing
//! of connections, services or bodies. A head that is in normal form already costs one look at each of its fields and
//! each byte of its path, and no allocation.

mod fields;
mod framing;
mod host;
mod target;

use std::net::SocketAddr;

use http::{Method, Request, Response, Version, header};

use super::Kind;

pub(super) use fields::drop_ambiguous;
pub use fields::{CLIENT_CERTIFICATE, Field, Fields};

/// What a head is measured by: the door it came in by.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// The most fields it may have.
    pub fields: usize,
    /// What the client has connected to names the host where it names none, as in HTTP/1.0; `None`: a Unix socket.
    pub address: Option<SocketAddr>,
    /// Clients speak TLS to it.
    pub secure: bool,
}

/// Of a `CONNECT` whose `:protocol` is `websocket` (RFC 8441 §4).
#[derive(Debug, Clone, Copy)]
pub struct ForWebsocket;

/// Checks a request's head and brings it into the one form that is decided on and passed on: the target in origin form
/// and its path in normal form, one `Host`, one framing, no field that an app could confuse with another, HTTP/1.1.
pub fn check<B>(request: &mut Request<B>, door: &Door) -> Result<Fields, Kind> {
    if request.headers().len() > door.fields {
        return Err(Kind::TooManyHeaders);
    }
    if asks_for_websocket(request) {
        become_get(request)?;
    }
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return Err(Kind::MethodNotAllowed);
    }
    let fields = Fields::of(request.headers());
    let version = request.version();
    if version == Version::HTTP_2 {
        fields::check_http_2(request.headers(), fields)?;
        fields::join_cookies(request.headers_mut(), fields)?;
    }
    framing::settle(request.headers_mut(), version, fields)?;
    host::settle(request, fields, door)?;
    target::settle(request, door)?;
    if fields.are_ambiguous() {
        drop_ambiguous(request.headers_mut());
    }
    *request.version_mut() = Version::HTTP_11;
    Ok(fields)
}

/// Whether a stream of HTTP/2 is to carry a WebSocket.
fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    *request.method() == Method::CONNECT
        && request.version() == Version::HTTP_2
        && request.extensions().get::<ForWebsocket>().is_some()
}

/// In HTTP/1.1 the same is asked for with `GET` (RFC 8441 §5), and routes know it as that. What follows the head is no body.
fn become_get<B>(request: &mut Request<B>) -> Result<(), Kind> {
    let uri = request.uri();
    let whole = uri.scheme().is_some() && uri.path_and_query().is_some();
    if !whole || request.headers().contains_key(header::CONTENT_LENGTH) {
        return Err(Kind::Malformed);
    }
    *request.method_mut() = Method::GET;
    Ok(())
}

/// Checks what an endpoint's answer says of its own length.
pub(super) fn check_answer<B>(answer: &mut Response<B>) -> Result<Fields, Kind> {
    let fields = Fields::of_answer(answer.headers());
    let version = answer.version();
    match framing::settle(answer.headers_mut(), version, fields) {
        Ok(()) => Ok(fields),
        Err(_) => Err(Kind::EndpointMalformed),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
    use proptest::prelude::*;

    use super::*;

    const DOOR: Door = Door {
        fields: 10,
        address: Some(SocketAddr::new(
            std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
            80,
        )),
        secure: false,
    };

    /// A request as the HTTP library hands it over.
    fn request(
        version: Version,
        method: &str,
        target: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = target.parse().unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    fn checked(mut request: Request<()>) -> Result<(String, HeaderMap), Kind> {
        check(&mut request, &DOOR)?;
        assert_eq!(request.version(), Version::HTTP_11);
        Ok((request.uri().to_string(), request.headers().clone()))
    }

    /// Fields as a client might write them, and some that it should not.
    fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
        let names = "host|cookie|te|content-length|transfer-encoding|connection|x_a|x-a";
        let values = "a|b:80|trailers|0|007|5|chunked|gzip, chunked|[ -~]{0,6}";
        prop::collection::vec((names, values), 0..6)
    }

    proptest! {
        #[test]
        fn a_head_that_is_let_in_is_in_normal_form(
            kind in 0..3_usize,
            method in "GET|POST|OPTIONS",
            target in "(https?://(a|b:80|u@a))?/?([a./%;?]|%2[eEfF]|%5c){0,10}|\\*|[ -~]{0,8}",
            fields in fields(),
        ) {
            let Ok(uri) = target.parse::<Uri>() else {
                return Ok(());
            };
            let mut request = Request::new(());
            *request.method_mut() = method.parse().unwrap();
            *request.version_mut() = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][kind];
            *request.uri_mut() = uri;
            for (name, value) in fields {
                let name = HeaderName::try_from(name).unwrap();
                request.headers_mut().append(name, HeaderValue::try_from(value).unwrap());
            }
            if check(&mut request, &DOOR).is_ok() {
                let (uri, headers) = (request.uri().clone(), request.headers().clone());
                prop_assert!(uri.authority().is_none());
                prop_assert!(uri.path().starts_with('/') || uri.path() == "*");
                prop_assert_eq!(headers.get_all(header::HOST).iter().count(), 1);
                let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
                    .map(|name| headers.get_all(name).iter().count());
                prop_assert!(framed[0] + framed[1] <= 1);
                prop_assert!(!headers.contains_key("x_a"));
                prop_assert!(check(&mut request, &DOOR).is_ok());
                prop_assert_eq!((request.uri(), request.headers()), (&uri, &headers));
            }
        }
    }

    #[test]
    fn a_head_in_normal_form_stays_as_it_is() {
        let fields = [
            ("host", "Shop.test:81"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("content-length", "0"),
        ];
        let whole = request(
            Version::HTTP_11,
            "GET",
            "/a/.well-known//b;c?../%2e&\\",
            &fields,
        );
        let before = whole.headers().clone();
        let (target, after) = checked(whole).unwrap();
        assert_eq!(
            (target.as_str(), after),
            ("/a/.well-known//b;c?../%2e&\\", before)
        );
    }

    #[test]
    fn a_head_with_more_fields_than_the_door_takes_is_too_large() {
        let mut many = request(Version::HTTP_11, "GET", "/", &[("host", "a")]);
        for n in 0..9 {
            many.headers_mut().append("x", n.into());
        }
        assert!(check(&mut many, &DOOR).is_ok());
        many.headers_mut().append("x", 9.into());
        assert_eq!(check(&mut many, &DOOR).unwrap_err(), Kind::TooManyHeaders);
    }

    #[test]
    fn nobody_gets_a_tunnel_or_an_echo() {
        for (method, target) in [("TRACE", "/"), ("CONNECT", "a:443"), ("CONNECT", "/")] {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                let asked = request(version, method, target, &[("host", "a")]);
                assert_eq!(checked(asked).unwrap_err(), Kind::MethodNotAllowed);
            }
        }
    }

    #[test]
    fn a_websocket_over_http_2_is_asked_for_as_over_http_1_1() {
        let connect = |version, target, websocket, fields: &[_]| {
            let mut asked = request(version, "CONNECT", target, fields);
            if websocket {
                asked.extensions_mut().insert(ForWebsocket);
            }
            check(&mut asked, &DOOR).map(|_| (asked.method().clone(), asked.uri().to_string()))
        };
        let (method, target) = connect(Version::HTTP_2, "https://a/b?c", true, &[]).unwrap();
        assert_eq!((method, target.as_str()), (Method::GET, "/b?c"));
        for (version, target, websocket, fields, kind) in [
            (
                Version::HTTP_11,
                "http://a/",
                true,
                &[][..],
                Kind::MethodNotAllowed,
            ),
            (
                Version::HTTP_2,
                "http://a/",
                false,
                &[],
                Kind::MethodNotAllowed,
            ),
            (Version::HTTP_2, "a:443", true, &[], Kind::Malformed),
            (
                Version::HTTP_2,
                "/b",
                true,
                &[("host", "a")],
                Kind::Malformed,
            ),
            (
                Version::HTTP_2,
                "http://a/",
                true,
                &[("content-length", "0")],
                Kind::Malformed,
            ),
            (
                Version::HTTP_2,
                "http://a/",
                true,
                &[("upgrade", "websocket")],
                Kind::Malformed,
            ),
        ] {
            assert_eq!(
                connect(version, target, websocket, fields).unwrap_err(),
                kind,
                "{target} {fields:?}"
            );
        }
    }

    #[test]
    fn an_http_2_head_becomes_an_http_1_1_head() {
        let fields = [
            ("cookie", "a=1"),
            ("x-a", "1"),
            ("cookie", "b=2"),
            ("te", "trailers"),
        ];
        let whole = request(Version::HTTP_2, "GET", "https://Shop.test/%7ea?b", &fields);
        let (target, fields) = checked(whole).unwrap();
        assert_eq!(target, "/~a?b");
        assert_eq!(fields[header::HOST], "Shop.test");
        assert_eq!(fields[header::COOKIE], "a=1; b=2");
        assert_eq!(fields.get_all(header::COOKIE).iter().count(), 1);
        assert_eq!(
            (&fields["x-a"], &fields["te"]),
            (&"1".parse().unwrap(), &"trailers".parse().unwrap())
        );
    }

    #[test]
    fn http_2_names_its_host_once() {
        let h2 = |target, fields: &[_]| checked(request(Version::HTTP_2, "GET", target, fields));
        let (_, same) = h2("http://a.test/", &[("host", "A.test")]).unwrap();
        assert_eq!(same[header::HOST], "a.test");
        let (_, only) = h2("/", &[("host", "a.test")]).unwrap();
        assert_eq!(only[header::HOST], "a.test");
        for (target, fields) in [
            ("http://a.test/", &[("host", "b.test")][..]),
            ("http://a.test/", &[("host", "a.test"), ("host", "a.test")]),
            ("http://a.test/", &[("host", "a.test:80")]),
            ("http://u@a.test/", &[]),
            ("ftp://a.test/", &[]),
            ("/", &[]),
            ("/", &[("host", "")]),
        ] {
            assert_eq!(
                h2(target, fields).unwrap_err(),
                Kind::Malformed,
                "{target} {fields:?}"
            );
        }
    }

    #[test]
    fn http_2_has_no_fields_for_one_connection() {
        for field in [
            ("connection", "close"),
            ("proxy-connection", "keep-alive"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
        ] {
            let asked = request(Version::HTTP_2, "GET", "http://a/", &[field]);
            assert_eq!(checked(asked).unwrap_err(), Kind::Malformed, "{field:?}");
        }
    }

    #[test]
    fn an_http_2_value_has_no_blank_at_its_ends() {
        for (value, is_well_formed) in [
            ("", true),
            ("a \tb", true),
            (" a", false),
            ("a ", false),
            ("\ta", false),
            ("a\t", false),
            (" ", false),
        ] {
            let fields = [("x-a", "1"), ("x-a", value)];
            let asked = request(Version::HTTP_2, "GET", "http://a/", &fields);
            assert_eq!(checked(asked).is_ok(), is_well_formed, "{value:?}");
        }
    }

    #[test]
    fn an_answer_has_one_framing() {
        let answer = |version, fields: &[(&'static str, &'static str)]| {
            let mut answer = Response::new(());
            *answer.version_mut() = version;
            for (name, value) in fields {
                answer.headers_mut().append(*name, value.parse().unwrap());
            }
            check_answer(&mut answer).map(|_| answer.headers().clone())
        };
        let canonical = answer(Version::HTTP_11, &[("content-length", "007")]).unwrap();
        assert_eq!(canonical[header::CONTENT_LENGTH], "7");
        for (version, fields) in [
            (
                Version::HTTP_11,
                &[("transfer-encoding", "chunked"), ("content-length", "1")][..],
            ),
            (
                Version::HTTP_11,
                &[("content-length", "1"), ("content-length", "1")],
            ),
            (Version::HTTP_11, &[("transfer-encoding", "gzip, chunked")]),
            (Version::HTTP_11, &[("transfer-encoding", "identity")]),
            (Version::HTTP_10, &[("transfer-encoding", "chunked")]),
        ] {
            assert_eq!(
                answer(version, fields).unwrap_err(),
                Kind::EndpointMalformed,
                "{fields:?}"
            );
        }
    }
}
