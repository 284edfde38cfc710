//! When a certificate is renewed, and when a failure is tried again. Pure.

use std::time::Duration;

/// The first try after a failure comes after this, and each further one after twice the time.
const FIRST: Duration = Duration::from_mins(1);
/// Authorities allow a handful of failures an hour.
const LONGEST: Duration = Duration::from_hours(6);

/// When to renew a certificate, in seconds since 1970: `before` its end, or when a third of its life is left, whichever is
/// later; earlier by up to a tenth of what is left then, so that a fleet does not come at once. `draw` is from 0 to 1.
pub(super) fn renewal(not_before: i64, not_after: i64, before: Duration, draw: f64) -> i64 {
    let life = u64::try_from(not_after - not_before).unwrap_or_default();
    let left = before.as_secs().min(life / 3);
    let jitter = fraction(left, draw / 10.0);
    not_after.saturating_sub_unsigned(left + jitter)
}

/// A moment of the window that the authority suggests (RFC 9773 §4.2).
pub(super) fn within(start: i64, end: i64, draw: f64) -> i64 {
    let width = u64::try_from(end.saturating_sub(start)).unwrap_or_default();
    start.saturating_add_unsigned(fraction(width, draw))
}

/// How long to wait after so many failures in a row, at least one.
pub(super) fn pause(failures: u32, draw: f64) -> Duration {
    let pause = FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(20))
        .min(LONGEST);
    pause + pause.mul_f64(draw / 10.0)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of some years in seconds"
)]
fn fraction(of: u64, part: f64) -> u64 {
    (of as f64 * part.clamp(0.0, 1.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * 86_400)
    }

    #[test]
    fn a_certificate_is_renewed_in_time_and_never_before_two_thirds_of_its_life_less_a_little() {
        assert_eq!(renewal(0, 90 * DAY, days(30), 0.0), 60 * DAY);
        assert_eq!(renewal(0, 90 * DAY, days(30), 1.0), 57 * DAY);
        assert_eq!(renewal(0, 90 * DAY, days(10), 0.0), 80 * DAY);
        assert_eq!(renewal(0, 6 * DAY, days(30), 0.0), 4 * DAY);
        assert_eq!(renewal(10, 10, days(30), 1.0), 10);
        assert_eq!(renewal(10, 0, days(30), 1.0), 0);
    }

    #[test]
    fn a_suggested_window_is_used_in_all_its_width() {
        assert_eq!(within(100, 200, 0.0), 100);
        assert_eq!(within(100, 200, 0.5), 150);
        assert_eq!(within(200, 100, 0.5), 200);
    }

    #[test]
    fn failures_are_tried_again_ever_more_seldom() {
        let pauses: Vec<u64> = [1, 2, 3, 9, 10, u32::MAX]
            .into_iter()
            .map(|failures| pause(failures, 0.0).as_secs())
            .collect();
        assert_eq!(pauses, [60, 120, 240, 15_360, 21_600, 21_600]);
        assert_eq!(pause(1, 1.0), Duration::from_secs(66));
    }
}
