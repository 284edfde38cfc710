//! What all calls that change something have in common.

use std::time::Duration;

use crate::{
    admin::{
        extract::{DryRun, Writer},
        problem::Problem,
        state::State,
        view,
        wire::{Changed, Wait},
    },
    control::{Act, Change},
    units::Span,
};

pub type Answer = Result<axum::Json<Changed>, Problem>;

/// How long a pool may take to be ready, unless the call says.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// How a call waits.
#[derive(Default)]
pub struct Waiting {
    pub wait: Wait,
    pub ready_timeout: Option<Span>,
    pub deadline: Option<Span>,
    pub cut: bool,
}

/// What a call asks for, apart from its change.
pub struct Request<'a> {
    pub state: &'a State,
    pub writer: Writer,
    pub waiting: Waiting,
    pub reason: Option<String>,
    pub dry_run: DryRun,
}

/// Sends the changes and waits as told. The waiting ends with the client's connection; the change does not.
pub async fn act(request: Request<'_>, changes: Vec<Change>) -> Result<Changed, Problem> {
    let writer = request.writer;
    for change in &changes {
        match change {
            Change::Revert { .. } => writer.caller.may_administer()?,
            _ => writer.caller.may_operate(change.service().as_str())?,
        }
    }
    let waiting = request.waiting;
    let act = Act {
        changes,
        order: writer.order(request.reason, request.dry_run.dry_run)?,
        wait: waiting.wait.into(),
        ready_timeout: waiting.ready_timeout.map_or(READY_TIMEOUT, |span| span.0),
        deadline: waiting.deadline.map(|span| span.0),
        cut: waiting.cut,
    };
    let done = request.state.control.act(act).await;
    done.map(view::changed).map_err(Problem::from)
}

/// The call names one service, so the top of the answer says its revision and shares.
pub async fn act_on_one(request: Request<'_>, changes: Vec<Change>) -> Answer {
    let mut answer = act(request, changes).await?;
    if let Some(service) = answer.services.first() {
        (answer.revision, answer.share) = (Some(service.revision), Some(service.share.clone()));
    }
    Ok(axum::Json(answer))
}
