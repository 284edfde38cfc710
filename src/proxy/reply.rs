//! Answers of our own: a short text or JSON, and never a hint of what is behind.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::Body;

/// Seconds after which a client may ask again when nothing could take its request.
const RETRY_AFTER: &str = "1";

/// What a request's `Accept` asks for, of what we can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

impl Form {
    /// JSON where it is named before any text.
    pub(super) fn preferred(headers: &HeaderMap) -> Self {
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

/// The answer that says `status`.
pub(super) fn reply(status: StatusCode, form: Form) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let (kind, text) = match form {
        Form::Json => (
            "application/json",
            format!("{{\"status\":{code},\"error\":\"{reason}\"}}\n"),
        ),
        Form::Text => ("text/plain; charset=utf-8", format!("{code} {reason}\n")),
    };
    let mut response = Response::new(Body::own(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
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
        let response = reply(StatusCode::NOT_FOUND, Form::preferred(&headers));
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
    fn who_cannot_be_served_now_is_told_when_to_come_back() {
        let unavailable = reply(StatusCode::SERVICE_UNAVAILABLE, Form::Text);
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
