//! Telling the app whom we speak for: `X-Forwarded-For`, `-Proto`, `-Host`, `Forwarded` (RFC 7239) and `X-Request-Id`.
//!
//! What a client sends of these is dropped, unless the client is a proxy that the listener trusts: then ours is added to
//! it, or it is kept.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header, uri::Scheme};

use super::{
    certified,
    client::{Client, Door},
    head::{self, Field, Fields},
    mirror,
};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A client that has come by a Unix socket.
pub(super) const UNKNOWN: &str = "unknown";

/// A request id is for logs: a longer one is replaced.
const LONGEST_ID: usize = 128;

/// A chain of proxies longer than this is cut at its far end.
const LONGEST_CHAIN: usize = 4096;

/// Writes the forwarding fields for a request from `client`.
pub(super) fn write(headers: &mut HeaderMap, fields: Fields, client: &Client) {
    if client.trusted {
        append(headers, client);
    } else {
        if fields.has(Field::RealIp) {
            headers.remove(REAL_IP);
        }
        headers.insert(FOR, client.forwarded_for.clone());
        headers.insert(PROTO, HeaderValue::from_static(client.scheme()));
        if let Some(host) = headers.get(header::HOST) {
            let host = host.clone();
            let element = element_for(client, &host);
            headers.insert(header::FORWARDED, element);
            headers.insert(HOST, host);
        }
    }
    let kept = client.trusted && headers.get(REQUEST_ID).is_some_and(is_request_id);
    if !kept {
        headers.insert(REQUEST_ID, request_id(fastrand::u128(..)));
    }
}

/// What frames, routes, authorizes or says what the body is has no place after it (RFC 9110 §6.5.1).
const OF_HEADS: [HeaderName; 21] = [
    mirror::MARK,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Leaves nothing after a request's body that belongs into its head, where an app may merge it; nor what we say there
/// ourselves, nor a name that it may take for one of these.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    let ours = [FOR, PROTO, HOST, REAL_IP, REQUEST_ID, header::FORWARDED];
    for name in OF_HEADS.iter().chain(&ours) {
        trailers.remove(name);
    }
    certified::remove(trailers);
    head::drop_ambiguous(trailers);
}

fn append(headers: &mut HeaderMap, client: &Client) {
    let hops = joined(headers, &FOR, &client.forwarded_for);
    headers.insert(FOR, hops);
    if !headers.contains_key(PROTO) {
        headers.insert(PROTO, HeaderValue::from_static(client.scheme()));
    }
    if let Some(host) = headers.get(header::HOST) {
        let host = host.clone();
        let elements = joined(headers, &header::FORWARDED, &element_for(client, &host));
        headers.insert(header::FORWARDED, elements);
        if !headers.contains_key(HOST) {
            headers.insert(HOST, host);
        }
    }
}

/// All values of `name` and then `last`, as one list.
fn joined(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> HeaderValue {
    let mut chain = Vec::new();
    for value in headers.get_all(name) {
        if !value.is_empty() {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
    }
    if chain.len() > LONGEST_CHAIN {
        chain.clear();
    }
    chain.extend_from_slice(last.as_bytes());
    HeaderValue::from_maybe_shared(Bytes::from(chain)).unwrap_or_else(|_| last.clone())
}

/// Our `Forwarded` element. A client seldom names another host than the time before, so the last one is kept.
fn element_for(client: &Client, host: &HeaderValue) -> HeaderValue {
    if let Some((known, element)) = &*client.forwarded.borrow()
        && known == host
    {
        return element.clone();
    }
    let element = element(client, host);
    // Not what was read: it would hold the buffer of a request that is long over.
    if let Ok(host) = HeaderValue::from_bytes(host.as_bytes()) {
        client.forwarded.replace(Some((host, element.clone())));
    }
    element
}

fn element(client: &Client, host: &HeaderValue) -> HeaderValue {
    let mut text = String::new();
    let _ = match client.ip() {
        Some(IpAddr::V4(address)) => write!(text, "for={address}"),
        Some(IpAddr::V6(address)) => write!(text, "for=\"[{address}]\""),
        // RFC 7239 §6.2.
        None => write!(text, "for={UNKNOWN}"),
    };
    // The host has been checked: it holds neither quotes nor backslashes.
    if let Ok(host) = host.to_str() {
        let _ = write!(text, ";host=\"{host}\"");
    }
    text.push_str(";proto=");
    text.push_str(client.scheme());
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .unwrap_or_else(|_| HeaderValue::from_static("for=unknown"))
}

/// How the client reached us, or the first of the proxies we trust, once [`write`] has been there.
pub(super) fn scheme(headers: &HeaderMap) -> Scheme {
    let proto = headers.get(PROTO).map(HeaderValue::as_bytes);
    if proto.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https")) {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    }
}

/// The client's own address: the peer's, or what trusted proxies say, read from the last hop to the first until an
/// address is not trusted.
pub(super) fn client_address(headers: &HeaderMap, client: &Client) -> Option<IpAddr> {
    let peer = client.ip();
    if !client.trusted {
        return peer;
    }
    let values: Vec<&str> = headers
        .get_all(FOR)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    origin(&client.door, values.iter().rev(), peer)
}

fn origin<'a>(
    door: &Door,
    hops: impl Iterator<Item = &'a &'a str>,
    peer: Option<IpAddr>,
) -> Option<IpAddr> {
    let mut last = peer;
    for hop in hops {
        let address = hop_address(hop.trim());
        if address.is_none() {
            break;
        }
        last = address;
        if !door.trusted_proxies.contains(address) {
            break;
        }
    }
    last
}

/// An address as it is met in `X-Forwarded-For`: bare, or with a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.parse::<IpAddr>().ok();
    bare.or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

fn is_request_id(value: &HeaderValue) -> bool {
    (1..=LONGEST_ID).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// 128 random bits in hexadecimal digits.
fn request_id(random: u128) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(random.to_be_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text))
        .expect("hexadecimal digits are visible ASCII")
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, sync::Arc, time::Duration};

    use super::*;
    use crate::{
        proxy::Closing,
        units::{Ends, Networks},
    };

    fn client() -> Rc<Client> {
        let door = Door {
            trusted_proxies: Networks::default(),
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            max_headers: 100,
            via: false,
            traceparent: None,
            closing: Rc::<Closing>::default(),
            max_age: None,
            secure: false,
            h2: true,
            hsts: None,
            redirect: None,
            preview: Arc::default(),
            challenges: Arc::default(),
        };
        let ends = Ends {
            client: ([10, 0, 0, 1], 4000).into(),
            server: ([127, 0, 0, 1], 80).into(),
        };
        Client::new(Some(ends), Rc::new(door), None)
    }

    #[test]
    fn what_is_kept_between_requests_does_not_hold_what_a_head_was_read_into() {
        let read = Bytes::from(vec![b'a'; 8192]);
        let client = client();
        let host = HeaderValue::from_maybe_shared(read.slice(..6)).unwrap();
        let element = element_for(&client, &host);
        assert_eq!(element, "for=10.0.0.1;host=\"aaaaaa\";proto=http");
        drop(host);
        assert!(read.is_unique());
        let again = element_for(&client, &HeaderValue::from_static("aaaaaa"));
        assert_eq!(again.as_bytes().as_ptr(), element.as_bytes().as_ptr());
    }
}
