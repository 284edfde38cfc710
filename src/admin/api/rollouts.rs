//! Rollouts: they are begun, looked at, and told what to do.

use std::sync::Arc;

use axum::extract::State as Given;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::{
        auth::Caller,
        extract::{DryRun, Json, Listed, Named, Query, WriteHeaders, Writer},
        problem::{Code, Document, Problem},
        rollout_view as shown,
        state::State,
        wire::{
            ResumeHow, RolloutChanged, RolloutDetail, RolloutOrder, RolloutState, RolloutVerb,
            Rollouts, StartRollout,
        },
    },
    control::{
        Order,
        rollout::{Part, Request, Resume, Rollout, Start, Verb},
        view::View,
    },
    units::Name,
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(start))
        .routes(routes!(list))
        .routes(routes!(rollout))
        .routes(routes!(tell))
}

type Answer = Result<axum::Json<RolloutChanged>, Problem>;

/// Begin to take a service to another pool, step by step.
#[utoipa::path(
    post, path = "/v1/services/{service}/rollouts", tag = "rollouts",
    params(("service" = Name, Path), DryRun, WriteHeaders),
    request_body = StartRollout,
    responses(
        (status = 200, body = RolloutChanged),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn start(
    Given(state): Given<State>,
    Named(service): Named<Name>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<StartRollout>,
) -> Answer {
    writer.caller.may_operate(service.as_str())?;
    for other in body.with.keys() {
        writer.caller.may_operate(other.as_str())?;
    }
    let seen = state.control.view().await?;
    if seen.service(service.as_str()).is_none() {
        let none = format!("there is no service `{service}`");
        return Err(Problem::new(Code::UnknownService, none));
    }
    if body.supersede {
        let services: Vec<_> = body.with.keys().chain([&service]).collect();
        for ended in shown::all(&seen).iter().filter(|of| !of.is_over()) {
            if services.iter().any(|name| ended.member(name).is_some()) {
                may_operate(&writer.caller, ended)?;
            }
        }
    }
    let others = body.with.iter().map(|(service, to)| Part {
        service: service.clone(),
        to: Some(to.clone()),
        from: None,
        version: body.version.clone(),
    });
    let first = Part {
        service: service.clone(),
        to: body.to,
        from: body.from,
        version: body.version.clone(),
    };
    let what = Verb::Start(Box::new(Start {
        services: [first].into_iter().chain(others).collect(),
        preset: body.preset,
        plan: body.plan,
        supersede: body.supersede,
    }));
    let order = writer.order(body.reason, dry_run.dry_run)?;
    is_at_revision(&seen, &service, &order)?;
    ask(&state, what, order).await.map_err(Problem::in_body)
}

/// Rollouts that are under way, and the last of each service that were.
#[utoipa::path(
    get, path = "/v1/rollouts", tag = "rollouts",
    params(Listed),
    responses(
        (status = 200, body = Rollouts),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn list(
    Given(state): Given<State>,
    Query(listed): Query<Listed>,
) -> Result<axum::Json<Rollouts>, Problem> {
    let seen = state.control.view().await?;
    if let Some(service) = &listed.service
        && seen.service(service.as_str()).is_none()
    {
        let none = format!("there is no service `{service}`");
        return Err(Problem::new(Code::UnknownService, none));
    }
    let wanted = |of: &Arc<Rollout>| {
        let service = listed.service.as_ref();
        let of_service = service.is_none_or(|service| of.member(service).is_some());
        of_service && listed.state.is_none_or(|state| stands(of, state))
    };
    let rollouts = shown::all(&seen).into_iter().filter(wanted);
    let rollouts = state.beside(|beside| {
        let short = |of: Arc<Rollout>| {
            shown::short(&of, beside.lives, shown::is_last(&seen, &of), beside.now)
        };
        rollouts.map(short).collect()
    });
    Ok(axum::Json(Rollouts { rollouts }))
}

fn stands(of: &Rollout, state: RolloutState) -> bool {
    match state {
        RolloutState::Running => !of.is_over(),
        state => of.state() == state.as_str(),
    }
}

/// One rollout: where it stands, what is seen of it, what it has done, and what may be said of it now.
#[utoipa::path(
    get, path = "/v1/rollouts/{id}", tag = "rollouts",
    params(("id" = u64, Path)),
    responses(
        (status = 200, body = RolloutDetail),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn rollout(
    Given(state): Given<State>,
    Named(id): Named<u64>,
) -> Result<axum::Json<RolloutDetail>, Problem> {
    let seen = state.control.view().await?;
    let found = find(&seen, id)?;
    Ok(axum::Json(state.beside(|beside| {
        let is_last = shown::is_last(&seen, &found);
        shown::detail(&found, beside.lives, is_last, beside.now)
    })))
}

/// Tell a rollout what to do.
#[utoipa::path(
    post, path = "/v1/rollouts/{id}/{verb}", tag = "rollouts",
    params(("id" = u64, Path), ("verb" = RolloutVerb, Path), DryRun, WriteHeaders),
    request_body = RolloutOrder,
    responses(
        (status = 200, body = RolloutChanged),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn tell(
    Given(state): Given<State>,
    Named((id, verb)): Named<(u64, RolloutVerb)>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<RolloutOrder>,
) -> Answer {
    let seen = state.control.view().await?;
    let found = find(&seen, id)?;
    may_operate(&writer.caller, &found)?;
    let what = meant(id, verb, &body)?;
    let order = writer.order(body.reason, dry_run.dry_run)?;
    is_at_revision(&seen, found.service(), &order)?;
    let step = found.stage.step().map(|step| step + 1);
    if let Some(wanted) = body.step
        && step != Some(wanted)
    {
        return Err(Problem::new(
            Code::InvalidTransition,
            format!(
                "rollout {id} is not at step {wanted} but at {}",
                found.stage
            ),
        ));
    }
    ask(&state, what, order).await
}

fn meant(id: u64, verb: RolloutVerb, body: &RolloutOrder) -> Result<Verb, Problem> {
    let only = |key: &str, of: &str| {
        let detail = format!("`{key}` is of `{of}`, not of `{}`", verb.as_str());
        Problem::new(Code::InvalidRequest, detail)
    };
    if body.full && verb != RolloutVerb::Promote {
        return Err(only("full", "promote"));
    }
    if body.how.is_some() && verb != RolloutVerb::Resume {
        return Err(only("how", "resume"));
    }
    Ok(match verb {
        RolloutVerb::Promote => Verb::Promote {
            id,
            full: body.full,
        },
        RolloutVerb::Abort => Verb::Abort { id },
        RolloutVerb::Pause => Verb::Pause { id },
        RolloutVerb::Resume => Verb::Resume {
            id,
            how: body.how.map(|how| match how {
                ResumeHow::FromCurrent => Resume::FromCurrent,
                ResumeHow::RestoreStep => Resume::RestoreStep,
            }),
        },
        RolloutVerb::Skip => Verb::Skip { id },
        RolloutVerb::Retry => Verb::Retry { id },
        RolloutVerb::Undo => Verb::Undo { id },
    })
}

/// All services that it touches.
fn may_operate(caller: &Caller, rollout: &Rollout) -> Result<(), Problem> {
    let mut members = rollout.members.iter();
    members.try_for_each(|member| caller.may_operate(member.service.as_str()))
}

fn find(seen: &View, id: u64) -> Result<Arc<Rollout>, Problem> {
    let found = shown::all(seen).into_iter().find(|of| of.id == id);
    found.ok_or_else(|| {
        let none = format!("there is no rollout {id}");
        Problem::new(Code::UnknownRollout, none)
            .hint("`cutover rollout list` shows those that are remembered")
    })
}

/// The condition that a write may be made on.
fn is_at_revision(seen: &View, service: &Name, order: &Order) -> Result<(), Problem> {
    let is = seen
        .service(service.as_str())
        .map(|service| service.revision);
    match (order.if_match, is) {
        (Some(wanted), Some(is)) if wanted != is => Err(Problem::new(
            Code::RevisionMismatch,
            format!("{service} is at revision {is}, not {wanted}"),
        )),
        _ => Ok(()),
    }
}

async fn ask(state: &State, what: Verb, order: Order) -> Answer {
    let dry_run = order.dry_run;
    let request = Request {
        what,
        by: order.actor,
        reason: order.reason,
        dry_run,
        key: order.idempotency_key,
    };
    let told = state.control.rollout(request).await?;
    let rollout =
        state.beside(|beside| shown::detail(&told.rollout, beside.lives, true, beside.now));
    Ok(axum::Json(RolloutChanged {
        rollout,
        durable: told.durable,
        dry_run,
        notes: told.notes,
    }))
}
