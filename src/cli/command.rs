//! A command of the caller's, run by the shell on the caller's machine.

use std::{os::unix::process::ExitStatusExt, process::Stdio};

use tokio::process::Command;

use super::output::{clean, say};

/// The signal that Ctrl-C sends to all that a terminal runs.
const INTERRUPT: i32 = 2;

pub enum Ended {
    /// By Ctrl-C, which says nothing of what it was to do.
    Left,
    /// Why.
    Failed(String),
}

/// With these in its environment; `what` it is when it fails. With `json` standard output is for something else.
pub async fn run(
    what: &str,
    command: &str,
    told: &[(&str, &str)],
    json: bool,
) -> Result<(), Ended> {
    if !json {
        say(format_args!("running: {}\n", clean(command)));
    }
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .envs(told.iter().copied())
        .stdin(Stdio::null());
    if json {
        shell.stdout(std::io::stderr());
    }
    match shell.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if status.signal() == Some(INTERRUPT) => Err(Ended::Left),
        Ok(status) => Err(Ended::Failed(format!("{what} failed: {status}"))),
        Err(error) => Err(Ended::Failed(format!("{what} can't be run: {error}"))),
    }
}
