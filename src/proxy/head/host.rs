//! Whom a request is for.

use std::net::Ipv6Addr;

use http::{HeaderValue, Request, Version, header};

use super::{Door, Field, Fields};
use crate::proxy::Kind;

/// Exactly one valid `Host`, which HTTP/1.0 may lack (RFC 9112 §3.2). The authority of an absolute target takes its place
/// (§3.2.2); that of HTTP/2 is the same thing said in another way, and must say the same (RFC 9113 §8.3.1).
pub(super) fn settle<B>(request: &mut Request<B>, fields: Fields, door: &Door) -> Result<(), Kind> {
    let version = request.version();
    let said = request
        .headers()
        .get(header::HOST)
        .map(HeaderValue::as_bytes);
    if fields.repeats(Field::Host) || said.is_some_and(|said| !is_authority(said)) {
        return Err(Kind::Malformed);
    }
    if let Some(authority) = request.uri().authority() {
        let authority = authority.as_str().as_bytes();
        let fits = match version {
            Version::HTTP_2 => said.is_none_or(|said| said.eq_ignore_ascii_case(authority)),
            Version::HTTP_10 => true,
            _ => said.is_some(),
        };
        // Without a scheme it is the form that belongs to CONNECT.
        if !fits || request.uri().scheme().is_none() || !is_authority(authority) {
            return Err(Kind::Malformed);
        }
        if said != Some(authority) {
            let host = HeaderValue::from_bytes(authority).map_err(|_| Kind::Malformed)?;
            request.headers_mut().insert(header::HOST, host);
        }
        return Ok(());
    }
    match said {
        Some(_) => Ok(()),
        None if version == Version::HTTP_10 => {
            let own = match door.address {
                Some(address) => HeaderValue::from_str(&address.to_string()),
                None => Ok(HeaderValue::from_static("localhost")),
            };
            let own = own.map_err(|_| Kind::Malformed)?;
            request.headers_mut().insert(header::HOST, own);
            Ok(())
        }
        None => Err(Kind::Malformed),
    }
}

/// What a name is made of. A table: each request asks for each byte of its host.
static PLAIN: [bool; 256] = {
    let plain = b"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (mut table, mut at) = ([false; 256], 0);
    while at < plain.len() {
        table[plain[at] as usize] = true;
        at += 1;
    }
    table
};

/// A host and perhaps a port (RFC 3986 §3.2), without user information, and with nothing in it that another reader could
/// take for a path, a list, a quote or an escape.
fn is_authority(text: &[u8]) -> bool {
    let is_plain = |byte: &&u8| PLAIN[usize::from(**byte)];
    let length = match text.first() {
        Some(b'[') => text.iter().take_while(|byte| **byte != b']').count() + 1,
        _ => text.iter().take_while(is_plain).count(),
    };
    let Some((host, rest)) = text.split_at_checked(length) else {
        return false;
    };
    let host_fits = match host {
        [b'[', address @ .., _] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        name => !name.is_empty(),
    };
    let port_fits = match rest {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    };
    host_fits && port_fits
}

/// A number below 65 536, or nothing.
fn is_port(text: &[u8]) -> bool {
    let number = |port: u32, digit: &u8| port * 10 + u32::from(digit - b'0');
    text.len() <= 5
        && text.iter().all(u8::is_ascii_digit)
        && u16::try_from(text.iter().fold(0, number)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(version: Version, target: &str, hosts: &[&'static str]) -> Result<HeaderValue, Kind> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.uri_mut() = target.parse().unwrap();
        for host in hosts {
            let host = HeaderValue::from_static(host);
            request.headers_mut().append(header::HOST, host);
        }
        let fields = Fields::of(request.headers());
        let door = Door {
            fields: 10,
            address: Some(([10, 0, 0, 1], 80).into()),
            secure: false,
        };
        settle(&mut request, fields, &door)?;
        assert_eq!(request.headers().get_all(header::HOST).iter().count(), 1);
        Ok(request.headers()[header::HOST].clone())
    }

    #[test]
    fn a_request_names_its_host_once() {
        for (version, target, hosts, left) in [
            (Version::HTTP_11, "/", &["a:80"][..], "a:80"),
            (Version::HTTP_11, "http://B:81/", &["a"], "B:81"),
            (Version::HTTP_10, "/", &["a"], "a"),
            (Version::HTTP_10, "/", &[], "10.0.0.1:80"),
            (Version::HTTP_10, "http://b/", &[], "b"),
        ] {
            assert_eq!(
                host(version, target, hosts).unwrap(),
                left,
                "{target} {hosts:?}"
            );
        }
        for (version, target, hosts) in [
            (Version::HTTP_11, "/", &[][..]),
            (Version::HTTP_11, "/", &["a", "a"]),
            (Version::HTTP_11, "/", &["a", "b"]),
            (Version::HTTP_11, "http://b/", &[]),
            (Version::HTTP_11, "http://b/", &["a/b"]),
            (Version::HTTP_11, "http://u@b/", &["b"]),
            (Version::HTTP_11, "b:443", &["b:443"]),
            (Version::HTTP_10, "/", &[""]),
            (Version::HTTP_10, "/", &["a", "a"]),
        ] {
            let refused = host(version, target, hosts).unwrap_err();
            assert_eq!(refused, Kind::Malformed, "{target} {hosts:?}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in [
            "a",
            "shop.example.com",
            "shop:8080",
            "10.0.0.1",
            "[::1]",
            "[2001:db8::1]:443",
            "a:",
            "xn--a_b~",
            "a:65535",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a/b", "u@a", "a,b", "a b", "a:99999", "a:65536", "a:x", "a:123456", "[::1",
            "::1", "[::1]x", "[v1.x]", "a\"b", "a\\b", "a:80:80", "\u{e4}", "a?b", "a#b", "[]",
            "a%2fb", "a:-1",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
