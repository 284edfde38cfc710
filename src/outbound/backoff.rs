use std::time::Duration;

/// Pauses between attempts: each twice as long as the one before, less a part by lot, so that those who have failed together do not come again
/// together.
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// Half of its length at least.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause * 2;
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_at_most_twice_the_one_before_and_none_is_longer_than_the_longest() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, second * 5);
        for longest in [1, 2, 4, 5, 5] {
            let pause = backoff.pause();
            assert!(pause <= second * longest, "{pause:?}");
            assert!(pause * 2 >= second * longest, "{pause:?}");
        }
    }
}
