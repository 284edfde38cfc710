//! The operator's door: `/v1` over HTTP.
//!
//! Owns who may ask (`auth`), what is said over the wire ([`wire`]), how errors look ([`problem`]) and the listeners.
//! Decides nothing: every change is an order to `control`, every answer is read from what control tells.

mod api;
mod auth;
mod door;
pub mod extract;
mod guests;
mod openapi;
mod patience;
pub mod problem;
mod rollout_view;
mod server;
mod state;
mod view;
pub mod wire;

/// The calls that a listener answers.
pub use axum::Router;
pub use openapi::{description, router, telemetry};
pub use server::{BindError, Listener, bind, bind_tcp};
pub use state::{ConfigFile, Load, Measured, Rejected, State};
