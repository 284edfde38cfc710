use http::{HeaderName, Method};

use super::{Head, cookie::cookies};
use crate::units::Matcher;

/// Whether everything but host and path holds.
pub fn hold(matcher: &Matcher, head: &Head) -> bool {
    let headers = || {
        matcher
            .headers
            .iter()
            .all(|(name, value)| header_holds(name, value, head))
    };
    let cookies = || {
        matcher
            .cookies
            .iter()
            .all(|(name, value)| cookie_holds(name, value, head))
    };
    let query = || {
        matcher
            .query
            .iter()
            .all(|(name, value)| query_holds(name, value, head))
    };
    method_holds(&matcher.methods, head.method) && headers() && cookies() && query()
}

/// How many things besides host and path a route asks for: of two routes alike, the more demanding comes first.
pub fn count(matcher: &Matcher) -> usize {
    usize::from(!matcher.methods.is_empty())
        + matcher.headers.len()
        + matcher.cookies.len()
        + matcher.query.len()
}

/// A route for `GET` takes `HEAD` too, which asks for the same answer without its body (RFC 9110 §9.3.2).
pub fn method_holds(methods: &[Method], given: &Method) -> bool {
    methods.is_empty()
        || methods.contains(given)
        || (given == Method::HEAD && methods.contains(&Method::GET))
}

/// Whether one of the header's lines is this, to the byte.
pub fn header_holds(name: &HeaderName, value: &str, head: &Head) -> bool {
    let mut values = head.headers.get_all(name).into_iter();
    values.any(|given| given.as_bytes() == value.as_bytes())
}

pub fn cookie_holds(name: &str, value: &str, head: &Head) -> bool {
    cookies(head.headers).any(|given| given == (name.as_bytes(), value.as_bytes()))
}

/// Whether one of the query's pairs, decoded, is this.
pub fn query_holds(name: &str, value: &str, head: &Head) -> bool {
    head.query.unwrap_or("").split('&').any(|pair| {
        let (given_name, given_value) = pair.split_once('=').unwrap_or((pair, ""));
        decoded(given_name).eq(name.bytes()) && decoded(given_value).eq(value.bytes())
    })
}

/// The bytes that a form-encoded text stands for. A `%` that starts no escape stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
        Some(match (escaped, first) {
            (Some((high, low)), _) => high << 4 | low,
            (None, b'+') => b' ',
            (None, byte) => byte,
        })
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(query: &str, name: &str, value: &str) -> bool {
        let head = Head {
            method: &Method::GET,
            host: "",
            path: "/",
            query: Some(query),
            headers: &http::HeaderMap::new(),
        };
        query_holds(name, value, &head)
    }

    #[test]
    fn a_query_is_compared_decoded() {
        for query in [
            "a=1&who=J%C3%BCrgen+K",
            "who=J%c3%bcrgen%20K",
            "who=&who=J\u{fc}rgen K",
        ] {
            assert!(has(query, "who", "J\u{fc}rgen K"), "{query}");
        }
        for query in ["", "who", "who=J%C3%BCrgen", "who=J%C3%BCrgen+K%", "who=%"] {
            assert!(!has(query, "who", "J\u{fc}rgen K"), "{query}");
        }
        assert!(has("flag", "flag", ""));
        assert!(has("per=100%", "per", "100%"));
        assert!(has("per=%zz", "per", "%zz"));
    }

    #[test]
    fn a_route_for_get_takes_head_too() {
        assert!(method_holds(&[Method::GET], &Method::HEAD));
        assert!(!method_holds(&[Method::HEAD], &Method::GET));
        assert!(!method_holds(&[Method::POST], &Method::HEAD));
        assert!(method_holds(&[], &Method::DELETE));
    }
}
