//! Flags that many commands share.

use std::path::PathBuf;

use clap::Args;

use super::{
    client::Client,
    exit::{Exit, Failure},
    locate,
};
use crate::{
    admin::wire::Wait,
    units::{Address, Span},
};

/// Which instances, and as whom.
#[derive(Debug, Clone, Args)]
pub struct Door {
    /// The admin API: `unix:/path` or HOST:PORT. Repeatable: writes are tried on all first, then applied to each
    #[arg(
        long = "admin",
        value_name = "ADDRESS",
        env = "CUTOVER_ADMIN",
        value_delimiter = ',',
        global = true
    )]
    admins: Vec<Address>,
    /// Read the token from this file; `CUTOVER_TOKEN` holds the token itself
    #[arg(long, value_name = "FILE", env = "CUTOVER_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
}

impl Door {
    /// Every instance that was named, or the one that runs here.
    pub fn clients(&self) -> Result<Vec<Client>, Failure> {
        let token = self.token()?;
        if !self.admins.is_empty() {
            let admins = self.admins.iter().cloned();
            return Ok(admins
                .map(|address| Client::new(address, token.clone()))
                .collect());
        }
        let here = locate::admin().ok_or_else(|| {
            Failure::new(Exit::Unreachable, "no admin API found here")
                .hint("is cutover running? --admin or CUTOVER_ADMIN says where its admin API is")
        })?;
        Ok(vec![Client::new(here, token)])
    }

    /// The one instance of a command that asks only one.
    pub fn client(&self) -> Result<Client, Failure> {
        let mut clients = self.clients()?;
        match (clients.pop(), clients.is_empty()) {
            (Some(client), true) => Ok(client),
            _ => Err(Failure::usage(
                "this command asks one instance; give --admin once",
            )),
        }
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        if let Some(file) = &self.token_file {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            return Ok(Some(text.trim().to_owned()));
        }
        let token = std::env::var("CUTOVER_TOKEN").ok();
        Ok(token
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty()))
    }
}

/// Of commands that read.
#[derive(Debug, Clone, Args)]
pub struct Reading {
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Of commands that write.
#[derive(Debug, Clone, Args)]
pub struct Writing {
    /// Change nothing; say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the history and the events
    #[arg(long, short = 'r', value_name = "TEXT")]
    pub reason: Option<String>,
    /// Refuse if the service is at another revision than this
    #[arg(long, value_name = "REVISION")]
    pub if_match: Option<u64>,
    /// The same key within 24 hours gets the first answer again
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Of commands that take traffic from something.
#[derive(Debug, Clone, Default, Args)]
pub struct Leaving {
    /// Wait until what loses its traffic is drained: when this returns 0 it may be killed
    #[arg(long)]
    pub wait: bool,
    /// How long to wait for that (the service's own drain deadline unless said)
    #[arg(long, value_name = "DURATION")]
    pub deadline: Option<Span>,
}

impl Leaving {
    pub fn wait(&self) -> Wait {
        if self.wait { Wait::Drained } else { Wait::None }
    }
}
