//! Commands, flags and exit codes.
//!
//! Owns what a person types and reads. All but `run`, `check` and what prints files ask a running instance over its
//! admin API, as any other client would.

mod admission;
mod args;
pub(crate) mod client;
mod command;
mod demo;
mod deploy;
mod drain;
mod event_view;
mod exit;
mod file;
mod fleet;
mod leaving;
mod locate;
mod look;
mod output;
mod proxy;
mod rollout;
mod run;
mod share;
mod shell;
mod status;
mod status_view;
mod token;
mod traffic;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use exit::{Exit, Failure};

/// A reverse proxy that ships new versions of an app without losing a request.
#[derive(Debug, Parser)]
#[command(name = "cutover", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 config invalid, 4 admin not reachable, 5 refused by a gate \
    (nothing changed), 6 conflict, 7 changed but the wait timed out, 8 rolled back, 130 ended by Ctrl-C (nothing undone)"
)]
struct Cli {
    #[command(flatten)]
    door: args::Door,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Run(run::Run),
    /// See two versions of a small app shifted live, with every failure counted
    Demo(demo::Demo),
    /// Put apps of your own behind the proxy, without a file
    Proxy(proxy::Proxy),
    /// Print a commented file to start from
    Init(file::Init),
    /// Check the file and tell all that is wrong with it
    Check(file::Check),
    /// Print the JSON Schema of the file, for editors
    Schema,
    /// Show what is going on
    Status(status::Status),
    /// Show the decisions on a service
    History(look::History),
    /// Show which way a request would take, and why
    Explain(look::Explain),
    /// Move a part of a service's traffic
    Shift(traffic::Shift),
    /// Move all traffic of a service to one pool, once it is proven afresh
    Switch(traffic::Switch),
    /// Go back to the last settled weights
    Rollback(traffic::Rollback),
    /// Have a service's requests wait, for a while
    Hold(admission::Hold),
    /// Answer a service's requests with a page
    Maintenance(admission::Maintenance),
    /// Let a service's requests flow again
    Resume(admission::Resume),
    /// Give a pool or an endpoint no new work
    Drain(drain::Drain),
    /// End a drain
    Restore(drain::Restore),
    /// Add or remove endpoints
    #[command(subcommand)]
    Endpoint(drain::Endpoint),
    /// Wait until a service is ready, what lost its traffic drained, or its rollout over
    Wait(drain::Wait),
    /// Ship a new version: idle pool, command, proven, all traffic, old version drained
    Deploy(deploy::Deploy),
    /// Go to a new version step by step, judged, and back by itself
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Show what happened
    Events(look::Events),
    /// Load the file again
    Reload(file::Reload),
    /// Compare the file with what runs
    #[command(subcommand)]
    Config(file::Config),
    /// Make tokens for the admin API
    #[command(subcommand)]
    Token(token::Token),
    /// Print completions for a shell
    Completions(shell::Completions),
    /// Print the manual page
    Man(shell::ManPages),
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Run(args) => return run::run(&args),
        Command::Demo(args) => return demo::demo(&args),
        Command::Proxy(args) => return proxy::proxy(&args),
        Command::Init(args) => file::init(&args),
        Command::Check(args) => file::check(&args),
        Command::Schema => file::schema(),
        Command::Token(command) => token::token(&command),
        Command::Completions(args) => Ok(shell::completions(&args, Cli::command())),
        Command::Man(args) => shell::man(&args, Cli::command()),
        asking => ask(&cli.door, asking),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::complain(&failure);
            failure.exit.into()
        }
    }
}

/// What a running instance is asked for.
fn ask(door: &args::Door, command: Command) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    runtime.block_on(async {
        match command {
            Command::Status(args) => status::status(door, &args).await,
            Command::History(args) => look::history(door, &args).await,
            Command::Explain(args) => look::explain(door, &args).await,
            Command::Shift(args) => traffic::shift(door, &args).await,
            Command::Switch(args) => traffic::switch(door, &args).await,
            Command::Rollback(args) => traffic::rollback(door, &args).await,
            Command::Hold(args) => admission::hold(door, &args).await,
            Command::Maintenance(args) => admission::maintenance(door, &args).await,
            Command::Resume(args) => admission::resume(door, &args).await,
            Command::Drain(args) => drain::drain(door, &args).await,
            Command::Restore(args) => drain::restore(door, &args).await,
            Command::Endpoint(command) => drain::endpoint(door, &command).await,
            Command::Wait(args) => drain::wait(door, &args).await,
            Command::Deploy(args) => deploy::deploy(door, &args).await,
            Command::Rollout(command) => rollout::rollout(door, &command).await,
            Command::Events(args) => look::events(door, &args).await,
            Command::Reload(args) => file::reload(door, &args).await,
            Command::Config(command) => file::config(door, &command).await,
            Command::Run(_)
            | Command::Demo(_)
            | Command::Proxy(_)
            | Command::Init(_)
            | Command::Check(_)
            | Command::Schema
            | Command::Token(_)
            | Command::Completions(_)
            | Command::Man(_) => Ok(Exit::Done),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_says_what_it_does() {
        fn check(command: &clap::Command, path: &str) {
            for argument in command
                .get_arguments()
                .filter(|argument| argument.get_long().is_some())
            {
                let id = argument.get_id();
                let plain = matches!(id.as_str(), "help" | "version" | "pool");
                assert!(
                    plain || argument.get_help().is_some() || argument.get_long() == Some("force"),
                    "{path} --{id}"
                );
            }
            for below in command.get_subcommands() {
                assert!(below.get_about().is_some(), "{path} {}", below.get_name());
                check(below, &format!("{path} {}", below.get_name()));
            }
        }
        check(&Cli::command(), "cutover");
    }
}
