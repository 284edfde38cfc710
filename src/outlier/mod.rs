//! Passive health.
//!
//! Owns the look at what endpoints do to requests: [`run`] compares, a few times a second, what workers have counted of the endpoints of
//! each pool, and tells control of those that are worse than the others. Control alone decides whether one is taken out, for how
//! long, and when it comes back. Knows no weights and sends no request.

mod record;
mod rule;
mod run;

pub use run::run;
