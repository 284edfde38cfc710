//! Composition: the only place that knows every room.

mod figures;

pub use figures::{Figures, sample};
