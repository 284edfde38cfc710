//! How often to ask: slowly while nothing is in doubt, quickly while something is.

use std::time::Duration;

use crate::config::plan::Probe;

/// No two probes of one endpoint begin closer to each other, unless its interval is shorter still.
const SHORTEST: Duration = Duration::from_millis(50);
/// While in doubt an endpoint is asked at least this often, however long its interval.
const LONGEST_QUICK: Duration = Duration::from_secs(1);
/// After so many failures in a row an endpoint is dead rather than in doubt, and asked at its interval.
const DOUBTFUL_FAILURES: u64 = 30;

/// The results of one endpoint's probes so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streak {
    /// Passes in a row; failures as a negative number; 0 before the first.
    run: i64,
    /// So many of the next probes are quick, whatever came before.
    hurried: u32,
}

impl Streak {
    pub fn record(&mut self, passed: bool) {
        self.hurried = self.hurried.saturating_sub(1);
        self.run = match (passed, self.run) {
            (true, run @ 0..) => run.saturating_add(1),
            (true, _) => 1,
            (false, run @ ..=0) => run.saturating_sub(1),
            (false, _) => -1,
        };
    }

    /// Passes in a row; failures as a negative number.
    pub fn run(self) -> i64 {
        self.run
    }

    /// Somebody wants to know: the next probes come quickly, as many as a verdict takes either way.
    pub fn hurry(&mut self, probe: &Probe) {
        self.hurried = probe.rise.max(probe.fall);
    }

    /// From the begin of the last probe to the begin of the next. `hurried`: somebody waits for a verdict.
    pub fn gap(self, probe: &Probe, hurried: bool) -> Duration {
        let in_doubt = if self.run >= 0 {
            self.run.unsigned_abs() < u64::from(probe.rise)
        } else {
            self.run.unsigned_abs() < DOUBTFUL_FAILURES.max(u64::from(probe.fall))
        };
        if hurried || in_doubt || self.hurried > 0 {
            quick(probe.interval)
        } else {
            probe.interval
        }
    }
}

/// A fifth of the interval, within bounds.
fn quick(interval: Duration) -> Duration {
    (interval / 5).clamp(SHORTEST, LONGEST_QUICK).min(interval)
}

/// The pause after a probe's end that even a probe longer than its gap leaves the endpoint.
pub fn rest(probe: &Probe) -> Duration {
    SHORTEST.min(probe.interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::ProbeKind;

    fn probe(interval: u64) -> Probe {
        Probe {
            kind: ProbeKind::Tcp,
            interval: Duration::from_millis(interval),
            timeout: Duration::from_millis(500),
            rise: 2,
            fall: 3,
            port: None,
            transport: crate::config::plan::Transport::default(),
        }
    }

    fn after(results: impl IntoIterator<Item = bool>) -> Streak {
        let mut streak = Streak::default();
        results.into_iter().for_each(|passed| streak.record(passed));
        streak
    }

    #[test]
    fn an_endpoint_is_asked_quickly_until_its_rise_count_and_while_it_fails() {
        let (quickly, slowly) = (Duration::from_millis(200), Duration::from_secs(1));
        let gap = |results: &[bool]| after(results.iter().copied()).gap(&probe(1000), false);
        assert_eq!(gap(&[]), quickly);
        assert_eq!(gap(&[true]), quickly);
        assert_eq!(gap(&[true, true]), slowly);
        assert_eq!(gap(&[true, true, false]), quickly);
        assert_eq!(gap(&[true, true, false, true]), quickly);
        assert_eq!(gap(&[true, true, false, true, true]), slowly);
    }

    #[test]
    fn a_dead_endpoint_is_asked_at_its_interval_again() {
        let failures = |count| after(std::iter::repeat_n(false, count)).gap(&probe(1000), false);
        assert_eq!(failures(29), Duration::from_millis(200));
        assert_eq!(failures(30), Duration::from_secs(1));
        assert_eq!(
            after(std::iter::repeat_n(false, 1000)).run(),
            -1000,
            "the streak is counted all the same"
        );
    }

    #[test]
    fn quick_is_a_fifth_of_the_interval_within_bounds() {
        let quick = |interval| quick(Duration::from_millis(interval)).as_millis();
        assert_eq!(
            [10, 60, 200, 1000, 4000, 60_000].map(quick),
            [10, 50, 50, 200, 800, 1000]
        );
    }

    #[test]
    fn a_hurried_endpoint_is_asked_quickly_as_often_as_a_verdict_takes() {
        let mut streak = after([true; 10]);
        streak.hurry(&probe(1000));
        let gaps = std::iter::from_fn(|| {
            let gap = streak.gap(&probe(1000), false).as_millis();
            streak.record(true);
            Some(gap)
        });
        assert_eq!(
            gaps.take(5).collect::<Vec<_>>(),
            [200, 200, 200, 1000, 1000]
        );
    }
}
