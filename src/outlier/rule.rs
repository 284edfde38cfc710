//! When an endpoint is an outlier. Pure.

use super::record::{Counts, Record};
use crate::{
    control::EjectionCause as Cause,
    units::{Outliers, Percent},
};

/// Why the endpoint should be taken out; `None`: it should not. `others`: what the rest of its pool did in the same time. Where they
/// are half as bad or worse it is the app or its users that fail, and to take out an endpoint would help nobody.
pub fn judge(record: &Record, others: Counts, outliers: &Outliers) -> Option<Cause> {
    let run = record.run;
    let in_a_row = outliers.consecutive > 0 && run.faults >= u64::from(outliers.consecutive);
    if in_a_row && is_twice_as_bad(run, others) {
        return Some(if run.unreached == run.faults {
            Cause::Connect
        } else {
            Cause::Consecutive
        });
    }
    let window = record.window();
    let speaks = outliers.ratio != Percent::NONE && window.requests >= u64::from(outliers.volume);
    let too_many = u128::from(window.faults) * u128::from(Percent::WHOLE.millionths())
        >= u128::from(window.requests) * u128::from(outliers.ratio.millionths());
    (speaks && window.faults > 0 && too_many && is_twice_as_bad(window, others))
        .then_some(Cause::Ratio)
}

/// Whether the part that failed is at least twice the others'.
fn is_twice_as_bad(own: Counts, others: Counts) -> bool {
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    product(own.faults, others.requests) >= 2 * product(others.faults, own.requests)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    const OUTLIERS: Outliers = Outliers {
        consecutive: 5,
        ratio: Percent::NONE,
        volume: 20,
        eject: Duration::from_secs(10),
        max_eject: Duration::from_mins(5),
        max_ejected: Percent::WHOLE,
    };

    fn by_ratio(ratio: &str) -> Outliers {
        Outliers {
            consecutive: 0,
            ratio: ratio.parse().unwrap(),
            ..OUTLIERS
        }
    }

    fn counts(requests: u64, faults: u64, unreached: u64) -> Counts {
        Counts {
            requests,
            faults,
            unreached,
        }
    }

    /// What one look sees.
    fn seen(counts: Counts) -> Record {
        let now = Instant::now();
        let mut record = Record::new(now, Counts::default());
        record.look(now, counts);
        record
    }

    const FINE: Counts = Counts {
        requests: 1000,
        faults: 0,
        unreached: 0,
    };

    #[test]
    fn so_many_failures_in_a_row_are_enough_however_few_requests_there_were() {
        assert_eq!(judge(&seen(counts(4, 4, 0)), FINE, &OUTLIERS), None);
        let verdict = judge(&seen(counts(5, 5, 0)), FINE, &OUTLIERS);
        assert_eq!(verdict, Some(Cause::Consecutive));
        assert_eq!(judge(&seen(counts(6, 5, 0)), FINE, &OUTLIERS), None);
        let never = Outliers {
            consecutive: 0,
            ..OUTLIERS
        };
        assert_eq!(judge(&seen(counts(99, 99, 0)), FINE, &never), None);
    }

    #[test]
    fn one_that_can_not_be_reached_is_told_from_one_that_fails() {
        assert_eq!(
            judge(&seen(counts(5, 5, 5)), FINE, &OUTLIERS),
            Some(Cause::Connect)
        );
        assert_eq!(
            judge(&seen(counts(6, 6, 5)), FINE, &OUTLIERS),
            Some(Cause::Consecutive)
        );
    }

    #[test]
    fn a_part_of_its_requests_is_enough_where_there_were_enough() {
        let outliers = by_ratio("25%");
        assert_eq!(
            judge(&seen(counts(20, 5, 0)), FINE, &outliers),
            Some(Cause::Ratio)
        );
        assert_eq!(judge(&seen(counts(20, 4, 0)), FINE, &outliers), None);
        assert_eq!(judge(&seen(counts(19, 19, 0)), FINE, &outliers), None);
    }

    #[test]
    fn who_is_no_worse_than_twice_the_others_stays() {
        let half = counts(100, 51, 0);
        assert_eq!(judge(&seen(counts(9, 9, 0)), half, &OUTLIERS), None);
        assert_eq!(
            judge(
                &seen(counts(100, 60, 0)),
                counts(100, 31, 0),
                &by_ratio("25%")
            ),
            None
        );
        let verdict = judge(
            &seen(counts(100, 60, 0)),
            counts(100, 30, 0),
            &by_ratio("25%"),
        );
        assert_eq!(verdict, Some(Cause::Ratio));
    }

    proptest! {
        #[test]
        fn who_fails_nothing_stays(requests in 0..1_000_000_u64, others: (u32, u32), consecutive: u32, part in 0..=100_u32) {
            let outliers = Outliers { consecutive, ..by_ratio(&format!("{part}%")) };
            let others = counts(u64::from(others.0), u64::from(others.0.min(others.1)), 0);
            prop_assert_eq!(judge(&seen(counts(requests, 0, 0)), others, &outliers), None);
        }
    }
}
