use crate::units::below;

/// Where in a round of turns a worker begins: elsewhere than the others, as far from them as can be, however many there are (van der Corput's
/// sequence). Workers that all began with the first endpoint would choose the same one at once, and in a quiet pool the first ones alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offset(u64);

impl Offset {
    pub fn of(worker: usize) -> Self {
        Self((worker as u64).reverse_bits())
    }
}

/// A schedule of weighted turns that needs no table.
///
/// The intervals of the weights, laid end to end and measured in their greatest common divisor, are visited in steps that meet
/// every point once a round, so a round is exact. A step of the golden section spreads each interval's visits as evenly as equal
/// steps can (a Kronecker sequence); equal weights are simply counted through.
pub struct Turns {
    unit: u64,
    stride: u64,
    /// Units in a round.
    parts: u64,
}

impl Turns {
    pub fn new(weights: impl Iterator<Item = u32>) -> Self {
        let (mut count, mut total, mut unit) = (0_u64, 0_u64, 0_u64);
        for weight in weights.map(u64::from) {
            (count, total, unit) = (count + 1, total + weight, gcd(unit, weight));
        }
        let unit = unit.max(1);
        let parts = total / unit;
        let golden = below(0x9e37_79b9_7f4a_7c15, parts).max(1);
        let mut strides = (golden..).filter(|stride| gcd(*stride, parts) == 1);
        let stride = if count == parts { None } else { strides.next() };
        Self {
            unit,
            stride: stride.unwrap_or(1),
            parts,
        }
    }

    /// The point, below the sum of the weights, that this turn of a worker falls to; `None` where nobody has weight.
    pub fn point(&self, turn: u64, offset: Offset) -> Option<u64> {
        let turn = turn.checked_rem(self.parts)?;
        // The sum of two numbers below 2^64 / 2: weights are of 32 bits.
        let turn = (turn + below(offset.0, self.parts)) % self.parts;
        Some(product(turn, self.stride, self.parts) * self.unit)
    }
}

/// `a * b` modulo `m`; a division of 128 bits only where 64 do not hold the product.
fn product(a: u64, b: u64, m: u64) -> u64 {
    match a.checked_mul(b) {
        Some(product) => product % m,
        None => u64::try_from(u128::from(a) * u128::from(b) % u128::from(m)).expect("less than m"),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Who has each turn of the first so many.
    fn turns(weights: &[u32], count: u64) -> Vec<usize> {
        let turns = Turns::new(weights.iter().copied());
        let points = (0..count).map(|turn| turns.point(turn, Offset::default()).unwrap());
        points.map(|point| at(weights, point)).collect()
    }

    fn at(weights: &[u32], mut point: u64) -> usize {
        for (index, weight) in weights.iter().copied().map(u64::from).enumerate() {
            if point < weight {
                return index;
            }
            point -= weight;
        }
        panic!("a point behind the last interval")
    }

    #[test]
    fn equal_weights_are_counted_through_and_others_are_mixed() {
        assert_eq!(turns(&[7, 7, 7], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(turns(&[2, 1], 6), [0, 0, 1, 0, 0, 1]);
        assert_eq!(turns(&[50, 10, 10], 7), [0, 0, 0, 1, 0, 2, 0]);
        assert_eq!(turns(&[1], 2), [0, 0]);
    }

    #[test]
    fn nobody_waits_long_for_a_turn() {
        // One in a hundred comes once in every hundred turns; nine in ten never rest twice running.
        let few = turns(&[99, 1], 1000);
        assert!(
            few.windows(100)
                .all(|turns| turns.iter().sum::<usize>() == 1)
        );
        let many = turns(&[9, 1], 1000);
        assert!(many.windows(2).all(|turns| turns != [1, 1]));
    }

    proptest! {
        #[test]
        fn a_round_gives_each_exactly_its_weight(
            weights in vec(0..40_u32, 1..8), start: u32, worker in 0..64_usize,
        ) {
            let schedule = Turns::new(weights.iter().copied());
            let total: u64 = weights.iter().copied().map(u64::from).sum();
            let mut counts = vec![0; weights.len()];
            for turn in 0..total {
                let point = schedule.point(u64::from(start) + turn, Offset::of(worker)).unwrap();
                counts[at(&weights, point)] += 1;
            }
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn no_weights_and_no_turn_are_too_big(
            weights in vec(any::<u32>(), 1..8), turn: u64, worker: usize,
        ) {
            let total: u64 = weights.iter().copied().map(u64::from).sum();
            let point = Turns::new(weights.iter().copied()).point(turn, Offset::of(worker));
            prop_assert!(point.map_or(total == 0, |point| point < total));
        }
    }
}
