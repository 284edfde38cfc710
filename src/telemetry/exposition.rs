use std::fmt::Write;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    PrometheusBuilder, PrometheusRecorder, formatting::sanitize_label_value,
};

use super::{
    histogram::Reading,
    names::{self, Metric, MetricKind},
};

/// The upper edges of the buckets of `cutover_request_duration_seconds`, in milliseconds. The measuring behind it is
/// finer; these are what a scrape carries.
pub const BUCKETS_MS: [u64; 16] = [
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000,
];

const METADATA: Metadata<'static> = Metadata::new("cutover", Level::INFO, None);

/// One scrape: every series is set anew from the totals that are kept elsewhere, so that nothing is counted twice, and
/// what no longer exists is no longer shown.
pub struct Exposition {
    recorder: PrometheusRecorder,
    /// Families that the recorder can't take as totals.
    text: String,
    last: Option<&'static str>,
}

impl Default for Exposition {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in names::ALL {
            let (name, help) = (KeyName::from_const_str(metric.name), metric.help.into());
            match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, None, help),
                MetricKind::Gauge => recorder.describe_gauge(name, None, help),
                MetricKind::Histogram | MetricKind::Summary => {}
            }
        }
        Self {
            recorder,
            text: String::new(),
            last: None,
        }
    }
}

impl Exposition {
    /// A counter's total.
    pub fn count<const N: usize>(
        &mut self,
        metric: &'static Metric,
        labels: [&str; N],
        total: u64,
    ) {
        debug_assert_eq!(metric.kind, MetricKind::Counter, "{}", metric.name);
        let key = key(metric, labels);
        self.recorder
            .register_counter(&key, &METADATA)
            .absolute(total);
    }

    /// A gauge's value.
    pub fn gauge<const N: usize>(
        &mut self,
        metric: &'static Metric,
        labels: [&str; N],
        value: f64,
    ) {
        debug_assert_eq!(metric.kind, MetricKind::Gauge, "{}", metric.name);
        let key = key(metric, labels);
        self.recorder.register_gauge(&key, &METADATA).set(value);
    }

    /// All that was recorded so far. The series of one family have to be given one after the other.
    pub fn histogram<const N: usize>(
        &mut self,
        metric: &'static Metric,
        labels: [&str; N],
        reading: &Reading,
    ) {
        debug_assert_eq!(metric.kind, MetricKind::Histogram, "{}", metric.name);
        self.head(metric, "histogram");
        let (name, labels) = (metric.name, pairs(metric, labels));
        let comma = if labels.is_empty() { "" } else { "," };
        let below = reading.at_most_ms(&BUCKETS_MS);
        for (edge, count) in BUCKETS_MS.iter().zip(below) {
            let edge = format!("{}.{:03}", edge / 1000, edge % 1000);
            let edge = edge.trim_end_matches('0').trim_end_matches('.');
            self.line(format_args!(
                "{name}_bucket{{{labels}{comma}le=\"{edge}\"}} {count}"
            ));
        }
        let count = reading.count();
        self.line(format_args!(
            "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"
        ));
        self.tail(name, &labels, reading.sum().as_secs_f64(), count);
    }

    /// A sum and a count.
    pub fn summary<const N: usize>(
        &mut self,
        metric: &'static Metric,
        labels: [&str; N],
        sum: f64,
        count: u64,
    ) {
        debug_assert_eq!(metric.kind, MetricKind::Summary, "{}", metric.name);
        self.head(metric, "summary");
        self.tail(metric.name, &pairs(metric, labels), sum, count);
    }

    /// The Prometheus text format, version 0.0.4; families and series in the order of their names.
    pub fn render(self) -> String {
        let rendered = self.recorder.handle().render();
        let counted = rendered.split("\n\n").map(|family| {
            let mut lines: Vec<_> = family.lines().collect();
            // After HELP and TYPE. The recorder keeps no order.
            if let Some(series) = lines.get_mut(2..) {
                series.sort_unstable();
            }
            lines.join("\n")
        });
        let written = self
            .text
            .split("\n\n")
            .map(|family| family.trim().to_owned());
        let mut families: Vec<_> = counted
            .chain(written)
            .filter(|family| !family.is_empty())
            .collect();
        families.sort_unstable();
        families.join("\n\n") + "\n"
    }

    fn head(&mut self, metric: &'static Metric, kind: &str) {
        if self.last != Some(metric.name) {
            self.last = Some(metric.name);
            self.text.push('\n');
            let (name, help) = (metric.name, metric.help);
            self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        }
    }

    fn tail(&mut self, name: &str, labels: &str, sum: f64, count: u64) {
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        self.line(format_args!("{name}_sum{labels} {sum}"));
        self.line(format_args!("{name}_count{labels} {count}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String can't fail.
        let _ = writeln!(self.text, "{line}");
    }
}

fn key<const N: usize>(metric: &'static Metric, values: [&str; N]) -> Key {
    let labels: Vec<_> = named(metric, values)
        .map(|(name, value)| Label::new(name, value.to_owned()))
        .collect();
    Key::from_parts(metric.name, labels)
}

/// `service="shop",pool="blue"`
fn pairs<const N: usize>(metric: &'static Metric, values: [&str; N]) -> String {
    let pairs: Vec<_> = named(metric, values)
        .map(|(name, value)| format!("{name}=\"{}\"", sanitize_label_value(value)))
        .collect();
    pairs.join(",")
}

fn named<'a, const N: usize>(
    metric: &'static Metric,
    values: [&'a str; N],
) -> impl Iterator<Item = (&'static str, &'a str)> {
    debug_assert_eq!(metric.labels.len(), N, "{}", metric.name);
    metric.labels.iter().copied().zip(values)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::Histogram;

    #[test]
    fn a_scrape_lists_families_and_series_in_order() {
        let mut exposition = Exposition::default();
        exposition.gauge(&names::WEIGHT, ["shop", "green"], 5.0);
        exposition.gauge(&names::WEIGHT, ["shop", "blue"], 95.0);
        exposition.count(&names::RELOADS, ["applied"], 0);
        exposition.summary(&names::DRAIN_SECONDS, [], 1.5, 2);
        let rendered = exposition.render();
        let lines: Vec<_> = rendered.lines().collect();
        assert_eq!(
            lines,
            [
                "# HELP cutover_config_reloads_total Readings of the config file",
                "# TYPE cutover_config_reloads_total counter",
                "cutover_config_reloads_total{result=\"applied\"} 0",
                "",
                "# HELP cutover_drain_seconds How long drains took that were seen to their end",
                "# TYPE cutover_drain_seconds summary",
                "cutover_drain_seconds_sum 1.5",
                "cutover_drain_seconds_count 2",
                "",
                "# HELP cutover_weight The pool's weight in force",
                "# TYPE cutover_weight gauge",
                "cutover_weight{service=\"shop\",pool=\"blue\"} 95",
                "cutover_weight{service=\"shop\",pool=\"green\"} 5",
            ]
        );
    }

    #[test]
    fn a_histogram_is_cumulative_and_in_seconds() {
        let histogram = Histogram::default();
        for millis in [1, 3, 40, 400_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let mut reading = Reading::default();
        reading.add(&histogram);
        let mut exposition = Exposition::default();
        exposition.histogram(&names::REQUEST_DURATION, ["shop", "blue"], &reading);
        exposition.histogram(
            &names::REQUEST_DURATION,
            ["shop", "green"],
            &Reading::default(),
        );
        let rendered = exposition.render();
        for line in [
            r#"cutover_request_duration_seconds_bucket{service="shop",pool="blue",le="0.001"} 1"#,
            r#"cutover_request_duration_seconds_bucket{service="shop",pool="blue",le="0.005"} 2"#,
            r#"cutover_request_duration_seconds_bucket{service="shop",pool="blue",le="2.5"} 3"#,
            r#"cutover_request_duration_seconds_bucket{service="shop",pool="blue",le="300"} 3"#,
            r#"cutover_request_duration_seconds_bucket{service="shop",pool="blue",le="+Inf"} 4"#,
            r#"cutover_request_duration_seconds_sum{service="shop",pool="blue"} 400.044"#,
            r#"cutover_request_duration_seconds_count{service="shop",pool="green"} 0"#,
        ] {
            assert!(
                rendered.lines().any(|found| found == line),
                "{line}\n{rendered}"
            );
        }
        assert_eq!(rendered.matches("# TYPE").count(), 1);
    }
}
