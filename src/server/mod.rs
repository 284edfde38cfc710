//! Sockets in.
//!
//! Owns the workers (one thread per core), the listening sockets, connections with their limits and timeouts, and the way
//! a process stops without losing a request. Knows nothing of what is done with a request.

mod accept;
mod connection;
mod crowd;
mod drain;
mod listen;
mod shared;
mod socket;
mod worker;

pub use drain::Drained;
pub use listen::BindError;
pub use shared::{Gauge, Prepared, Server, Settings};
