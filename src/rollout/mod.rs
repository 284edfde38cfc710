//! How a new version gets its share of the traffic, and what it is judged by.
//!
//! [`steps`] says how a rollout goes on, and the driver does it. [`guard`] listens to single errors and takes a bad version back within its
//! first ones; [`judge`] looks at what both versions did over a step and says whether that is enough to go on. All three are pure: what they
//! know of the world is an argument. [`hooks`] asks others, and [`readings`] for figures, by way of [`Outside`].

mod driver;
mod figures;
pub mod guard;
pub mod hooks;
pub mod judge;
mod outside;
pub mod readings;
pub mod steps;

pub use driver::run;
pub use figures::{Counts, Seen};
pub use outside::Outside;
