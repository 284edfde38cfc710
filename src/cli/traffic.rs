//! Commands that move traffic: shift, switch, rollback.

use std::{str::FromStr, time::Duration};

use clap::Args;
use http::Method;

use super::{
    args::{Door, Leaving, Writing},
    client::{Client, segment},
    exit::{Exit, Failure},
    fleet::{Order, write},
    share::{Assignment, Wanted, shifted},
};
use crate::{
    admin::wire::{
        Changes, PutWeights, Rollback as RollbackBody, Service, Step, Switch as SwitchBody,
    },
    units::{Name, Span, Weights},
};

#[derive(Debug, Args)]
pub struct Shift {
    pub service: Name,
    /// POOL=PERCENT of the whole, the rest in proportion; or POOL=WEIGHT for every pool
    #[arg(required = true, value_name = "POOL=SHARE")]
    pub to: Vec<Assignment>,
    /// Pass the gates on unready pools
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub leaving: Leaving,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Switch {
    /// SERVICE POOL, or SERVICE=POOL for several services in one step
    #[arg(required = true, value_name = "SERVICE")]
    pub to: Vec<String>,
    /// What the pool runs, as status and metrics show it
    #[arg(long)]
    pub version: Option<String>,
    /// How long the pool may take to pass its probes, begun after the call
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub ready_timeout: Span,
    /// Don't wait for the pool, and pass the gates
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub leaving: Leaving,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Rollback {
    pub service: Name,
    /// To the weights of this revision (`cutover history SERVICE`)
    #[arg(long, value_name = "REVISION")]
    pub to_revision: Option<u64>,
    /// Once more, although the last rollback is less than a minute ago
    #[arg(long)]
    pub again: bool,
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub leaving: Leaving,
    #[command(flatten)]
    pub writing: Writing,
}

/// How much longer a call may take that waits: the server ends the waiting, this only bounds a server that died.
pub fn waits(leaving: &Leaving, ready: Option<Span>) -> Duration {
    let drained = match (&leaving.deadline, leaving.wait) {
        (Some(deadline), true) => deadline.0,
        (None, true) => Duration::from_hours(24),
        (_, false) => Duration::ZERO,
    };
    drained + ready.map_or(Duration::ZERO, |span| span.0)
}

pub fn body(value: &impl serde::Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

pub async fn shift(door: &Door, args: &Shift) -> Result<Exit, Failure> {
    let path = format!("/v1/services/{}", segment(&args.service));
    write(door, &args.writing, async |client: &Client| {
        let relative = args
            .to
            .iter()
            .any(|to| matches!(to.wanted, Wanted::Part(_)));
        let now: Option<Service> = if relative {
            Some(client.get(&path).await?)
        } else {
            None
        };
        let current: Weights = now.iter().flat_map(|now| now.weights.clone()).collect();
        let asked = PutWeights {
            weights: shifted(&current, &args.to).map_err(Failure::usage)?,
            force: args.force,
            wait: args.leaving.wait(),
            ready_timeout: None,
            deadline: args.leaving.deadline,
            reason: None,
        };
        let mut order = Order::new(Method::PUT, format!("{path}/weights"), body(&asked)?);
        // A percentage is of what was read, so it must still be so.
        order.if_match = now.map(|now| now.revision);
        order.waits = waits(&args.leaving, None);
        Ok(order)
    })
    .await
}

pub async fn switch(door: &Door, args: &Switch) -> Result<Exit, Failure> {
    let targets = targets(&args.to)?;
    let order = if let [(service, pool)] = &targets[..] {
        let asked = SwitchBody {
            to: pool.clone(),
            version: args.version.clone(),
            force: args.force,
            wait: args.leaving.wait(),
            ready_timeout: Some(args.ready_timeout),
            deadline: args.leaving.deadline,
            reason: None,
        };
        (
            format!("/v1/services/{}/switch", segment(service)),
            body(&asked)?,
        )
    } else {
        let step = |(service, to): &(Name, Name)| Step::Switch {
            service: service.clone(),
            to: to.clone(),
            version: args.version.clone(),
            force: args.force,
        };
        let asked = Changes {
            changes: targets.iter().map(step).collect(),
            cut: false,
            wait: args.leaving.wait(),
            ready_timeout: Some(args.ready_timeout),
            deadline: args.leaving.deadline,
            reason: None,
        };
        ("/v1/changes".to_owned(), body(&asked)?)
    };
    write(door, &args.writing, async |_: &Client| {
        let mut order = Order::new(Method::POST, order.0.clone(), order.1.clone());
        order.waits = waits(&args.leaving, Some(args.ready_timeout));
        Ok(order)
    })
    .await
}

/// `web green`, or `web=green api=green`.
fn targets(words: &[String]) -> Result<Vec<(Name, Name)>, Failure> {
    let name = |text: &str| {
        Name::from_str(text).map_err(|error| Failure::usage(format!("{text:?}: {error}")))
    };
    match words {
        [service, pool] if !service.contains('=') && !pool.contains('=') => {
            Ok(vec![(name(service)?, name(pool)?)])
        }
        _ => words
            .iter()
            .map(|word| {
                let (service, pool) = word.split_once('=').ok_or_else(|| {
                    Failure::usage(format!(
                        "{word:?}: expected SERVICE POOL, or SERVICE=POOL ..."
                    ))
                })?;
                Ok((name(service)?, name(pool)?))
            })
            .collect(),
    }
}

pub async fn rollback(door: &Door, args: &Rollback) -> Result<Exit, Failure> {
    let asked = RollbackBody {
        to_revision: args.to_revision,
        again: args.again,
        force: args.force,
        wait: args.leaving.wait(),
        ready_timeout: None,
        deadline: args.leaving.deadline,
        reason: None,
    };
    let asked = body(&asked)?;
    write(door, &args.writing, async |_: &Client| {
        let path = format!("/v1/services/{}/rollback", segment(&args.service));
        let mut order = Order::new(Method::POST, path, asked.clone());
        order.waits = waits(&args.leaving, None);
        Ok(order)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<String, u8> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let told = |(service, pool): &(Name, Name)| format!("{service}>{pool}");
        let targets = targets(&words).map_err(|failure| failure.exit as u8)?;
        Ok(targets.iter().map(told).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_switch_names_one_service_or_several() {
        assert_eq!(read(&["web", "green"]).as_deref(), Ok("web>green"));
        assert_eq!(read(&["web=green"]).as_deref(), Ok("web>green"));
        assert_eq!(
            read(&["web=green", "api=blue"]).as_deref(),
            Ok("web>green api>blue")
        );
        for bad in [
            &["web"][..],
            &["web", "green", "api"],
            &["web=green", "blue"],
            &["=green"],
            &["Web", "green"],
        ] {
            assert_eq!(read(bad), Err(2), "{bad:?}");
        }
    }
}
