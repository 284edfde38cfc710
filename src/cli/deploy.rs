//! `deploy`: a new version from the idle pool to all traffic, in one command for CI and scripts.

use std::time::{Duration, Instant};

use clap::Args;
use http::Method;
use serde_json::json;

use super::{
    args::{Door, Writing},
    client::{Client, segment},
    command::{self, Ended},
    exit::{Exit, Failure},
    fleet::{Order, write, write_as},
    leaving::{left, unless_left},
    output::{STRONG, Styled, clean, say, say_json},
    rollout,
    traffic::body,
};
use crate::{
    admin::wire::{
        Restore as RestoreBody, Rollout, RolloutChanged, Service, StartRollout,
        Switch as SwitchBody, Wait,
    },
    units::{Name, Span},
};

#[derive(Debug, Args)]
pub struct Deploy {
    pub service: Name,
    /// Puts the new version into the pool: a command for the shell, in which {service}, {pool} and {version} are replaced
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
    /// What is deployed, as status and metrics show it; what serves already is not deployed again
    #[arg(long)]
    pub version: Option<String>,
    /// How the traffic goes: switch (at once), fast, standard, careful, or own (the service's own plan). Unless said: own where the file has one, else switch
    #[arg(long, value_name = "PLAN")]
    pub plan: Option<String>,
    /// The pool to deploy to (the one without traffic, unless said)
    #[arg(long, value_name = "POOL")]
    pub to: Option<Name>,
    /// How long the pool may take to pass its probes, begun after the command
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub ready_timeout: Span,
    /// How long to wait for a pool's work to end (the service's own drain deadline unless said)
    #[arg(long, value_name = "DURATION")]
    pub deadline: Option<Span>,
    #[command(flatten)]
    pub writing: Writing,
}

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(200);
/// How long work in a pool may take to end that gets none, unless it is said.
const DEADLINE: Duration = Duration::from_mins(1);

/// What is to be done.
struct Job<'a> {
    client: Client,
    args: &'a Deploy,
    from: Name,
    to: Name,
}

pub async fn deploy(door: &Door, args: &Deploy) -> Result<Exit, Failure> {
    let name = &args.service;
    unless_left(Box::pin(ship(door, args)), || {
        let shows = format!("`cutover status {name}` shows it, and the same `deploy` goes on");
        left(format!("{name} is as it was left"), shows)
    })
    .await
}

async fn ship(door: &Door, args: &Deploy) -> Result<Exit, Failure> {
    let command = args
        .exec
        .as_ref()
        .map(|exec| filled(exec, args))
        .transpose()?;
    let client = door.client()?;
    let seen = service(&client, args).await?;
    if let Some(running) = seen.rollout.as_ref().filter(|of| of.ended.is_none()) {
        return attach(&client, args, running).await;
    }
    let from = served(&seen)?;
    if is_there(&seen, &from, args) {
        return already(&client, args, &seen, from).await;
    }
    let to = target(&seen, &from, args)?;
    let by = plan(&seen, args);
    let job = Job {
        client,
        args,
        from,
        to,
    };
    let command = command.map(|command| command.replace("{pool}", job.to.as_str()));
    if args.writing.dry_run {
        return Ok(job.rehearse(command.as_deref(), &by));
    }
    if let Some(command) = &command {
        job.until_idle().await?;
        unless_left(job.run(command), || job.left_running()).await?;
    }
    job.restore(door).await?;
    if by == SWITCH {
        return job.switch(door).await;
    }
    job.roll_out(door, &by).await
}

const SWITCH: &str = "switch";
const OWN: &str = "own";

async fn service(client: &Client, args: &Deploy) -> Result<Service, Failure> {
    client.get(&path(args)).await
}

/// Once more, of an instance that may be away for a while.
async fn service_again(client: &Client, args: &Deploy) -> Result<Service, Failure> {
    client.get_again(&path(args), None).await
}

fn path(args: &Deploy) -> String {
    format!("/v1/services/{}", segment(&args.service))
}

/// The command with all but the pool in it. A version is put into a line for the shell as it is, so it may hold nothing that a shell heeds.
fn filled(exec: &str, args: &Deploy) -> Result<String, Failure> {
    let text = exec.replace("{service}", args.service.as_str());
    if !text.contains("{version}") {
        return Ok(text);
    }
    let version = args
        .version
        .as_deref()
        .ok_or_else(|| Failure::usage("the command says {version}: give --version"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-:@/".contains(c);
    if version.is_empty() || version.starts_with('-') || !version.chars().all(plain) {
        let why = "a version in a command consists of letters, digits and . _ + - : @ /";
        return Err(Failure::usage(why));
    }
    Ok(text.replace("{version}", version))
}

/// One that is under way is either this very deployment, or in its way.
async fn attach(client: &Client, args: &Deploy, running: &Rollout) -> Result<Exit, Failure> {
    let member = running
        .members
        .iter()
        .find(|member| member.service == args.service);
    let same = member.is_some_and(|member| {
        let there = args.to.as_ref().is_none_or(|to| *to == member.to);
        there && args.version.is_some() && args.version == member.version
    });
    if !same {
        let (id, service) = (running.id, &args.service);
        let why = format!("rollout {id} of {service} is under way");
        return Err(Failure::new(Exit::Conflict, why).hint(format!(
            "`cutover wait {service} rollout` waits for its end, `cutover rollout abort {service}` ends it"
        )));
    }
    if !args.writing.json {
        say(format_args!("rollout {} does this already\n", running.id));
    }
    let of = (&args.service, running.id);
    let exit = rollout::follow(client, of, None, args.writing.json).await?;
    match (exit, member) {
        (Exit::Done, Some(member)) => emptied(client, args, &member.from).await,
        _ => Ok(exit),
    }
}

/// The one pool that has all traffic.
fn served(seen: &Service) -> Result<Name, Failure> {
    let mut weighted = seen.weights.iter().filter(|(_, weight)| **weight > 0);
    if let (Some((pool, _)), None) = (weighted.next(), weighted.next()) {
        return Ok(pool.clone());
    }
    let name = &seen.name;
    let why = format!("{name} has no one pool with all traffic");
    let hint = format!("`cutover switch {name} POOL` or `cutover rollback {name}` settles it");
    Err(Failure::new(Exit::Refused, why).hint(hint))
}

fn is_there(seen: &Service, from: &Name, args: &Deploy) -> bool {
    let meant = args.to.as_ref().is_none_or(|to| to == from);
    let serves = seen.pools.get(from).and_then(|pool| pool.version.as_ref());
    meant && args.version.is_some() && serves == args.version.as_ref()
}

async fn already(
    client: &Client,
    args: &Deploy,
    seen: &Service,
    from: Name,
) -> Result<Exit, Failure> {
    let version = args.version.as_deref().unwrap_or_default();
    if args.writing.json {
        say_json(
            &json!({ "service": seen.name, "pool": from, "version": version, "already": true }),
        )?;
    } else {
        let version = clean(version);
        say(format_args!(
            "{} serves {version} from {from} already\n",
            Styled(STRONG, &seen.name)
        ));
    }
    let mut worst = Exit::Done;
    for pool in seen.pools.keys().filter(|pool| **pool != from) {
        worst = worst.max(emptied(client, args, pool).await?);
    }
    Ok(worst)
}

/// Where the new version goes.
fn target(seen: &Service, from: &Name, args: &Deploy) -> Result<Name, Failure> {
    let name = &seen.name;
    match (&args.to, &seen.idle) {
        (Some(to), _) if to == from => Err(Failure::new(
            Exit::Refused,
            format!("{to} has the traffic of {name}"),
        )
        .hint("deploy to a pool without traffic")),
        (Some(to), _) if !seen.pools.contains_key(to) => {
            let pools: Vec<_> = seen.pools.keys().map(Name::as_str).collect();
            Err(
                Failure::new(Exit::Failed, format!("{name} has no pool {to}"))
                    .hint(format!("its pools are {}", pools.join(", "))),
            )
        }
        (Some(to), _) => Ok(to.clone()),
        (None, Some(idle)) => Ok(idle.clone()),
        (None, None) => Err(Failure::usage(format!(
            "{name} has not exactly one pool without traffic: --to says which"
        ))),
    }
}

/// How the traffic goes to it.
fn plan(seen: &Service, args: &Deploy) -> String {
    let usual = if seen.rolls_out { OWN } else { SWITCH };
    args.plan.clone().unwrap_or_else(|| usual.to_owned())
}

/// Waits until a pool that gets no traffic has no work any more.
async fn emptied(client: &Client, args: &Deploy, pool: &Name) -> Result<Exit, Failure> {
    unless_left(until_emptied(client, args, pool), || {
        let waits = format!("`cutover wait {} drained --pool {pool}`", args.service);
        left(
            format!("{pool} may still have work: do not stop it yet"),
            format!("{waits} waits for its end"),
        )
    })
    .await
}

async fn until_emptied(client: &Client, args: &Deploy, pool: &Name) -> Result<Exit, Failure> {
    let deadline = args.deadline.map_or(DEADLINE, |span| span.0);
    let start = Instant::now();
    loop {
        let seen = service_again(client, args).await?;
        let Some(held) = seen.pools.get(pool) else {
            return Ok(Exit::Done);
        };
        let left = held.in_flight + held.connections;
        if left == 0 || start.elapsed() >= deadline {
            let (exit, text) = match left {
                0 => (
                    Exit::Done,
                    format!("{pool} has no work: it is safe to stop it now\n"),
                ),
                _ => (
                    Exit::TimedOut,
                    format!(
                        "{pool} still has {} requests in flight: do not stop it yet\n",
                        held.in_flight
                    ),
                ),
            };
            if !args.writing.json {
                say(text);
            }
            return Ok(exit);
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Job<'_> {
    fn rehearse(&self, command: Option<&str>, by: &str) -> Exit {
        let Self { args, from, to, .. } = self;
        let service = &args.service;
        if let Some(command) = command {
            say(format_args!("would run: {}\n", clean(command)));
        }
        match by {
            SWITCH => say(format_args!("would switch {service} from {from} to {to}\n")),
            OWN => say(format_args!(
                "would roll {service} out from {from} to {to} by its own plan\n"
            )),
            preset => {
                let preset = clean(preset);
                say(format_args!(
                    "would roll {service} out from {from} to {to} by the preset {preset}\n"
                ));
            }
        }
        say("dry run: nothing was changed\n");
        Exit::Done
    }

    /// Nobody is cut off by what the command does to the pool.
    async fn until_idle(&self) -> Result<(), Failure> {
        let deadline = self.args.deadline.map_or(DEADLINE, |span| span.0);
        let start = Instant::now();
        loop {
            let seen = service_again(&self.client, self.args).await?;
            let left = seen.pools.get(&self.to).map_or(0, |pool| pool.in_flight);
            if left == 0 {
                return Ok(());
            }
            if start.elapsed() >= deadline {
                let why = format!("{} still has {left} requests of before in flight", self.to);
                let serves = format!("nothing was changed: {} serves on", self.from);
                return Err(Failure::new(Exit::Refused, why).hint(serves));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn left_running(&self) -> Failure {
        let serves = format!("nothing was moved: {} serves on", self.from);
        left("the command was ended, or goes on by itself", serves)
    }

    async fn run(&self, command: &str) -> Result<(), Failure> {
        let Self { args, to, from, .. } = self;
        let told = [
            ("CUTOVER_SERVICE", args.service.as_str()),
            ("CUTOVER_POOL", to.as_str()),
            ("CUTOVER_VERSION", args.version.as_deref().unwrap_or("")),
        ];
        let ran = command::run("the command", command, &told, args.writing.json).await;
        ran.map_err(|ended| match ended {
            Ended::Left => self.left_running(),
            Ended::Failed(why) => {
                Failure::new(Exit::Failed, why).hint(format!("nothing was moved: {from} serves on"))
            }
        })
    }

    /// A pool that somebody has drained comes back with its new version.
    async fn restore(&self, door: &Door) -> Result<(), Failure> {
        let seen = service_again(&self.client, self.args).await?;
        let state = seen.pools.get(&self.to).map(|pool| pool.state.as_str());
        if !matches!(state, Some("draining" | "drained")) {
            return Ok(());
        }
        let service = segment(&self.args.service);
        let path = format!("/v1/services/{service}/pools/{}/restore", segment(&self.to));
        let asked = body(&RestoreBody::default())?;
        write(door, &self.writing(), async |_: &Client| {
            Ok(Order::new(Method::POST, path.clone(), asked.clone()))
        })
        .await?;
        Ok(())
    }

    /// What is asked for in several calls is under a condition in none.
    fn writing(&self) -> Writing {
        Writing {
            if_match: None,
            idempotency_key: None,
            ..self.args.writing.clone()
        }
    }

    async fn switch(&self, door: &Door) -> Result<Exit, Failure> {
        let args = self.args;
        let asked = SwitchBody {
            to: self.to.clone(),
            version: args.version.clone(),
            force: false,
            wait: Wait::Drained,
            ready_timeout: Some(args.ready_timeout),
            deadline: args.deadline,
            reason: None,
        };
        let asked = body(&asked)?;
        let path = format!("/v1/services/{}/switch", segment(&args.service));
        let drains = args
            .deadline
            .map_or(Duration::from_hours(24), |span| span.0);
        let exit = write(door, &args.writing, async |_: &Client| {
            let mut order = Order::new(Method::POST, path.clone(), asked.clone());
            order.waits = args.ready_timeout.0 + drains;
            Ok(order)
        });
        let exit = exit.await?;
        if exit != Exit::Unreachable {
            return Ok(exit);
        }
        // It may have been done before its answer was lost.
        let seen = service_again(&self.client, args).await?;
        if served(&seen)? != self.to {
            return Ok(exit);
        }
        if !args.writing.json {
            say(format_args!("{} has all traffic\n", self.to));
        }
        emptied(&self.client, args, &self.from).await
    }

    async fn roll_out(&self, door: &Door, by: &str) -> Result<Exit, Failure> {
        let args = self.args;
        let asked = StartRollout {
            to: Some(self.to.clone()),
            from: Some(self.from.clone()),
            version: args.version.clone(),
            preset: (by != OWN).then(|| by.to_owned()),
            plan: None,
            with: std::collections::BTreeMap::new(),
            supersede: false,
            reason: None,
        };
        let asked = body(&asked)?;
        let path = format!("/v1/services/{}/rollouts", segment(&args.service));
        let written = write_as::<RolloutChanged>(door, &args.writing, async |_: &Client| {
            Ok(Order::new(Method::POST, path.clone(), asked.clone()))
        })
        .await?;
        let Some((client, begun)) = written.done.first() else {
            return Ok(written.exit);
        };
        let of = (&args.service, begun.rollout.rollout.id);
        match rollout::follow(client, of, None, args.writing.json).await? {
            Exit::Done => emptied(client, args, &self.from).await,
            other => Ok(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        deploy: Deploy,
    }

    fn command(words: &[&str]) -> Result<String, u8> {
        let words = ["deploy", "shop"].iter().chain(words);
        let args = Line::try_parse_from(words).map_err(|_| 2)?.deploy;
        let exec = args.exec.clone().unwrap_or_default();
        filled(&exec, &args).map_err(|failure| failure.exit as u8)
    }

    #[test]
    fn a_command_gets_the_service_and_the_version() {
        let exec = "--exec=up {service}@{pool} {version}";
        assert_eq!(
            command(&[exec, "--version", "1.42-rc.1"]).as_deref(),
            Ok("up shop@{pool} 1.42-rc.1")
        );
        assert_eq!(command(&["--exec=up {pool}"]).as_deref(), Ok("up {pool}"));
    }

    #[test]
    fn a_version_says_nothing_to_the_shell() {
        assert_eq!(command(&["--exec=up {version}"]), Err(2), "there is none");
        for version in ["1; reboot", "$(reboot)", "`x`", "a b", "", "a'b", "a\nb"] {
            let version = format!("--version={version}");
            assert_eq!(
                command(&["--exec=up {version}", &version]),
                Err(2),
                "{version}"
            );
        }
    }
}
