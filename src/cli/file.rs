//! Commands about the file: init, check, schema, reload, config diff and revert.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::json;

use super::{
    args::{Door, Reading, Writing},
    client::{Call, Client, segment},
    exit::{Exit, Failure},
    fleet::{Order, write},
    locate,
    output::{FAINT, STRONG, Styled, age, clean, say, say_json, value},
};
use crate::{
    admin::wire::{Checked, Drifts, Reload as ReloadBody},
    config::{self, Problems},
    units::Name,
};

#[derive(Debug, Args)]
pub struct Init {
    /// Write it here instead of printing it; an existing file is left alone
    pub path: Option<PathBuf>,
}

pub fn init(args: &Init) -> Result<Exit, Failure> {
    let Some(path) = &args.path else {
        say(config::template::INIT);
        return Ok(Exit::Done);
    };
    let failed =
        |error: std::io::Error| Failure::new(Exit::Failed, format!("{}: {error}", path.display()));
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, config::template::INIT.as_bytes()).map_err(failed)?;
    say(format_args!(
        "wrote {}; try: cutover check {0}\n",
        path.display()
    ));
    Ok(Exit::Done)
}

pub fn schema() -> Result<Exit, Failure> {
    say_json(&config::schema())?;
    Ok(Exit::Done)
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    Human,
    Json,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The file; unless said, the one that `run` would take
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The same
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
    /// On a machine that does not have the secrets
    #[arg(long)]
    pub offline: bool,
    /// For a person or a program
    #[arg(long, value_enum, default_value = "human")]
    pub format: Format,
}

pub fn check(args: &Check) -> Result<Exit, Failure> {
    let path = found(args.file.as_deref().or(args.config.as_deref()))?;
    let loaded = if args.offline {
        config::load_offline(&path)
    } else {
        config::load(&path).and_then(|loaded| {
            loaded.judge_times(None, SystemTime::now())?;
            Ok(loaded)
        })
    };
    match (loaded, args.format) {
        (Ok(_), Format::Human) => say(format_args!("{} is right\n", path.display())),
        (Ok(_), Format::Json) => say_json(&json!({ "valid": true, "problems": [] }))?,
        (Err(problems), format) => {
            match format {
                Format::Human => say(problems.render(std::io::stdout().is_terminal())),
                Format::Json => {
                    say_json(&json!({ "valid": false, "problems": listed(&problems) }))?;
                }
            }
            return Ok(Exit::InvalidConfig);
        }
    }
    Ok(Exit::Done)
}

/// As programs read them.
pub fn listed(problems: &Problems) -> Vec<serde_json::Value> {
    problems
        .iter()
        .filter_map(|problem| serde_json::to_value(problem).ok())
        .collect()
}

/// The file that was named, or the one that `run` would take.
pub fn found(given: Option<&Path>) -> Result<PathBuf, Failure> {
    locate::config(given).ok_or_else(|| {
        Failure::new(
            Exit::InvalidConfig,
            "no file: neither ./cutover.toml nor /etc/cutover/cutover.toml is there",
        )
        .hint("`cutover init cutover.toml` writes one to start from")
    })
}

#[derive(Debug, Args)]
pub struct Reload {
    #[command(flatten)]
    pub writing: Writing,
}

pub async fn reload(door: &Door, args: &Reload) -> Result<Exit, Failure> {
    write(door, &args.writing, async |_: &Client| {
        Ok(Order::new(
            Method::POST,
            "/v1/config/reload".to_owned(),
            json!({}),
        ))
    })
    .await
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the file that would say what runs
    Export,
    /// Show what differs: the file on disk from what runs, and what runs from the file
    Diff {
        #[command(flatten)]
        reading: Reading,
    },
    /// Drop what was decided at run time, so that the file holds again
    Revert {
        /// SERVICE or SERVICE.FIELD, as `config diff` names it
        #[arg(value_name = "SERVICE[.FIELD]")]
        what: String,
        /// Pass the gates on unready pools
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        writing: Writing,
    },
}

pub async fn config(door: &Door, command: &Config) -> Result<Exit, Failure> {
    match command {
        Config::Export => {
            let text = door
                .client()?
                .call(Call::get("/v1/config?format=toml"))
                .await?;
            say(String::from_utf8_lossy(&text));
            Ok(Exit::Done)
        }
        Config::Diff { reading } => diff(door, reading).await,
        Config::Revert {
            what,
            force,
            writing,
        } => {
            let (service, field) = reverted(what)?;
            write(door, writing, async |_: &Client| {
                let path = format!(
                    "/v1/services/{}/overrides/{}",
                    segment(&service),
                    segment(&field)
                );
                Ok(Order {
                    body: None,
                    query: vec![("force", force.to_string())],
                    ..Order::new(Method::DELETE, path, json!(null))
                })
            })
            .await
        }
    }
}

/// A service's name holds no dot, so the first one ends it.
fn reverted(what: &str) -> Result<(Name, String), Failure> {
    let (service, field) = what.split_once('.').unwrap_or((what, "*"));
    let service = service
        .parse()
        .map_err(|error| Failure::usage(format!("{service:?}: {error}")))?;
    Ok((service, field.to_owned()))
}

async fn diff(door: &Door, reading: &Reading) -> Result<Exit, Failure> {
    let client = door.client()?;
    let asked = Call::new(Method::POST, "/v1/config/check", &ReloadBody::default())?;
    let checked: Checked = client.read(&client.call(asked).await?)?;
    let drifts: Drifts = client.get("/v1/drift").await?;
    if reading.json {
        say_json(&json!({ "file": checked, "drift": drifts.drift }))?;
        return Ok(Exit::Done);
    }
    say(format_args!(
        "{}\n",
        Styled(STRONG, "A reload of the file would change")
    ));
    if let Some(report) = &checked.report {
        say(format_args!(
            "nothing, because it is wrong:\n{}\n",
            super::output::lines(report)
        ));
    }
    for field in &checked.diff {
        say(format_args!(
            "  {}.{}: {} → {}\n",
            field.service,
            clean(&field.field),
            value(&field.before),
            value(&field.after)
        ));
    }
    if checked.valid && checked.diff.is_empty() {
        say("  nothing\n");
    }
    say(format_args!(
        "{}\n",
        Styled(STRONG, "Decided at run time, beside the file")
    ));
    for drift in &drifts.drift {
        let seconds = jiff::Timestamp::now().duration_since(drift.since).as_secs();
        say(format_args!(
            "  {}.{}: {} → {} {}\n",
            drift.service,
            clean(&drift.field),
            value(&drift.declared),
            value(&drift.value),
            Styled(
                FAINT,
                format_args!(
                    "by {}, {} ago",
                    clean(&drift.by.name),
                    age(u64::try_from(seconds).unwrap_or(0))
                )
            ),
        ));
    }
    if drifts.drift.is_empty() {
        say("  nothing\n");
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revert_names_a_service_or_one_of_its_fields() {
        let read = |what: &str| {
            reverted(what)
                .map(|(service, field)| format!("{service} {field}"))
                .ok()
        };
        assert_eq!(read("shop").as_deref(), Some("shop *"));
        assert_eq!(read("shop.weights").as_deref(), Some("shop weights"));
        assert_eq!(
            read("shop.pools.blue.endpoints.10.0.0.1:3000").as_deref(),
            Some("shop pools.blue.endpoints.10.0.0.1:3000")
        );
        assert_eq!(read("Shop"), None);
    }
}
