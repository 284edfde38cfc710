//! What the demonstration prints: one row a step.

use std::{fmt::Write, time::Duration};

use super::load::Tally;

/// Sums over the whole demonstration.
#[derive(Default)]
pub struct Table {
    pub requests: u64,
    pub failures: u64,
    slowest: Duration,
}

impl Table {
    pub fn head() -> String {
        format!(
            "{:<34} {:>15} {:>15} {:>10} {:>7} {:>9} {:>9}",
            "step", "requested", "observed", "requests", "failed", "p50", "p99"
        )
    }

    /// The row of a step that ended with `requested` shares in force, from what the client saw meanwhile.
    pub fn row(&mut self, step: &str, requested: &[(&str, f64)], seen: &Tally) -> String {
        self.requests += seen.answered() + seen.failed();
        self.failures += seen.failed();
        let latency = seen.latency();
        let (p50, p99) = (
            latency.quantile(0.5).unwrap_or_default(),
            latency.quantile(0.99).unwrap_or_default(),
        );
        self.slowest = self.slowest.max(p99);
        let observed: Vec<_> = requested
            .iter()
            .map(|(pool, _)| (*pool, share(seen, pool)))
            .collect();
        let mut row = format!(
            "{step:<34} {:>15} {:>15} {:>10} {:>7} {:>9} {:>9}",
            shares(requested),
            shares(&observed),
            self.requests,
            self.failures,
            millis(p50),
            millis(p99)
        );
        for (why, count) in &seen.failures {
            let _ = write!(row, "\n    {count} failed: {why}");
        }
        row
    }

    /// Of one whose new version is bad: how slow that is says nothing of the proxy.
    pub fn row_of_bad(&mut self, step: &str, requested: &[(&str, f64)], seen: &Tally) -> String {
        let slowest = self.slowest;
        let row = self.row(step, requested, seen);
        self.slowest = slowest;
        row
    }

    pub fn summary(&self) -> String {
        format!(
            "{} requests, {} failed, p99 of the slowest step with good versions {}",
            self.requests,
            self.failures,
            millis(self.slowest)
        )
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share is shown to a tenth of a percent"
)]
fn share(seen: &Tally, pool: &str) -> f64 {
    let of_pool = seen.versions.get(pool).copied().unwrap_or(0);
    of_pool as f64 / seen.answered().max(1) as f64
}

/// `90.0/10.0 %`
fn shares(shares: &[(&str, f64)]) -> String {
    let parts: Vec<_> = shares
        .iter()
        .map(|(_, share)| format!("{:.1}", share * 100.0))
        .collect();
    format!("{} %", parts.join("/"))
}

fn millis(latency: Duration) -> String {
    format!("{:.2} ms", latency.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_what_was_asked_and_what_was_seen() {
        let mut tally = Tally::default();
        tally.versions.insert("blue".into(), 90);
        tally.versions.insert("green".into(), 9);
        tally.failures.insert("status 502".into(), 1);
        let mut table = Table::default();
        let row = table.row("canary", &[("blue", 0.9), ("green", 0.1)], &tally);
        assert!(
            row.contains("90.0/10.0 %") && row.contains("90.9/9.1 %"),
            "{row}"
        );
        assert!(row.ends_with("1 failed: status 502"), "{row}");
        assert_eq!((table.requests, table.failures), (100, 1));
    }
}
