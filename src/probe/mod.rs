//! Active readiness.
//!
//! Owns one task per endpoint that asks it, again and again, whether it is ready, and says what it heard: [`run`]
//! follows the published snapshot, so that a new endpoint is asked at once and a changed setting is adopted without
//! forgetting what is known. Reports every result to control, which alone decides what an endpoint's state is; knows
//! no weights and no traffic.

mod check;
mod expect;
mod failure;
mod grpc;
mod place;
mod prober;
mod question;
mod run;
mod streak;
mod talk;
mod task;

pub use failure::{Failures, Reason};
pub use run::run;
