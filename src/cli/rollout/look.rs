//! What is to be seen of rollouts.

use std::time::Duration;

use super::{
    List, Status, Which,
    text::{line, page},
};
use crate::{
    admin::wire::{RolloutDetail, Rollouts},
    cli::{
        args::Door,
        client::{Client, query},
        exit::{Exit, Failure},
        output::{complain, say, say_json},
    },
    units::{Name, Timestamp},
};

const EVERY: Duration = Duration::from_secs(1);
/// Cursor home, then clear to the end of the screen.
const ANEW: &str = "\x1b[H\x1b[2J";

pub async fn status(door: &Door, args: &Status) -> Result<Exit, Failure> {
    let client = door.client()?;
    if !args.watch {
        return shown(&client, args, "").await;
    }
    let anew = if args.reading.json { "" } else { ANEW };
    loop {
        // An instance that is away for a moment is shown as that.
        if let Err(failure) = shown(&client, args, anew).await {
            complain(&failure);
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn shown(client: &Client, args: &Status, before: &str) -> Result<Exit, Failure> {
    let mut details = Vec::new();
    if let Some(which) = &args.of {
        details.push(detail(client, number(client, which).await?).await?);
    } else {
        let running: Rollouts = client.get("/v1/rollouts?state=running").await?;
        for rollout in running.rollouts {
            details.push(detail(client, rollout.id).await?);
        }
    }
    if args.reading.json {
        match (&details[..], &args.of) {
            ([one], Some(_)) => say_json(one)?,
            _ => say_json(&details)?,
        }
        return Ok(Exit::Done);
    }
    let now = Timestamp::now();
    let mut text = before.to_owned();
    for detail in &details {
        text += &page(detail, now);
    }
    if details.is_empty() {
        text += "no rollout is under way\n";
    }
    say(text);
    Ok(Exit::Done)
}

pub async fn list(door: &Door, args: &List) -> Result<Exit, Failure> {
    let client = door.client()?;
    let pairs = [
        ("service", args.service.as_ref().map(ToString::to_string)),
        ("state", args.state.clone()),
    ];
    let list: Rollouts = client.get(&format!("/v1/rollouts{}", query(pairs))).await?;
    if args.reading.json {
        say_json(&list)?;
        return Ok(Exit::Done);
    }
    let now = Timestamp::now();
    let lines: String = list.rollouts.iter().map(|one| line(one, now)).collect();
    if lines.is_empty() {
        say("there are none\n");
    }
    say(lines);
    Ok(Exit::Done)
}

pub async fn detail(client: &Client, id: u64) -> Result<RolloutDetail, Failure> {
    client.get(&format!("/v1/rollouts/{id}")).await
}

/// The number of the one that is meant.
pub async fn number(client: &Client, which: &Which) -> Result<u64, Failure> {
    let service = match which {
        Which::Number(number) => return Ok(*number),
        Which::Service(service) => service,
    };
    let last = last(client, service).await?;
    last.ok_or_else(|| {
        Failure::new(Exit::Failed, format!("{service} has had no rollout"))
            .hint(format!("cutover rollout start {service} --to POOL"))
    })
}

/// The number of a service's last one, under way or over.
pub async fn last(client: &Client, service: &Name) -> Result<Option<u64>, Failure> {
    let pairs = [("service", Some(service.to_string()))];
    let list: Rollouts = client.get(&format!("/v1/rollouts{}", query(pairs))).await?;
    Ok(list.rollouts.first().map(|rollout| rollout.id))
}
