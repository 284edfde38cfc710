//! Spans on their way to a collector, by OTLP over HTTP.
//!
//! Owns a thread that takes what workers hand over, in batches, and sends it: with a limit of time, again after a pause where that
//! helps, and for a moment after the end. Whoever serves never waits for it. Knows nothing of requests but what a span says.

mod collector;
mod exporter;
mod message;

pub use exporter::{Exporter, Settings, start};
