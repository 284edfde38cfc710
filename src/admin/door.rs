//! What every call passes: who asks, and what becomes of calls that don't exist.

use axum::{
    extract::{Request, State as Given},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};

use super::{
    auth::{self, Peer},
    problem::{Code, Problem},
    state::State,
};

/// Authenticates the peer. What it may is asked by each call.
pub async fn authenticate(
    Given(state): Given<State>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match request.extensions().get::<Peer>() {
        Some(peer) => {
            let tokens = state.tokens.borrow();
            auth::authenticate(peer, request.method(), request.headers(), &tokens)
        }
        None => Err(Problem::new(Code::Internal, "a connection without a peer")),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            uncached(next.run(request).await)
        }
        Err(problem) => uncached(problem.into_response()),
    }
}

/// Answers are of the moment.
fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

pub async fn not_found(request: Request) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("there is no {}", request.uri().path()),
    )
    .hint("GET /openapi.json lists every call")
}

pub async fn method_not_allowed(request: Request) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!(
            "{} does not take {}",
            request.uri().path(),
            request.method()
        ),
    )
    .hint("the Allow header names the methods it takes")
}
