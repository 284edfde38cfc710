//! What Cutover says about itself.
//!
//! Owns the counters that workers write (one shard per worker, plain stores, no shared writes), the latency histogram,
//! the names of all metrics, the access log and the set-up of `tracing`. Knows nothing of why a number changed.

pub mod access_log;
mod connections;
mod escape;
mod exposition;
pub mod histogram;
mod injected;
mod leases;
pub mod log;
mod mirrored;
pub mod names;
mod queued;
mod rollout_names;
pub mod shard;
pub mod span;
mod tried;
mod tunnels;
pub mod window;

pub use access_log::{AccessLog, Format, Settings as AccessLogSettings};
pub use connections::ConnectionCounts;
pub use escape::Escaped;
pub use exposition::{BUCKETS_MS, Exposition};
pub use histogram::{Bucket, Histogram, Reading};
pub use injected::{Injected, InjectedCounts};
pub use leases::Leases;
pub use mirrored::{Difference, MirrorCounts, Mirrored};
pub use queued::Queued;
pub use shard::{EndpointShard, Failure, PoolShard, Rejection, Retry, WorkerShard};
pub use span::{SpanCounts, Spans};
pub use tried::{TrialCounts, Tried};
pub use tunnels::{TunnelCounts, TunnelEnd};
pub use window::{Totals, Window, Windows};
