//! A rollout is followed to its end.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use super::{
    replace::replace,
    text::{entry, live_line, of_end},
};
use crate::{
    admin::wire::{Rollout, RolloutDetail, RolloutEntry},
    cli::{
        client::Client,
        exit::{Exit, Failure},
        leaving::{left, unless_left},
        output::{say, say_json},
    },
    units::{Name, Timestamp},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Back to the line's begin, and clear it.
const LINE_ANEW: &str = "\r\x1b[K";

/// A rollout, and the service as whose it is followed.
pub type Followed<'a> = (&'a Name, u64);

/// Each to its end, one after the other.
pub async fn follow_all(
    begun: Vec<(Client, Rollout)>,
    exec: Option<&str>,
    json: bool,
) -> Result<Exit, Failure> {
    let mut worst = Exit::Done;
    for (client, of) in begun {
        let of = (&of.service, of.id);
        let follows = follow_with(&client, of.1, exec, None, json);
        worst = worst.max(unless_left(follows, || goes_on(of, exec)).await?);
    }
    Ok(worst)
}

/// Shows each step, until it is over or does not go on by itself.
pub async fn follow(
    client: &Client,
    of: Followed<'_>,
    timeout: Option<Duration>,
    json: bool,
) -> Result<Exit, Failure> {
    let follows = follow_with(client, of.1, None, timeout, json);
    unless_left(follows, || goes_on(of, None)).await
}

/// It goes on without whoever has followed it.
fn goes_on((service, id): Followed<'_>, exec: Option<&str>) -> Failure {
    let again = format!("`cutover wait {service} rollout` follows it again");
    let again = match exec {
        Some(_) => format!(
            "{again}; it waits at the batch whose command was ended: `cutover rollout skip {service}` says that that is replaced"
        ),
        None => again,
    };
    left(format!("rollout {id} of {service} goes on"), again)
}

/// The same, with a command that replaces the endpoints of a batch.
async fn follow_with(
    client: &Client,
    id: u64,
    exec: Option<&str>,
    timeout: Option<Duration>,
    json: bool,
) -> Result<Exit, Failure> {
    let alive = std::io::stdout().is_terminal() && !json;
    let path = format!("/v1/rollouts/{id}");
    let start = Instant::now();
    let mut shown: Option<RolloutEntry> = None;
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        let seen: RolloutDetail = client.get_again(&path, left).await?;
        if alive {
            say(LINE_ANEW);
        }
        if !json {
            for new in since(&seen.log, shown.as_ref()) {
                say(entry(new, seen.rollout.steps));
            }
        }
        shown = seen.log.last().cloned().or(shown);
        let late = timeout.is_some_and(|timeout| start.elapsed() >= timeout);
        let exit = outcome(&seen).or_else(|| late.then_some(Exit::TimedOut));
        if let Some(exit) = exit {
            if json {
                say_json(&seen)?;
            } else {
                say(of_end(&seen.rollout, exit));
            }
            return Ok(exit);
        }
        if let Some(exec) = exec
            && seen.rollout.phase.as_deref() == Some("replacing")
        {
            replace(client, exec, &seen, json).await?;
        }
        if alive {
            say(live_line(&seen.rollout, Timestamp::now()));
            let _ = std::io::stdout().flush();
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        tokio::time::sleep(left.map_or(LOOK, |left| left.min(LOOK))).await;
    }
}

/// What has come after an entry. Of a long log the middle is dropped, so it is found by what it says.
fn since<'a>(log: &'a [RolloutEntry], last: Option<&RolloutEntry>) -> &'a [RolloutEntry] {
    let known = last.and_then(|last| log.iter().rposition(|entry| entry == last));
    known.map_or(log, |known| &log[known + 1..])
}

/// How following it ends; `None`: it goes on.
pub fn outcome(seen: &RolloutDetail) -> Option<Exit> {
    match seen.rollout.stage.as_str() {
        "succeeded" => Some(Exit::Done),
        "failed" if was_refused(seen) => Some(Exit::Refused),
        "failed" => Some(Exit::RolledBack),
        "superseded" => Some(Exit::Conflict),
        _ if seen.rollout.paused.is_some() => Some(Exit::TimedOut),
        _ => None,
    }
}

/// It has ended before the new version got a request.
fn was_refused(seen: &RolloutDetail) -> bool {
    let Rollout { cause, .. } = &seen.rollout;
    let gate = cause
        .as_ref()
        .is_some_and(|cause| matches!(cause.kind.as_str(), "not-ready" | "hook"));
    gate && seen.log.iter().all(|entry| entry.share == 0.0)
}
