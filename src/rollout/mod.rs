//! How a new version gets its share of the traffic, and what it is judged by.
//!
//! [`guard`] listens to single errors and takes a bad version back within its first ones. Pure: what it knows of the world is an argument.

mod figures;
pub mod guard;

pub use figures::{Arm, Counts, Seen};
