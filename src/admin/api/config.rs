//! The file: what it says in effect, whether an edit would do, and its loading.

use axum::{
    extract::State as Given,
    response::{IntoResponse, Response},
};
use http::header;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::{
        extract::{DryRun, Json, Query, WriteHeaders, Writer},
        problem::{Document, Problem},
        state::{Rejected, State},
        view,
        wire::{Changed, Checked, Config, Drifts, Reload},
    },
    config,
    control::Done,
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(effective))
        .routes(routes!(check))
        .routes(routes!(reload))
        .routes(routes!(drift))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// `json` unless said, or `toml`: the text of the file alone.
    format: Format,
}

#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Toml,
}

/// The file that would say what runs: the file in force with what was decided at run time laid over it. Secrets are named
/// by where they come from.
#[utoipa::path(
    get, path = "/v1/config", tag = "config",
    params(Wanted),
    responses(
        (status = 200, content((Config = "application/json"), (String = "application/toml"))),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn effective(
    Given(state): Given<State>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let seen = state.control.view().await?;
    let toml = config::export(&seen.plan, &view::overlay(&seen));
    Ok(match wanted.format {
        Format::Toml => ([(header::CONTENT_TYPE, "application/toml")], toml).into_response(),
        Format::Json => axum::Json(Config {
            path: state.config.map(|file| file.path.display().to_string()),
            applied: seen.config.applied,
            toml,
        })
        .into_response(),
    })
}

/// What a reload of the file, as it is on disk now, would do. Changes nothing.
#[utoipa::path(
    post, path = "/v1/config/check", tag = "config",
    request_body = Reload,
    responses(
        (status = 200, body = Checked),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn check(
    Given(state): Given<State>,
    writer: Writer,
    Json(body): Json<Reload>,
) -> Result<axum::Json<Checked>, Problem> {
    match state.load(writer.order(body.reason, true)?).await {
        Ok(applied) => Ok(axum::Json(Checked {
            valid: true,
            diff: applied.diff.into_iter().map(view::difference).collect(),
            problems: Vec::new(),
            report: None,
        })),
        Err(Rejected::Invalid { report, problems }) => Ok(axum::Json(Checked {
            valid: false,
            diff: Vec::new(),
            problems,
            report: Some(report),
        })),
        Err(Rejected::Refused(refusal)) => Err(refusal.into()),
    }
}

/// Load the file, as a saved edit would be.
#[utoipa::path(
    post, path = "/v1/config/reload", tag = "config",
    params(DryRun, WriteHeaders),
    request_body = Reload,
    responses(
        (status = 200, body = Changed),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn reload(
    Given(state): Given<State>,
    writer: Writer,
    Query(dry_run): Query<DryRun>,
    Json(body): Json<Reload>,
) -> Result<axum::Json<Changed>, Problem> {
    writer.caller.may_administer()?;
    let order = writer.order(body.reason, dry_run.dry_run)?;
    let applied = state.load(order).await?;
    Ok(axum::Json(view::changed(Done {
        applied,
        ready: None,
        left: None,
    })))
}

/// Every field that differs from the file, since when and by whom.
#[utoipa::path(
    get, path = "/v1/drift", tag = "config",
    responses(
        (status = 200, body = Drifts),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn drift(Given(state): Given<State>) -> Result<axum::Json<Drifts>, Problem> {
    let seen = state.control.view().await?;
    let drift = seen.services.iter().flat_map(|service| &service.drift);
    Ok(axum::Json(Drifts {
        drift: drift.map(view::drift).collect(),
    }))
}
