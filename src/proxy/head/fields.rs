//! Which fields there are.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::proxy::Kind;

/// What the names of fields begin with that say who a client is by its certificate.
pub const CLIENT_CERTIFICATE: &str = "x-client-cert-";

/// Fields that mean something to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Upgrade,
    ProxyAuthenticate,
    ProxyAuthorization,
    Http2Settings,
    TransferEncoding,
    ContentLength,
    Host,
    Cookie,
    Via,
    Mirror,
    RealIp,
    /// Any of those that say who a client is by its certificate.
    ClientCertificate,
}

impl Field {
    /// By the length first: most names are none of these, and few are as long as one.
    fn named(name: &str) -> Option<Self> {
        let is = |one: &str, field| (name == one).then_some(field);
        match name.len() {
            2 => is("te", Self::Te),
            3 => is("via", Self::Via),
            4 => is("host", Self::Host),
            6 => is("cookie", Self::Cookie),
            7 => is("upgrade", Self::Upgrade),
            9 => is("x-real-ip", Self::RealIp),
            10 => match name {
                "connection" => Some(Self::Connection),
                "keep-alive" => Some(Self::KeepAlive),
                _ => None,
            },
            14 => match name {
                "content-length" => Some(Self::ContentLength),
                "http2-settings" => Some(Self::Http2Settings),
                "cutover-mirror" => Some(Self::Mirror),
                _ => None,
            },
            16 => is("proxy-connection", Self::ProxyConnection),
            17 => is("transfer-encoding", Self::TransferEncoding),
            18 => is("proxy-authenticate", Self::ProxyAuthenticate),
            19 if name == "proxy-authorization" => Some(Self::ProxyAuthorization),
            _ => None,
        }
    }
}

/// What one pass over a head's fields has found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields {
    seen: u32,
    repeated: u32,
    /// A name has `_` in it.
    ambiguous: bool,
}

impl Fields {
    /// Of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in names(headers) {
            match Field::named(name) {
                Some(field) => found.add(field),
                None if name.starts_with(CLIENT_CERTIFICATE) => found.add(Field::ClientCertificate),
                None => found.ambiguous |= name.as_bytes().contains(&b'_'),
            }
        }
        found
    }

    /// Of an answer: nobody is confused by its names.
    pub(super) fn of_answer(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        names(headers)
            .filter_map(Field::named)
            .for_each(|field| found.add(field));
        found
    }

    fn add(&mut self, field: Field) {
        let bit = 1 << field as u8;
        self.repeated |= self.seen & bit;
        self.seen |= bit;
    }

    pub fn has(self, field: Field) -> bool {
        self.seen & (1 << field as u8) != 0
    }

    pub fn repeats(self, field: Field) -> bool {
        self.repeated & (1 << field as u8) != 0
    }

    /// Whether an app may confuse one with another.
    pub fn are_ambiguous(self) -> bool {
        self.ambiguous
    }

    /// Whether there is one that is meant for this connection only.
    pub fn has_hop_by_hop(self) -> bool {
        self.seen & ((1 << (Field::Http2Settings as u8 + 1)) - 1) != 0
    }
}

/// One for each value, repeated where a field is.
fn names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.iter().map(|(name, _)| name.as_str())
}

/// What HTTP/2 says without a field must not be said with one (RFC 9113 §8.2.2), and a value is nothing but the value.
pub(super) fn check_http_2(headers: &HeaderMap, fields: Fields) -> Result<(), Kind> {
    let of_http_1 = [
        Field::Connection,
        Field::ProxyConnection,
        Field::KeepAlive,
        Field::TransferEncoding,
        Field::Upgrade,
    ];
    let speaks_http_1 = of_http_1.into_iter().any(|field| fields.has(field));
    let mut codings = headers.get_all(header::TE).into_iter();
    if speaks_http_1
        || (fields.has(Field::Te) && codings.any(|coding| coding != "trailers"))
        || headers.values().any(has_blank_ends)
    {
        return Err(Kind::Malformed);
    }
    Ok(())
}

/// No value begins or ends with a blank (RFC 9113 §8.2.1): in HTTP/1.1 these are not the value's.
fn has_blank_ends(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    bytes.first().is_some_and(is_blank) || bytes.last().is_some_and(is_blank)
}

/// Apps that see fields as environment variables can't tell `x_user` from `x-user`, which a client must not write where
/// we do: names with `_` go no further.
pub(in crate::proxy) fn drop_ambiguous(headers: &mut HeaderMap) {
    let is_ambiguous = |name: &&HeaderName| name.as_str().as_bytes().contains(&b'_');
    let ambiguous: Vec<HeaderName> = headers.keys().filter(is_ambiguous).cloned().collect();
    for name in ambiguous {
        headers.remove(name);
    }
}

/// The crumbs that HTTP/2 may split a cookie into are one again for HTTP/1.1 (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap, fields: Fields) -> Result<(), Kind> {
    if !fields.repeats(Field::Cookie) {
        return Ok(());
    }
    let crumbs: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let whole = Bytes::from(crumbs.join(&b"; "[..]));
    let whole = HeaderValue::from_maybe_shared(whole).map_err(|_| Kind::Malformed)?;
    headers.insert(header::COOKIE, whole);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_finds_what_is_there_and_what_is_there_twice() {
        let mut headers = HeaderMap::new();
        assert!(!Fields::of(&headers).has_hop_by_hop());
        for name in ["host", "x-a", "x-a", "cookie", "cookie"] {
            headers.append(name, HeaderValue::from_static("1"));
        }
        let found = Fields::of(&headers);
        assert!(found.has(Field::Host) && !found.repeats(Field::Host));
        assert!(found.has(Field::Cookie) && found.repeats(Field::Cookie));
        assert!(!found.has(Field::Te) && !found.has_hop_by_hop() && !found.ambiguous);
        headers.append("http2-settings", HeaderValue::from_static("1"));
        assert!(Fields::of(&headers).has_hop_by_hop());
    }

    #[test]
    fn names_that_an_app_may_confuse_go_no_further() {
        let mut headers = HeaderMap::new();
        for name in ["x_forwarded_for", "content_length", "_", "x-a"] {
            headers.append(name, HeaderValue::from_static("1"));
        }
        assert!(Fields::of(&headers).are_ambiguous());
        drop_ambiguous(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-a"]);
    }
}
