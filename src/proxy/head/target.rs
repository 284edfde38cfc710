//! What is asked of the host.

use bytes::Bytes;
use http::{
    Method, Request, Uri, Version,
    uri::{PathAndQuery, Scheme},
};

use super::Door;
use crate::{proxy::Kind, units::normal_path};

/// The target in origin form, its path in normal form; `*` for `OPTIONS` only (RFC 9112 §3.2.4). The query is passed on
/// as it came.
pub(super) fn settle<B>(request: &mut Request<B>, door: &Door) -> Result<(), Kind> {
    let uri = request.uri();
    if let Some(scheme) = uri.scheme()
        && !speaks(door, scheme, request.version())
    {
        return Err(Kind::Malformed);
    }
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if target == "*" {
        return match *request.method() {
            Method::OPTIONS => origin_form(request, "*", None),
            _ => Err(Kind::Malformed),
        };
    }
    let normal = normal_path(uri.path()).map_err(|_| Kind::Malformed)?;
    // Beyond ASCII each reader has an encoding of its own.
    if uri.query().is_some_and(|query| !query.is_ascii()) {
        return Err(Kind::Malformed);
    }
    if normal.is_none() && uri.scheme().is_none() {
        return Ok(());
    }
    let path = normal.unwrap_or_else(|| uri.path().to_owned());
    let query = uri.query().map(str::to_owned);
    origin_form(request, &path, query.as_deref())
}

/// A request can't say that it came in by another door. In HTTP/2, which always names a scheme, a proxy in front of us may
/// have ended the TLS, and no choice of ours depends on it.
fn speaks(door: &Door, scheme: &Scheme, version: Version) -> bool {
    let own = if door.secure {
        &Scheme::HTTPS
    } else {
        &Scheme::HTTP
    };
    let web = *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
    scheme == own || (version == Version::HTTP_2 && web)
}

fn origin_form<B>(request: &mut Request<B>, path: &str, query: Option<&str>) -> Result<(), Kind> {
    let mut target = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
    target.push_str(path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    let target = PathAndQuery::from_maybe_shared(Bytes::from(target));
    *request.uri_mut() = Uri::from(target.map_err(|_| Kind::Malformed)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(
        version: Version,
        method: Method,
        target: &str,
        secure: bool,
    ) -> Result<String, Kind> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        let address = Some(([10, 0, 0, 1], 80).into());
        let door = Door {
            fields: 10,
            address,
            secure,
        };
        settle(&mut request, &door)?;
        assert!(request.uri().scheme().is_none() && request.uri().authority().is_none());
        Ok(request.uri().to_string())
    }

    #[test]
    fn every_target_becomes_a_path_and_a_query() {
        for (target, left) in [
            ("/", "/"),
            ("/a?b", "/a?b"),
            ("/a?", "/a?"),
            ("/?", "/?"),
            ("/a/../b?c/../%7E%zz", "/b?c/../%7E%zz"),
            ("http://a", "/"),
            ("http://a?b", "/?b"),
            ("http://a/b?", "/b?"),
            ("http://a/%7e?%7e", "/~?%7e"),
            ("//a/b", "//a/b"),
        ] {
            let target = settled(Version::HTTP_11, Method::GET, target, false);
            assert_eq!(target.unwrap(), left);
        }
    }

    #[test]
    fn a_star_is_for_options_alone() {
        assert_eq!(
            settled(Version::HTTP_11, Method::OPTIONS, "*", false).unwrap(),
            "*"
        );
        for method in [Method::GET, Method::POST] {
            assert_eq!(
                settled(Version::HTTP_11, method, "*", false).unwrap_err(),
                Kind::Malformed
            );
        }
    }

    #[test]
    fn a_target_has_the_scheme_of_the_door() {
        let get = |version, target, secure| settled(version, Method::GET, target, secure).is_ok();
        for secure in [false, true] {
            assert_eq!(get(Version::HTTP_11, "http://a/", secure), !secure);
            assert_eq!(get(Version::HTTP_11, "https://a/", secure), secure);
            assert!(
                get(Version::HTTP_2, "http://a/", secure)
                    && get(Version::HTTP_2, "https://a/", secure)
            );
            for version in [Version::HTTP_11, Version::HTTP_2] {
                assert!(!get(version, "ftp://a/", secure));
            }
        }
    }

    #[test]
    fn bytes_that_readers_understand_differently_are_refused() {
        for bad in ["/\u{e4}", "/?\u{e4}", "/a\\b", "/%zz", "/../a"] {
            let refused = settled(Version::HTTP_11, Method::GET, bad, false).unwrap_err();
            assert_eq!(refused, Kind::Malformed, "{bad}");
        }
    }
}
