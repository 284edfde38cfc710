use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::{Name, Percent, Timestamp};

/// What is done to a part of a service's requests, for a while, to rehearse what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InjectedFault {
    /// How long the request is kept before anybody is asked.
    pub delay: Option<Duration>,
    /// Answered in the place of an endpoint.
    pub abort: Option<StatusCode>,
    /// Of the requests that it is meant for.
    pub share: Percent,
    /// All of these, by exact value.
    pub headers: Vec<(HeaderName, String)>,
    /// Requests that are decided for this pool; `None`: for any.
    pub pool: Option<Name>,
    /// From then on it does nothing.
    pub until: Timestamp,
}

impl InjectedFault {
    /// How far ahead the end may lie: what is to last longer is set again by somebody who remembers it.
    pub const LONGEST: Duration = Duration::from_hours(24);

    pub fn is_in_force(&self, now: Timestamp) -> bool {
        now < self.until
    }
}
