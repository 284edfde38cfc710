//! Endpoints that come and go at run time.

use axum::extract::State as Given;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::act::{Answer, Request, Waiting, act_on_one};
use crate::{
    admin::{
        extract::{DryRun, Json, Named, Query, Removal, WriteHeaders, Writer},
        problem::Document,
        state::State,
        wire::{self, Changed},
    },
    control::Change,
    units::{Address, EndpointKey, Name},
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(put_endpoint, delete_endpoint))
}

/// Add an endpoint to a pool, or set its weight. It gets no traffic until it has passed its probes.
#[utoipa::path(
    put, path = "/v1/services/{service}/pools/{pool}/endpoints/{endpoint}", tag = "changes",
    params(("service" = Name, Path), ("pool" = Name, Path), ("endpoint" = Address, Path), DryRun, WriteHeaders),
    request_body = wire::PutEndpoint,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn put_endpoint(
    Given(state): Given<State>,
    Named((service, pool, address)): Named<(Name, Name, Address)>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<wire::PutEndpoint>,
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
    let endpoint = EndpointKey {
        service,
        pool,
        address,
    };
    let change = Change::AddEndpoint {
        endpoint,
        weight: body.weight.unwrap_or(1),
    };
    act_on_one(request, vec![change]).await
}

/// Remove an endpoint from a pool. What is in flight on it may end; `wait=drained` answers when it has.
#[utoipa::path(
    delete, path = "/v1/services/{service}/pools/{pool}/endpoints/{endpoint}", tag = "changes",
    params(("service" = Name, Path), ("pool" = Name, Path), ("endpoint" = Address, Path), Removal, WriteHeaders),
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn delete_endpoint(
    Given(state): Given<State>,
    Named((service, pool, address)): Named<(Name, Name, Address)>,
    writer: Writer,
    Query(removal): Query<Removal>,
) -> Answer {
    let change = Change::RemoveEndpoint {
        endpoint: EndpointKey {
            service,
            pool,
            address,
        },
        force: removal.force,
    };
    let request = Request {
        state: &state,
        writer,
        waiting: Waiting {
            wait: removal.wait,
            ready_timeout: None,
            deadline: removal.deadline,
            cut: removal.cut,
        },
        reason: removal.reason,
        dry_run: DryRun {
            dry_run: removal.dry_run,
        },
    };
    act_on_one(request, vec![change]).await
}
