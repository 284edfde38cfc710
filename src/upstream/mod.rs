//! The way to the endpoints.
//!
//! Owns dialling, the HTTP client connections and the idle sets: per worker and endpoint one [`Line`], kept in a table
//! of the worker. Over HTTP/2 requests share connections. Knows neither why an endpoint was chosen nor what is done with its
//! answer.

mod connection;
pub mod dial;
mod gather;
mod h2;
mod line;
mod lines;
mod payload;
mod room;
mod switch;
mod watched;

pub use connection::Connection;
pub use dial::{DialError, Stream, dial};
pub use gather::write_gathered;
pub use h2::{Cancelled, Refusal, cancelled, is_breach};
pub use line::{Caller, Line};
pub use lines::{Lines, Use};
pub use payload::Payload;
pub use room::Errand;
pub use switch::{Crossed, Switched};
