//! Services as they are, and how they came to be so.

use axum::{
    extract::State as Given,
    response::{IntoResponse, Response},
};
use http::header;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::{
        extract::Named,
        problem::{Code, Document, Problem},
        state::State,
        view,
        wire::{History, Service, Services},
    },
    units::Name,
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(service))
        .routes(routes!(history))
}

/// Every service.
#[utoipa::path(
    get, path = "/v1/services", tag = "services",
    responses(
        (status = 200, body = Services),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn list(Given(state): Given<State>) -> Result<axum::Json<Services>, Problem> {
    let seen = state.control.view().await?;
    Ok(axum::Json(Services {
        generation: seen.snapshot.generation,
        services: state.beside(|beside| view::services(&seen, beside)),
    }))
}

/// One service. The `ETag` is its revision, for `If-Match`.
#[utoipa::path(
    get, path = "/v1/services/{service}", tag = "services",
    params(("service" = Name, Path)),
    responses(
        (status = 200, body = Service, headers(("ETag" = String, description = "The revision, in quotes."))),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn service(
    Given(state): Given<State>,
    Named(name): Named<Name>,
) -> Result<Response, Problem> {
    let seen = state.control.service(&name).await?;
    let service = state
        .beside(|beside| view::services(&seen, beside))
        .into_iter()
        .next();
    let service = service.ok_or_else(|| {
        Problem::new(
            Code::UnknownService,
            format!("there is no service `{name}`"),
        )
    })?;
    let etag = format!("\"{}\"", service.revision);
    Ok(([(header::ETAG, etag)], axum::Json(service)).into_response())
}

/// The decisions on a service.
#[utoipa::path(
    get, path = "/v1/services/{service}/history", tag = "services",
    params(("service" = Name, Path)),
    responses(
        (status = 200, body = History),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn history(
    Given(state): Given<State>,
    Named(service): Named<Name>,
) -> Result<axum::Json<History>, Problem> {
    let revisions = state.control.history(&service).await?;
    Ok(axum::Json(History {
        service,
        revisions: revisions.into_iter().map(view::revision).collect(),
    }))
}
