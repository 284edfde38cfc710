//! What a request says, checked once at the door.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Query as RawQuery, Request},
};
use http::{HeaderMap, header, request::Parts};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use utoipa::IntoParams;

use super::{
    auth::Caller,
    problem::{Code, Problem},
    wire::{RolloutState, Wait},
};
use crate::{
    control::Order,
    units::{Name, Span},
};

/// No call needs more; a configuration to check is the longest.
const LONGEST_BODY: usize = 1 << 20;
/// A body that dribbles in is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_REASON: usize = 1024;

/// A JSON body. None at all is an empty object, so that a call without arguments needs no body.
pub struct Json<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        if bytes.is_empty() {
            return parse(b"{}").map(Self);
        }
        is_json(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

/// The whole body, within its limits.
pub async fn read(body: Body) -> Result<bytes::Bytes, Problem> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, LONGEST_BODY)).await;
    let whole = whole
        .map_err(|_| Problem::new(Code::RequestTimeout, "the body took longer than 10 seconds"))?;
    whole.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            Problem::new(Code::TooLarge, "the body is longer than 1 MiB")
        } else {
            Problem::new(Code::InvalidRequest, "the body broke off")
        }
    })
}

/// A page of another origin can send forms and plain text without asking, but not this type.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"))
    {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "the body must not be compressed",
        ));
    }
    let kind = text(header::CONTENT_TYPE).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("the body is {kind:?}, not application/json"),
        )
        .hint("send `Content-Type: application/json`"))
    }
}

/// Text that is no JSON is told apart from JSON that is not what was asked for.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Problem::new(Code::InvalidJson, "the body is not UTF-8"))?;
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|error| Problem::new(Code::InvalidJson, error.to_string()))?;
    // serde would take an array as a structure's fields in their order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Problem::new(
            Code::InvalidRequest,
            "the body is not an object",
        ));
    }
    serde_json::from_str(text).map_err(|error| not_understood(&error.to_string()))
}

/// What serde found wrong, with the nearest name where one was mistyped.
fn not_understood(message: &str) -> Problem {
    let Some((what, rest)) = ["unknown field `", "unknown variant `"]
        .iter()
        .find_map(|start| Some((*start, message.split_once(start)?.1)))
    else {
        return Problem::new(Code::InvalidRequest, message);
    };
    let code = if what.contains("field") {
        Code::UnknownKey
    } else {
        Code::InvalidRequest
    };
    // The last one, because the name itself comes from outside and may hold anything.
    let (given, expected) = rest.rsplit_once("`, expected").unwrap_or((rest, ""));
    let known: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
    let problem = Problem::new(code, message);
    match nearest(given, known.iter().copied()) {
        Some(name) => problem.hint(format!("did you mean `{name}`?")),
        None => problem,
    }
}

/// The known name that `given` was probably meant to be.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given: String = given.chars().take(64).collect();
    let scored = known.map(|name| (strsim::damerau_levenshtein(&given, name), name));
    let (distance, name) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + name.len() / 3).then_some(name)
}

/// Query parameters; unknown ones are refused, because `?dryrun=true` must not be a change.
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        RawQuery::try_from_uri(&parts.uri)
            .map(|RawQuery(query)| Self(query))
            .map_err(|rejection| {
                let cause = std::error::Error::source(&rejection).map(ToString::to_string);
                not_understood(&cause.unwrap_or_else(|| rejection.body_text()))
            })
    }
}

/// The parts of the path that a call names, percent-decoded. One that could be no name is one that does not exist.
pub struct Named<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        named
            .map(|Path(named)| Self(named))
            .map_err(|rejection| Problem::new(Code::NotFound, rejection.body_text()))
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DryRun {
    /// Change nothing; answer what would change and whom it would touch.
    pub dry_run: bool,
}

/// What the removal of an endpoint says, which has no body.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Removal {
    /// Change nothing; answer what would change and whom it would touch.
    pub dry_run: bool,
    /// Passes the gate `last-ready-endpoint`.
    pub force: bool,
    pub reason: Option<String>,
    pub wait: Wait,
    /// How long to wait; the service's own drain deadline unless said.
    #[param(value_type = Option<String>, example = "30s")]
    pub deadline: Option<Span>,
    /// At the deadline, end what is still in flight.
    pub cut: bool,
}

/// The same for the way back to the file.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Reverting {
    /// Change nothing; answer what would change and whom it would touch.
    pub dry_run: bool,
    /// Passes the gates.
    pub force: bool,
    pub reason: Option<String>,
}

/// Which rollouts are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listed {
    /// Only of this service.
    pub service: Option<Name>,
    /// Only those that stand there; `running` are all that are not over.
    #[param(inline)]
    pub state: Option<RolloutState>,
}

/// What is reported on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Reported {
    /// Only this service.
    pub service: Option<Name>,
    /// How far back; 30d unless said.
    #[param(value_type = Option<String>, example = "7d")]
    pub window: Option<Span>,
}

/// The headers that every write takes, for the description of the API; [`Writer`] reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description, never a value")]
pub struct WriteHeaders {
    /// The revision of the service that the change is made for; any other in force is a 412.
    #[param(rename = "If-Match", example = "\"17\"")]
    if_match: Option<String>,
    /// The same key within 24 hours gets the first answer again.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// Who writes, and on what conditions.
pub struct Writer {
    pub caller: Caller,
    if_match: Option<u64>,
    idempotency_key: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self {
            caller: caller(parts)?,
            if_match: if_match(&parts.headers)?,
            idempotency_key: idempotency_key(&parts.headers)?,
        })
    }
}

impl Writer {
    pub fn order(self, reason: Option<String>, dry_run: bool) -> Result<Order, Problem> {
        if reason
            .as_ref()
            .is_some_and(|reason| reason.len() > LONGEST_REASON)
        {
            return Err(Problem::new(
                Code::InvalidRequest,
                "a reason has at most 1024 bytes",
            ));
        }
        Ok(Order {
            actor: self.caller.actor,
            reason: reason.filter(|reason| !reason.is_empty()),
            if_match: self.if_match,
            dry_run,
            idempotency_key: self.idempotency_key,
            deadline: None,
        })
    }
}

/// The door has put it there.
pub fn caller(parts: &Parts) -> Result<Caller, Problem> {
    let caller = parts.extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| Problem::new(Code::Unauthenticated, "nobody was authenticated"))
}

/// RFC 9110 §13.1.1, for one entity tag: a revision in quotes. Without quotes it is taken too.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("").trim();
    if text == "*" {
        return Ok(None);
    }
    let revision = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    revision.parse().map(Some).map_err(|_| {
        Problem::new(
            Code::InvalidRequest,
            format!("If-Match is {text:?}, not a revision"),
        )
        .hint("send the ETag of GET /v1/services/{service}, such as \"17\"")
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or("").trim_matches('"');
    if key.is_empty() || key.len() > 255 {
        return Err(Problem::new(
            Code::InvalidRequest,
            "an Idempotency-Key has 1 to 255 ASCII characters",
        ));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::wire::{Changes, PutWeights};

    fn refused<T: DeserializeOwned>(body: &str) -> (u16, Code, Option<String>) {
        let problem = parse::<T>(body.as_bytes()).err().expect("refused");
        (problem.0.status, problem.0.code, problem.0.hint)
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_name() {
        let (status, code, hint) = refused::<PutWeights>(r#"{"weigths":{"blue":1}}"#);
        assert_eq!((status, code), (422, Code::UnknownKey));
        assert_eq!(hint.as_deref(), Some("did you mean `weights`?"));
        let (_, code, hint) =
            refused::<Changes>(r#"{"changes":[{"do":"swich","service":"a","to":"b"}]}"#);
        assert_eq!(
            (code, hint.as_deref()),
            (Code::InvalidRequest, Some("did you mean `switch`?"))
        );
        let hostile = r#"{"x`, expected `weights":1}"#;
        assert_eq!(refused::<PutWeights>(hostile).1, Code::UnknownKey);
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        let deep = "[".repeat(100_000);
        for body in [
            "{",
            "{\"weights\":NaN}",
            "nonsense",
            "{}{}",
            "{\"weights\":{\"blue\":01}}",
            &deep,
            "\u{feff}{}",
        ] {
            assert_eq!(refused::<PutWeights>(body).0, 400, "{body:.40}");
        }
    }

    #[test]
    fn what_is_json_and_means_nothing_is_unprocessable() {
        let deep = format!("{{\"weights\":{}1{}}}", "[".repeat(50), "]".repeat(50));
        for body in [
            "[]",
            "null",
            "{}",
            "{\"weights\":[]}",
            "{\"weights\":{\"Blue\":1}}",
            "{\"weights\":{\"blue\":1e400}}",
            "{\"weights\":{\"blue\":99999999999999999999}}",
            "{\"weights\":{\"../../etc\":1}}",
            "{\"weights\":{\"\\u0000\":1}}",
            "{\"weights\":{\"blue\":1},\"weights\":{\"blue\":2}}",
            "{\"weights\":{},\"deadline\":\"soon\"}",
            &deep,
        ] {
            let (status, ..) = refused::<PutWeights>(body);
            assert_eq!(status, 422, "{body}");
        }
    }

    #[test]
    fn if_match_is_a_revision_or_anything() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, value.parse().unwrap());
            if_match(&headers).map_err(|problem| problem.0.status)
        };
        assert_eq!(
            (of("\"17\""), of("17"), of("*")),
            (Ok(Some(17)), Ok(Some(17)), Ok(None))
        );
        for bad in [
            "",
            "\"",
            "\"\"",
            "W/\"17\"",
            "seventeen",
            "\"1\", \"2\"",
            "-1",
        ] {
            assert_eq!(of(bad), Err(422), "{bad}");
        }
    }
}
