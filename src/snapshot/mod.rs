//! The one thing that workers read.
//!
//! Owns the published [`Snapshot`], the swap behind the ([`Publisher`], [`Reader`]) pair, and how a snapshot is built
//! from what control has decided. Knows no socket, file, clock or task.

mod build;
mod channel;
mod input;
mod invariants;
mod pool;
mod preview;
mod routes;
#[cfg(test)]
mod testing;
mod trial;
mod view;

pub use build::build;
pub use channel::{Publisher, Reader, Readers, channel};
pub use input::{Decided, DecidedEndpoint, Input, Standing};
pub use preview::Shown;
pub use trial::TrialInForce;
pub use view::{Member, Pool, Route, Rules, Service, Snapshot};
