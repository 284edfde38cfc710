//! Which endpoint of a pool gets the next request. Pure: numbers drawn at random, loads and keys are arguments.

mod candidates;
mod maglev;
mod turns;

pub use candidates::{AVOIDED, Candidates, Draw};
