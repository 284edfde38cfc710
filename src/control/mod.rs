//! The one writer.
//!
//! Owns every change: a [`Command`] comes in, is checked, applied, persisted, published, told. Merges the verdicts of
//! the rooms that watch into each endpoint's state. Knows no HTTP and no socket.

mod admission;
mod answer;
mod answers;
mod book;
pub mod command;
mod controller;
mod decide;
mod disk;
mod drift;
mod ejection;
mod eligibility;
mod ended;
mod events;
mod found;
mod gates;
mod handle;
mod health;
mod history;
mod leaving;
mod load;
mod look;
mod memory;
mod needed;
mod orders;
mod pending;
mod precedence;
mod publish;
mod questions;
mod ramps;
pub mod rollout;
mod rollouts;
mod stage;
mod start;
mod state_text;
mod suspects;
mod targets;
mod teller;
pub(crate) mod testing;
mod unwritten;
pub mod view;
mod wait;
mod writer;

pub use answer::{Applied, AppliedService, Code, Difference, Evidence, Refusal};
pub use command::{
    Actor, ActorKind, Change, Command, Discovered, LastProbe, Order, Phase, Probed, Target,
};
pub use controller::Controller;
pub use disk::Locked;
pub use ejection::{Ejection, EjectionCause, Suspect};
pub use events::{Event, Events, Filter, Kind};
pub use handle::{Handle, Readiness};
pub use leaving::Left;
pub use start::start;
pub use view::{Pending, Revision, View};
pub use wait::{Act, Done, Hurry, Wait};
