//! A fixed log-linear histogram of latencies: 32 buckets to each doubling from 1 µs to 71 minutes, so a quantile is
//! off by at most 1/64 (1.6 %) of itself. One writer; readers add up as many as they like.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

const SUB_BITS: u32 = 5;
const SUBS: usize = 1 << SUB_BITS;
/// Values of 2^32 µs and above share the last bucket.
const BUCKETS: usize = (32 - SUB_BITS as usize + 1) * SUBS;

/// One writer's counts.
pub struct Histogram {
    counts: Box<[AtomicU64; BUCKETS]>,
    /// Microseconds.
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: Box::new([const { AtomicU64::new(0) }; BUCKETS]),
            sum: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// To be called by the one writer only: a plain load and store, not a read-modify-write.
    pub fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        add(&self.counts[bucket(micros)], 1);
        add(&self.sum, micros);
    }
}

/// Adds to a counter that only this thread writes.
pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

fn bucket(micros: u64) -> usize {
    let value = micros.min(u64::from(u32::MAX));
    if value < SUBS as u64 {
        return usize::try_from(value).unwrap_or(0);
    }
    let octave = value.ilog2() - SUB_BITS;
    let within = usize::try_from(value >> octave).unwrap_or(0) - SUBS;
    (octave as usize + 1) * SUBS + within
}

/// The least value of a bucket, in microseconds.
fn floor(bucket: usize) -> u64 {
    if bucket < SUBS {
        return bucket as u64;
    }
    let octave = bucket / SUBS - 1;
    ((SUBS + bucket % SUBS) as u64) << octave
}

/// Counts added up over writers at one moment, or the difference of two such moments.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Empty for as long as there is nothing to hold, so that what is never used costs no memory.
    counts: Vec<u64>,
    sum: u64,
}

/// A range of latencies that are not told apart, and how many there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    pub floor: Duration,
    /// The first that is in no more.
    pub ceiling: Duration,
    pub count: u64,
}

/// The counts of a short time: only the buckets that hold any, so as small as there was little to count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    counts: Box<[(u16, u32)]>,
    sum: u64,
}

impl Reading {
    pub fn add(&mut self, histogram: &Histogram) {
        self.make_room();
        for (total, count) in self.counts.iter_mut().zip(histogram.counts.iter()) {
            *total += count.load(Relaxed);
        }
        self.sum = self.sum.wrapping_add(histogram.sum.load(Relaxed));
    }

    fn make_room(&mut self) {
        self.counts.resize(BUCKETS, 0);
    }

    /// What was recorded since `earlier`, a reading of the same histograms.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.growth(earlier).map(|(_, grown)| grown).collect();
        Self {
            counts,
            sum: self.sum.wrapping_sub(earlier.sum),
        }
    }

    /// Every bucket and what it grew by.
    fn growth<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = (u16, u64)> + 'a {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        (0..)
            .zip(self.counts.iter().zip(before))
            .map(|(bucket, (now, then))| (bucket, now.saturating_sub(then)))
    }

    /// All buckets, rising, the empty ones with them: the same of every reading.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let counts = self.counts.iter().copied().chain(std::iter::repeat(0));
        (0..BUCKETS).zip(counts).map(|(bucket, count)| Bucket {
            floor: Duration::from_micros(floor(bucket)),
            ceiling: Duration::from_micros(floor(bucket + 1)),
            count,
        })
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum)
    }

    /// The value below which `quantile` (0.0 to 1.0) of all lie: the middle of its bucket. `None` when empty.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is an approximation"
    )]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((count as f64 * quantile).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        self.counts.iter().enumerate().find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank && *count > 0)
                .then(|| Duration::from_micros(u64::midpoint(floor(bucket), floor(bucket + 1) - 1)))
        })
    }

    /// How many were at most each of the edges, in milliseconds and rising: to within one of the buckets here.
    pub fn at_most_ms<const N: usize>(&self, edges: &[u64; N]) -> [u64; N] {
        let (mut seen, mut next) = (0, 0);
        edges.map(|edge| {
            let end = (bucket(edge.saturating_mul(1000)) + 1).min(self.counts.len());
            seen += self.counts[next..end].iter().sum::<u64>();
            next = end;
            seen
        })
    }

    /// What was recorded since `earlier`, kept small.
    #[must_use]
    pub fn slice_since(&self, earlier: &Self) -> Slice {
        let grown = self.growth(earlier).filter(|(_, grown)| *grown > 0);
        Slice {
            counts: grown
                .map(|(bucket, grown)| (bucket, u32::try_from(grown).unwrap_or(u32::MAX)))
                .collect(),
            sum: self.sum.wrapping_sub(earlier.sum),
        }
    }

    pub fn add_slice(&mut self, slice: &Slice) {
        self.make_room();
        for (bucket, count) in &slice.counts {
            self.counts[usize::from(*bucket)] += u64::from(*count);
        }
        self.sum = self.sum.wrapping_add(slice.sum);
    }
}

/// How many of each.
impl FromIterator<(Duration, u64)> for Reading {
    fn from_iter<I: IntoIterator<Item = (Duration, u64)>>(latencies: I) -> Self {
        let mut reading = Self::default();
        reading.make_room();
        for (latency, count) in latencies {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            reading.counts[bucket(micros)] += count;
            reading.sum = reading.sum.wrapping_add(micros.wrapping_mul(count));
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readings_buckets_are_all_there_are_and_hold_what_was_read() {
        assert_eq!(Reading::default().buckets().count(), BUCKETS);
        let reading: Reading = [(Duration::from_millis(1), 2), (Duration::from_hours(9), 1)]
            .into_iter()
            .collect();
        let held: Vec<_> = reading
            .buckets()
            .filter(|bucket| bucket.count > 0)
            .map(|bucket| {
                (
                    bucket.floor.as_micros(),
                    bucket.ceiling.as_micros(),
                    bucket.count,
                )
            })
            .collect();
        assert_eq!(held[0], (992, 1008, 2));
        assert_eq!((held.len(), held[1].2, reading.count()), (2, 1, 3));
        assert!(
            reading
                .buckets()
                .zip(reading.buckets().skip(1))
                .all(|(one, next)| one.ceiling == next.floor)
        );
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for value in (0..70_000).chain([1 << 20, (1 << 31) + 12_345, u64::from(u32::MAX)]) {
            let bucket = bucket(value);
            assert!(
                floor(bucket) <= value && (bucket + 1 == BUCKETS || value < floor(bucket + 1)),
                "{value}"
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_quantile_is_off_by_less_than_three_percent() {
        let histogram = Histogram::default();
        for micros in 1..=100_000 {
            histogram.record(Duration::from_micros(micros));
        }
        let mut reading = Reading::default();
        reading.add(&histogram);
        for quantile in [0.5, 0.95, 0.99, 0.999] {
            let read = reading.quantile(quantile).unwrap().as_secs_f64();
            let exact = quantile * 0.1;
            assert!(
                (read / exact - 1.0).abs() < 0.03,
                "{quantile}: {read} is not {exact}"
            );
        }
        assert_eq!(
            (
                reading.count(),
                reading.clone().since(&reading).quantile(0.5)
            ),
            (100_000, None)
        );
    }
}
