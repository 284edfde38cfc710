//! One line per request, or per sampled request.
//!
//! A worker formats the line into a buffer of its own and hands it to a bounded queue; a thread writes. Nothing here
//! ever makes a worker wait: a line that finds the queue full is dropped and counted.

mod entry;
mod log;
mod sink;

pub use entry::{Entry, Format};
pub use log::{AccessLog, Pen, Settings};
pub use sink::Lines;
