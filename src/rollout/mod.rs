//! How a new version gets its share of the traffic, and what it is judged by.
//!
//! [`guard`] listens to single errors and takes a bad version back within its first ones; [`judge`] looks at what both versions did over
//! a step and says whether that is enough to go on. Both are pure: what they know of the world is an argument.

mod figures;
pub mod guard;
pub mod judge;

pub use figures::{Arm, Counts, Seen};
