//! The operator's door: `/v1` over HTTP.
//!
//! Owns who may ask ([`auth`]), what is said over the wire ([`wire`]), how errors look ([`problem`]) and the listeners.
//! Decides nothing: every change is an order to `control`, every answer is read from the published snapshot.

pub mod auth;
pub mod extract;
mod patience;
pub mod problem;
mod server;
pub mod wire;

pub use server::{BindError, Listener, bind, bind_tcp};
