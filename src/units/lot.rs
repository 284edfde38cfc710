//! Drawing lots: what chooses one of several by weights, from a random number or from a key.

use siphasher::sip::SipHasher13;

/// See [`Seed::hasher`].
pub type SeededHasher = SipHasher13;

/// The key of a `SipHash-1-3`: a published function with fixed results, so that the same bytes give the same number in every
/// worker, after every restart and on every machine that has the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    low: u64,
    high: u64,
}

impl Seed {
    /// Known to all: for choices that need no secret.
    pub const PUBLIC: Self = Self { low: 0, high: 0 };

    pub fn new(bytes: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        Self {
            low: number as u64,
            high: (number >> 64) as u64,
        }
    }

    pub fn hash(self, bytes: &[u8]) -> u64 {
        self.hasher().hash(bytes)
    }

    /// For bytes that come in pieces: however they are cut, they give the same number.
    pub fn hasher(self) -> SeededHasher {
        SipHasher13::new_with_keys(self.low, self.high)
    }
}

/// A number from 0 up to but without `end`, each as often as the others to within `end` in 2^64 (Lemire, 2019).
pub fn below(random: u64, end: u64) -> u64 {
    let product = u128::from(random) * u128::from(end);
    (product >> 64) as u64
}

/// What a candidate scores for a key: the least score wins (weighted rendezvous; Schindelhauer and Schomaker, 2005).
///
/// The score is `-ln(u) / weight`, where `u` is a number between 0 and 1 that key and candidate (`name`, a hash) give together,
/// so a candidate wins exactly its weight's part of all keys. A key changes hands only to a candidate whose weight has grown
/// relative to the former winner's.
pub fn score(key: u64, name: u64, weight: u32) -> f64 {
    minus_ln(mixed(key ^ name)) / f64::from(weight)
}

/// Another number for each number, every bit of which hangs on every bit of the first (`SplitMix64`; Steele, Lea and Flood, 2014).
pub fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `-ln(u)` where `u` is the middle of the interval of width 2^-52 that `random` falls to. Only additions, multiplications and
/// divisions, which IEEE 754 defines to the last bit: a library's `ln` differs between machines, and so would the winners. No
/// branches either: half of them would be guessed wrong.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
fn minus_ln(random: u64) -> f64 {
    use std::f64::consts::{LN_2, SQRT_2};
    let odd = (random >> 12 << 1) | 1; // u * 2^53
    let exponent = odd.ilog2();
    let reciprocal = f64::from_bits(u64::from(1023 - exponent) << 52); // 2^-exponent
    let fraction = odd as f64 * reciprocal;
    let above = fraction > SQRT_2;
    let fraction = fraction * [1.0, 0.5][usize::from(above)];
    let scale = f64::from(53 - exponent - u32::from(above));
    // ln f = 2 artanh((f - 1) / (f + 1)); with |s| <= 0.172 the terms left out are below 6e-11 of
    // the sum, and so is what shares are off by.
    let s = (fraction - 1.0) / (fraction + 1.0);
    let square = s * s;
    let terms = [1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];
    let sum = terms
        .into_iter()
        .fold(1.0 / 11.0, |sum, term| sum * square + term);
    scale * LN_2 - 2.0 * s * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_siphash_1_3_as_published() {
        // First and last rows of the reference's `vectors_sip13`, for the key 00 01 .. 0f and the inputs "" and 00 .. 3e.
        let seed = Seed::new(std::array::from_fn(|index| u8::try_from(index).unwrap()));
        assert_eq!(seed.hash(&[]), 0xabac_0158_050f_c4dc);
        let input: Vec<u8> = (0..0x3f).collect();
        assert_eq!(seed.hash(&input), 0x9d19_9062_b7bb_b3a8);
    }

    #[test]
    fn a_lot_falls_to_every_number_below_its_end_and_to_no_other() {
        assert_eq!(below(0, 7), 0);
        assert_eq!(below(u64::MAX, 7), 6);
        assert_eq!(below(u64::MAX, u64::MAX), u64::MAX - 1);
        assert_eq!(below(u64::MAX, 0), 0);
        let seventh = u64::MAX / 7;
        assert_eq!((below(seventh, 7), below(seventh + 1, 7)), (0, 1));
    }

    #[test]
    fn our_logarithm_is_the_logarithm() {
        let mut random = 1_u64;
        let corners = [
            0,
            1,
            1 << 12,
            1 << 63,
            (1 << 63) - 1,
            u64::MAX,
            u64::MAX - (1 << 12),
        ];
        let others = std::iter::from_fn(|| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            Some(random)
        });
        for random in corners.into_iter().chain(others.take(10_000)) {
            #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
            let u = ((random >> 12 << 1) | 1) as f64 / (1_u64 << 53) as f64;
            let (ours, theirs) = (minus_ln(random), -u.ln());
            assert!(
                ours > 0.0 && (ours / theirs - 1.0).abs() < 6e-11,
                "{random}: {ours} {theirs}"
            );
        }
    }

    #[test]
    fn scores_are_the_same_on_every_machine() {
        let bits = [(0, 0, 1), (1, 2, 3), (u64::MAX, 42, 9999)]
            .map(|(key, name, weight)| score(key, name, weight).to_bits());
        let golden = [
            4_593_605_193_562_196_031,
            4_604_709_612_498_884_411,
            4_556_364_489_562_892_230,
        ];
        assert_eq!(bits, golden);
    }
}
