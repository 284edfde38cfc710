//! Drains of a pool or one endpoint, and their end.

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
    control::{Change, Target},
    units::{Address, EndpointKey, Name, PoolKey},
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(drain_pool))
        .routes(routes!(restore_pool))
        .routes(routes!(drain_endpoint))
        .routes(routes!(restore_endpoint))
}

/// Give a pool no new work.
#[utoipa::path(
    post, path = "/v1/services/{service}/pools/{pool}/drain", tag = "changes",
    params(("service" = Name, Path), ("pool" = Name, Path), DryRun, WriteHeaders),
    request_body = wire::Drain,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn drain_pool(
    Given(state): Given<State>,
    Named((service, pool)): Named<(Name, Name)>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Drain>,
) -> Answer {
    let waiting = Waiting {
        wait: body.wait,
        ready_timeout: body.ready_timeout,
        deadline: body.deadline,
        cut: body.cut,
    };
    let request = Request {
        state: &state,
        writer,
        waiting,
        reason: body.reason,
        dry_run,
    };
    let target = Target::Pool(PoolKey { service, pool });
    let change = Change::Drain {
        target,
        force: body.force,
    };
    act_on_one(request, vec![change]).await
}

/// End the drain of a pool. Its endpoints are unproven until they pass their probes afresh.
#[utoipa::path(
    post, path = "/v1/services/{service}/pools/{pool}/restore", tag = "changes",
    params(("service" = Name, Path), ("pool" = Name, Path), DryRun, WriteHeaders),
    request_body = wire::Restore,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn restore_pool(
    Given(state): Given<State>,
    Named((service, pool)): Named<(Name, Name)>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Restore>,
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
    let target = Target::Pool(PoolKey { service, pool });
    act_on_one(request, vec![Change::Restore { target }]).await
}

/// Give an endpoint no new work.
#[utoipa::path(
    post, path = "/v1/services/{service}/pools/{pool}/endpoints/{endpoint}/drain", tag = "changes",
    params(("service" = Name, Path), ("pool" = Name, Path), ("endpoint" = Address, Path), DryRun, WriteHeaders),
    request_body = wire::Drain,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn drain_endpoint(
    Given(state): Given<State>,
    Named((service, pool, address)): Named<(Name, Name, Address)>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Drain>,
) -> Answer {
    let waiting = Waiting {
        wait: body.wait,
        ready_timeout: body.ready_timeout,
        deadline: body.deadline,
        cut: body.cut,
    };
    let request = Request {
        state: &state,
        writer,
        waiting,
        reason: body.reason,
        dry_run,
    };
    let target = Target::Endpoint(EndpointKey {
        service,
        pool,
        address,
    });
    let change = Change::Drain {
        target,
        force: body.force,
    };
    act_on_one(request, vec![change]).await
}

/// End the drain of an endpoint. It is unproven until it passes its probes afresh.
#[utoipa::path(
    post, path = "/v1/services/{service}/pools/{pool}/endpoints/{endpoint}/restore", tag = "changes",
    params(("service" = Name, Path), ("pool" = Name, Path), ("endpoint" = Address, Path), DryRun, WriteHeaders),
    request_body = wire::Restore,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn restore_endpoint(
    Given(state): Given<State>,
    Named((service, pool, address)): Named<(Name, Name, Address)>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::Restore>,
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
    let target = Target::Endpoint(EndpointKey {
        service,
        pool,
        address,
    });
    act_on_one(request, vec![Change::Restore { target }]).await
}
