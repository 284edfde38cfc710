use http::{HeaderMap, HeaderName};

use crate::units::Secret;

/// The way round the weights: a request whose header says `green;SECRET` goes to that pool whatever its weight, as long as
/// the pool has a ready endpoint. Whoever forwards the request removes the header in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub header: HeaderName,
    secret: Secret,
}

impl Preview {
    pub fn new(header: HeaderName, secret: Secret) -> Self {
        Self { header, secret }
    }

    /// The pool asked for; `None` where there is no such header, or more than one, or the secret is wrong.
    pub fn pool<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut values = headers.get_all(&self.header).into_iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        let bytes = only.as_bytes();
        let semicolon = bytes.iter().position(|byte| *byte == b';')?;
        let (pool, secret) = (&bytes[..semicolon], &bytes[semicolon + 1..]);
        if self.secret.matches(secret.trim_ascii()) {
            std::str::from_utf8(pool.trim_ascii()).ok()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&'static str]) -> Option<String> {
        let preview = Preview::new(
            HeaderName::from_static("x-cutover-pool"),
            Secret::new(b"s;3cret".to_vec()),
        );
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-cutover-pool", value.parse().unwrap());
        }
        preview.pool(&headers).map(str::to_owned)
    }

    #[test]
    fn a_preview_needs_its_secret_and_exactly_one_header() {
        assert_eq!(asked(&["green;s;3cret"]).as_deref(), Some("green"));
        assert_eq!(asked(&["green ; s;3cret"]).as_deref(), Some("green"));
        for bad in [
            &[][..],
            &["green"],
            &["green;"],
            &["green;s;3cre"],
            &["green;s;3cret!"],
            &["green;s;3cret", "green;s;3cret"],
        ] {
            assert_eq!(asked(bad), None, "{bad:?}");
        }
    }
}
