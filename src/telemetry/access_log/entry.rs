use std::{
    fmt::{self, Write},
    net::IpAddr,
    time::Duration,
};

use jiff::tz::Offset;

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

/// What is known of a request when its answer has ended. What comes from outside is escaped and cut when written; what is empty
/// is not known.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When its head had been read.
    pub at: Timestamp,
    /// The client, as believed: from a trusted proxy's header, else the peer. `None`: it has come by a Unix socket.
    pub client: Option<IpAddr>,
    pub method: &'a str,
    pub host: &'a [u8],
    /// With the query.
    pub path: &'a str,
    /// The version of HTTP that the client spoke.
    pub protocol: &'a str,
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
        match format {
            Format::Text => self.text(line),
            Format::Json => self.json(line),
        }
        line.push('\n');
    }

    fn text(&self, line: &mut String) {
        push_time(line, self.at);
        match self.client {
            Some(client) => push(line, format_args!(" {client} \"")),
            None => line.push_str(" - \""),
        }
        push_or_dash(line, self.method.as_bytes(), METHOD_LIMIT);
        line.push(' ');
        push_or_dash(line, self.host, HOST_LIMIT);
        line.push(' ');
        push_or_dash(line, self.path.as_bytes(), PATH_LIMIT);
        line.push(' ');
        line.push_str(known(self.protocol).unwrap_or("-"));
        push(line, format_args!("\" {} ", self.status));
        line.push_str(self.source.as_str());
        line.push(' ');
        line.push_str(self.service.unwrap_or("-"));
        line.push('/');
        line.push_str(self.pool.unwrap_or("-"));
        line.push('/');
        self.push_endpoint(line, "-");
        push(
            line,
            format_args!(" in={} out={} ms=", self.bytes_in, self.bytes_out),
        );
        push_millis(line, self.duration);
        line.push_str(" endpoint_ms=");
        match self.endpoint_duration {
            Some(duration) => push_millis(line, duration),
            None => line.push('-'),
        }
        push(line, format_args!(" attempts={} id=", self.attempts));
        push_or_dash(line, self.request_id, ID_LIMIT);
        line.push_str(" error=");
        line.push_str(self.error.unwrap_or("-"));
    }

    fn json(&self, line: &mut String) {
        line.push_str(r#"{"time":""#);
        push_time(line, self.at);
        match self.client {
            Some(client) => push(line, format_args!(r#"","client":"{client}","method":"#)),
            None => line.push_str(r#"","client":null,"method":"#),
        }
        push_quoted_or_null(line, self.method.as_bytes(), METHOD_LIMIT);
        line.push_str(r#","host":"#);
        push_quoted_or_null(line, self.host, HOST_LIMIT);
        line.push_str(r#","path":"#);
        push_quoted_or_null(line, self.path.as_bytes(), PATH_LIMIT);
        line.push_str(r#","protocol":"#);
        push_or_null(line, known(self.protocol));
        push(
            line,
            format_args!(r#","status":{},"source":""#, self.status),
        );
        line.push_str(self.source.as_str());
        line.push_str(r#"","service":"#);
        push_or_null(line, self.service);
        line.push_str(r#","pool":"#);
        push_or_null(line, self.pool);
        line.push_str(r#","endpoint":"#);
        let quote = if self.endpoint.is_some() { "\"" } else { "" };
        line.push_str(quote);
        self.push_endpoint(line, "null");
        line.push_str(quote);
        push(
            line,
            format_args!(
                r#","bytes_in":{},"bytes_out":{}"#,
                self.bytes_in, self.bytes_out
            ),
        );
        line.push_str(r#","duration_ms":"#);
        push_millis(line, self.duration);
        line.push_str(r#","endpoint_duration_ms":"#);
        match self.endpoint_duration {
            Some(duration) => push_millis(line, duration),
            None => line.push_str("null"),
        }
        push(
            line,
            format_args!(r#","attempts":{},"request_id":"#, self.attempts),
        );
        push_quoted_or_null(line, self.request_id, ID_LIMIT);
        line.push_str(r#","error":"#);
        push_or_null(line, self.error);
        line.push('}');
    }

    fn push_endpoint(&self, line: &mut String, none: &str) {
        match self.endpoint {
            Some(Address::Ip(address)) => push(line, format_args!("{address}")),
            // A path may hold anything.
            Some(address) => Escaped::new(&address.to_string(), HOST_LIMIT).push_to(line),
            None => line.push_str(none),
        }
    }
}

fn push(line: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = line.write_fmt(text);
}

fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// What comes from outside, in a text line.
fn push_or_dash(line: &mut String, text: &[u8], limit: usize) {
    if text.is_empty() {
        line.push('-');
    }
    Escaped::new(text, limit).push_to(line);
}

/// What comes from outside, as a JSON string, or null.
fn push_quoted_or_null(line: &mut String, text: &[u8], limit: usize) {
    if text.is_empty() {
        return line.push_str("null");
    }
    line.push('"');
    Escaped::new(text, limit).push_to(line);
    line.push('"');
}

/// A JSON string that needs no escaping, or null.
fn push_or_null(line: &mut String, text: Option<&str>) {
    match text {
        Some(text) => {
            line.push('"');
            line.push_str(text);
            line.push('"');
        }
        None => line.push_str("null"),
    }
}

/// Milliseconds with three places.
fn push_millis(line: &mut String, duration: Duration) {
    let micros = duration.as_micros();
    push(line, format_args!("{}.{:03}", micros / 1000, micros % 1000));
}

/// RFC 3339 in UTC, with milliseconds. A fifth of what the general formatting costs.
fn push_time(line: &mut String, at: Timestamp) {
    let time = Offset::UTC.to_datetime(at);
    let mut digits = |number: i32, places: u32, after: char| {
        for place in (0..places).rev() {
            let digit = number / 10_i32.pow(place) % 10;
            line.push(char::from(b'0' + u8::try_from(digit).unwrap_or(0)));
        }
        line.push(after);
    };
    digits(time.year().into(), 4, '-');
    digits(time.month().into(), 2, '-');
    digits(time.day().into(), 2, 'T');
    digits(time.hour().into(), 2, ':');
    digits(time.minute().into(), 2, ':');
    digits(time.second().into(), 2, '.');
    digits(time.millisecond().into(), 3, 'Z');
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::telemetry::access_log) fn entry() -> Entry<'static> {
        Entry {
            at: Timestamp::from_millisecond(1_763_625_600_123).unwrap(),
            client: "203.0.113.9".parse().ok(),
            method: "GET",
            host: b"shop.example",
            path: "/cart?item=7",
            protocol: "HTTP/2",
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

    #[test]
    fn times_are_written_as_everywhere_else() {
        for millis in [
            0,
            999,
            1_763_625_600_123,
            4_102_444_799_999,
            951_782_400_001,
        ] {
            let at = Timestamp::from_millisecond(millis).unwrap();
            let mut line = String::new();
            push_time(&mut line, at);
            assert_eq!(line, format!("{at:.3}"));
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
            "2025-11-20T08:00:00.123Z 203.0.113.9 \"GET shop.example /cart?item=7 HTTP/2\" 200 endpoint \
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
        assert_eq!(value["protocol"], "HTTP/2");
        assert_eq!(value.as_object().unwrap().len(), 18);
    }

    #[test]
    fn what_is_not_known_of_a_request_keeps_its_place() {
        let mut entry = entry();
        (entry.method, entry.path, entry.protocol) = ("", "", "");
        (entry.host, entry.request_id) = (b"", b"");
        let line = written(&entry, Format::Text);
        assert!(
            line.contains(" \"- - - -\" 200 ") && line.contains(" id=- "),
            "{line}"
        );
        let line = written(&entry, Format::Json);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        for name in ["method", "host", "path", "protocol", "request_id"] {
            assert_eq!(value[name], serde_json::Value::Null, "{name}");
        }
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
