//! Composition: the only place that knows every room.
//!
//! Owns the process: what is started in which order ([`Running`]), how the file is loaded, now and later, signals, and
//! the way out. Startup is the first reload: read, check, bind, build, publish.

mod certificates;
mod exporting;
mod figures;
mod life;
mod loader;
mod plane;
mod rollout_figures;
mod run;
mod running;
mod signals;

pub use figures::{Figures, sample};
pub use life::Ended;
pub use run::run;
pub use running::{Options, Running, StartError};
