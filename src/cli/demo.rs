//! `demo`: the main job, before your eyes.

use std::process::ExitCode;

use clap::Args;

use crate::demo;

#[derive(Debug, Args)]
pub struct Demo {
    /// Keep everything running afterwards, and print the URLs and commands to try
    #[arg(long)]
    hold: bool,
}

pub fn demo(args: &Demo) -> ExitCode {
    demo::run(&demo::Options { hold: args.hold })
}
