//! Sockets in.
//!
//! Owns the workers (one thread per core), the listening sockets, connections with their handshakes, limits and timeouts,
//! and the way a process stops without losing a request. Knows nothing of what is done with a request.

mod accept;
mod connection;
mod crowd;
mod drain;
mod guard;
mod http2;
mod listen;
mod listener;
mod preamble;
mod shared;
mod socket;
mod stream;
mod worker;

pub use drain::Drained;
pub use guard::Issued;
pub use listen::BindError;
pub use shared::{Gauge, Prepared, Server, Settings};
