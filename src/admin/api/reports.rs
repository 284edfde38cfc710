//! What rollouts have come to.

use std::time::Duration;

use axum::extract::State as Given;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::{
        extract::{Query, Reported},
        problem::{Code, Document, Problem},
        rollout_view as shown,
        state::State,
        wire::{Delivery, DeliveryReport, Spread},
    },
    control::{
        rollout::{self, KEPT, Rollout, delivery},
        view::{self, View},
    },
    units::Timestamp,
};

pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(report))
}

/// What is reported on, unless the call says.
const WINDOW: Duration = Duration::from_hours(30 * 24);

/// How often new versions were shipped, how many were taken back, how soon that was noticed and put right, and what users saw of it.
#[utoipa::path(
    get, path = "/v1/reports/delivery", tag = "rollouts",
    params(Reported),
    responses(
        (status = 200, body = DeliveryReport),
        (status = "default", body = Document, content_type = "application/problem+json"),
    ),
)]
async fn report(
    Given(state): Given<State>,
    Query(asked): Query<Reported>,
) -> Result<axum::Json<DeliveryReport>, Problem> {
    let seen = state.control.view().await?;
    let wanted = |service: &&view::Service| {
        let only = asked.service.as_ref();
        only.is_none_or(|only| service.plan.name == *only)
    };
    let services: Vec<_> = seen.services.iter().filter(wanted).collect();
    if let (Some(service), []) = (&asked.service, &services[..]) {
        let none = format!("there is no service `{service}`");
        return Err(Problem::new(Code::UnknownService, none));
    }
    let window = asked.window.map_or(WINDOW, |span| span.0);
    let window = jiff::SignedDuration::try_from(window).unwrap_or_default();
    let until = Timestamp::now();
    let since = until.checked_sub(window).unwrap_or(Timestamp::UNIX_EPOCH);
    let told = |rollouts: &mut dyn Iterator<Item = &Rollout>| {
        wire(delivery(rollouts, since, until), since, until)
    };
    let of_service = |service: &view::Service| {
        let mut held = service.rollouts.iter().chain(&service.rollout);
        told(&mut held.by_ref().map(AsRef::as_ref))
    };
    let all = held(&seen, &services);
    Ok(axum::Json(DeliveryReport {
        since,
        until,
        complete: services.iter().all(|service| is_whole(service, since)),
        total: told(&mut all.iter().map(AsRef::as_ref)),
        services: services
            .iter()
            .map(|service| (service.plan.name.clone(), of_service(service)))
            .collect(),
    }))
}

/// One of several services stands there once.
fn held(seen: &View, services: &[&view::Service]) -> Vec<std::sync::Arc<Rollout>> {
    let mut all = shown::all(seen);
    all.retain(|of| {
        let mut services = services.iter();
        services.any(|service| of.member(&service.plan.name).is_some())
    });
    all
}

/// Nothing of it was forgotten.
fn is_whole(service: &view::Service, since: Timestamp) -> bool {
    let oldest = service.rollouts.first();
    service.rollouts.len() < KEPT || oldest.is_some_and(|oldest| oldest.started < since)
}

fn wire(of: rollout::Delivery, since: Timestamp, until: Timestamp) -> Delivery {
    Delivery {
        deployments: of.deployments,
        deployments_per_day: of.deployments_per_day(since, until),
        lead_time_seconds: None,
        changes: of.changes,
        failed: of.failed,
        change_failure_rate: of.change_failure_rate(),
        causes: of.causes,
        refused: of.refused,
        superseded: of.superseded,
        running: of.running,
        detect_seconds: spread(of.detect),
        restore_seconds: spread(of.restore),
        rollout_seconds: spread(of.rollout),
        errors: of.errors,
        rescued: of.rescued,
        felt: of.felt,
        paused_seconds: of.paused_seconds,
    }
}

fn spread(of: rollout::Spread) -> Spread {
    Spread {
        count: of.count,
        median: of.median,
        worst: of.worst,
    }
}
