//! W3C Trace Context: the field by which the traces of several programs become one.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Whose child a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub trace: u128,
    pub span: u64,
    pub flags: u8,
}

/// Of the flags (§3.2.2.5.1).
const SAMPLED: u8 = 1;

/// Passes a valid `traceparent` on as it came. Where there is none, starts a trace, `sampled` or not; what came of another
/// trace's state goes with it. Returns whether it started one.
pub(super) fn pass_or_start(headers: &mut HeaderMap, sampled: bool, random: (u128, u64)) -> bool {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let only = given.next().filter(|_| given.next().is_none());
    if only.is_some_and(|value| is_valid(value.as_bytes())) {
        return false;
    }
    headers.remove(TRACESTATE);
    headers.insert(TRACEPARENT, started(sampled, random));
    true
}

/// What a `traceparent` that [`pass_or_start`] has looked at names, where its trace is sampled.
pub(super) fn sampled(headers: &HeaderMap) -> Option<Parent> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let flags = u8::from_str_radix(text.get(53..55)?, 16).ok()?;
    if flags & SAMPLED == 0 {
        return None;
    }
    Some(Parent {
        trace: u128::from_str_radix(text.get(3..35)?, 16).ok()?,
        span: u64::from_str_radix(text.get(36..52)?, 16).ok()?,
        flags,
    })
}

/// Names one of our spans as the parent of what follows. We speak version 00, whatever came (§4.3).
pub(super) fn name_parent(headers: &mut HeaderMap, of: Parent, span: u64) {
    let value = written(of.trace, span, of.flags);
    headers.insert(TRACEPARENT, value);
}

/// What `tracestate` says, where it is no longer than `limit`.
pub(super) fn state(headers: &HeaderMap, limit: usize) -> String {
    let values = headers.get_all(TRACESTATE).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    let state = values.join(",");
    if state.len() > limit {
        return String::new();
    }
    state
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
    written(trace | 1, span | 1, u8::from(sampled))
}

fn written(trace: u128, span: u64, flags: u8) -> HeaderValue {
    let text = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
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
    fn a_sampled_trace_names_whose_children_follow() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, GOOD.parse().unwrap());
        let parent = sampled(&headers).unwrap();
        assert_eq!(parent.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((parent.span, parent.flags), (0x00f0_67aa_0ba9_02b7, 1));
        name_parent(&mut headers, parent, 0xab);
        assert_eq!(
            headers[TRACEPARENT],
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000ab-01"
        );
        let unsampled = GOOD.replace("-01", "-02");
        headers.insert(TRACEPARENT, unsampled.parse().unwrap());
        assert_eq!(sampled(&headers), None);
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
