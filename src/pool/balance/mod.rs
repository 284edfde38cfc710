//! Which endpoint of a pool gets the next request. Pure: numbers drawn at random, loads and keys are arguments.

mod candidates;
mod maglev;
mod owners;
#[cfg(test)]
mod testing;
mod turns;
mod without;

pub use candidates::{Candidates, Draw};
pub use without::AVOIDED;
