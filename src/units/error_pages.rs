//! Pages in place of the proxy's own short answers.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

/// The pages by the statuses they are for. An exact status comes before a class of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages(Vec<ErrorPage>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// First and last.
    pub statuses: (u16, u16),
    /// Where it was read from, as the file has it.
    pub file: String,
    pub content_type: HeaderValue,
    body: Bytes,
}

const STATUS: &[u8] = b"{status}";

impl ErrorPages {
    pub fn new(mut pages: Vec<ErrorPage>) -> Self {
        pages.sort_by_key(|page| (page.statuses.1 - page.statuses.0, page.statuses));
        Self(pages)
    }

    pub fn find(&self, status: StatusCode) -> Option<&ErrorPage> {
        let status = status.as_u16();
        let mut pages = self.0.iter();
        pages.find(|page| (page.statuses.0..=page.statuses.1).contains(&status))
    }

    pub fn iter(&self) -> impl Iterator<Item = &ErrorPage> {
        self.0.iter()
    }
}

impl ErrorPage {
    pub fn new(statuses: (u16, u16), file: String, content_type: HeaderValue, body: Bytes) -> Self {
        Self {
            statuses,
            file,
            content_type,
            body,
        }
    }

    /// What the file held.
    pub fn contents(&self) -> &Bytes {
        &self.body
    }

    /// The page with the status in the place of each `{status}`.
    pub fn body(&self, status: StatusCode) -> Bytes {
        let mut rest: &[u8] = &self.body;
        let find = |text: &[u8]| text.windows(STATUS.len()).position(|part| part == STATUS);
        let mut body = Vec::new();
        while let Some(at) = find(rest) {
            body.extend_from_slice(&rest[..at]);
            body.extend_from_slice(status.as_str().as_bytes());
            rest = &rest[at + STATUS.len()..];
        }
        if body.is_empty() {
            return self.body.clone();
        }
        body.extend_from_slice(rest);
        body.into()
    }

    pub fn is_json(&self) -> bool {
        let kind = self.content_type.to_str().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.ends_with("/json") || kind.ends_with("+json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(statuses: (u16, u16), body: &'static str) -> ErrorPage {
        let kind = HeaderValue::from_static("text/html");
        ErrorPage::new(
            statuses,
            "x".into(),
            kind,
            Bytes::from_static(body.as_bytes()),
        )
    }

    #[test]
    fn an_exact_status_comes_before_a_class() {
        let pages = ErrorPages::new(vec![page((500, 599), "any"), page((503, 503), "one")]);
        let found = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            pages.find(status).map(|page| page.body(status))
        };
        assert_eq!(found(503).as_deref(), Some(&b"one"[..]));
        assert_eq!(found(502).as_deref(), Some(&b"any"[..]));
        assert_eq!(found(404), None);
    }

    #[test]
    fn the_status_is_put_in_wherever_the_page_wants_it() {
        let body = |text| page((500, 599), text).body(StatusCode::BAD_GATEWAY);
        assert_eq!(body("{status}"), "502");
        assert_eq!(body("a {status} b {status} {statu"), "a 502 b 502 {statu");
        assert_eq!(body("none {Status}"), "none {Status}");
        assert_eq!(body(""), "");
    }
}
