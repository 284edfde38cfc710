use http::{
    HeaderMap,
    header::{CACHE_CONTROL, EXPIRES},
};

/// Whether an answer may carry a client's own cookie: not if a shared cache might store it and hand the cookie to everybody
/// (RFC 9111 §3, §7.3).
///
/// `private` and `no-store` keep shared caches away. Without them `public`, `s-maxage`, `max-age`, `must-revalidate` and a date in
/// `Expires` invite them; a bare `no-cache`, or no word on caching at all, is taken for a page that is nobody else's.
pub fn may_set_cookie(answer: &HeaderMap) -> bool {
    let lines = answer.get_all(CACHE_CONTROL).into_iter();
    let directives = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let (mut invited, mut revalidated) = (false, false);
    for directive in directives.map(<[u8]>::trim_ascii) {
        // With fields named (`private="x"`) it speaks of these alone.
        let is = |name: &&[u8]| directive.eq_ignore_ascii_case(name);
        if KEPT_PRIVATE.iter().any(is) {
            return true;
        }
        let name = directive
            .split(|byte| *byte == b'=')
            .next()
            .unwrap_or(directive);
        invited |= SHARED
            .iter()
            .any(|shared| name.trim_ascii().eq_ignore_ascii_case(shared));
        revalidated |= is(&b"no-cache".as_slice());
    }
    let mut expires = answer.get_all(EXPIRES).into_iter();
    // A value that is no date (`0`, `-1`) has expired (RFC 9111 §5.3).
    let dated = expires.any(|value| value.as_bytes().trim_ascii().ends_with(b"GMT"));
    !invited && (revalidated || !dated)
}

const KEPT_PRIVATE: [&[u8]; 2] = [b"private", b"no-store"];
const SHARED: [&[u8]; 4] = [b"public", b"s-maxage", b"max-age", b"must-revalidate"];

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn an_answer_that_others_may_be_shown_carries_no_cookie() {
        let may = |lines: &[(&str, &str)]| {
            let lines = lines.iter().map(|(name, value)| {
                (
                    name.parse::<HeaderName>().unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            });
            may_set_cookie(&lines.collect())
        };
        let caching = |value| may(&[("cache-control", value)]);
        for private in [
            "private",
            "no-store",
            "no-cache",
            "max-age=0, private, must-revalidate",
            "Public, No-Store",
            "max-age=60,PRIVATE",
            "private, private=\"x\"",
            "no-transform",
            "",
        ] {
            assert!(caching(private), "{private}");
        }
        for shared in [
            "public",
            "public, max-age=0, must-revalidate",
            "max-age=60",
            "MAX-AGE = 60",
            "no-cache, s-maxage=60",
            "private=\"x-user\", max-age=60",
            "max-age=\"60\"",
            "x=\"private, max-age=60\"",
        ] {
            assert!(!caching(shared), "{shared}");
        }
        assert!(may(&[]));
        assert!(!may(&[
            ("cache-control", "no-transform"),
            ("cache-control", "public")
        ]));
        assert!(may(&[
            ("cache-control", "public"),
            ("cache-control", "no-store")
        ]));
        assert!(!may(&[("expires", "Thu, 01 Dec 2044 16:00:00 GMT")]));
        assert!(may(&[("expires", "0")]));
        assert!(may(&[
            ("expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("cache-control", "no-cache")
        ]));
    }
}
