use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

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

/// The same in seconds, as text.
const BUCKETS: [&str; BUCKETS_MS.len()] = [
    "0.001", "0.002", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5",
    "10", "30", "60", "300",
];

const METADATA: Metadata<'static> = Metadata::new("cutover", Level::INFO, None);

/// One scrape: every series is set anew from the totals that are kept elsewhere, so that nothing is counted twice, and
/// what no longer exists is no longer shown.
///
/// The few series of the process and of control go through the registry of `metrics`. Those of services are many (60 000
/// with 1 000 services of 10 endpoints), and a registry takes microseconds for each, on the thread that decides on
/// weights; they are written straight down, in the order in which they are given.
pub struct Exposition {
    recorder: PrometheusRecorder,
    written: BTreeMap<&'static str, String>,
}

impl Default for Exposition {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in names::ALL.iter().filter(|metric| is_single(metric)) {
            let (name, help) = (KeyName::from_const_str(metric.name), metric.help.into());
            match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, None, help),
                MetricKind::Gauge => recorder.describe_gauge(name, None, help),
                MetricKind::Histogram | MetricKind::Summary => {}
            }
        }
        Self {
            recorder,
            written: BTreeMap::new(),
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
        if is_single(metric) {
            let key = key(metric, labels);
            self.recorder
                .register_counter(&key, &METADATA)
                .absolute(total);
        } else {
            line(self.family(metric), metric, labels, total);
        }
    }

    /// A gauge's value.
    pub fn gauge<const N: usize>(
        &mut self,
        metric: &'static Metric,
        labels: [&str; N],
        value: f64,
    ) {
        debug_assert_eq!(metric.kind, MetricKind::Gauge, "{}", metric.name);
        if is_single(metric) {
            let key = key(metric, labels);
            self.recorder.register_gauge(&key, &METADATA).set(value);
        } else {
            line(self.family(metric), metric, labels, value);
        }
    }

    /// All that was recorded so far.
    pub fn histogram<const N: usize>(
        &mut self,
        metric: &'static Metric,
        labels: [&str; N],
        reading: &Reading,
    ) {
        debug_assert_eq!(metric.kind, MetricKind::Histogram, "{}", metric.name);
        let (name, pairs) = (metric.name, pairs(metric, labels));
        let (below, count) = (reading.at_most_ms(&BUCKETS_MS), reading.count());
        let sum = reading.sum().as_secs_f64();
        let text = self.family(metric);
        let mut write = |line: fmt::Arguments<'_>| writeln!(text, "{line}");
        // Writing to a String can't fail.
        for (edge, count) in BUCKETS.iter().zip(below) {
            let _ = write(format_args!(
                "{name}_bucket{{{pairs},le=\"{edge}\"}} {count}"
            ));
        }
        let _ = write(format_args!("{name}_bucket{{{pairs},le=\"+Inf\"}} {count}"));
        let _ = write(format_args!("{name}_sum{{{pairs}}} {sum}"));
        let _ = write(format_args!("{name}_count{{{pairs}}} {count}"));
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
        let name = metric.name;
        let labels = match N {
            0 => String::new(),
            _ => format!("{{{}}}", pairs(metric, labels)),
        };
        let _ = writeln!(
            self.family(metric),
            "{name}_sum{labels} {sum}\n{name}_count{labels} {count}"
        );
    }

    /// The text of a family, begun with its head.
    fn family(&mut self, metric: &'static Metric) -> &mut String {
        let head = || {
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
                MetricKind::Summary => "summary",
            };
            let (name, help) = (metric.name, metric.help);
            format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")
        };
        self.written.entry(metric.name).or_insert_with(head)
    }

    /// The Prometheus text format, version 0.0.4; families in the order of their names.
    pub fn render(self) -> String {
        let rendered = self.recorder.handle().render();
        let registered = rendered.split("\n\n").filter(|family| !family.is_empty());
        let registered = registered.map(|family| {
            let mut lines: Vec<_> = family.lines().collect();
            // After HELP and TYPE. The recorder keeps no order.
            if let Some(series) = lines.get_mut(2..) {
                series.sort_unstable();
            }
            lines.join("\n") + "\n"
        });
        let mut families: Vec<_> = registered.chain(self.written.into_values()).collect();
        families.sort_unstable();
        families.join("\n")
    }
}

/// Its series do not grow with the number of services.
fn is_single(metric: &Metric) -> bool {
    metric.labels.first() != Some(&"service")
}

fn line<const N: usize>(
    text: &mut String,
    metric: &'static Metric,
    labels: [&str; N],
    value: impl fmt::Display,
) {
    text.push_str(metric.name);
    text.push('{');
    push_pairs(text, metric, labels);
    // Writing to a String can't fail.
    let _ = writeln!(text, "}} {value}");
}

fn key<const N: usize>(metric: &'static Metric, values: [&str; N]) -> Key {
    let labels: Vec<_> = named(metric, values)
        .map(|(name, value)| Label::new(name, value.to_owned()))
        .collect();
    Key::from_parts(metric.name, labels)
}

/// `service="shop",pool="blue"`
fn pairs<const N: usize>(metric: &'static Metric, values: [&str; N]) -> String {
    let mut pairs = String::new();
    push_pairs(&mut pairs, metric, values);
    pairs
}

fn push_pairs<const N: usize>(text: &mut String, metric: &'static Metric, values: [&str; N]) {
    for (index, (name, value)) in named(metric, values).enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        if value.contains(['\\', '"', '\n']) {
            text.push_str(&sanitize_label_value(value));
        } else {
            text.push_str(value);
        }
        text.push('"');
    }
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
        exposition.gauge(&names::WEIGHT, ["shop", "blue"], 95.0);
        exposition.gauge(&names::WEIGHT, ["shop", "green"], 5.0);
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
    fn the_edges_of_buckets_are_the_same_in_both_units() {
        for (millis, seconds) in BUCKETS_MS.iter().zip(BUCKETS) {
            let seconds: f64 = seconds.parse().unwrap();
            assert_eq!(
                Duration::from_secs_f64(seconds),
                Duration::from_millis(*millis)
            );
        }
    }

    #[test]
    fn what_would_break_a_label_is_escaped() {
        let mut exposition = Exposition::default();
        let endpoint = "unix:/run/a\"b\nc";
        let labels = ["shop", "blue", endpoint, "2xx"];
        exposition.count(&names::ENDPOINT_REQUESTS, labels, 1);
        let rendered = exposition.render();
        assert!(
            rendered.contains(r#"endpoint="unix:/run/a\"b\nc",class="2xx"} 1"#),
            "{rendered}"
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
