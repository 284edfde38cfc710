//! Errors as RFC 9457 problem documents, with a code from a closed list and what to type next.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{control, control::Refusal};

/// An error, boxed because it is rare and large.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(pub Box<Document>);

/// `application/problem+json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(title = "Problem")]
pub struct Document {
    /// `urn:cutover:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub code: Code,
    /// What to type.
    #[serde(default)]
    pub hint: Option<String>,
    /// What a gate saw: each endpoint that is not ready, with its last probe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// What is wrong with a configuration, as `cutover check --format json` prints it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    pub service: String,
    pub pool: String,
    pub endpoint: String,
    pub state: String,
    pub probe: Option<super::wire::Probe>,
}

/// Every code there is. The list only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    InvalidJson,
    UnknownKey,
    InvalidRequest,
    TooLarge,
    UnsupportedMediaType,
    RequestTimeout,
    Unauthenticated,
    Forbidden,
    HostNotAllowed,
    OriginNotAllowed,
    NotFound,
    MethodNotAllowed,
    UnknownService,
    UnknownPool,
    UnknownEndpoint,
    UnknownRevision,
    UnknownField,
    IncompleteWeights,
    InvalidWeights,
    PoolNotReady,
    LastReadyEndpoint,
    NothingSettled,
    RevisionMismatch,
    IdempotencyMismatch,
    InvalidConfig,
    BindFailed,
    NotDurable,
    ShuttingDown,
    UnknownRollout,
    RolloutRunning,
    InvalidTransition,
    InvalidPlan,
    Frozen,
    TooManyStreams,
    Internal,
    /// A code that this version does not know; never sent.
    #[serde(other)]
    Other,
}

impl Code {
    /// The status it goes with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson => StatusCode::BAD_REQUEST,
            Self::UnknownKey
            | Self::InvalidRequest
            | Self::IncompleteWeights
            | Self::InvalidWeights
            | Self::IdempotencyMismatch
            | Self::InvalidPlan
            | Self::InvalidConfig => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::HostNotAllowed => StatusCode::MISDIRECTED_REQUEST,
            Self::NotFound
            | Self::UnknownService
            | Self::UnknownPool
            | Self::UnknownEndpoint
            | Self::UnknownRevision
            | Self::UnknownRollout
            | Self::UnknownField => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PoolNotReady
            | Self::LastReadyEndpoint
            | Self::NothingSettled
            | Self::RolloutRunning
            | Self::InvalidTransition
            | Self::Frozen
            | Self::BindFailed => StatusCode::CONFLICT,
            Self::RevisionMismatch => StatusCode::PRECONDITION_FAILED,
            Self::NotDurable => StatusCode::INSUFFICIENT_STORAGE,
            Self::ShuttingDown | Self::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal | Self::Other => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The same in words: one short sentence that never varies.
    fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "The body is not JSON",
            Self::UnknownKey => "A key that does not exist",
            Self::InvalidRequest => "The request can't be understood",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body must be application/json",
            Self::RequestTimeout => "The body did not arrive in time",
            Self::Unauthenticated => "A valid token is needed",
            Self::Forbidden => "Not allowed",
            Self::HostNotAllowed => "The Host header names no address of this machine",
            Self::OriginNotAllowed => "Web pages of other origins may not call this",
            Self::NotFound => "No such call",
            Self::MethodNotAllowed => "No such method here",
            Self::UnknownService => "No such service",
            Self::UnknownPool => "No such pool",
            Self::UnknownEndpoint => "No such endpoint",
            Self::UnknownRevision => "No such revision",
            Self::UnknownField => "No override of that field",
            Self::IncompleteWeights => "Every pool that has weight must be named",
            Self::InvalidWeights => "These weights can't be",
            Self::PoolNotReady => "The pool is not ready",
            Self::LastReadyEndpoint => "A weighted pool would be left without a ready endpoint",
            Self::NothingSettled => "Nothing to go back to",
            Self::RevisionMismatch => "Somebody else has changed the service",
            Self::IdempotencyMismatch => "The key was used for another request",
            Self::InvalidConfig => "The configuration is invalid",
            Self::BindFailed => "A listener could not be bound",
            Self::NotDurable => "The change could not be written to disk",
            Self::ShuttingDown => "The proxy is shutting down",
            Self::UnknownRollout => "No such rollout",
            Self::RolloutRunning => "A rollout is under way",
            Self::InvalidTransition => "The rollout can't do that where it stands",
            Self::InvalidPlan => "The plan of the rollout is invalid",
            Self::Frozen => "No rollout is begun at this time",
            Self::TooManyStreams => "Too many event streams are open",
            Self::Internal | Self::Other => "Something is broken in the proxy",
        }
    }
}

impl From<control::Code> for Code {
    fn from(code: control::Code) -> Self {
        match code {
            control::Code::UnknownService => Self::UnknownService,
            control::Code::UnknownPool => Self::UnknownPool,
            control::Code::UnknownEndpoint => Self::UnknownEndpoint,
            control::Code::UnknownRevision => Self::UnknownRevision,
            control::Code::UnknownField => Self::UnknownField,
            control::Code::IncompleteWeights => Self::IncompleteWeights,
            control::Code::InvalidWeights => Self::InvalidWeights,
            control::Code::InvalidRequest => Self::InvalidRequest,
            control::Code::PoolNotReady => Self::PoolNotReady,
            control::Code::LastReadyEndpoint => Self::LastReadyEndpoint,
            control::Code::RevisionMismatch => Self::RevisionMismatch,
            control::Code::IdempotencyMismatch => Self::IdempotencyMismatch,
            control::Code::NothingSettled => Self::NothingSettled,
            control::Code::InvalidConfig => Self::InvalidConfig,
            control::Code::BindFailed => Self::BindFailed,
            control::Code::NotDurable => Self::NotDurable,
            control::Code::ShuttingDown => Self::ShuttingDown,
            control::Code::UnknownRollout => Self::UnknownRollout,
            control::Code::RolloutRunning => Self::RolloutRunning,
            control::Code::InvalidTransition => Self::InvalidTransition,
            control::Code::InvalidPlan => Self::InvalidPlan,
            control::Code::Frozen => Self::Frozen,
        }
    }
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let name = serde_json::to_value(code).unwrap_or_default();
        Self(Box::new(Document {
            kind: format!(
                "urn:cutover:problem:{}",
                name.as_str().unwrap_or("internal")
            ),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail: detail.into(),
            code,
            hint: None,
            evidence: Vec::new(),
            problems: Vec::new(),
        }))
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Of something that the body names, not the path: the call exists, what it asks does not.
    #[must_use]
    pub fn in_body(mut self) -> Self {
        if self.0.status == StatusCode::NOT_FOUND.as_u16() {
            self.0.status = StatusCode::UNPROCESSABLE_ENTITY.as_u16();
        }
        self
    }

    /// The same where the path names the service, and the body the rest.
    #[must_use]
    pub fn in_body_but_service(self) -> Self {
        if self.0.code == Code::UnknownService {
            self
        } else {
            self.in_body()
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let evidence = refusal.evidence.into_iter().map(|seen| Evidence {
            service: seen.endpoint.service.into(),
            pool: seen.endpoint.pool.into(),
            endpoint: seen.endpoint.address.to_string(),
            state: seen.state,
            probe: seen.probe.map(Into::into),
        });
        let mut problem = Self::new(refusal.code.into(), refusal.detail);
        problem.0.hint = refusal.hint;
        problem.0.evidence = evidence.collect();
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = self.0;
        let status =
            StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&document)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if document.code == Code::Unauthenticated {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"cutover\""),
            );
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_its_code_everywhere_the_same() {
        let problem =
            Problem::new(Code::PoolNotReady, "green: 0 of 2 ready").hint("cutover status shop");
        let json = serde_json::to_value(&problem.0).unwrap();
        assert_eq!(json["type"], "urn:cutover:problem:pool-not-ready");
        assert_eq!(json["code"], "pool-not-ready");
        assert_eq!(json["status"], 409);
        assert_eq!(json["hint"], "cutover status shop");
    }

    #[test]
    fn what_the_body_names_and_does_not_exist_is_unprocessable() {
        assert_eq!(
            Problem::new(Code::UnknownPool, "gren").in_body().0.status,
            422
        );
        assert_eq!(
            Problem::new(Code::PoolNotReady, "green").in_body().0.status,
            409
        );
    }
}
