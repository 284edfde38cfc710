//! Composition: the only place that knows every room.

mod figures;

pub use figures::{Figures, sample};

/// Runs the proxy that the file describes, until it is told to end.
pub fn run(config: &std::path::Path) -> std::process::ExitCode {
    let _ = config;
    std::process::ExitCode::FAILURE
}
