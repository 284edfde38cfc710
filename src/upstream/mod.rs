//! The way to the endpoints.
//!
//! Owns dialling, HTTP on client connections and the idle sets: per worker and endpoint one [`Line`], kept in a table
//! of the worker. HTTP/1.1 is spoken by ourselves (`h1`), HTTP/2 by hyper: there requests share connections. Knows neither why an endpoint was chosen nor what is done with its
//! answer.

mod connection;
mod content;
pub mod dial;
mod error;
mod gather;
mod h1;
mod h2;
mod line;
mod lines;
mod payload;
mod room;
mod switch;
mod watched;

pub use connection::Connection;
pub use content::Content;
pub use dial::{DialError, Stream, dial};
pub use error::AnswerError;
pub use gather::write_gathered;
pub use h2::{Cancelled, Refusal, cancelled};
pub use line::{Caller, Line};
pub use lines::{Lines, Use};
pub use payload::Payload;
pub use room::Errand;
pub use switch::{Crossed, Own, Switched};
