//! Services that let nobody through: requests wait there, or are told to come back. One that is open costs a look at one field.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Kind,
    handle::Refused,
    queue::{Asking, Undecided, Wait},
    rules::whole_seconds,
};
use crate::{
    snapshot::{Rules, Service},
    units::Admission,
};

/// Whether the service lets the request through now.
pub(super) fn admit(
    service: &Service,
    asking: &Asking,
    rules: Option<&Arc<Rules>>,
) -> Result<(), Undecided> {
    let now = Instant::now().into_std();
    // What has ended flows, whether control has noticed or not.
    let ends = service.admits.ends;
    let left = ends.map(|ends| ends.saturating_duration_since(now));
    let maintenance = &service.plan.maintenance;
    match service.admits.at(now) {
        Admission::Open => Ok(()),
        Admission::Hold => Err(Wait::held(ends.map(Into::into), service, rules).into()),
        Admission::Maintenance if maintenance.allow.contains(asking.client) => Ok(()),
        Admission::Maintenance => {
            let seconds = come_back(left.unwrap_or(maintenance.retry_after));
            let kind = Kind::Maintenance(maintenance.status, seconds);
            Err(Refused::of(kind, &service.stats, rules).into())
        }
    }
}

/// Never at once.
pub(super) fn come_back(left: Duration) -> u32 {
    whole_seconds(left).max(1)
}
