use std::{
    io::{IsTerminal, Write, stderr},
    path::Path,
    process::ExitCode,
};

use super::{Options, Running, StartError};
use crate::telemetry::{access_log::Format, log};

/// `cutover run`: serves until a signal ends it. 0: ended gently; 1: could not start, or requests were cut off;
/// 3: the file is invalid.
pub fn run(config: &Path) -> ExitCode {
    let log = log::init(Format::Text);
    let code = serve(config);
    drop(log);
    code
}

fn serve(config: &Path) -> ExitCode {
    let options = Options {
        config: config.to_owned(),
        signals: true,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let ended = runtime.map_err(StartError::Io).and_then(|runtime| {
        runtime.block_on(async {
            let running = Running::start(options).await?;
            let bound = running.bound();
            tracing::info!(listeners = ?bound.listeners, admin = bound.admin, "bound");
            Ok(running.wait().await)
        })
    });
    match ended {
        Ok(ended) if ended.cut == 0 && !ended.at_once => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let text = match &error {
                StartError::Config(problems) => problems.render(stderr().is_terminal()),
                other => format!("error: {other}"),
            };
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(stderr(), "{text}");
            ExitCode::from(if matches!(error, StartError::Config(_)) {
                3
            } else {
                1
            })
        }
    }
}
