//! Whether the process lives, whether it wants work, and its figures.

use axum::{
    extract::State as Given,
    response::{IntoResponse, Response},
};
use http::{HeaderName, StatusCode, header};
use tokio::task::spawn_blocking;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::{
        problem::{Code, Document, Problem},
        state::State,
        wire::Health,
    },
    control::Phase,
};

/// What needs no token on the telemetry listener.
pub fn scraped() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
}

/// The process answers.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = Health)))]
async fn livez() -> axum::Json<Health> {
    axum::Json(Health {
        status: "ok".to_owned(),
    })
}

/// The process wants work: 503 while it starts and once it ends. Does not depend on app servers, or one that is down
/// would take the proxies of all others with it.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Health)),
)]
async fn readyz(Given(state): Given<State>) -> (StatusCode, axum::Json<Health>) {
    let phase = state.control.phase();
    let (code, status) = match phase {
        Phase::Serving => (StatusCode::OK, "ok"),
        Phase::Starting | Phase::LameDuck | Phase::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, phase.as_str())
        }
    };
    let status = status.to_owned();
    (code, axum::Json(Health { status }))
}

/// The text format of Prometheus, version 0.0.4.
const EXPOSITION: [(HeaderName, &str); 1] = [(
    header::CONTENT_TYPE,
    "text/plain; version=0.0.4; charset=utf-8",
)];

/// All metrics, in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn metrics(Given(state): Given<State>) -> Result<Response, Problem> {
    let view = state.control.view().await?;
    // Thousands of series take some milliseconds to write, in which this thread would decide nothing.
    let written = spawn_blocking(move || (state.measured.metrics)(&view)).await;
    let written =
        written.map_err(|_| Problem::new(Code::Internal, "the metrics cannot be written"))?;
    Ok((EXPOSITION, written).into_response())
}
