//! What happened, as a list and as a stream (server-sent events, WHATWG HTML §9.2).

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State as Given,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use http::HeaderMap;
use serde::Deserialize;
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{Receiver, error::RecvError},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::{
        extract::{Query, nearest},
        problem::{Code, Document, Problem},
        state::State,
        view,
        wire::{Event as Told, Events as List},
    },
    control::{Event, Events, Filter, Kind},
    units::Name,
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(follow))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only events with a larger id; without it the last `limit`.
    after: Option<u64>,
    #[param(value_type = Option<String>)]
    service: Option<Name>,
    /// `weights`, `drained`, `endpoint-unready` ...
    #[serde(rename = "type")]
    kind: Option<String>,
    /// 100 unless said, at most 1000. Of no meaning for the stream.
    limit: Option<usize>,
}

const MOST: usize = 1000;

impl Which {
    fn filter(self) -> Result<Filter, Problem> {
        Ok(Filter {
            after: self.after,
            service: self.service,
            kind: self.kind.as_deref().map(kind).transpose()?,
            limit: Some(self.limit.unwrap_or(100).min(MOST)),
        })
    }
}

fn kind(name: &str) -> Result<Kind, Problem> {
    let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
    found.ok_or_else(|| {
        let problem = Problem::new(Code::InvalidRequest, format!("there is no type {name:?}"));
        match nearest(name, Kind::ALL.iter().map(|kind| kind.as_str())) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem,
        }
    })
}

/// What happened, oldest first.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(Which),
    responses(
        (status = 200, body = List),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn list(
    Given(state): Given<State>,
    Query(which): Query<Which>,
) -> Result<axum::Json<List>, Problem> {
    let events = state.control.events().list(&which.filter()?);
    Ok(axum::Json(List {
        events: events.iter().map(|event| view::event(event)).collect(),
    }))
}

/// What happens from now on, or since `Last-Event-ID` or `after`, as server-sent events: `id`, `event` (the type) and
/// `data` (the event as JSON).
#[utoipa::path(
    get, path = "/v1/events/stream", tag = "events",
    params(Which, ("Last-Event-ID" = Option<u64>, Header)),
    responses(
        (status = 200, body = Told, content_type = "text/event-stream"),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn follow(
    Given(state): Given<State>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    let mut filter = which.filter()?;
    if let Some(last) = headers.get("last-event-id") {
        let id = last.to_str().ok().and_then(|text| text.trim().parse().ok());
        let id: u64 = id.ok_or_else(|| {
            Problem::new(
                Code::InvalidRequest,
                "Last-Event-ID is not the id of an event",
            )
        })?;
        filter.after = Some(id);
    }
    let slot = state.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            Code::TooManyStreams,
            "64 streams are open already; close one, or list events",
        )
    })?;
    let follower = Follower::new(state.control.events().clone(), filter, slot);
    let events = stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok(told(&event)), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn told(event: &Event) -> sse::Event {
    let data = serde_json::to_string(&view::event(event)).unwrap_or_default();
    sse::Event::default()
        .id(event.id.to_string())
        .event(event.kind.as_str())
        .data(data)
}

fn fits(filter: &Filter, event: &Event) -> bool {
    filter.kind.is_none_or(|kind| event.kind == kind)
        && (filter.service.is_none() || event.service == filter.service)
}

/// Lists what is missed and follows what comes, without a gap and without repeating.
struct Follower {
    events: Events,
    filter: Filter,
    /// Every event up to this one has been looked at.
    seen: u64,
    ahead: VecDeque<Arc<Event>>,
    live: Receiver<Arc<Event>>,
    _slot: OwnedSemaphorePermit,
}

impl Follower {
    fn new(events: Events, filter: Filter, slot: OwnedSemaphorePermit) -> Self {
        // Subscribed before the list is read, so that nothing falls between the two.
        let live = events.follow();
        let last = events.last_id();
        // An id that is not yet: of a state that was lost since. All there is is news.
        let seen = filter
            .after
            .map_or(last, |after| if after > last { 0 } else { after });
        let mut follower = Self {
            events,
            filter,
            seen,
            ahead: VecDeque::new(),
            live,
            _slot: slot,
        };
        follower.catch_up();
        follower
    }

    fn catch_up(&mut self) {
        let all = self.events.list(&Filter {
            after: Some(self.seen),
            limit: Some(usize::MAX),
            ..Filter::default()
        });
        self.seen = all.last().map_or(self.seen, |event| event.id);
        self.ahead
            .extend(all.into_iter().filter(|event| fits(&self.filter, event)));
    }

    /// `None` when the process ends.
    async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.ahead.pop_front() {
                return Some(event);
            }
            match self.live.recv().await {
                Ok(event) if event.id <= self.seen => {}
                Ok(event) => {
                    self.seen = event.id;
                    if fits(&self.filter, &event) {
                        return Some(event);
                    }
                }
                Err(RecvError::Lagged(_)) => self.catch_up(),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
