//! The calls of `/v1`, a file for each noun.

mod act;
mod admission;
mod changes;
mod config;
mod drains;
mod endpoints;
mod events;
mod explain;
mod health;
mod reports;
mod rollouts;
mod route_text;
mod services;
mod status;
mod trial_text;
mod weights;

use utoipa_axum::router::OpenApiRouter;

use super::state::State;

/// Every call, and its description.
pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .merge(health::scraped())
        .merge(status::router())
        .merge(services::router())
        .merge(weights::router())
        .merge(admission::router())
        .merge(drains::router())
        .merge(endpoints::router())
        .merge(changes::router())
        .merge(rollouts::router())
        .merge(reports::router())
        .merge(config::router())
        .merge(explain::router())
        .merge(events::router())
}

/// What `[telemetry] address` serves.
pub use health::scraped;
