//! `status`: what is going on, for a person or a monitor.

use std::{fmt::Write, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use super::{
    args::{Door, Reading},
    client::{Client, segment},
    exit::{Exit, Failure},
    output::{STRONG, Styled, complain, say, say_json},
    status_view::{self, Shown},
};
use crate::{
    admin::wire::{Service, Status as Answer},
    units::{Name, Timestamp},
};

#[derive(Debug, Args)]
pub struct Status {
    pub service: Option<Name>,
    /// Show it anew every second
    #[arg(long)]
    pub watch: bool,
    /// Exit 1 unless everything is as it should be, for monitors
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub reading: Reading,
}

const EVERY: Duration = Duration::from_secs(1);
/// Cursor home, then clear to the end of the screen.
const ANEW: &str = "\x1b[H\x1b[2J";

pub async fn status(door: &Door, args: &Status) -> Result<Exit, Failure> {
    let clients = door.clients()?;
    if !args.watch {
        return once(&clients, args, "").await;
    }
    loop {
        let anew = if args.reading.json { "" } else { ANEW };
        // An instance that is away for a moment is shown as that.
        let _ = once(&clients, args, anew).await?;
        tokio::time::sleep(EVERY).await;
    }
}

async fn once(clients: &[Client], args: &Status, before: &str) -> Result<Exit, Failure> {
    let several = clients.len() > 1;
    let (mut worst, mut text, mut told) = (Exit::Done, before.to_owned(), Vec::new());
    for client in clients {
        if several {
            let _ = writeln!(text, "{}", Styled(STRONG, &client.address));
        }
        match seen(client, args.service.as_ref()).await {
            Ok(shown) => {
                text += &status_view::page(&shown, Timestamp::now());
                if args.check && !status_view::worries(&shown).is_empty() {
                    worst = worst.max(Exit::Failed);
                }
                told.push(as_json(client, &shown, several)?);
            }
            Err(failure) if several || args.watch => {
                complain(&failure);
                worst = worst.max(failure.exit);
                told.push(json!({ "admin": client.address, "error": failure.message }));
            }
            Err(failure) => return Err(failure),
        }
    }
    match (args.reading.json, several, &told[..]) {
        (true, false, [one]) => say_json(one)?,
        (true, _, _) => say_json(&told)?,
        (false, _, _) => say(text),
    }
    Ok(worst)
}

async fn seen(client: &Client, service: Option<&Name>) -> Result<Shown, Failure> {
    match service {
        Some(name) => {
            let path = format!("/v1/services/{}", segment(name));
            client
                .get::<Service>(&path)
                .await
                .map(|service| Shown::One(Box::new(service)))
        }
        None => client
            .get::<Answer>("/v1/status")
            .await
            .map(|status| Shown::All(Box::new(status))),
    }
}

fn as_json(client: &Client, shown: &Shown, several: bool) -> Result<Value, Failure> {
    let answer = match shown {
        Shown::One(service) => serde_json::to_value(service),
        Shown::All(status) => serde_json::to_value(status),
    };
    let answer = answer.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    Ok(if several {
        json!({ "admin": client.address, "answer": answer })
    } else {
        answer
    })
}
