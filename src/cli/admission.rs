//! Commands that stop the requests of a service for a while: hold, maintenance, resume.

use std::time::Duration;

use clap::Args;
use http::Method;

use super::{
    args::{Door, Writing},
    client::{Client, segment},
    exit::{Exit, Failure},
    fleet::{Order, write},
    traffic::body,
};
use crate::{
    admin::wire::{Hold as HoldBody, Resume as ResumeBody, Wait},
    units::{Name, Span},
};

#[derive(Debug, Args)]
pub struct Hold {
    pub service: Name,
    /// For how long, 1h at most (`hold.for` of the file unless said); then requests flow by themselves
    #[arg(long = "for", value_name = "DURATION")]
    pub span: Option<Span>,
    #[command(flatten)]
    pub quiet: Quiet,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Maintenance {
    pub service: Name,
    /// For how long, 7d at most; until `cutover resume` unless said
    #[arg(long = "for", value_name = "DURATION")]
    pub span: Option<Span>,
    #[command(flatten)]
    pub quiet: Quiet,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Resume {
    pub service: Name,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Quiet {
    /// Wait until nothing is in flight: when this returns 0 the app has no work, and a migration may begin
    #[arg(long)]
    pub wait: bool,
    /// How long to wait for that (the service's own drain deadline unless said)
    #[arg(long, value_name = "DURATION")]
    pub deadline: Option<Span>,
}

pub async fn hold(door: &Door, args: &Hold) -> Result<Exit, Failure> {
    let (service, quiet) = (&args.service, &args.quiet);
    shut(door, &args.writing, (service, "hold"), args.span, quiet).await
}

pub async fn maintenance(door: &Door, args: &Maintenance) -> Result<Exit, Failure> {
    let call = (&args.service, "maintenance");
    shut(door, &args.writing, call, args.span, &args.quiet).await
}

async fn shut(
    door: &Door,
    writing: &Writing,
    (service, verb): (&Name, &str),
    span: Option<Span>,
    quiet: &Quiet,
) -> Result<Exit, Failure> {
    let asked = HoldBody {
        span,
        wait: if quiet.wait {
            Wait::Drained
        } else {
            Wait::None
        },
        ready_timeout: None,
        deadline: quiet.deadline,
        reason: None,
    };
    let asked = body(&asked)?;
    let waits = match (quiet.wait, quiet.deadline) {
        (true, Some(deadline)) => deadline.0,
        // As long as a drain may take.
        (true, None) => Duration::from_hours(24),
        (false, _) => Duration::ZERO,
    };
    write(door, writing, async |_: &Client| {
        let path = format!("/v1/services/{}/{verb}", segment(service));
        let mut order = Order::new(Method::POST, path, asked.clone());
        order.waits = waits;
        Ok(order)
    })
    .await
}

pub async fn resume(door: &Door, args: &Resume) -> Result<Exit, Failure> {
    let asked = body(&ResumeBody::default())?;
    write(door, &args.writing, async |_: &Client| {
        let path = format!("/v1/services/{}/resume", segment(&args.service));
        Ok(Order::new(Method::POST, path, asked.clone()))
    })
    .await
}
