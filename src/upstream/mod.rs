//! The way to the endpoints.
//!
//! Owns dialling, the HTTP client connections and the idle sets: per worker and endpoint one [`Line`], kept in a table
//! of the worker. Knows neither why an endpoint was chosen nor what is done with its answer.

pub mod dial;
mod gather;
mod line;
mod lines;
mod switch;

pub use dial::{DialError, Stream, dial};
pub use gather::write_gathered;
pub use line::{Connection, Line};
pub use lines::{Lines, Use};
pub use switch::Switched;
