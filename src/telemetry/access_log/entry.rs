use std::{
    fmt::{self, Display, Write},
    net::IpAddr,
    time::Duration,
};

use crate::{
    telemetry::{Escaped, shard::Source},
    units::{Address, Timestamp},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people: fixed places, then `name=value`.
    Text,
    /// One object per line.
    Json,
}

/// What is known of a request when its answer has ended. What comes from outside is escaped and cut when written.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When its head had been read.
    pub at: Timestamp,
    /// The client, as believed: from a trusted proxy's header, else the peer.
    pub client: IpAddr,
    pub method: &'a str,
    pub host: &'a [u8],
    /// With the query.
    pub path: &'a str,
    pub status: u16,
    /// Who answered.
    pub source: Source,
    pub service: Option<&'a str>,
    pub pool: Option<&'a str>,
    pub endpoint: Option<&'a Address>,
    /// Of the request's body.
    pub bytes_in: u64,
    /// Of the answer's body.
    pub bytes_out: u64,
    /// From the head read to the answer's last byte handed over.
    pub duration: Duration,
    /// From the request sent to the head of the endpoint's answer.
    pub endpoint_duration: Option<Duration>,
    pub request_id: &'a [u8],
    /// What went wrong, by kind.
    pub error: Option<&'a str>,
    /// How many endpoints were tried.
    pub attempts: u8,
}

/// Of what a client chose, no more is written (bytes): a method, a host name (RFC 1035 §2.3.4), a path, an id.
const METHOD_LIMIT: usize = 32;
const HOST_LIMIT: usize = 255;
const PATH_LIMIT: usize = 2048;
const ID_LIMIT: usize = 128;

impl Entry<'_> {
    /// Appends the line, its end included.
    pub fn write(&self, format: Format, line: &mut String) {
        let written = match format {
            Format::Text => self.text(line),
            Format::Json => self.json(line),
        };
        // Writing to a String can't fail.
        debug_assert!(written.is_ok());
        line.push('\n');
    }

    fn text(&self, line: &mut String) -> fmt::Result {
        write!(
            line,
            "{:.3} {} \"{} {} {}\" {} {} {}/{}/{} in={} out={} ms={} endpoint_ms={} attempts={} id={} error={}",
            self.at,
            self.client,
            Escaped::new(self.method, METHOD_LIMIT),
            Escaped::new(self.host, HOST_LIMIT),
            Escaped::new(self.path, PATH_LIMIT),
            self.status,
            self.source.as_str(),
            OrDash(self.service),
            OrDash(self.pool),
            OrDash(self.endpoint),
            self.bytes_in,
            self.bytes_out,
            Millis(self.duration),
            OrDash(self.endpoint_duration.map(Millis)),
            self.attempts,
            OrDash(self.id()),
            OrDash(self.error),
        )
    }

    fn json(&self, line: &mut String) -> fmt::Result {
        write!(
            line,
            r#"{{"time":"{:.3}","client":"{}","method":"{}","host":"{}","path":"{}","status":{},"source":"{}""#,
            self.at,
            self.client,
            Escaped::new(self.method, METHOD_LIMIT),
            Escaped::new(self.host, HOST_LIMIT),
            Escaped::new(self.path, PATH_LIMIT),
            self.status,
            self.source.as_str(),
        )?;
        // Addresses may hold a path.
        let endpoint = self.endpoint.map(ToString::to_string);
        let endpoint = endpoint.as_ref().map(|text| Escaped::new(text, HOST_LIMIT));
        write!(
            line,
            r#","service":{},"pool":{},"endpoint":{},"bytes_in":{},"bytes_out":{}"#,
            OrNull(self.service),
            OrNull(self.pool),
            OrNull(endpoint),
            self.bytes_in,
            self.bytes_out,
        )?;
        write!(line, r#","duration_ms":{}"#, Millis(self.duration))?;
        match self.endpoint_duration {
            Some(duration) => write!(line, r#","endpoint_duration_ms":{}"#, Millis(duration))?,
            None => line.push_str(r#","endpoint_duration_ms":null"#),
        }
        write!(
            line,
            r#","attempts":{},"request_id":{},"error":{}}}"#,
            self.attempts,
            OrNull(self.id()),
            OrNull(self.error),
        )
    }

    fn id(&self) -> Option<Escaped<'_>> {
        (!self.request_id.is_empty()).then(|| Escaped::new(self.request_id, ID_LIMIT))
    }
}

/// Milliseconds with three places.
struct Millis(Duration);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

struct OrDash<T>(Option<T>);

impl<T: Display> Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// A JSON string that needs no more escaping, or null.
struct OrNull<T>(Option<T>);

impl<T: Display> Display for OrNull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => write!(f, "\"{value}\""),
            None => f.write_str("null"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::telemetry::access_log) fn entry() -> Entry<'static> {
        Entry {
            at: Timestamp::from_millisecond(1_763_625_600_123).unwrap(),
            client: "203.0.113.9".parse().unwrap(),
            method: "GET",
            host: b"shop.example",
            path: "/cart?item=7",
            status: 200,
            source: Source::Endpoint,
            service: Some("shop"),
            pool: Some("green"),
            endpoint: None,
            bytes_in: 0,
            bytes_out: 5120,
            duration: Duration::from_micros(4321),
            endpoint_duration: Some(Duration::from_micros(2900)),
            request_id: b"01J9",
            error: None,
            attempts: 1,
        }
    }

    fn written(entry: &Entry<'_>, format: Format) -> String {
        let mut line = String::new();
        entry.write(format, &mut line);
        line
    }

    #[test]
    fn a_text_line_has_fixed_places() {
        let address = "10.0.0.1:3000".parse().unwrap();
        let mut entry = entry();
        entry.endpoint = Some(&address);
        assert_eq!(
            written(&entry, Format::Text),
            "2025-11-20T08:00:00.123Z 203.0.113.9 \"GET shop.example /cart?item=7\" 200 endpoint \
             shop/green/10.0.0.1:3000 in=0 out=5120 ms=4.321 endpoint_ms=2.900 attempts=1 id=01J9 error=-\n"
        );
    }

    #[test]
    fn a_json_line_says_the_same() {
        let address = "unix:/run/a\"b.sock".parse().unwrap();
        let mut entry = entry();
        entry.endpoint = Some(&address);
        let line = written(&entry, Format::Json);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["endpoint"], "unix:/run/a\"b.sock");
        assert_eq!(value["duration_ms"], 4.321);
        assert_eq!(value["error"], serde_json::Value::Null);
        assert_eq!(value.as_object().unwrap().len(), 17);
    }

    #[test]
    fn what_a_client_sends_can_neither_break_a_line_nor_grow_it() {
        let long = "x".repeat(1_000_000);
        for path in ["/a\r\nb", "/\u{1b}[2J", "/\"quote\\", "/\u{202e}", &long] {
            for format in [Format::Text, Format::Json] {
                let mut entry = entry();
                (entry.path, entry.host) = (path, b"\xff\n\"");
                entry.request_id = path.as_bytes();
                let line = written(&entry, format);
                assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
                assert!(line.len() < 20_000 && !line.contains(['\u{1b}', '\u{202e}']));
                if format == Format::Json {
                    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                    assert!(path.len() > 100 || value["path"] == path, "{line}");
                }
            }
        }
    }
}
