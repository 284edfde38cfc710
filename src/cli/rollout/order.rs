//! What is said to rollouts.

use std::path::Path;

use http::Method;
use serde_json::Value;

use super::{
    Following, Promote, Resume, Retry, Start, Told, Which, With, follow::follow_all, look::number,
    text::changed,
};
use crate::{
    admin::wire::{ResumeHow, RolloutChanged, RolloutOrder, RolloutVerb, StartRollout},
    cli::{
        args::{Door, Writing},
        client::{Client, segment},
        exit::{Exit, Failure},
        fleet::{Answer, Order, Written, write_as},
        traffic::body,
    },
    config,
};

pub async fn start(door: &Door, args: &Start) -> Result<Exit, Failure> {
    if args.following.exec.is_some() {
        // The command would run once for each instance.
        door.client()?;
    }
    let plan = args.plan.as_deref().map(plan).transpose()?;
    let asked = StartRollout {
        to: args.to.clone(),
        from: args.from.clone(),
        version: args.version.clone(),
        preset: args.preset.clone(),
        plan,
        with: args
            .with
            .iter()
            .map(|With(service, pool)| (service.clone(), pool.clone()))
            .collect(),
        supersede: args.supersede,
        reason: None,
    };
    if asked.with.len() < args.with.len() {
        return Err(Failure::usage("--with names a service twice"));
    }
    let path = format!("/v1/services/{}/rollouts", segment(&args.service));
    let asked = body(&asked)?;
    let written = write_as(door, &args.writing, async |_: &Client| {
        Ok(Order::new(Method::POST, path.clone(), asked.clone()))
    })
    .await?;
    end(written, &args.following, args.writing.json).await
}

/// A plan that a person keeps in a file of its own.
fn plan(path: &Path) -> Result<Value, Failure> {
    let failed =
        |why: String| Failure::new(Exit::InvalidConfig, format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    config::plan_of_text(&text).map_err(failed)
}

async fn end(
    written: Written<RolloutChanged>,
    following: &Following,
    json: bool,
) -> Result<Exit, Failure> {
    let exec = following.exec.as_deref();
    if !(following.follow || exec.is_some()) || written.done.is_empty() {
        return Ok(written.exit);
    }
    let begun = written.done.into_iter();
    let begun = begun.map(|(client, changed)| (client, changed.rollout.rollout));
    let exit = follow_all(begun.collect(), exec, json).await?;
    Ok(exit.max(written.exit))
}

pub async fn promote(door: &Door, args: &Promote) -> Result<Exit, Failure> {
    let asked = RolloutOrder {
        full: args.full,
        step: args.step,
        ..RolloutOrder::default()
    };
    let written = tell(door, RolloutVerb::Promote, &args.of, &args.writing, &asked).await?;
    Ok(written.exit)
}

pub async fn resume(door: &Door, args: &Resume) -> Result<Exit, Failure> {
    let how = match (args.from_current, args.restore_step) {
        (true, _) => Some(ResumeHow::FromCurrent),
        (_, true) => Some(ResumeHow::RestoreStep),
        (false, false) => None,
    };
    let asked = RolloutOrder {
        how,
        ..RolloutOrder::default()
    };
    let written = tell(door, RolloutVerb::Resume, &args.of, &args.writing, &asked).await?;
    Ok(written.exit)
}

pub async fn retry(door: &Door, args: &Retry) -> Result<Exit, Failure> {
    if args.following.exec.is_some() {
        door.client()?;
    }
    let asked = RolloutOrder::default();
    let written = tell(door, RolloutVerb::Retry, &args.of, &args.writing, &asked).await?;
    end(written, &args.following, args.writing.json).await
}

pub async fn plainly(door: &Door, verb: RolloutVerb, args: &Told) -> Result<Exit, Failure> {
    let asked = RolloutOrder::default();
    let written = tell(door, verb, &args.of, &args.writing, &asked).await?;
    Ok(written.exit)
}

async fn tell(
    door: &Door,
    verb: RolloutVerb,
    of: &Which,
    writing: &Writing,
    asked: &RolloutOrder,
) -> Result<Written<RolloutChanged>, Failure> {
    let asked = body(asked)?;
    write_as(door, writing, async |client: &Client| {
        // Each instance counts its own.
        let number = number(client, of).await?;
        let path = format!("/v1/rollouts/{number}/{}", verb.as_str());
        Ok(Order::new(Method::POST, path, asked.clone()))
    })
    .await
}

impl Answer for RolloutChanged {
    fn in_words(&self) -> String {
        changed(self)
    }

    fn exit(&self) -> Exit {
        Exit::Done
    }
}
