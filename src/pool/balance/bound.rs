use crate::units::LoadFactor;

/// How many requests each endpoint of a pool may have in flight, so that no key makes one of them much busier than the others (consistent
/// hashing with bounded loads; Mirrokni, Thorup and Zadimoghaddam, 2016).
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Percent of the requests in flight, this one included.
    load: u128,
    /// Sum of the endpoints' weights.
    total: u64,
}

impl Bound {
    /// `in_flight`: how many the pool has.
    pub fn new(factor: LoadFactor, in_flight: u64, total: u64) -> Self {
        let requests = u128::from(in_flight) + 1;
        Self {
            load: requests * u128::from(factor.percent()),
            total,
        }
    }

    /// Whether one with such a load and weight may have one more: it then has no more than the factor times its weight's part, rounded up.
    pub fn has_room(&self, load: u64, weight: u32) -> bool {
        let part = self.load.saturating_mul(u128::from(weight));
        let taken = u128::from(load) * u128::from(self.total);
        taken.saturating_mul(100) < part
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn factor(percent: u32) -> LoadFactor {
        format!("{percent}%").parse().unwrap()
    }

    #[test]
    fn an_endpoint_may_have_the_factor_times_its_part_rounded_up() {
        // Ten with this one, of which a quarter belongs to it: 2.5 times 1.5 is 3.75, so the fourth is the last.
        let bound = Bound::new(factor(150), 9, 4);
        assert!(bound.has_room(3, 1) && !bound.has_room(4, 1));
        // Half belongs to one of twice the weight.
        assert!(bound.has_room(7, 2) && !bound.has_room(8, 2));
        // The first is let in everywhere.
        assert!(Bound::new(factor(101), 0, 1000).has_room(0, 1));
    }

    proptest! {
        #[test]
        fn somebody_always_has_room(
            endpoints in vec((0..1_000_000_u64, 1..65_536_u32), 1..20),
            percent in 101..10_000_u32,
        ) {
            let in_flight = endpoints.iter().map(|(load, _)| load).sum();
            let total = endpoints.iter().map(|(_, weight)| u64::from(*weight)).sum();
            let bound = Bound::new(factor(percent), in_flight, total);
            prop_assert!(endpoints.iter().any(|(load, weight)| bound.has_room(*load, *weight)));
        }

        #[test]
        fn who_has_room_stays_within_the_factor(
            (load, weight) in (0..1_000_000_u64, 1..65_536_u32),
            (others, weights) in (0..1_000_000_u64, 0..1_000_000_u64),
            percent in 101..10_000_u32,
        ) {
            let total = weights + u64::from(weight);
            let bound = Bound::new(factor(percent), load + others, total);
            let most = u128::from(load + others + 1) * u128::from(percent) * u128::from(weight);
            let most = most.div_ceil(u128::from(total) * 100);
            prop_assert_eq!(bound.has_room(load, weight), u128::from(load) < most);
        }

        #[test]
        fn no_numbers_are_too_big(load: u64, weight: u32, in_flight: u64, total: u64) {
            Bound::new(factor(10_000), in_flight, total).has_room(load, weight);
        }
    }
}
