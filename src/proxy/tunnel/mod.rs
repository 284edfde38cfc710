//! What becomes of a request whose endpoint agrees to speak another protocol.
//!
//! Owns what is known of WebSocket: where frames begin and end ([`Frames`]), and the keys of its handshake ([`handshake`]).

mod frames;
pub mod handshake;

pub use frames::{Code, Frames, close_frame};
