//! Tunnels: what becomes of a request whose endpoint agrees to speak another protocol, such as WebSocket.
//!
//! Owns what may be asked for and what an endpoint must answer ([`handshake`] has the keys), the pump between the two
//! connections, how a tunnel is told to end ([`Tunnels`]), and what is known of WebSocket: where frames begin and end
//! ([`Frames`]), so that a close frame of ours stands where it can be read. Knows nothing of what the frames say.

mod account;
mod asked;
mod frames;
pub mod handshake;
mod life;
mod pump;
mod registry;
mod switch;
mod way;

use crate::telemetry::TunnelEnd as Why;

pub use frames::{Code, Frames, close_frame};
pub use life::{GRACE, Tunnel};
pub use registry::Tunnels;

pub(super) use asked::note_protocol;
pub(super) use switch::{Terms, note_asked};
