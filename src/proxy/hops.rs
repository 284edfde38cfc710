//! Hops: which way a message has come, and how much further it may go (RFC 9110 §7.6.2, §7.6.3).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header};

use super::{
    Body, Kind,
    client::Client,
    handle::Refused,
    head::{Field, Fields},
};

const MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// All Cutovers go by this name, and a request may have good reason to come through some: an edge, a site, a host.
const NAME: &str = "cutover";

/// More of them than any chain has: the request goes round.
const MOST: usize = 8;

/// Lets a request go one hop further, if it may, and says so of it.
pub(super) fn pass<B>(
    request: &mut Request<B>,
    client: &Client,
    (version, fields): (Version, Fields),
) -> Result<(), Refused> {
    if *request.method() == Method::OPTIONS && is_last(request.headers_mut()) {
        return Err(Refused::at_door(Response::new(Body::none())));
    }
    if client.door.via {
        if fields.has(Field::Via) && goes_round(request.headers()) {
            return Err(Kind::Loop.into());
        }
        request.headers_mut().append(header::VIA, via(version));
    }
    Ok(())
}

/// Our entry in `Via`, which names the version that the message came in.
pub(super) fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 cutover",
        Version::HTTP_2 => "2 cutover",
        _ => "1.1 cutover",
    })
}

/// Whether this is the last that may see the request; else the next may go one hop less far. What is no number says nothing.
fn is_last(headers: &mut HeaderMap) -> bool {
    let left = headers
        .get(MAX_FORWARDS)
        .and_then(|left| left.to_str().ok());
    match left.and_then(|left| left.parse::<u32>().ok()) {
        Some(0) => true,
        Some(left) => {
            headers.insert(MAX_FORWARDS, (left - 1).into());
            false
        }
        None => false,
    }
}

fn goes_round(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::VIA).into_iter();
    let hops = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    hops.filter(|hop| is_ours(hop)).count() >= MOST
}

/// `1.1 cutover (comment)`; the protocol may have a name, `HTTP/1.1`.
fn is_ours(hop: &str) -> bool {
    let name = hop.split_ascii_whitespace().nth(1);
    name.is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| value.parse().unwrap());
        values.map(|value| (name.clone(), value)).collect()
    }

    #[test]
    fn only_entries_of_our_name_are_turns_of_a_loop() {
        let seven = ["1.1 cutover"; 7].join(", ");
        for (values, round) in [
            (&[&*seven, "1.1 other, 1.1 cutover.example"][..], false),
            (&[&*seven, "HTTP/1.1 Cutover (a, b)"][..], true),
            (
                &["2 other, 1.0 x (cutover)", &*seven, "2 cutover"][..],
                true,
            ),
            (&["cutover, cutover,,  ,"][..], false),
        ] {
            let headers = headers(&header::VIA, values);
            assert_eq!(goes_round(&headers), round, "{values:?}");
        }
        assert!(is_ours(via(Version::HTTP_2).to_str().unwrap()));
    }

    #[test]
    fn a_request_may_go_as_far_as_it_says() {
        for (said, last, left) in [
            ("0", true, "0"),
            ("1", false, "0"),
            ("4294967295", false, "4294967294"),
            ("4294967296", false, "4294967296"),
            ("-1", false, "-1"),
            ("ten", false, "ten"),
        ] {
            let mut headers = headers(&MAX_FORWARDS, &[said]);
            assert_eq!(is_last(&mut headers), last, "{said}");
            assert_eq!(headers[MAX_FORWARDS], left, "{said}");
        }
    }
}
