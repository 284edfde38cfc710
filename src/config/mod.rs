//! Text to a checked plan.
//!
//! Owns the file format: what may be written ([`file`]), what it means ([`plan`]), every problem with its place
//! ([`problem`]), and when the file changed ([`watch`]). Knows no runtime type.

pub mod plan;

pub use plan::Plan;
