use http::{HeaderMap, header::COOKIE};

/// Names and values of the request's cookies, as sent (RFC 6265 §4.2.1), over all `Cookie` lines in order.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let pair = pair.trim_ascii();
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            Some((&pair[..equals], &pair[equals + 1..]))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_over_several_lines_and_without_a_panic_from_anything() {
        let mut headers = HeaderMap::new();
        for line in ["a=1; b=2;c=x=y", ";;=; d ;e= ; =f", "\u{e9}=1; a=3"] {
            headers.append(COOKIE, line.parse().unwrap());
        }
        let pairs: Vec<_> = cookies(&headers)
            .map(|(name, value)| {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                format!("{}:{}", text(name), text(value))
            })
            .collect();
        assert_eq!(
            pairs,
            ["a:1", "b:2", "c:x=y", ":", "e:", ":f", "\u{e9}:1", "a:3"]
        );
    }
}
