use std::time::Duration;

use super::Percent;

/// When an endpoint is taken out because of what it does to requests, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outliers {
    /// Failures in a row; 0: never for that.
    pub consecutive: u32,
    /// Of its requests of the last ten seconds, the part that has failed; 0 %: never for that.
    pub ratio: Percent,
    /// Requests of the last ten seconds below which a part of them says nothing.
    pub volume: u32,
    /// For how long the first time; as often as long as times it was taken out in a row.
    pub eject: Duration,
    pub max_eject: Duration,
    /// Of a pool's endpoints, how many may be out at once; one always may, and never the last that is ready.
    pub max_ejected: Percent,
}

impl Outliers {
    /// How long it is out for the `times`-th time in a row.
    pub fn ejection(&self, times: u32) -> Duration {
        self.eject.saturating_mul(times.max(1)).min(self.max_eject)
    }

    /// How many of `of` endpoints may be out at once.
    pub fn most(&self, of: usize) -> usize {
        let part = of as u128 * u128::from(self.max_ejected.millionths()) / 1_000_000;
        let part = usize::try_from(part).unwrap_or(of).max(1);
        part.min(of.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outliers(part: &str) -> Outliers {
        Outliers {
            consecutive: 5,
            ratio: Percent::NONE,
            volume: 20,
            eject: Duration::from_secs(10),
            max_eject: Duration::from_secs(25),
            max_ejected: part.parse().unwrap(),
        }
    }

    #[test]
    fn one_may_be_out_always_and_the_last_never() {
        let most = |part, of| outliers(part).most(of);
        assert_eq!(
            (
                most("50%", 0),
                most("50%", 1),
                most("50%", 2),
                most("50%", 3)
            ),
            (0, 0, 1, 1)
        );
        assert_eq!((most("0%", 5), most("10%", 20), most("100%", 4)), (1, 2, 3));
    }

    #[test]
    fn the_time_out_grows_with_the_times_in_a_row_to_its_bound() {
        let spans = [0, 1, 2, 3, u32::MAX].map(|times| outliers("50%").ejection(times).as_secs());
        assert_eq!(spans, [10, 10, 20, 25, 25]);
    }
}
