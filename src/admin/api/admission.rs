//! Whether requests of a service are let through, held, or answered with a page.

use axum::extract::State as Given;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::act::{Answer, Request, Waiting, act_on_one};
use crate::{
    admin::{
        extract::{DryRun, Json, Named, Query, WriteHeaders, Writer},
        problem::Document,
        state::State,
        wire::{self, Changed},
    },
    control::Change,
    units::{Admission, Name},
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(hold))
        .routes(routes!(maintenance))
        .routes(routes!(resume))
}

/// Have requests wait, for a while; then they flow by themselves.
#[utoipa::path(
    post, path = "/v1/services/{service}/hold", tag = "changes",
    params(("service" = Name, Path), DryRun, WriteHeaders),
    request_body = wire::Hold,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn hold(
    Given(state): Given<State>,
    Named(service): Named<Name>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Hold>,
) -> Answer {
    shut(&state, service, Admission::Hold, (writer, dry_run), body).await
}

/// Answer requests with the page for maintenance, but let those of the allowed clients through.
#[utoipa::path(
    post, path = "/v1/services/{service}/maintenance", tag = "changes",
    params(("service" = Name, Path), DryRun, WriteHeaders),
    request_body = wire::Hold,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn maintenance(
    Given(state): Given<State>,
    Named(service): Named<Name>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Hold>,
) -> Answer {
    let admission = Admission::Maintenance;
    shut(&state, service, admission, (writer, dry_run), body).await
}

async fn shut(
    state: &State,
    service: Name,
    admission: Admission,
    (writer, dry_run): (Writer, DryRun),
    body: wire::Hold,
) -> Answer {
    let request = Request {
        state,
        writer,
        waiting: Waiting {
            wait: body.wait,
            ready_timeout: body.ready_timeout,
            deadline: body.deadline,
            cut: false,
        },
        reason: body.reason,
        dry_run,
    };
    let change = Change::Admit {
        service,
        admission,
        span: body.span.map(|span| span.0),
    };
    act_on_one(request, vec![change]).await
}

/// Let requests flow again: those that wait, and those that come.
#[utoipa::path(
    post, path = "/v1/services/{service}/resume", tag = "changes",
    params(("service" = Name, Path), DryRun, WriteHeaders),
    request_body = wire::Resume,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn resume(
    Given(state): Given<State>,
    Named(service): Named<Name>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Resume>,
) -> Answer {
    let request = Request {
        state: &state,
        writer,
        waiting: Waiting::default(),
        reason: body.reason,
        dry_run,
    };
    let change = Change::Admit {
        service,
        admission: Admission::Open,
        span: None,
    };
    act_on_one(request, vec![change]).await
}
