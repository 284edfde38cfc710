//! The one table of metrics. A name that is not here is not published; every name here stands in `docs/metrics.md`.

/// One family of series.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    /// The names of its labels, in the order in which values are given. None comes from a request's path or headers.
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
    /// A count and a sum, without quantiles.
    Summary,
}

use MetricKind::{Counter, Gauge, Histogram, Summary};

pub use super::rollout_names::*;

pub(super) const fn metric(
    kind: MetricKind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

// Requests.
pub const REQUESTS: Metric = metric(
    Counter,
    "cutover_requests_total",
    &["service", "pool", "code", "source"],
    "Answers given, by status and by who made them; empty labels where no service or pool was chosen",
);
pub const REQUEST_DURATION: Metric = metric(
    Histogram,
    "cutover_request_duration_seconds",
    &["service", "pool"],
    "From a request's head read to its answer's last byte handed over",
);
pub const IN_FLIGHT: Metric = metric(
    Gauge,
    "cutover_in_flight",
    &["service", "pool"],
    "Requests that hold a lease on an endpoint",
);
pub const REJECTED: Metric = metric(
    Counter,
    "cutover_rejected_total",
    &["service", "reason"],
    "Requests and connections that a limit or a rule refused",
);
pub const CONNECTIONS: Metric = metric(
    Gauge,
    "cutover_connections",
    &["listener"],
    "Open connections of clients",
);
pub const HANDSHAKES: Metric = metric(
    Counter,
    "cutover_tls_handshakes_total",
    &["result"],
    "TLS handshakes with clients, by how they ended",
);
pub const CERTIFICATE_NOT_AFTER: Metric = metric(
    Gauge,
    "cutover_certificate_not_after_seconds",
    &["listener", "name"],
    "When the certificate shown for a name ends, in seconds since 1970",
);

// Endpoints.
pub const ENDPOINT_REQUESTS: Metric = metric(
    Counter,
    "cutover_endpoint_requests_total",
    &["service", "pool", "endpoint", "class"],
    "Requests sent to an endpoint, by the class of its answer; class none: no answer came",
);
pub const ENDPOINT_CONNECTIONS: Metric = metric(
    Gauge,
    "cutover_endpoint_connections",
    &["service", "pool"],
    "Open connections to endpoints, parked or in use",
);
pub const EXPECTED_LATENCY: Metric = metric(
    Gauge,
    "cutover_endpoint_expected_latency_seconds",
    &["service", "pool", "endpoint"],
    "How long an endpoint is expected to take until its answer begins, where its pool is balanced by that",
);
pub const UPSTREAM_ERRORS: Metric = metric(
    Counter,
    "cutover_upstream_errors_total",
    &["service", "pool", "kind"],
    "What endpoints did wrong; a client's cancel is never counted",
);
pub const RETRIES: Metric = metric(
    Counter,
    "cutover_retries_total",
    &["service", "pool", "outcome"],
    "Requests that an endpoint had failed and that were to be sent once more; counted for the pool of that endpoint",
);
pub const FAULTS_INJECTED: Metric = metric(
    Counter,
    "cutover_faults_injected_total",
    &["service", "pool", "kind"],
    "Requests that a rehearsal has delayed, or answered in the place of an endpoint",
);
pub const FAULTS: Metric = metric(
    Gauge,
    "cutover_faults",
    &["service"],
    "Faults that are injected into requests now",
);
pub const MIRRORED: Metric = metric(
    Counter,
    "cutover_mirrored_requests_total",
    &["service", "pool", "outcome"],
    "Requests of which this pool was to get a copy",
);
pub const MIRROR_DIFFERENCES: Metric = metric(
    Counter,
    "cutover_mirror_differences_total",
    &["service", "pool", "difference"],
    "In what the answers to copies differed from the requests' own",
);
pub const MIRROR_SECONDS: Metric = metric(
    Summary,
    "cutover_mirror_seconds",
    &["service", "pool", "answer"],
    "Of the answers that were compared, how long the head of each took",
);
pub const MIRRORS: Metric = metric(
    Gauge,
    "cutover_mirrored_requests",
    &["service", "pool"],
    "Copies under way",
);
pub const CONNECTION_WAITS: Metric = metric(
    Counter,
    "cutover_connection_waits_total",
    &["service", "pool"],
    "New connections that had to wait because an endpoint had as many as it may have",
);
pub const CONNECTIONS_RECLAIMED: Metric = metric(
    Counter,
    "cutover_connections_reclaimed_total",
    &["service", "pool"],
    "Connections that carried nothing and were closed because an endpoint had as many as it may have",
);
pub const TUNNELS: Metric = metric(
    Gauge,
    "cutover_tunnels",
    &["service", "pool"],
    "Open tunnels, such as WebSockets; each holds a lease too",
);
pub const TUNNELS_ENDED: Metric = metric(
    Counter,
    "cutover_tunnels_ended_total",
    &["service", "pool", "reason"],
    "Tunnels that have ended, by who ended them, or what",
);
pub const TUNNEL_BYTES: Metric = metric(
    Counter,
    "cutover_tunnel_bytes_total",
    &["service", "pool", "direction"],
    "Bytes that have passed through tunnels: in from clients, out to them",
);
pub const PROBE_FAILURES: Metric = metric(
    Counter,
    "cutover_probe_failures_total",
    &["service", "pool", "endpoint", "reason"],
    "Probes that failed",
);

pub const DISCOVERY_LOOKUPS: Metric = metric(
    Counter,
    "cutover_discovery_lookups_total",
    &["service", "pool", "outcome"],
    "Looks at the source of a pool's endpoints, by what came of them",
);
pub const DISCOVERY_LAST: Metric = metric(
    Gauge,
    "cutover_discovery_last_success_seconds",
    &["service", "pool"],
    "When the source last named endpoints, in seconds since 1970; absent before",
);

// Weights and pools.
pub const WEIGHT: Metric = metric(
    Gauge,
    "cutover_weight",
    &["service", "pool"],
    "The pool's weight in force",
);
pub const SHARE_RATIO: Metric = metric(
    Gauge,
    "cutover_share_ratio",
    &["service", "pool"],
    "The part of its service's requests that the pool got in the last minute, 0 to 1; absent without requests",
);
pub const POOL_ENDPOINTS: Metric = metric(
    Gauge,
    "cutover_pool_endpoints",
    &["service", "pool", "state"],
    "Endpoints by state",
);
pub const POOL_ENDPOINTS_WARMING: Metric = metric(
    Gauge,
    "cutover_pool_endpoints_warming",
    &["service", "pool"],
    "Ready endpoints that come to their share, in pools with a slow start",
);
pub const POOL_INFO: Metric = metric(
    Gauge,
    "cutover_pool_info",
    &["service", "pool", "version"],
    "1; the version is what was last said to run there",
);
pub const FAIL_OPEN: Metric = metric(
    Gauge,
    "cutover_fail_open",
    &["service"],
    "1 while every weighted pool is unready and once-proven endpoints are tried anyway",
);
pub const SERVICE_STATE: Metric = metric(
    Gauge,
    "cutover_service_state",
    &["service", "state"],
    "1 for the state that the service is in, 0 for the others",
);
pub const ADMISSION: Metric = metric(
    Gauge,
    "cutover_admission",
    &["service", "admission"],
    "1 for what becomes of the service's requests, 0 for the others: they flow, are held, or get a page",
);
pub const SHIFTS: Metric = metric(
    Counter,
    "cutover_shifts_total",
    &["service", "actor_kind"],
    "Decisions that changed a service's weights, by who decided",
);

pub const QUEUE_LENGTH: Metric = metric(
    Gauge,
    "cutover_queue_length",
    &["service"],
    "Requests that wait for their turn",
);
pub const QUEUE_SECONDS: Metric = metric(
    Summary,
    "cutover_queue_seconds",
    &["service", "reason"],
    "Requests that had to wait before they were sent or refused, and how long",
);
pub const EJECTIONS: Metric = metric(
    Counter,
    "cutover_ejections_total",
    &["service", "pool", "cause"],
    "Endpoints taken out because of what they did to requests",
);

// Control.
pub const GENERATION: Metric = metric(
    Gauge,
    "cutover_generation",
    &[],
    "The number of the published snapshot",
);
pub const RELOAD_SUCCESSFUL: Metric = metric(
    Gauge,
    "cutover_config_last_reload_successful",
    &[],
    "1: the file as it is now is in force; 0: it was refused and the plan before serves on",
);
pub const RELOADS: Metric = metric(
    Counter,
    "cutover_config_reloads_total",
    &["result"],
    "Readings of the config file",
);
pub const DRIFT: Metric = metric(
    Gauge,
    "cutover_drift",
    &[],
    "Fields that differ from the file",
);
pub const STATE_WRITABLE: Metric = metric(
    Gauge,
    "cutover_state_writable",
    &[],
    "0 while decisions can't be written to state_dir",
);
pub const DRAIN_SECONDS: Metric = metric(
    Summary,
    "cutover_drain_seconds",
    &[],
    "How long drains took that were seen to their end",
);
pub const REFUSALS: Metric = metric(
    Counter,
    "cutover_refused_changes_total",
    &["code"],
    "Changes that were refused",
);

// The process.
pub const READY: Metric = metric(
    Gauge,
    "cutover_ready",
    &[],
    "What readyz says: 1 while serving, 0 while starting, in lame duck or draining",
);
pub const ACCESS_LOG_LINES: Metric = metric(
    Counter,
    "cutover_access_log_lines_total",
    &["result"],
    "Lines of the access log: written, dropped because the writer did not keep up, failed to be written",
);
pub const SPANS: Metric = metric(
    Counter,
    "cutover_spans_total",
    &["result"],
    "Spans of requests: exported, dropped because the collector did not keep up, failed because it could not be reached or did not take them",
);
pub const HOOKS: Metric = metric(
    Counter,
    "cutover_hooks_total",
    &["point", "result"],
    "Hooks of rollouts that were asked, by what they came to",
);
pub const METRIC_QUERIES: Metric = metric(
    Counter,
    "cutover_metric_queries_total",
    &["result"],
    "Questions for figures from outside, by what the sources answered",
);
pub const NOTIFICATIONS: Metric = metric(
    Counter,
    "cutover_notifications_total",
    &["target", "result"],
    "Events that others were to be told of, by their place in the file",
);
pub const BUILD_INFO: Metric = metric(Gauge, "cutover_build_info", &["version"], "1");
pub const START_TIME: Metric = metric(
    Gauge,
    "cutover_start_time_seconds",
    &[],
    "When the process started, in seconds since 1970",
);

/// Every metric.
pub const ALL: &[&Metric] = &[
    &REQUESTS,
    &REQUEST_DURATION,
    &IN_FLIGHT,
    &REJECTED,
    &CONNECTIONS,
    &HANDSHAKES,
    &CERTIFICATE_NOT_AFTER,
    &ENDPOINT_REQUESTS,
    &ENDPOINT_CONNECTIONS,
    &EXPECTED_LATENCY,
    &UPSTREAM_ERRORS,
    &RETRIES,
    &FAULTS_INJECTED,
    &FAULTS,
    &MIRRORED,
    &MIRROR_DIFFERENCES,
    &MIRROR_SECONDS,
    &MIRRORS,
    &CONNECTION_WAITS,
    &CONNECTIONS_RECLAIMED,
    &TUNNELS,
    &TUNNELS_ENDED,
    &TUNNEL_BYTES,
    &PROBE_FAILURES,
    &DISCOVERY_LOOKUPS,
    &DISCOVERY_LAST,
    &WEIGHT,
    &SHARE_RATIO,
    &POOL_ENDPOINTS,
    &POOL_ENDPOINTS_WARMING,
    &POOL_INFO,
    &FAIL_OPEN,
    &SERVICE_STATE,
    &ADMISSION,
    &SHIFTS,
    &QUEUE_LENGTH,
    &QUEUE_SECONDS,
    &EJECTIONS,
    &GENERATION,
    &RELOAD_SUCCESSFUL,
    &RELOADS,
    &DRIFT,
    &STATE_WRITABLE,
    &DRAIN_SECONDS,
    &REFUSALS,
    &ROLLOUT_STATE,
    &ROLLOUT_INFO,
    &ROLLOUT_STEP,
    &ROLLOUT_STEPS,
    &ROLLOUT_SHARE,
    &ROLLOUTS,
    &ROLLOUT_DURATION,
    &ROLLOUT_FELT,
    &ROLLOUT_RESCUED,
    &TRIED_REQUESTS,
    &TRIED_ERRORS,
    &TRIED_RESCUED,
    &TRIED_FELT,
    &TRIED_RESPONSE,
    &READY,
    &ACCESS_LOG_LINES,
    &SPANS,
    &HOOKS,
    &METRIC_QUERIES,
    &NOTIFICATIONS,
    &BUILD_INFO,
    &START_TIME,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("cutover_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Counter, "{name}");
            assert!(!metric.labels.contains(&"le"), "{name}");
            assert!(
                !metric.help.is_empty() && !metric.help.ends_with('.'),
                "{name}"
            );
            assert_eq!(
                ALL.iter().filter(|other| other.name == name).count(),
                1,
                "{name}"
            );
        }
    }

    #[test]
    fn every_metric_is_in_the_table_and_in_the_reference() {
        let sources = [include_str!("names.rs"), include_str!("rollout_names.rs")];
        let named = sources.concat().matches(": Metric = metric(").count();
        // One is the text of this test.
        assert_eq!(named - 1, ALL.len());
        let reference = include_str!("../../docs/metrics.md");
        for metric in ALL {
            let labels = metric.labels.join(",");
            let heading = match metric.labels {
                [] => format!("`{}`", metric.name),
                _ => format!("`{}{{{labels}}}`", metric.name),
            };
            assert!(reference.contains(&heading), "{heading} is not documented");
        }
    }
}
