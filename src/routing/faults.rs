use super::{Head, conditions::header_holds};
use crate::units::{InjectedFault, Name, Timestamp, below};

/// The fault that a request decided for `pool` is given: the first that means it, has drawn it and is in force. Each draws a lot
/// of its own; the clock is looked at only for one that was drawn.
pub fn drawn_fault<'a>(
    faults: &'a [InjectedFault],
    head: &Head,
    pool: &Name,
    mut lot: impl FnMut() -> u64,
    now: impl Fn() -> Timestamp,
) -> Option<&'a InjectedFault> {
    faults.iter().find(|fault| {
        let headers = &fault.headers;
        fault.pool.as_ref().is_none_or(|only| only == pool)
            && headers
                .iter()
                .all(|(name, value)| header_holds(name, value, head))
            && below(lot(), 1_000_000) < u64::from(fault.share.millionths())
            && fault.is_in_force(now())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::units::mixed;

    fn fault(share: &str, pool: Option<&str>) -> InjectedFault {
        InjectedFault {
            delay: Some(Duration::from_millis(1)),
            abort: None,
            share: share.parse().unwrap(),
            headers: Vec::new(),
            pool: pool.map(|pool| pool.parse().unwrap()),
            until: Timestamp::from_second(1000).unwrap(),
        }
    }

    fn drawn(
        faults: &[InjectedFault],
        headers: &HeaderMap,
        pool: &str,
        lot: u64,
        second: i64,
    ) -> Option<usize> {
        let head = Head {
            method: &Method::GET,
            host: "",
            path: "/",
            query: None,
            headers,
        };
        let now = || Timestamp::from_second(second).unwrap();
        let pool = pool.parse().unwrap();
        let found = drawn_fault(faults, &head, &pool, || lot, now)?;
        faults.iter().position(|fault| std::ptr::eq(fault, found))
    }

    #[test]
    fn a_fault_takes_exactly_its_share() {
        let faults = [fault("2.5%", None)];
        let none = HeaderMap::new();
        let takes = |lot| drawn(&faults, &none, "blue", lot, 0).is_some();
        // 2.5% of 2^64 is 461168601842738790.4.
        assert!(takes(0) && takes(461_168_601_842_738_790));
        assert!(!takes(461_168_601_842_738_791) && !takes(u64::MAX));
        let count = (0..100_000).filter(|seed| takes(mixed(*seed))).count();
        assert!((2350..2650).contains(&count), "{count}");
        for lot in [0, u64::MAX] {
            assert_eq!(drawn(&[fault("0%", None)], &none, "blue", lot, 0), None);
            let all = [fault("100%", None)];
            assert_eq!(drawn(&all, &none, "blue", lot, 0), Some(0));
        }
    }

    #[test]
    fn a_fault_means_its_pool_and_its_headers_and_the_first_that_draws_wins() {
        let mut by_header = fault("100%", None);
        by_header.headers = vec![("x-rehearsal".parse().unwrap(), "yes".into())];
        let faults = [by_header, fault("100%", Some("green")), fault("100%", None)];
        let mut headers = HeaderMap::new();
        assert_eq!(drawn(&faults, &headers, "green", 0, 0), Some(1));
        assert_eq!(drawn(&faults, &headers, "blue", 0, 0), Some(2));
        headers.append("x-rehearsal", HeaderValue::from_static("no"));
        assert_eq!(drawn(&faults, &headers, "blue", 0, 0), Some(2));
        headers.append("x-rehearsal", HeaderValue::from_static("yes"));
        assert_eq!(drawn(&faults, &headers, "green", 0, 0), Some(0));
    }

    #[test]
    fn a_fault_ends_with_its_time() {
        let faults = [fault("100%", None)];
        let none = HeaderMap::new();
        assert_eq!(drawn(&faults, &none, "blue", 0, 999), Some(0));
        assert_eq!(drawn(&faults, &none, "blue", 0, 1000), None);
    }
}
