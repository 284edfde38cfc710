//! Commands about pools and endpoints: drain, restore, endpoint add and remove, wait.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand, ValueEnum};
use http::Method;

use super::{
    args::{Door, Leaving, Reading, Writing},
    client::{Client, segment},
    exit::{Exit, Failure},
    fleet::{Order, write},
    output::{say, say_json},
    rollout,
    traffic::{body, waits},
};
use crate::{
    admin::wire::{
        Drain as DrainBody, PutEndpoint, Restore as RestoreBody, Service, Wait as WaitFor,
    },
    units::{Address, Name, Span},
};

/// `SERVICE/POOL` or `SERVICE/POOL/ENDPOINT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    service: Name,
    pool: Name,
    endpoint: Option<Address>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, '/');
        let expected = || "expected SERVICE/POOL or SERVICE/POOL/ENDPOINT".to_owned();
        let mut name = || {
            parts
                .next()
                .ok_or_else(expected)?
                .parse::<Name>()
                .map_err(|error| error.to_string())
        };
        let (service, pool) = (name()?, name()?);
        let endpoint = parts.next().map(str::parse).transpose();
        Ok(Self {
            service,
            pool,
            endpoint: endpoint.map_err(|error: crate::units::Malformed| error.to_string())?,
        })
    }
}

/// As a path of the API.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "/v1/services/{}/pools/{}",
            segment(&self.service),
            segment(&self.pool)
        )?;
        match &self.endpoint {
            Some(endpoint) => write!(f, "/endpoints/{}", segment(endpoint)),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Args)]
pub struct Drain {
    /// SERVICE/POOL or SERVICE/POOL/ENDPOINT
    pub target: Target,
    /// At the deadline, end what is still in flight
    #[arg(long)]
    pub cut: bool,
    /// Even if a weighted pool is left without a ready endpoint
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub leaving: Leaving,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// SERVICE/POOL or SERVICE/POOL/ENDPOINT
    pub target: Target,
    /// Wait until it has passed its probes afresh
    #[arg(long)]
    pub wait: bool,
    /// How long to wait for that
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub ready_timeout: Span,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Subcommand)]
pub enum Endpoint {
    /// Add an endpoint to a pool, or set its weight
    Add {
        /// SERVICE/POOL/ENDPOINT
        target: Target,
        /// Its part of the pool beside the others
        #[arg(long, default_value_t = 1)]
        weight: u32,
        /// Wait until it has passed its probes
        #[arg(long)]
        wait: bool,
        /// How long to wait for that
        #[arg(long, value_name = "DURATION", default_value = "60s")]
        ready_timeout: Span,
        #[command(flatten)]
        writing: Writing,
    },
    /// Drain an endpoint, then remove it
    Remove {
        /// SERVICE/POOL/ENDPOINT
        target: Target,
        /// At the deadline, end what is still in flight
        #[arg(long)]
        cut: bool,
        /// Even if a weighted pool is left without a ready endpoint
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        leaving: Leaving,
        #[command(flatten)]
        writing: Writing,
    },
}

pub async fn drain(door: &Door, args: &Drain) -> Result<Exit, Failure> {
    let asked = DrainBody {
        cut: args.cut,
        force: args.force,
        wait: args.leaving.wait(),
        ready_timeout: None,
        deadline: args.leaving.deadline,
        reason: None,
    };
    let asked = body(&asked)?;
    write(door, &args.writing, async |_: &Client| {
        let mut order = Order::new(
            Method::POST,
            format!("{}/drain", args.target),
            asked.clone(),
        );
        order.waits = waits(&args.leaving, None);
        Ok(order)
    })
    .await
}

pub async fn restore(door: &Door, args: &Restore) -> Result<Exit, Failure> {
    let asked = RestoreBody {
        wait: if args.wait {
            WaitFor::Ready
        } else {
            WaitFor::None
        },
        ready_timeout: Some(args.ready_timeout),
        deadline: None,
        reason: None,
    };
    let asked = body(&asked)?;
    write(door, &args.writing, async |_: &Client| {
        let mut order = Order::new(
            Method::POST,
            format!("{}/restore", args.target),
            asked.clone(),
        );
        order.waits = args.ready_timeout.0;
        Ok(order)
    })
    .await
}

pub async fn endpoint(door: &Door, command: &Endpoint) -> Result<Exit, Failure> {
    match command {
        Endpoint::Add {
            target,
            weight,
            wait,
            ready_timeout,
            writing,
        } => {
            named(target)?;
            let asked = PutEndpoint {
                weight: Some(*weight),
                wait: if *wait { WaitFor::Ready } else { WaitFor::None },
                ready_timeout: Some(*ready_timeout),
                deadline: None,
                reason: None,
            };
            let asked = body(&asked)?;
            write(door, writing, async |_: &Client| {
                let mut order = Order::new(Method::PUT, target.to_string(), asked.clone());
                order.waits = ready_timeout.0;
                Ok(order)
            })
            .await
        }
        Endpoint::Remove {
            target,
            cut,
            force,
            leaving,
            writing,
        } => {
            named(target)?;
            let mut query = vec![("force", force.to_string()), ("cut", cut.to_string())];
            if leaving.wait {
                query.push(("wait", "drained".to_owned()));
            }
            query.extend(
                leaving
                    .deadline
                    .map(|deadline| ("deadline", deadline.to_string())),
            );
            write(door, writing, async |_: &Client| {
                Ok(Order {
                    method: Method::DELETE,
                    path: target.to_string(),
                    body: None,
                    query: query.clone(),
                    if_match: None,
                    waits: waits(leaving, None),
                })
            })
            .await
        }
    }
}

fn named(target: &Target) -> Result<(), Failure> {
    match target.endpoint {
        Some(_) => Ok(()),
        None => Err(Failure::usage("expected SERVICE/POOL/ENDPOINT")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// Every pool with weight, or the one of --pool, has enough ready endpoints
    Ready,
    /// Every pool without weight, or the one of --pool, has nothing in flight and no connection open
    Drained,
    /// Its rollout is over: 0 means promoted, 8 rolled back, 7 that it is paused
    Rollout,
}

#[derive(Debug, Args)]
pub struct Wait {
    pub service: Name,
    pub until: Until,
    /// Of this pool alone
    #[arg(long)]
    pub pool: Option<Name>,
    /// How long to wait (60s unless said; for a rollout as long as it takes)
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,
    #[command(flatten)]
    pub reading: Reading,
}

/// How long a wait lasts, unless it says.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(200);

pub async fn wait(door: &Door, args: &Wait) -> Result<Exit, Failure> {
    let client = door.client()?;
    let path = format!("/v1/services/{}", segment(&args.service));
    if args.until == Until::Rollout {
        return attach(&client, args).await;
    }
    let timeout = args.timeout.map_or(TIMEOUT, |span| span.0);
    let start = Instant::now();
    let mut service: Service = client.get(&path).await?;
    loop {
        let lacking = lacking(&service, args.until, args.pool.as_ref())?;
        let over = start.elapsed() >= timeout;
        if lacking.is_empty() || over {
            let done = lacking.is_empty();
            if args.reading.json {
                say_json(
                    &serde_json::json!({ "done": done, "waiting_for": lacking, "service": service }),
                )?;
            } else if done {
                say("done\n");
            } else {
                say(format_args!("still waiting for {}\n", lacking.join(", ")));
            }
            return Ok(if done { Exit::Done } else { Exit::TimedOut });
        }
        let left = timeout.saturating_sub(start.elapsed());
        tokio::time::sleep(LOOK.min(left)).await;
        service = client.get_again(&path, Some(left)).await?;
    }
}

/// Follows a service's rollout as whoever has begun it would.
async fn attach(client: &Client, args: &Wait) -> Result<Exit, Failure> {
    let service = &args.service;
    let Some(id) = rollout::last(client, service).await? else {
        let none = format!("{service} has had no rollout");
        return Err(Failure::new(Exit::Failed, none));
    };
    let timeout = args.timeout.map(|span| span.0);
    rollout::follow(client, (service, id), timeout, args.reading.json).await
}

/// The pools that are not yet what is waited for, each with why.
fn lacking(service: &Service, until: Until, only: Option<&Name>) -> Result<Vec<String>, Failure> {
    if let Some(only) = only.filter(|only| !service.pools.contains_key(*only)) {
        return Err(Failure::new(
            Exit::Failed,
            format!("{} has no pool {only}", service.name),
        ));
    }
    let weight = |name: &Name| service.weights.get(name).copied().unwrap_or(0);
    let chosen = service
        .pools
        .iter()
        .filter(|(name, _)| match (only, until) {
            (Some(only), _) => *name == only,
            (None, Until::Ready) => weight(name) > 0,
            (None, Until::Drained | Until::Rollout) => weight(name) == 0,
        });
    let lacking = chosen.filter_map(|(name, pool)| match until {
        Until::Ready if pool.ready < pool.needed.max(1) => {
            Some(format!("{name} ({} of {} ready)", pool.ready, pool.of))
        }
        Until::Drained if pool.in_flight > 0 || pool.connections > 0 => Some(format!(
            "{name} ({} in flight, {} connections)",
            pool.in_flight, pool.connections
        )),
        Until::Ready | Until::Drained | Until::Rollout => None,
    });
    Ok(lacking.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_pool_or_an_endpoint_in_it() {
        let path = |text: &str| text.parse::<Target>().map(|target| target.to_string());
        assert_eq!(
            path("shop/blue").as_deref(),
            Ok("/v1/services/shop/pools/blue")
        );
        assert_eq!(
            path("shop/blue/10.0.0.1:3000").as_deref(),
            Ok("/v1/services/shop/pools/blue/endpoints/10.0.0.1%3A3000")
        );
        assert_eq!(
            path("shop/blue/unix:/run/app.sock").as_deref(),
            Ok("/v1/services/shop/pools/blue/endpoints/unix%3A%2Frun%2Fapp.sock")
        );
        for bad in [
            "shop",
            "",
            "/",
            "shop/",
            "shop/blue/",
            "shop/blue/x",
            "Shop/blue",
            "../x",
        ] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
