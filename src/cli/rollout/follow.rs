//! A rollout is followed to its end.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use super::{
    look::detail,
    replace::replace,
    text::{entry, live_line, of_end},
};
use crate::{
    admin::wire::{Rollout, RolloutDetail, RolloutEntry},
    cli::{
        client::Client,
        exit::{Exit, Failure},
        output::{say, say_json},
    },
    units::Timestamp,
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long an instance may be away: it comes up again with its rollouts.
const AWAY: Duration = Duration::from_mins(1);
/// Back to the line's begin, and clear it.
const LINE_ANEW: &str = "\r\x1b[K";

/// Each to its end, one after the other.
pub async fn follow_all(
    begun: Vec<(Client, u64)>,
    exec: Option<&str>,
    json: bool,
) -> Result<Exit, Failure> {
    let mut worst = Exit::Done;
    for (client, id) in begun {
        worst = worst.max(follow_with(&client, id, exec, None, json).await?);
    }
    Ok(worst)
}

/// Shows each step, until it is over or does not go on by itself.
pub async fn follow(
    client: &Client,
    id: u64,
    timeout: Option<Duration>,
    json: bool,
) -> Result<Exit, Failure> {
    follow_with(client, id, None, timeout, json).await
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
    let start = Instant::now();
    let mut shown: Option<RolloutEntry> = None;
    loop {
        let seen = patiently(client, id).await?;
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

/// Looks again for a while where nobody answers.
async fn patiently(client: &Client, id: u64) -> Result<RolloutDetail, Failure> {
    let start = Instant::now();
    loop {
        match detail(client, id).await {
            Err(failure) if failure.exit == Exit::Unreachable && start.elapsed() < AWAY => {
                tokio::time::sleep(LOOK).await;
            }
            answered => return answered,
        }
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
