use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header, response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::fmt::rfc2822::DateTimeParser;

use super::Error;
use crate::units::Timestamp;

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Its first bytes, up to the largest size.
    pub body: Bytes,
    /// There was no more.
    pub is_whole: bool,
}

impl Answer {
    pub(super) async fn read(
        parts: response::Parts,
        mut body: Incoming,
        largest: usize,
    ) -> Result<Self, Error> {
        let (mut read, mut is_whole) = (BytesMut::new(), true);
        while is_whole && let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Error::Broken(error.to_string()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let room = largest - read.len();
            is_whole = data.len() <= room;
            read.extend_from_slice(&data[..data.len().min(room)]);
        }
        Ok(Self {
            status: parts.status,
            headers: parts.headers,
            body: read.freeze(),
            is_whole,
        })
    }

    /// The same question may be answered otherwise in a moment.
    pub fn may_pass(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }

    /// When it may be asked again, in seconds or as a date (RFC 9110 §10.2.3).
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let said = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = said.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = DateTimeParser::new().parse_timestamp(said).ok()?;
        Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, text.parse().expect("a value"));
        let answer = Answer {
            status: StatusCode::ACCEPTED,
            headers,
            body: Bytes::new(),
            is_whole: true,
        };
        answer.retry_after("1994-11-06T08:49:37Z".parse().expect("a moment"))
    }

    #[test]
    fn when_to_ask_again_is_read_in_seconds_and_as_a_date() {
        assert_eq!(says("7"), Some(Duration::from_secs(7)));
        let date = says("Sun, 06 Nov 1994 08:49:57 GMT");
        assert_eq!(date, Some(Duration::from_secs(20)));
    }

    #[test]
    fn a_date_that_is_over_means_now() {
        let date = says("Sun, 06 Nov 1994 08:49:07 GMT");
        assert_eq!(date, Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_says_nothing() {
        assert_eq!(says("soon"), None);
        assert_eq!(says("-3"), None);
    }
}
