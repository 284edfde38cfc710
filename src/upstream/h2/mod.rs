//! HTTP/2 to endpoints: connections that several requests share.

mod connection;
mod head;
mod lane;
mod refusal;
mod set;
mod tasks;

pub use connection::{Place, Shared};
pub use lane::Lane;
pub use refusal::{Cancelled, Refusal, cancelled, is_breach};
pub use set::Set;
