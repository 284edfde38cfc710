use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use http_body::Frame;

use super::chunks::{Chunk, Chunks};
use crate::upstream::AnswerError;

/// How an answer's body ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy)]
pub enum Framing {
    /// After so many bytes more.
    Sized(u64),
    Chunked(Chunks),
    /// With the connection.
    UntilClosed,
}

impl Framing {
    /// Of an answer with such a head; `to_head`: to a request with `HEAD`.
    pub fn of(
        status: StatusCode,
        version: Version,
        headers: &HeaderMap,
        to_head: bool,
    ) -> Result<Self, AnswerError> {
        let bare = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bare || to_head {
            return Ok(Self::Sized(0));
        }
        if let Some(coding) = headers.get(header::TRANSFER_ENCODING) {
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            return if chunked && version == Version::HTTP_11 {
                Ok(Self::Chunked(Chunks::new()))
            } else {
                Err(AnswerError::Malformed("a coding that is not chunked"))
            };
        }
        match headers.get(header::CONTENT_LENGTH) {
            None => Ok(Self::UntilClosed),
            Some(length) => parse(length).map(Self::Sized).ok_or(NO_LENGTH),
        }
    }

    /// Whether nothing more comes.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Sized(0))
    }

    /// Whether it ends before the connection does.
    pub fn ends(self) -> bool {
        !matches!(self, Self::UntilClosed)
    }

    /// Takes the next of the body from what was received.
    pub fn take(&mut self, received: &mut BytesMut) -> Result<Taken, AnswerError> {
        let data = match self {
            Self::Sized(0) => return Ok(Taken::End),
            Self::Chunked(chunks) => {
                return Ok(match chunks.take(received)? {
                    Chunk::Missing => Taken::Missing(None),
                    Chunk::Data(data) => Taken::Frame(Frame::data(data)),
                    Chunk::Last(trailers) => {
                        *self = Self::Sized(0);
                        trailers.map_or(Taken::End, |fields| Taken::Frame(Frame::trailers(fields)))
                    }
                });
            }
            Self::Sized(left) if received.is_empty() => return Ok(Taken::Missing(Some(*left))),
            Self::Sized(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = received.split_to(length.min(received.len()));
                *left -= data.len() as u64;
                data
            }
            Self::UntilClosed if received.is_empty() => return Ok(Taken::Missing(None)),
            Self::UntilClosed => received.split(),
        };
        Ok(Taken::Frame(Frame::data(data.freeze())))
    }
}

/// The next of a body.
pub enum Taken {
    Frame(Frame<Bytes>),
    /// More has to be read first: so much, where that is known.
    Missing(Option<u64>),
    End,
}

const NO_LENGTH: AnswerError = AnswerError::Malformed("a length that is none");

/// Digits and nothing else (RFC 9110 §8.6).
pub fn parse(length: &HeaderValue) -> Option<u64> {
    let digits = length.to_str().ok()?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(
        status: u16,
        version: Version,
        fields: &[(&'static str, &'static str)],
        to_head: bool,
    ) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let status = StatusCode::from_u16(status).unwrap();
        match Framing::of(status, version, &headers, to_head) {
            Ok(Framing::Sized(length)) => length.to_string(),
            Ok(Framing::Chunked(_)) => "chunked".into(),
            Ok(Framing::UntilClosed) => "until closed".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_answer_ends_as_its_head_says() {
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        let (length, chunked) = (("content-length", "7"), ("transfer-encoding", "Chunked"));
        for (status, version, fields, to_head, expected) in [
            (200, new, &[length][..], false, "7"),
            (200, old, &[length], false, "7"),
            (200, new, &[chunked], false, "chunked"),
            (200, new, &[], false, "until closed"),
            (200, old, &[], false, "until closed"),
            (200, new, &[length], true, "0"),
            (200, new, &[chunked], true, "0"),
            (204, new, &[length], false, "0"),
            (304, new, &[length], false, "0"),
            (101, new, &[chunked], false, "0"),
            (500, new, &[("content-length", "0")], false, "0"),
        ] {
            let found = framing(status, version, fields, to_head);
            assert_eq!(found, expected, "{status} {fields:?}");
        }
        for (version, field) in [
            (old, chunked),
            (new, ("transfer-encoding", "gzip")),
            (new, ("transfer-encoding", "gzip, chunked")),
            (new, ("content-length", "+7")),
            (new, ("content-length", "7, 7")),
            (new, ("content-length", "")),
            (new, ("content-length", "99999999999999999999")),
        ] {
            let error = framing(200, version, &[field], false);
            assert!(error.contains("malformed"), "{field:?}: {error}");
        }
    }
}
