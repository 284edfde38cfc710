//! W3C Trace Context: the field by which the traces of several programs become one.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Passes a valid `traceparent` on as it came. Where there is none, starts a trace, `sampled` or not; what came of another
/// trace's state goes with it.
pub(super) fn pass_or_start(headers: &mut HeaderMap, sampled: bool, random: (u128, u64)) {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let only = given.next().filter(|_| given.next().is_none());
    if only.is_some_and(|value| is_valid(value.as_bytes())) {
        return;
    }
    headers.remove(TRACESTATE);
    headers.insert(TRACEPARENT, started(sampled, random));
}

/// Version 00, or a later one that begins like it (§3.2 and §4.3 of the recommendation).
fn is_valid(value: &[u8]) -> bool {
    let hex = |text: &[u8]| {
        text.iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let id = |text: &[u8]| hex(text) && text.iter().any(|byte| *byte != b'0');
    let Some((known, more)) = value.split_at_checked(55) else {
        return false;
    };
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    let version = &known[..2];
    let ends = match version {
        b"00" => more.is_empty(),
        _ => more.is_empty() || more[0] == b'-',
    };
    dashes
        && ends
        && hex(version)
        && version != b"ff"
        && id(&known[3..35])
        && id(&known[36..52])
        && hex(&known[53..])
}

fn started(sampled: bool, (trace, span): (u128, u64)) -> HeaderValue {
    // Zeros alone are no id.
    let text = format!(
        "00-{:032x}-{:016x}-0{}",
        trace | 1,
        span | 1,
        u8::from(sampled)
    );
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .expect("hexadecimal digits and dashes are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn passed(given: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        pass_or_start(&mut headers, false, (0, 0xab));
        headers
    }

    #[test]
    fn what_is_valid_is_passed_on_and_what_is_not_begins_anew() {
        for good in [
            GOOD.to_owned(),
            format!("01{}", &GOOD[2..]),
            format!("01{}-more", &GOOD[2..]),
        ] {
            let headers = passed(&[&good]);
            assert_eq!(headers[TRACEPARENT], good);
            assert_eq!(headers[TRACESTATE], "a=b");
        }
        let zero_trace = GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = GOOD.replace("00f067aa0ba902b7", &"0".repeat(16));
        let upper = GOOD.to_ascii_uppercase();
        let (long, later) = (format!("{GOOD}-x"), format!("01{}x", &GOOD[2..]));
        let last = format!("ff{}", &GOOD[2..]);
        for bad in [
            "",
            "x",
            &zero_trace,
            &zero_span,
            &upper,
            &long,
            &later,
            &last,
            &GOOD[..54],
        ] {
            let headers = passed(&[bad]);
            let started = format!("00-{:032}-{:014}ab-00", 1, 0);
            assert_eq!(headers[TRACEPARENT], started, "{bad}");
            assert!(!headers.contains_key(TRACESTATE));
            assert!(is_valid(started.as_bytes()));
        }
        assert_ne!(passed(&[GOOD, GOOD])[TRACEPARENT], GOOD);
    }
}
