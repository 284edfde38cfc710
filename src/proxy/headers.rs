//! What of a message's head is passed on, and what is added (RFC 9110 §7.6).

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use super::{
    client::Client,
    decide::Decision,
    head::{Field, Fields},
    hops,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that mean one connection, never the whole way (RFC 9110 §7.6.1). `Upgrade` is among them: only a tunnel
/// asks for it anew, and to pass it on would let a client and an app believe that a protocol was switched (h2c smuggling).
/// `Transfer-Encoding` is not removed here: who writes the message frames it. `Trailer` stays: it names fields that are
/// passed on.
static HOP_BY_HOP: [(Field, HeaderName); 7] = [
    (Field::KeepAlive, KEEP_ALIVE),
    (Field::ProxyConnection, PROXY_CONNECTION),
    (Field::Te, header::TE),
    (Field::Upgrade, header::UPGRADE),
    (Field::ProxyAuthenticate, header::PROXY_AUTHENTICATE),
    (Field::ProxyAuthorization, header::PROXY_AUTHORIZATION),
    (Field::Http2Settings, HTTP2_SETTINGS),
];

/// Fields that a `Connection` field can't remove, whatever it lists: without them the message would mean another one.
const PROTECTED: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::AUTHORIZATION,
];

const POOL: HeaderName = HeaderName::from_static("cutover-pool");

/// Says of an endpoint's answer which way it came.
pub(super) fn sign(
    headers: &mut HeaderMap,
    version: Version,
    decision: &Decision,
    client: &Client,
) {
    if decision.pool_header {
        let pool = decision.lease.seat().endpoint.key.pool.as_str();
        let pool = HeaderValue::from_str(pool);
        headers.insert(POOL, pool.expect("a name is made of letters and digits"));
    }
    if client.door.via {
        headers.append(header::VIA, hops::via(version));
    }
}

/// Removes what is meant for this connection only, the fields that `Connection` lists included. Most messages have none of
/// them.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap, found: Fields) {
    if !found.has_hop_by_hop() {
        return;
    }
    let trailers = found.has(Field::Te) && accepts_trailers(headers);
    if found.has(Field::Connection) {
        remove_listed(headers, found);
    }
    for (field, name) in &HOP_BY_HOP {
        if found.has(*field) {
            headers.remove(name);
        }
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Removes `Connection`, and the fields that it lists.
fn remove_listed(headers: &mut HeaderMap, found: Fields) {
    let mut more = Vec::new();
    if found.repeats(Field::Connection) {
        let values = headers.get_all(header::CONNECTION).into_iter();
        more.extend(values.skip(1).cloned());
    }
    let first = headers.remove(header::CONNECTION);
    for value in first.into_iter().chain(more) {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            if !is_about_closing(option)
                && let Ok(name) = HeaderName::from_bytes(option)
                && !PROTECTED.contains(&name)
            {
                headers.remove(name);
            }
        }
    }
}

/// Whether an option names no field.
fn is_about_closing(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
}

/// Whether the sender would take trailers; the only use of `TE` that reaches over a hop (RFC 9110 §10.1.4).
fn accepts_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(pairs: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let found = Fields::of(&headers);
        remove_hop_by_hop(&mut headers, found);
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        left.sort();
        left
    }

    #[test]
    fn what_is_meant_for_one_connection_goes_no_further() {
        let fields = [
            ("connection", "keep-alive, X-Secret"),
            ("connection", "x-other ,, \"bad name\""),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("proxy-authorization", "Basic x"),
            ("proxy-authenticate", "Basic"),
            ("te", "gzip"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("x-kept", "3"),
        ];
        assert_eq!(left(&fields), ["x-kept: 3"]);
    }

    #[test]
    fn framing_host_and_identity_can_not_be_listed_away() {
        let fields = [
            (
                "connection",
                "host, content-length, transfer-encoding, authorization, close",
            ),
            ("host", "a"),
            ("content-length", "1"),
            ("authorization", "b"),
        ];
        assert_eq!(
            left(&fields),
            ["authorization: b", "content-length: 1", "host: a"]
        );
    }

    #[test]
    fn trailers_are_asked_for_anew_on_the_next_connection() {
        let asked = left(&[("te", "gzip;q=0.5, Trailers"), ("connection", "te")]);
        assert_eq!(asked, ["connection: te", "te: trailers"]);
        assert_eq!(left(&[("te", "gzip")]), [""; 0]);
    }

    #[test]
    fn a_message_without_such_fields_stays_as_it_is() {
        assert_eq!(
            left(&[("accept", "*/*"), ("host", "a")]),
            ["accept: */*", "host: a"]
        );
    }
}
