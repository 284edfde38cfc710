//! Which endpoint of a pool gets the next request. Pure: numbers drawn at random, loads and keys are arguments.

mod bound;
mod candidates;
mod maglev;
mod owners;
mod peak_ewma;
#[cfg(test)]
mod testing;
mod turns;
mod without;

pub use candidates::{Candidates, Draw};
pub use peak_ewma::PeakEwma;
pub use turns::Offset;
pub use without::AVOIDED;
