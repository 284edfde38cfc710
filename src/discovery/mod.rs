//! Discovery.
//!
//! Owns the look at the sources that name a pool's endpoints while it runs: [`run`] asks each of them, beside the requests,
//! and tells control what it names or why it does not. Control alone makes endpoints of that. Opens no connection to them, and
//! remembers nothing.

#[cfg(feature = "dns")]
mod dns;
mod file;
mod list;
mod run;

pub use run::run;
