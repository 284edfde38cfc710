use std::borrow::Cow;

/// What of a request's head a decision looks at.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a http::Method,
    /// As [`host_of`] gives it; empty where the request names none.
    pub host: &'a str,
    /// As sent: not decoded, without the query.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a http::HeaderMap,
}

/// The host of an authority (`Host`, or the request target's) as routes are matched: lower case, without port and without
/// the dot at the end of an absolute name. An IPv6 address keeps its brackets. Allocates only where there are capitals.
pub fn host_of(authority: &str) -> Cow<'_, str> {
    let end = if let Some(rest) = authority.strip_prefix('[') {
        rest.find(']').map_or(authority.len(), |at| at + 2)
    } else {
        let mut bytes = authority.bytes();
        let colon = bytes.position(|byte| byte == b':');
        colon.unwrap_or(authority.len())
    };
    let host = &authority[..end];
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_without_case_port_and_closing_dot() {
        for (authority, host) in [
            ("shop.example.com", "shop.example.com"),
            ("Shop.Example.COM:8080", "shop.example.com"),
            ("shop.example.com.", "shop.example.com"),
            ("shop.example.com.:443", "shop.example.com"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[2001:DB8::1]:8443", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
            (":80", ""),
            (".", ""),
            ("[", "["),
            ("[::1", "[::1"),
            ("a:b:c", "a"),
        ] {
            assert_eq!(host_of(authority), host, "{authority}");
        }
    }

    #[test]
    fn a_host_in_lower_case_is_not_copied() {
        assert!(matches!(host_of("shop.example.com:80"), Cow::Borrowed(_)));
    }
}
