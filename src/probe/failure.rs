use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::units::EndpointKey;

/// Why a probe failed, as metrics tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No connection: refused, unreachable, a name that is not found.
    Connect,
    /// No handshake of TLS.
    Tls,
    /// Not done within the probe's timeout.
    Timeout,
    /// The connection broke before the whole answer was there.
    Reset,
    /// What came back is no HTTP.
    Malformed,
    /// A status that was not expected.
    Status,
    /// A body that was not expected.
    Body,
    /// This machine has no descriptors or memory left to ask with. No verdict on the endpoint.
    Shortage,
}

impl Reason {
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::Malformed,
        Self::Status,
        Self::Body,
        Self::Shortage,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Malformed => "malformed",
            Self::Status => "status",
            Self::Body => "body",
            Self::Shortage => "shortage",
        }
    }
}

/// A probe's bad end. `detail` is for a person and holds nothing unescaped from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub detail: String,
}

impl Failure {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// How often each endpoint's probes have failed, by reason, for as long as it is probed. Cheap to clone; all clones
/// count the same.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<BTreeMap<EndpointKey, [u64; Reason::ALL.len()]>>>);

impl Failures {
    /// `(endpoint, reason, count)`, zeros included, for every endpoint that is probed.
    pub fn rows(&self) -> Vec<(EndpointKey, Reason, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = counts.iter().flat_map(|(endpoint, counts)| {
            let rows = Reason::ALL.into_iter().zip(counts);
            rows.map(|(reason, count)| (endpoint.clone(), reason, *count))
        });
        rows.collect()
    }

    pub(super) fn begin(&self, endpoint: &EndpointKey) {
        self.edit(|counts| {
            counts.entry(endpoint.clone()).or_default();
        });
    }

    pub(super) fn end(&self, endpoint: &EndpointKey) {
        self.edit(|counts| {
            counts.remove(endpoint);
        });
    }

    /// Counts nothing for an endpoint that is no longer probed.
    pub(super) fn count(&self, endpoint: &EndpointKey, reason: Reason) {
        self.edit(|counts| {
            if let Some(counts) = counts.get_mut(endpoint) {
                counts[reason as usize] += 1;
            }
        });
    }

    fn edit(&self, edit: impl FnOnce(&mut BTreeMap<EndpointKey, [u64; Reason::ALL.len()]>)) {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
