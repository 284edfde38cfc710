//! Answers of our own: a short text or JSON, and never a hint of what is behind.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::Body;
use crate::units::ErrorPage;

/// Seconds after which a client may ask again when nothing could take its request.
const RETRY_AFTER: &str = "1";

/// The words in which a client wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    /// A call of gRPC: its client looks at `grpc-status`, and at nothing else where that is there.
    Grpc,
}

impl Form {
    /// gRPC where that is spoken; else what `Accept` asks for, of what we can give: JSON where it is named before any text.
    pub(super) fn preferred(headers: &HeaderMap) -> Self {
        if headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
            return Self::Grpc;
        }
        let Some(accept) = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok())
        else {
            return Self::Text;
        };
        let mut kinds = accept
            .split(',')
            .map(|part| part.split(';').next().unwrap_or("").trim());
        let named = kinds.find_map(|kind| match kind {
            "application/json" | "application/problem+json" | "application/*" => Some(Self::Json),
            "text/plain" | "text/html" | "text/*" => Some(Self::Text),
            _ => None,
        });
        named.unwrap_or(Self::Text)
    }
}

/// `application/grpc`, alone or with the encoding of its messages; not gRPC-Web, which has statuses in its body.
fn is_grpc(kind: &HeaderValue) -> bool {
    let kind = kind.as_bytes();
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || matches!(rest[0], b'+' | b';'))
}

/// The status of gRPC that says the same (`doc/http-grpc-status-mapping.md` of gRPC), except where we know better what
/// happened: an answer that came too late is a deadline, and a limit is an exhausted resource.
fn grpc_status(status: StatusCode) -> HeaderValue {
    HeaderValue::from_static(match status.as_u16() {
        400 | 431 => "13",
        401 => "16",
        403 => "7",
        404 | 405 | 501 => "12",
        408 | 504 => "4",
        413 | 429 => "8",
        502 | 503 => "14",
        _ => "2",
    })
}

/// Headers and nothing after them ("Trailers-Only" in gRPC's protocol).
fn trailers_only(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::none());
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert("grpc-status", grpc_status(status));
    if let Some(reason) = status.canonical_reason() {
        headers.insert("grpc-message", HeaderValue::from_static(reason));
    }
    response
}

/// The answer that says `status`.
pub(super) fn reply(status: StatusCode, form: Form, page: Option<&ErrorPage>) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let (kind, text) = match form {
        Form::Grpc => return trailers_only(status),
        Form::Json => (
            "application/json",
            format!("{{\"status\":{code},\"error\":\"{reason}\"}}\n"),
        ),
        Form::Text => ("text/plain; charset=utf-8", format!("{code} {reason}\n")),
    };
    // Who asks for JSON before text reads no page for people.
    let page = page.filter(|page| form != Form::Json || page.is_json());
    let (kind, body) = match page {
        Some(page) => (page.content_type.clone(), page.body(status)),
        None => (HeaderValue::from_static(kind), Bytes::from(text)),
    };
    let mut response = Response::new(Body::own(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    }
    response
}

/// The same for a connection on which no request could be read, as bytes: the connection is closed after it.
pub fn farewell(status: StatusCode) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let body = format!("{code} {reason}\n");
    let retry = if status == StatusCode::SERVICE_UNAVAILABLE {
        format!("retry-after: {RETRY_AFTER}\r\n")
    } else {
        String::new()
    };
    format!(
        "HTTP/1.1 {code} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n{retry}\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_for(accept: &str) -> String {
        let headers = [(header::ACCEPT, accept.parse().unwrap())]
            .into_iter()
            .collect();
        let response = reply(StatusCode::NOT_FOUND, Form::preferred(&headers), None);
        response.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn the_form_follows_what_the_client_accepts() {
        for accept in [
            "*/*",
            "text/html,application/json;q=0.9",
            "image/png",
            "",
            "a;b,,;",
        ] {
            assert_eq!(kind_for(accept), "text/plain; charset=utf-8", "{accept}");
        }
        for accept in [
            "application/json",
            "application/json, text/plain",
            "image/png, application/*;q=0.1",
        ] {
            assert_eq!(kind_for(accept), "application/json", "{accept}");
        }
    }

    #[test]
    fn a_call_of_grpc_is_told_in_its_own_words() {
        let said = |kind: &'static str, status| {
            let kind = HeaderValue::from_static(kind);
            let headers = [(header::CONTENT_TYPE, kind)].into_iter().collect();
            let response = reply(status, Form::preferred(&headers), None);
            let grpc = response.headers().get("grpc-status").cloned();
            (response.status().as_u16(), grpc)
        };
        for (status, code) in [
            (StatusCode::BAD_GATEWAY, "14"),
            (StatusCode::SERVICE_UNAVAILABLE, "14"),
            (StatusCode::GATEWAY_TIMEOUT, "4"),
            (StatusCode::PAYLOAD_TOO_LARGE, "8"),
            (StatusCode::TOO_MANY_REQUESTS, "8"),
            (StatusCode::NOT_FOUND, "12"),
        ] {
            for kind in [
                "application/grpc",
                "application/grpc+proto",
                "application/grpc;v=1",
            ] {
                let code = Some(HeaderValue::from_static(code));
                assert_eq!(said(kind, status), (200, code), "{kind} {status}");
            }
            for kind in ["application/grpc-web", "application/json", ""] {
                assert_eq!(said(kind, status), (status.as_u16(), None), "{kind}");
            }
        }
    }

    #[test]
    fn who_cannot_be_served_now_is_told_when_to_come_back() {
        let unavailable = reply(StatusCode::SERVICE_UNAVAILABLE, Form::Text, None);
        assert_eq!(unavailable.headers()[header::RETRY_AFTER], RETRY_AFTER);
        let bytes = String::from_utf8(farewell(StatusCode::SERVICE_UNAVAILABLE)).unwrap();
        assert!(
            bytes.starts_with("HTTP/1.1 503 Service Unavailable\r\n")
                && bytes.contains("\r\nretry-after: 1\r\n")
        );
        assert!(
            bytes.ends_with(
                "content-length: 24\r\nconnection: close\r\n\r\n503 Service Unavailable\n"
            )
        );
    }
}
