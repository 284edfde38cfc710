//! Several changes at once, and the way back to the file.

use axum::extract::State as Given;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::act::{Answer, Request, Waiting, act, act_on_one};
use crate::{
    admin::{
        extract::{DryRun, Json, Named, Query, Reverting, WriteHeaders, Writer},
        problem::{Code, Document, Problem},
        state::State,
        wire::{self, Changed, Step},
    },
    control::{Change, Target},
    units::{Address, Admission, EndpointKey, Name, PoolKey, Span},
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(change))
        .routes(routes!(delete_override))
}

/// More belongs into the file.
const MOST_STEPS: usize = 1000;

/// Apply several changes on several services as one, or none of them.
#[utoipa::path(
    post, path = "/v1/changes", tag = "changes",
    params(DryRun, WriteHeaders),
    request_body = wire::Changes,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn change(
    Given(state): Given<State>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Changes>,
) -> Answer {
    if body.changes.is_empty() || body.changes.len() > MOST_STEPS {
        let count = body.changes.len();
        return Err(Problem::new(
            Code::InvalidRequest,
            format!("{count} changes; a call takes 1 to {MOST_STEPS}"),
        ));
    }
    let request = Request {
        state: &state,
        writer,
        waiting: Waiting {
            wait: body.wait,
            ready_timeout: body.ready_timeout,
            deadline: body.deadline,
            cut: body.cut,
        },
        reason: body.reason,
        dry_run,
    };
    let changes = body.changes.into_iter().map(Change::from).collect();
    act(request, changes)
        .await
        .map(axum::Json)
        .map_err(Problem::in_body)
}

/// Drop what was decided at run time on one field of a service, or with `*` on all of them: the file holds again.
#[utoipa::path(
    delete, path = "/v1/services/{service}/overrides/{field}", tag = "changes",
    params(
        ("service" = Name, Path),
        ("field" = String, Path, description = "As `GET /v1/drift` names it, or `*`."),
        Reverting,
        WriteHeaders,
    ),
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn delete_override(
    Given(state): Given<State>,
    Named((service, field)): Named<(Name, String)>,
    writer: Writer,
    Query(reverting): Query<Reverting>,
) -> Answer {
    let change = Change::Revert {
        service,
        field: (field != "*").then_some(field),
        force: reverting.force,
    };
    let request = Request {
        state: &state,
        writer,
        waiting: Waiting::default(),
        reason: reverting.reason,
        dry_run: DryRun {
            dry_run: reverting.dry_run,
        },
    };
    act_on_one(request, vec![change]).await
}

impl From<Step> for Change {
    fn from(step: Step) -> Self {
        match step {
            Step::Weights {
                service,
                weights,
                force,
            } => Self::Weights {
                service,
                weights,
                force,
            },
            Step::Switch {
                service,
                to,
                version,
                force,
            } => Self::Switch {
                service,
                to,
                version,
                force,
            },
            Step::Rollback {
                service,
                to_revision,
                again,
                force,
            } => Self::Rollback {
                service,
                to_revision,
                again,
                force,
            },
            Step::Drain {
                service,
                pool,
                endpoint,
                force,
            } => drain(target(service, pool, endpoint), force),
            Step::Restore {
                service,
                pool,
                endpoint,
            } => restore(target(service, pool, endpoint)),
            Step::AddEndpoint {
                service,
                pool,
                endpoint,
                weight,
            } => add(key(service, pool, endpoint), weight),
            Step::RemoveEndpoint {
                service,
                pool,
                endpoint,
                force,
            } => remove(key(service, pool, endpoint), force),
            Step::Hold { service, span } => admit(service, Admission::Hold, span),
            Step::Maintenance { service, span } => admit(service, Admission::Maintenance, span),
            Step::Resume { service } => admit(service, Admission::Open, None),
        }
    }
}

fn drain(target: Target, force: bool) -> Change {
    Change::Drain { target, force }
}

fn restore(target: Target) -> Change {
    Change::Restore { target }
}

fn add(endpoint: EndpointKey, weight: Option<u32>) -> Change {
    let weight = weight.unwrap_or(1);
    Change::AddEndpoint { endpoint, weight }
}

fn remove(endpoint: EndpointKey, force: bool) -> Change {
    Change::RemoveEndpoint { endpoint, force }
}

fn admit(service: Name, admission: Admission, span: Option<Span>) -> Change {
    Change::Admit {
        service,
        admission,
        span: span.map(|span| span.0),
    }
}

fn target(service: Name, pool: Name, endpoint: Option<Address>) -> Target {
    match endpoint {
        Some(address) => Target::Endpoint(key(service, pool, address)),
        None => Target::Pool(PoolKey { service, pool }),
    }
}

fn key(service: Name, pool: Name, address: Address) -> EndpointKey {
    EndpointKey {
        service,
        pool,
        address,
    }
}
