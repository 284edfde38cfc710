//! Where a message's body ends.

use http::{HeaderMap, HeaderValue, Version, header};

use super::{Field, Fields};
use crate::proxy::Kind;

/// One length or `chunked` alone, or neither (RFC 9112 §6.3): anything else is a body whose end two readers may see
/// differently. A length is written as every reader writes it.
pub(super) fn settle(
    headers: &mut HeaderMap,
    version: Version,
    fields: Fields,
) -> Result<(), Kind> {
    if fields.has(Field::TransferEncoding) {
        return check_coding(headers, version, fields);
    }
    if !fields.has(Field::ContentLength) {
        return Ok(());
    }
    if fields.repeats(Field::ContentLength) {
        return Err(Kind::Malformed);
    }
    let said = headers
        .get(header::CONTENT_LENGTH)
        .map(HeaderValue::as_bytes);
    let length = said.and_then(length).ok_or(Kind::Malformed)?;
    if said.is_some_and(|said| said.len() > 1 && said[0] == b'0') {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(())
}

fn check_coding(headers: &HeaderMap, version: Version, fields: Fields) -> Result<(), Kind> {
    let alone = !fields.has(Field::ContentLength) && !fields.repeats(Field::TransferEncoding);
    // HTTP/1.0 has no codings, and its readers would take the chunks for the body (RFC 9112 §6.1).
    if !alone || version == Version::HTTP_10 {
        return Err(Kind::Malformed);
    }
    let coding = headers.get(header::TRANSFER_ENCODING);
    match coding.map(HeaderValue::as_bytes) {
        Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => Ok(()),
        Some(codings) if ends_in_one_chunked(codings) => Err(Kind::UnsupportedCoding),
        _ => Err(Kind::Malformed),
    }
}

/// Well-formed codings with `chunked` as the last and only there: what they hide is unknown, where they end is not.
fn ends_in_one_chunked(codings: &[u8]) -> bool {
    let mut codings = codings.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(is_chunked)
        && codings.all(|coding| is_token(coding) && !is_chunked(coding))
}

/// RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

/// Digits and nothing else (RFC 9110 §8.6), of a number that a body can have.
fn length(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| is_number)?;
    // The last two numbers mean something else to the HTTP library.
    text.parse().ok().filter(|length| *length <= u64::MAX - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(
        version: Version,
        fields: &[(&'static str, &'static str)],
    ) -> Result<Vec<String>, Kind> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let found = Fields::of(&headers);
        settle(&mut headers, version, found)?;
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        Ok(headers.values().map(text).collect())
    }

    #[test]
    fn a_body_has_one_length_or_chunks() {
        for (fields, left) in [
            (&[][..], &[][..]),
            (&[("content-length", "0")], &["0"]),
            (&[("content-length", "00")], &["0"]),
            (&[("content-length", "0012")], &["12"]),
            (
                &[("content-length", "18446744073709551613")],
                &["18446744073709551613"],
            ),
            (&[("transfer-encoding", "Chunked")], &["Chunked"]),
        ] {
            assert_eq!(
                settled(Version::HTTP_11, fields).unwrap(),
                left,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn a_length_that_is_not_one_number_is_malformed() {
        for bad in [
            "",
            " ",
            "+5",
            "-1",
            "0x5",
            "5 5",
            "5_0",
            "1e1",
            "5,5",
            "5, 5",
            "5;",
            "18446744073709551616",
            "18446744073709551615",
        ] {
            let fields = [("content-length", bad)];
            assert_eq!(
                settled(Version::HTTP_2, &fields).unwrap_err(),
                Kind::Malformed,
                "{bad}"
            );
        }
        for (first, second) in [("5", "5"), ("5", "6")] {
            let fields = [("content-length", first), ("content-length", second)];
            assert_eq!(
                settled(Version::HTTP_2, &fields).unwrap_err(),
                Kind::Malformed
            );
        }
    }

    #[test]
    fn a_coding_that_is_not_chunked_alone_is_unsupported_or_malformed() {
        for unsupported in [
            "gzip, chunked",
            "gzip,deflate ,\tchunked",
            "identity, Chunked",
        ] {
            let fields = [("transfer-encoding", unsupported)];
            let refused = settled(Version::HTTP_11, &fields).unwrap_err();
            assert_eq!(refused, Kind::UnsupportedCoding, "{unsupported}");
        }
        for malformed in [
            "",
            "gzip",
            "identity",
            "xchunked",
            "chunked, chunked",
            ",chunked",
            "chunked,",
            "chunked;a=b",
            "\"chunked\"",
            "gzip;q=1, chunked",
            "gzip chunked",
            "chunked, gzip",
            "chunked, gzip, chunked",
        ] {
            let fields = [("transfer-encoding", malformed)];
            let refused = settled(Version::HTTP_11, &fields).unwrap_err();
            assert_eq!(refused, Kind::Malformed, "{malformed}");
        }
    }

    #[test]
    fn a_length_beside_chunks_is_malformed() {
        let chunked = ("transfer-encoding", "chunked");
        for fields in [
            [("content-length", "1"), chunked],
            [chunked, ("content-length", "1")],
            [chunked, chunked],
        ] {
            assert_eq!(
                settled(Version::HTTP_11, &fields).unwrap_err(),
                Kind::Malformed
            );
        }
        assert_eq!(
            settled(Version::HTTP_10, &[chunked]).unwrap_err(),
            Kind::Malformed
        );
    }
}
