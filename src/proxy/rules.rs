//! What a route does to its requests and answers: applied here and nowhere else, once to a request before it is sent and
//! once to its answer. Requests of routes without rules never come here.

use std::{cell::RefCell, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};

use super::{Body, Kind, forwarded, handle::Refused, queue::Asking};
use crate::{
    pool::ServiceStats,
    routing::Head,
    snapshot::Rules,
    units::{Asked, Constant, OwnAnswer, PrefixRewrite, Redirect},
};

/// The rules of the route that a request took.
///
/// Shared by the workers: a request of such a route pays for one reference count that cores pass around.
pub(super) struct Applied {
    rules: Arc<Rules>,
    original: RefCell<Option<Original>>,
}

/// What a request was before it was changed, so that it can be decided on afresh.
struct Original {
    uri: Uri,
    fields: Vec<(HeaderName, Vec<HeaderValue>)>,
}

impl Applied {
    pub(super) fn new(rules: &Arc<Rules>) -> Self {
        Self {
            rules: rules.clone(),
            original: RefCell::default(),
        }
    }

    /// Makes the request what the app shall see.
    pub(super) fn to_request<B>(&self, request: &mut Request<B>) -> Result<(), Kind> {
        let rules = &self.rules.typed;
        let uri = request.uri().clone();
        if let Some(prefix) = &rules.prefix
            && let Some(target) = rewritten(&uri, prefix)
        {
            *request.uri_mut() = target?;
        }
        let headers = request.headers_mut();
        let values = |name: &HeaderName| headers.get_all(name).iter().cloned().collect();
        let fields = rules.touched().map(|name| (name.clone(), values(name)));
        let fields = fields.collect();
        self.original.replace(Some(Original { uri, fields }));
        rules.request.apply(headers);
        if let Some(host) = &rules.host {
            headers.insert(header::HOST, host.clone());
        }
        Ok(())
    }

    /// Makes the request again what the client sent: it is to be decided on once more.
    pub(super) fn undo<B>(&self, request: &mut Request<B>) {
        let Some(original) = self.original.take() else {
            return;
        };
        *request.uri_mut() = original.uri;
        let headers = request.headers_mut();
        for (name, values) in original.fields {
            headers.remove(&name);
            for value in values {
                headers.append(&name, value);
            }
        }
    }

    pub(super) fn to_answer(&self, headers: &mut HeaderMap) {
        self.rules.typed.response.apply(headers);
    }
}

/// The target with another beginning; `None` where its path does not begin so.
fn rewritten(uri: &Uri, prefix: &PrefixRewrite) -> Option<Result<Uri, Kind>> {
    let mut target = prefix.apply(uri.path())?;
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    let parsed = PathAndQuery::from_maybe_shared(Bytes::from(target));
    Some(parsed.map(Uri::from).map_err(|_| Kind::Malformed))
}

/// What the route says before anybody is asked.
pub(super) fn judge(
    rules: &Arc<Rules>,
    service: Option<&Arc<ServiceStats>>,
    head: &Head,
    asking: &Asking,
) -> Result<(), Refused> {
    let refused = |kind| Refused::on(kind, rules, service);
    if !rules.typed.access.permits(asking.client) {
        return Err(refused(Kind::Forbidden));
    }
    if let Some(limiter) = &rules.limiter
        && !asking.counted.replace(true)
        && let Err(wait) = limiter.admit(head, asking.client, asking.began.into_std())
    {
        return Err(refused(Kind::RateLimited(whole_seconds(wait))));
    }
    match &rules.own {
        None => Ok(()),
        Some(own) => Err(match answer(own, rules, head) {
            Ok(answer) => Refused::answered(answer, rules),
            Err(kind) => refused(kind),
        }),
    }
}

/// Who comes back after so many seconds is not refused again.
pub(super) fn whole_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

fn answer(own: &OwnAnswer, rules: &Rules, head: &Head) -> Result<Response<Body>, Kind> {
    match own {
        OwnAnswer::Constant(constant) => Ok(constant_answer(constant)),
        OwnAnswer::Redirect(redirect) => {
            let prefix = rules.typed.prefix.as_ref();
            redirect_answer(redirect, prefix, head)
        }
    }
}

fn constant_answer(constant: &Constant) -> Response<Body> {
    let mut answer = Response::new(Body::own(constant.body.clone()));
    *answer.status_mut() = constant.status;
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !constant.body.is_empty() {
        headers.insert(header::CONTENT_TYPE, constant.content_type.clone());
    }
    answer
}

fn redirect_answer(
    redirect: &Redirect,
    prefix: Option<&PrefixRewrite>,
    head: &Head,
) -> Result<Response<Body>, Kind> {
    let authority = head.headers.get(header::HOST);
    let path = prefix.and_then(|prefix| prefix.apply(head.path));
    let location = redirect.location(&Asked {
        scheme: forwarded::scheme(head.headers).as_str(),
        host: head.host,
        authority: authority.and_then(|host| host.to_str().ok()).unwrap_or(""),
        path: path.as_deref().unwrap_or(head.path),
        query: head.query,
    });
    let location = HeaderValue::from_maybe_shared(Bytes::from(location));
    let mut answer = Response::new(Body::own(Bytes::new()));
    *answer.status_mut() = redirect.status;
    answer
        .headers_mut()
        .insert(header::LOCATION, location.map_err(|_| Kind::Malformed)?);
    Ok(answer)
}
