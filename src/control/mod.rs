//! The one writer.
//!
//! Owns every change: a [`Command`] comes in, is checked, applied, persisted, published, told. Merges the verdicts of
//! the rooms that watch into each endpoint's state. Knows no HTTP and no socket.

pub mod command;

pub use command::{Actor, Applied, Change, Code, Command, Order, Refusal, Target};
