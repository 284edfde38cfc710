//! The one writer.
//!
//! Owns every change: a [`Command`] comes in, is checked, applied, persisted, published, told. Merges the verdicts of
//! the rooms that watch into each endpoint's state. Knows no HTTP and no socket.

mod answer;
pub mod command;
mod events;
mod handle;
mod leaving;
pub mod view;
mod wait;

pub use answer::{Applied, AppliedService, Code, Difference, Evidence, Refusal};
pub use command::{Actor, ActorKind, Change, Command, LastProbe, Order, Phase, Probed, Target};
pub use events::{Event, Events, Filter, Kind};
pub use handle::{Handle, Readiness};
pub use leaving::Left;
pub use view::{Pending, Revision, View};
pub use wait::{Act, Done, Hurry, Wait};
