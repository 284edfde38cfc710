//! The description of the API, made from the handlers themselves.

use axum::{
    Router, middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::{api, door, state::State};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cutover admin API",
        description = "Move traffic between versions of an app, see what is served and why. Only ever grows; ignore what you don't know.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact(),
    ),
    tags(
        (name = "changes", description = "Move traffic. Every call takes `dry_run`, `If-Match`, `Idempotency-Key` and a reason, and answers when the change is serving and durable."),
        (name = "rollouts", description = "Go to a new version step by step, judged, and back by itself."),
        (name = "services", description = "See what is served and why."),
        (name = "config", description = "The file."),
        (name = "events", description = "What happened."),
        (name = "health", description = "For orchestrators and scrapers."),
    ),
    modifiers(&Tokens),
    security((), ("token" = [])),
)]
struct Description;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, description: &mut openapi::OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("token", bearer);
    }
}

/// The whole API as OpenAPI, in JSON.
pub fn description() -> String {
    let (_, description) = assembled();
    let mut text = description.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn assembled() -> (Router<State>, openapi::OpenApi) {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(api::router())
        .split_for_parts()
}

/// Everything that the admin listener answers.
pub fn router(state: State) -> Router {
    let (router, _) = assembled();
    router
        .route("/openapi.json", get(described))
        .fallback(door::not_found)
        .method_not_allowed_fallback(door::method_not_allowed)
        .layer(middleware::from_fn_with_state(
            state.clone(),
            door::authenticate,
        ))
        .with_state(state)
}

/// Everything that the telemetry listener answers.
pub fn telemetry(state: State) -> Router {
    let (router, _) = api::scraped().split_for_parts();
    router
        .fallback(door::not_found)
        .method_not_allowed_fallback(door::method_not_allowed)
        .with_state(state)
}

async fn described() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], description()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a change of the API: `UPDATE_OPENAPI=1 cargo nextest run -E 'test(openapi)'`.
    #[test]
    fn the_committed_description_is_what_the_handlers_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, description()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == description(),
            "docs/openapi.json is not up to date"
        );
    }

    #[test]
    fn every_call_says_what_it_answers() {
        let (_, description) = assembled();
        for (path, item) in &description.paths.paths {
            let operations = [&item.get, &item.put, &item.post, &item.delete];
            for operation in operations.into_iter().flatten() {
                assert!(operation.responses.responses.contains_key("200"), "{path}");
                assert!(operation.summary.is_some(), "{path}");
            }
        }
    }
}
