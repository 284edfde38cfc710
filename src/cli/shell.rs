//! Shell completions and man pages, from the flags themselves.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{
    exit::{Exit, Failure},
    output::say,
};

#[derive(Debug, Args)]
pub struct Completions {
    #[arg(value_enum)]
    pub shell: Shell,
}

pub fn completions(args: &Completions, mut command: Command) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "cutover", &mut script);
    say(String::from_utf8_lossy(&script));
    Exit::Done
}

#[derive(Debug, Args)]
pub struct ManPages {
    /// Write a page for every command into this folder, instead of printing the main one
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

pub fn man(args: &ManPages, command: Command) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, error.to_string());
    if let Some(folder) = &args.dir {
        std::fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(command, folder).map_err(failed)?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(failed)?;
    say(String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}
