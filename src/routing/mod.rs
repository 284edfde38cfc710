//! Pure choice: which route, which pool, and what keeps a client there.
//!
//! Owns the [`Router`], the [`Splitter`], what makes clients stay ([`Affinity`]), the way round the weights ([`Preview`])
//! and the explanation of all that. Knows no endpoint, socket, clock or source of randomness: what it needs of the world is
//! an argument.

mod affinity;
mod caching;
mod conditions;
mod cookie;
mod explain;
mod faults;
mod head;
mod key;
mod limiter;
mod preview;
mod router;
mod splitter;
#[cfg(test)]
mod testing;

pub use affinity::{Affinity, Minted};
pub use caching::may_set_cookie;
pub use explain::{Considered, Explanation, Verdict, explain};
pub use faults::drawn_fault;
pub use head::{Head, host_of};
pub use key::{hash_ip, hash_key};
pub use limiter::Limiter;
pub use preview::Preview;
pub use router::{Found, Router};
pub use splitter::Splitter;
