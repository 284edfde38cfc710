//! Takes rollouts from one stage to the next: what [`steps`](super::steps) says is done here, as commands to control, and what comes of it
//! is told it.

mod batches;
mod begin;
mod beside;
mod commit;
mod figures;
mod members;
mod outlook;
mod place;
mod ride;
mod run;
mod side;
#[cfg(test)]
mod testing;
mod watch;

pub use run::run;

use crate::units::Timestamp;

/// From one moment to a later one.
fn span(from: Timestamp, to: Timestamp) -> std::time::Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}
