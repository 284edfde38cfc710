//! Everything at a glance.

use axum::extract::State as Given;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::{
        problem::{Document, Problem},
        state::State,
        view,
        wire::Status,
    },
    control::Filter,
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(status))
}

/// How many of the last events status shows.
const EVENTS: usize = 10;

/// Version, phase, configuration, what is in force beside the file, and every service.
#[utoipa::path(
    get, path = "/v1/status", tag = "services",
    responses(
        (status = 200, body = Status),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn status(Given(state): Given<State>) -> Result<axum::Json<Status>, Problem> {
    let seen = state.control.view().await?;
    let events = state.control.events().list(&Filter {
        limit: Some(EVENTS),
        ..Filter::default()
    });
    let path = state.config.as_ref().map(|file| file.path.as_path());
    let status = state.beside(|beside| view::status(&seen, beside, path, &events));
    Ok(axum::Json(status))
}
