//! Whether a service's requests are let through.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{ErrorPage, Networks};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// They flow.
    #[default]
    Open,
    /// They wait, for a while.
    Hold,
    /// They are answered with a page.
    Maintenance,
}

impl Admission {
    pub const ALL: [Self; 3] = [Self::Open, Self::Hold, Self::Maintenance];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Hold => "hold",
            Self::Maintenance => "maintenance",
        }
    }

    /// For how long it may be ordered at most: clients that wait are kept by nobody for longer than an hour.
    pub fn longest(self) -> Duration {
        match self {
            Self::Open => Duration::ZERO,
            Self::Hold => Duration::from_hours(1),
            Self::Maintenance => Duration::from_hours(7 * 24),
        }
    }
}

/// What becomes of requests from now on. It ends by itself, without anybody's doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Admits {
    pub admission: Admission,
    /// From then on they flow; `None`: it has no end.
    pub ends: Option<Instant>,
}

impl Admits {
    pub fn is_open(&self) -> bool {
        self.admission == Admission::Open
    }

    pub fn at(&self, now: Instant) -> Admission {
        match self.ends {
            Some(ends) if now >= ends => Admission::Open,
            _ => self.admission,
        }
    }
}

/// How requests are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// For how long, unless the order says.
    pub span: Duration,
    /// How many may wait at once, over all workers.
    pub length: u32,
}

/// What is answered in maintenance, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    pub status: StatusCode,
    /// `None`: the page that the service has for that status, or a few words.
    pub page: Option<ErrorPage>,
    /// When a client may ask again, where no end is known.
    pub retry_after: Duration,
    /// Clients whose requests flow.
    pub allow: Networks,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_an_end_ends_by_itself() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        for admission in [Admission::Hold, Admission::Maintenance] {
            let bounded = Admits {
                admission,
                ends: Some(after(60)),
            };
            assert_eq!(bounded.at(after(59)), admission);
            assert_eq!(bounded.at(after(60)), Admission::Open);
        }
        let endless = Admits {
            admission: Admission::Maintenance,
            ends: None,
        };
        assert_eq!(endless.at(after(1 << 30)), Admission::Maintenance);
        assert!(Admits::default().is_open());
    }
}
