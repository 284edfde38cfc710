//! The one thing that workers read.
//!
//! Owns the published [`Snapshot`], the swap behind the ([`Publisher`], [`Reader`]) pair, and how a snapshot is built
//! from a plan, run-time overrides and the endpoints' states. Knows no socket, file, clock or task.

mod channel;
mod overrides;
mod view;

pub use channel::{Publisher, Reader, Readers, channel};
pub use overrides::{EndpointOverride, Override, Overrides, ServiceOverrides};
pub use view::{Member, Pool, Service, Snapshot};
