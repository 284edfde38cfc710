//! Commands about rollouts.

mod follow;
mod look;
mod order;
mod replace;
mod report;
mod text;

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};

pub use follow::follow;
pub use look::last;
pub use text::{next, of_service, worry};

use super::{
    args::{Door, Reading, Writing},
    exit::{Exit, Failure},
};
use crate::units::{Name, Span};

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Begin to take a service to another pool
    Start(Start),
    /// Show where a rollout stands
    Status(Status),
    /// Show the rollouts that are under way, and the last that were
    List(List),
    /// Go on to the next step
    Promote(Promote),
    /// Stay where it is
    Pause(Told),
    /// Go on after a pause
    Resume(Resume),
    /// Go past what it waits for now
    Skip(Told),
    /// Go back to the old version
    Abort(Told),
    /// Begin one that has failed anew
    Retry(Retry),
    /// Go back to the old version after it has succeeded
    Undo(Told),
    /// Show how often new versions were shipped, how many were taken back, and what users saw of it
    Report(Report),
}

/// A service, whose last rollout is meant, or the number of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Service(Name),
    Number(u64),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        let name = text.parse().map_err(|error| format!("{error}"))?;
        Ok(Self::Service(name))
    }
}

/// `SERVICE=POOL`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct With(pub Name, pub Name);

impl FromStr for With {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, pool) = text
            .split_once('=')
            .ok_or("expected SERVICE=POOL, such as api=green")?;
        let name = |text: &str| text.parse::<Name>().map_err(|error| format!("{error}"));
        Ok(Self(name(service)?, name(pool)?))
    }
}

#[derive(Debug, Args)]
pub struct Start {
    pub service: Name,
    /// The pool that is to get the traffic; of a rolling replacement it is the one that serves, unless said
    #[arg(long, value_name = "POOL")]
    pub to: Option<Name>,
    /// The pool that has it now (the one with all the weight, unless said)
    #[arg(long, value_name = "POOL")]
    pub from: Option<Name>,
    /// What the new pool runs, as status and metrics show it
    #[arg(long)]
    pub version: Option<String>,
    /// fast, standard or careful, in the place of the service's own plan
    #[arg(long, conflicts_with = "plan")]
    pub preset: Option<String>,
    /// A plan: TOML, or JSON, with the keys of `[services.NAME.rollout]`
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Another service that is moved and taken back together with it; repeatable
    #[arg(long, value_name = "SERVICE=POOL")]
    pub with: Vec<With>,
    /// End a rollout that is under way, instead of being refused
    #[arg(long)]
    pub supersede: bool,
    #[command(flatten)]
    pub following: Following,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Clone, Default, Args)]
pub struct Following {
    /// Show each step until it is over: 0 means that the new version has all requests, 8 that the old one has them again
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Of a rolling replacement: replaces an endpoint of the batch that is empty: a command for the shell, in which {endpoint}, {service}, {pool} and {version} are replaced. It is followed
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
}

#[derive(Debug, Args)]
pub struct Status {
    /// A service, or the number of a rollout; all that are under way, unless said
    #[arg(value_name = "SERVICE|ID")]
    pub of: Option<Which>,
    /// Show it anew every second
    #[arg(long)]
    pub watch: bool,
    #[command(flatten)]
    pub reading: Reading,
}

#[derive(Debug, Args)]
pub struct List {
    /// Only of this service
    #[arg(long)]
    pub service: Option<Name>,
    /// Only those that stand there, such as paused or failed; running: all that are not over
    #[arg(long)]
    pub state: Option<String>,
    #[command(flatten)]
    pub reading: Reading,
}

#[derive(Debug, Args)]
pub struct Told {
    /// A service, whose last rollout is meant, or the number of a rollout
    #[arg(value_name = "SERVICE|ID")]
    pub of: Which,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Promote {
    /// A service, whose last rollout is meant, or the number of a rollout
    #[arg(value_name = "SERVICE|ID")]
    pub of: Which,
    /// At once to all traffic
    #[arg(long)]
    pub full: bool,
    /// Only while it is at this step: typed twice it does not go two steps
    #[arg(long, value_name = "STEP")]
    pub step: Option<usize>,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// A service, whose last rollout is meant, or the number of a rollout
    #[arg(value_name = "SERVICE|ID")]
    pub of: Which,
    /// With the weights as they are, after somebody has changed them
    #[arg(long, conflicts_with = "restore_step")]
    pub from_current: bool,
    /// With the weights of its step, after somebody has changed them
    #[arg(long)]
    pub restore_step: bool,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Retry {
    /// A service, whose last rollout is meant, or the number of a rollout
    #[arg(value_name = "SERVICE|ID")]
    pub of: Which,
    #[command(flatten)]
    pub following: Following,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Report {
    /// Only of this service
    #[arg(long)]
    pub service: Option<Name>,
    /// How far back (30d unless said)
    #[arg(long, value_name = "DURATION")]
    pub window: Option<Span>,
    #[command(flatten)]
    pub reading: Reading,
}

pub async fn rollout(door: &Door, command: &Rollout) -> Result<Exit, Failure> {
    use crate::admin::wire::RolloutVerb as Verb;
    match command {
        Rollout::Start(args) => order::start(door, args).await,
        Rollout::Status(args) => look::status(door, args).await,
        Rollout::List(args) => look::list(door, args).await,
        Rollout::Report(args) => report::report(door, args).await,
        Rollout::Promote(args) => order::promote(door, args).await,
        Rollout::Resume(args) => order::resume(door, args).await,
        Rollout::Retry(args) => order::retry(door, args).await,
        Rollout::Pause(args) => order::plainly(door, Verb::Pause, args).await,
        Rollout::Skip(args) => order::plainly(door, Verb::Skip, args).await,
        Rollout::Abort(args) => order::plainly(door, Verb::Abort, args).await,
        Rollout::Undo(args) => order::plainly(door, Verb::Undo, args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_named_by_its_service_or_its_number() {
        assert_eq!("17".parse(), Ok(Which::Number(17)));
        assert_eq!("shop".parse(), Ok(Which::Service("shop".parse().unwrap())));
        assert!("Shop".parse::<Which>().is_err());
    }

    #[test]
    fn another_service_stands_with_its_pool() {
        let with = "api=green".parse::<With>().unwrap();
        assert_eq!((with.0.as_str(), with.1.as_str()), ("api", "green"));
        for bad in ["api", "=green", "api=", "Api=green"] {
            assert!(bad.parse::<With>().is_err(), "{bad}");
        }
    }
}
