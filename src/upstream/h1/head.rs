use std::{mem::MaybeUninit, ops::Range};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use crate::upstream::AnswerError;

/// The most fields of an answer.
const FIELDS: usize = 100;

/// Writes a request's line and its fields, all but what says how its body is framed and the empty line at their end.
pub fn write<B>(request: &Request<B>, text: &mut Vec<u8>) {
    let target = request.uri().path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    for piece in [request.method().as_str(), " ", target, " HTTP/1.1\r\n"] {
        text.extend_from_slice(piece.as_bytes());
    }
    write_fields(request.headers(), text);
}

/// What [`write`] has written, framing and the empty line included.
pub fn read_request(text: &[u8]) -> Option<Request<()>> {
    let text = Bytes::copy_from_slice(text);
    let lines = memchr::memchr_iter(b'\n', &text).count();
    let mut fields = vec![httparse::EMPTY_HEADER; lines];
    let mut parsed = httparse::Request::new(&mut fields);
    let Ok(Status::Complete(_)) = parsed.parse(&text) else {
        return None;
    };
    let mut request = Request::new(());
    *request.method_mut() = parsed.method?.parse().ok()?;
    *request.uri_mut() = parsed.path?.parse().ok()?;
    for field in &*parsed.headers {
        let value = text.slice_ref(field.value);
        append(request.headers_mut(), field.name, value).ok()?;
    }
    Some(request)
}

pub fn write_fields(headers: &HeaderMap, text: &mut Vec<u8>) {
    for (name, value) in headers {
        write_field(name.as_str(), value.as_bytes(), text);
    }
}

pub fn write_field(name: &str, value: &[u8], text: &mut Vec<u8>) {
    text.reserve(name.len() + value.len() + 4);
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// What has come of an answer's head.
#[derive(Debug, Default)]
pub struct Reading {
    /// So many bytes hold no whole head.
    seen: usize,
    /// Of the last answer's fields, in their order: the next one's are most often the same.
    names: Vec<HeaderName>,
    /// Where the values of its fields are.
    values: Vec<Range<usize>>,
}

impl Reading {
    /// Takes a whole head from what was received; its fields are put into `headers`, which is empty.
    pub fn take(
        &mut self,
        received: &mut BytesMut,
        headers: &mut HeaderMap,
    ) -> Result<Option<Response<()>>, AnswerError> {
        if received.is_empty() {
            return Ok(None);
        }
        // What was seen may end in the middle of the line end. A head that comes in pieces is not parsed at each of them.
        let from = self.seen.saturating_sub(2);
        if self.seen > 0 && !ends_a_head(&received[from..]) {
            self.seen = received.len();
            return Ok(None);
        }
        let Some((answer, length)) = self.parse(received)? else {
            self.seen = received.len();
            return Ok(None);
        };
        self.seen = 0;
        let text = received.split_to(length).freeze();
        headers.reserve(self.values.len());
        for (name, value) in self.names.iter().zip(self.values.drain(..)) {
            let value = HeaderValue::from_maybe_shared(text.slice(value));
            headers.append(name, value.map_err(|_| NO_FIELD)?);
        }
        Ok(Some(answer))
    }

    /// The head's first line, and its length; `None` where there is more of it to come.
    fn parse(&mut self, text: &[u8]) -> Result<Option<(Response<()>, usize)>, AnswerError> {
        // Empty lines before it are for requests (RFC 9112 §2.2).
        if text[0] != b'H' {
            return Err(NO_HEAD);
        }
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = ParserConfig::default();
        let outcome = config.parse_response_with_uninit_headers(&mut parsed, text, &mut fields);
        let length = match outcome {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(AnswerError::Malformed("too many fields"));
            }
            Err(_) => return Err(NO_HEAD),
        };
        self.values.clear();
        for (place, field) in parsed.headers.iter().enumerate() {
            self.name(place, field.name)?;
            // An empty one may be anywhere.
            let begin = match field.value {
                [] => 0,
                value => value.as_ptr().addr() - text.as_ptr().addr(),
            };
            self.values.push(begin..begin + field.value.len());
        }
        let (Some(code), Some(version)) = (parsed.code, parsed.version) else {
            return Err(NO_HEAD);
        };
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::from_u16(code)
            .map_err(|_| AnswerError::Malformed("a status that is none"))?;
        *answer.version_mut() = if version == 1 {
            Version::HTTP_11
        } else {
            Version::HTTP_10
        };
        let reason = parsed.reason.unwrap_or_default();
        if answer.status().canonical_reason() != Some(reason)
            && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
        {
            answer.extensions_mut().insert(reason);
        }
        Ok(Some((answer, length)))
    }

    /// Puts down the name of the field at such a place.
    fn name(&mut self, place: usize, name: &str) -> Result<(), AnswerError> {
        match self.names.get_mut(place) {
            Some(known) if known.as_str().eq_ignore_ascii_case(name) => {}
            Some(other) => *other = field_name(name)?,
            None => self.names.push(field_name(name)?),
        }
        Ok(())
    }
}

const NO_HEAD: AnswerError = AnswerError::Malformed("no head of HTTP/1.1");
const NO_FIELD: AnswerError = AnswerError::Malformed("a field that is none");

/// Whether a line is followed by an empty one. A line may end without a carriage return (RFC 9112 §2.2).
fn ends_a_head(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', text).any(|end| {
        let next = &text[end + 1..];
        next.starts_with(b"\n") || next.starts_with(b"\r\n")
    })
}

fn field_name(name: &str) -> Result<HeaderName, AnswerError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| NO_FIELD)
}

pub fn append(headers: &mut HeaderMap, name: &str, value: Bytes) -> Result<(), AnswerError> {
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| NO_FIELD)?;
    headers.append(field_name(name)?, value);
    Ok(())
}

/// Whether the endpoint keeps the connection after an answer with such a head (RFC 9112 §9.3).
pub fn lasts(version: Version, headers: &HeaderMap) -> bool {
    let mut lasts = version == Version::HTTP_11;
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            lasts |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    lasts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(text: &str, piece: usize) -> Result<(Response<()>, HeaderMap, String), String> {
        let (mut reading, mut received) = (Reading::default(), BytesMut::new());
        let mut headers = HeaderMap::new();
        let mut pieces = text.as_bytes().chunks(piece);
        loop {
            let taken = reading.take(&mut received, &mut headers);
            if let Some(answer) = taken.map_err(|error| error.to_string())? {
                received.extend(pieces.flatten());
                let left = String::from_utf8(received.to_vec()).unwrap();
                return Ok((answer, headers, left));
            }
            let piece = pieces.next().ok_or("unfinished")?;
            received.extend_from_slice(piece);
        }
    }

    #[test]
    fn a_request_is_written_as_it_is() {
        let request = Request::put("/a/b?c=d")
            .header("host", "shop.test")
            .header("x-a", "1")
            .header("x-a", "2")
            .body(())
            .unwrap();
        let mut text = Vec::new();
        write(&request, &mut text);
        let expected = "PUT /a/b?c=d HTTP/1.1\r\nhost: shop.test\r\nx-a: 1\r\nx-a: 2\r\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        let mut text = Vec::new();
        let all = Request::options("*").body(()).unwrap();
        write(&all, &mut text);
        assert_eq!(text, b"OPTIONS * HTTP/1.1\r\n");
    }

    proptest! {
        #[test]
        fn a_request_that_was_written_is_read_as_it_was(
            method in "GET|POST|[!-'*-+^-z|~]{1,9}",
            target in "/[!-\"$-~]{0,40}|\\*",
            fields in prop::collection::vec(("host|cookie|x-[a-z]{1,9}", "([!-~]([ -~\u{80}-\u{ff}]{0,40}[!-~])?)?"), 0..150),
        ) {
            let mut request = Request::new(());
            let (Ok(method), Ok(target)) = (method.parse(), target.parse()) else {
                return Ok(());
            };
            (*request.method_mut(), *request.uri_mut()) = (method, target);
            for (name, value) in &fields {
                let name = HeaderName::try_from(name).unwrap();
                request.headers_mut().append(name, HeaderValue::try_from(value).unwrap());
            }
            let mut text = Vec::new();
            write(&request, &mut text);
            text.extend_from_slice(b"\r\n");
            let read = read_request(&text).unwrap();
            prop_assert_eq!((read.method(), read.uri()), (request.method(), request.uri()));
            let all = |headers: &HeaderMap| {
                let fields = headers.iter().map(|(name, value)| (name.clone(), value.clone()));
                fields.collect::<Vec<_>>()
            };
            prop_assert_eq!(all(read.headers()), all(request.headers()));
        }
    }

    #[test]
    fn an_answer_is_read_in_whatever_pieces_it_comes() {
        let text = "HTTP/1.1 299 As You Like\r\nX-A: 1\r\nx-empty:\r\nset-cookie: a\r\nSet-Cookie:b \r\n\r\nbody\r\n\r\n";
        for piece in 1..text.len() {
            let (answer, headers, left) = taken(text, piece).unwrap();
            assert_eq!(answer.status(), 299);
            assert_eq!(answer.version(), Version::HTTP_11);
            let reason = answer.extensions().get::<ReasonPhrase>().unwrap();
            assert_eq!(reason.as_bytes(), b"As You Like");
            assert!(headers["x-a"] == "1" && headers["x-empty"].is_empty());
            let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
            assert_eq!(cookies, ["a", "b"]);
            assert_eq!(left, "body\r\n\r\n");
        }
        let (old, _, _) = taken("HTTP/1.0 200 OK\n\n", 1).unwrap();
        assert_eq!(
            (old.status(), old.version()),
            (StatusCode::OK, Version::HTTP_10)
        );
        assert!(old.extensions().get::<ReasonPhrase>().is_none());
    }

    #[test]
    fn an_answer_has_its_own_fields_whatever_those_of_the_last_one_were() {
        let mut reading = Reading::default();
        for names in [
            &["x-a", "x-b", "x-a"][..],
            &["X-A"],
            &["x-b", "x-b", "X-C", "x-d"],
            &[],
        ] {
            let mut text = BytesMut::from("HTTP/1.1 200 OK\r\n");
            let mut expected = HeaderMap::new();
            for (n, name) in names.iter().enumerate() {
                text.extend_from_slice(format!("{name}: {n}\r\n").as_bytes());
                expected.append(*name, n.into());
            }
            text.extend_from_slice(b"\r\n");
            let mut headers = HeaderMap::new();
            assert!(reading.take(&mut text, &mut headers).unwrap().is_some());
            assert_eq!((headers, text.len()), (expected, 0));
        }
    }

    #[test]
    fn what_is_no_head_is_malformed() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(FIELDS + 1));
        for text in [
            "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: 1\r\n y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: \u{1}\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            &many,
        ] {
            let error = taken(text, 7).unwrap_err();
            assert!(error.contains("malformed"), "{text:?}: {error}");
        }
        assert_eq!(taken("HTTP/1.1 200 OK\r\n", 3).unwrap_err(), "unfinished");
    }

    #[test]
    fn a_connection_lasts_unless_one_of_them_says_that_it_does_not() {
        let lasts = |version, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONNECTION, HeaderValue::from_static(value));
            }
            lasts(version, &headers)
        };
        assert!(lasts(Version::HTTP_11, &[]));
        assert!(!lasts(Version::HTTP_10, &[]));
        assert!(lasts(Version::HTTP_10, &["x, Keep-Alive"]));
        assert!(!lasts(Version::HTTP_11, &["x", "Close"]));
        assert!(!lasts(Version::HTTP_11, &["close", "keep-alive"]));
    }
}
