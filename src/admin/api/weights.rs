//! Weights of one service.

use axum::extract::State as Given;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::act::{Answer, Request, Waiting, act_on_one};
use crate::{
    admin::{
        extract::{DryRun, Json, Named, Query, WriteHeaders, Writer},
        problem::{Document, Problem},
        state::State,
        wire::{self, Changed},
    },
    control::Change,
    units::Name,
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(put_weights))
        .routes(routes!(switch))
        .routes(routes!(rollback))
}

/// Set the weights of a service.
#[utoipa::path(
    put, path = "/v1/services/{service}/weights", tag = "changes",
    params(("service" = Name, Path), DryRun, WriteHeaders),
    request_body = wire::PutWeights,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn put_weights(
    Given(state): Given<State>,
    Named(service): Named<Name>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::PutWeights>,
) -> Answer {
    let waiting = Waiting {
        wait: body.wait,
        ready_timeout: body.ready_timeout,
        deadline: body.deadline,
        cut: false,
    };
    let request = Request {
        state: &state,
        writer,
        waiting,
        reason: body.reason,
        dry_run,
    };
    let change = Change::Weights {
        service,
        weights: body.weights,
        force: body.force,
    };
    act_on_one(request, vec![change])
        .await
        .map_err(Problem::in_body_but_service)
}

/// Give all traffic to one pool, in one step, once it is proven afresh.
#[utoipa::path(
    post, path = "/v1/services/{service}/switch", tag = "changes",
    params(("service" = Name, Path), DryRun, WriteHeaders),
    request_body = wire::Switch,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn switch(
    Given(state): Given<State>,
    Named(service): Named<Name>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Switch>,
) -> Answer {
    let waiting = Waiting {
        wait: body.wait,
        ready_timeout: body.ready_timeout,
        deadline: body.deadline,
        cut: false,
    };
    let request = Request {
        state: &state,
        writer,
        waiting,
        reason: body.reason,
        dry_run,
    };
    let change = Change::Switch {
        service,
        to: body.to,
        version: body.version,
        force: body.force,
    };
    act_on_one(request, vec![change])
        .await
        .map_err(Problem::in_body_but_service)
}

/// Go back to the last settled weights, or to those of a revision.
#[utoipa::path(
    post, path = "/v1/services/{service}/rollback", tag = "changes",
    params(("service" = Name, Path), DryRun, WriteHeaders),
    request_body = wire::Rollback,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn rollback(
    Given(state): Given<State>,
    Named(service): Named<Name>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Rollback>,
) -> Answer {
    let waiting = Waiting {
        wait: body.wait,
        ready_timeout: body.ready_timeout,
        deadline: body.deadline,
        cut: false,
    };
    let request = Request {
        state: &state,
        writer,
        waiting,
        reason: body.reason,
        dry_run,
    };
    let change = Change::Rollback {
        service,
        to_revision: body.to_revision,
        again: body.again,
        force: body.force,
    };
    act_on_one(request, vec![change])
        .await
        .map_err(Problem::in_body_but_service)
}
