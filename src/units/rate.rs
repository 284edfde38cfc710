//! How often something may happen: a token bucket without a bucket (GCRA), of which one moment in time is all there is to
//! keep.

use std::{
    hash::Hasher,
    time::{Duration, Instant},
};

use siphasher::sip128::{Hasher128, SipHasher13};

/// So many requests in such a time, of each client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    pub requests: u32,
    pub per: Duration,
    /// How many may come at once.
    pub burst: u32,
    pub by: RateKey,
}

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateKey {
    Ip,
    /// The value of a header, and the address where it is missing.
    Header(http::HeaderName),
}

/// The pace at which a bucket is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one request to the next.
    step: Duration,
    /// By how much a client may be ahead of its pace.
    slack: Duration,
}

impl RateLimit {
    pub fn pace(&self) -> Pace {
        let step = self.per / self.requests.max(1);
        Pace {
            step,
            slack: step * self.burst.saturating_sub(1),
        }
    }
}

impl Pace {
    /// What is to be kept of the client if it may go on now, else how long it has to wait. `full` is what was kept of it the
    /// last time: when its bucket is full again.
    pub fn take(&self, full: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let full = full.map_or(now, |full| full.max(now));
        match (full - now).checked_sub(self.slack) {
            None | Some(Duration::ZERO) => Ok(full + self.step),
            Some(wait) => Err(wait),
        }
    }
}

/// A text of any length in the room of a number. To find two texts of the same number takes 2^64 tries.
pub fn text_number(text: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(text);
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn limit(requests: u32, per: Duration, burst: u32) -> RateLimit {
        let by = RateKey::Ip;
        RateLimit {
            requests,
            per,
            burst,
            by,
        }
    }

    #[test]
    fn a_burst_goes_through_at_once_and_then_one_a_step() {
        let pace = limit(100, Duration::from_mins(1), 3).pace();
        let start = Instant::now();
        let mut full = None;
        for _ in 0..3 {
            full = Some(pace.take(full, start).unwrap());
        }
        let step = Duration::from_millis(600);
        assert_eq!(pace.take(full, start), Err(step));
        let almost = start + Duration::from_nanos(599_999_999);
        assert_eq!(pace.take(full, almost), Err(Duration::from_nanos(1)));
        full = Some(pace.take(full, start + step).unwrap());
        assert_eq!(pace.take(full, start + step), Err(step));
        // Long after, it is as if nothing had been.
        let later = start + Duration::from_hours(1);
        assert_eq!(pace.take(full, later), pace.take(None, later));
    }

    #[test]
    fn the_largest_numbers_fit() {
        let day = Duration::from_hours(24);
        let pace = limit(1, day, 1_000_000).pace();
        let now = Instant::now();
        let mut full = None;
        for _ in 0..1000 {
            full = Some(pace.take(full, now).unwrap());
        }
        let quick = limit(1_000_000, Duration::from_secs(1), 1).pace();
        assert_eq!(quick.take(None, now), Ok(now + Duration::from_micros(1)));
    }

    proptest! {
        /// The bucket as it is taught: so many tokens at most, one more each step.
        #[test]
        fn it_is_a_token_bucket(
            burst in 1_u32..6,
            step in 1_u64..20,
            gaps in vec(0_u64..40, 1..60),
        ) {
            let pace = limit(1, Duration::from_millis(step), burst).pace();
            let start = Instant::now();
            let (mut now, mut full) = (start, None);
            // In parts of a token, so that it stays in integers.
            let (mut tokens, most) = (u64::from(burst) * step, u64::from(burst) * step);
            for gap in gaps {
                now += Duration::from_millis(gap);
                tokens = (tokens + gap).min(most);
                let taken = pace.take(full, now);
                prop_assert_eq!(taken.is_ok(), tokens >= step);
                match taken {
                    Ok(kept) => {
                        full = Some(kept);
                        tokens -= step;
                    }
                    Err(wait) => prop_assert_eq!(wait, Duration::from_millis(step - tokens)),
                }
            }
        }
    }
}
