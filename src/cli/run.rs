//! `run`: the proxy itself.

use std::{
    io::{Write, stderr},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{file::found, output::complain};

#[derive(Debug, Args)]
pub struct Run {
    /// The file; unless said, ./cutover.toml, else /etc/cutover/cutover.toml
    #[arg(long, value_name = "FILE", env = "CUTOVER_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Ends when the proxy has ended.
pub fn run(args: &Run) -> ExitCode {
    match found(args.config.as_deref()) {
        Ok(path) => {
            // Said before the log is set up, because where the log goes stands in the file.
            let version = env!("CARGO_PKG_VERSION");
            let _ = writeln!(stderr(), "cutover {version} runs {}", path.display());
            crate::app::run(&path)
        }
        Err(failure) => {
            complain(&failure);
            failure.exit.into()
        }
    }
}
