use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    config::plan::HookPoint,
    outbound::Client,
    telemetry::{Exposition, names},
};

/// The world as rollouts ask it. Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub struct Outside {
    pub(super) client: Client,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    hooks: [[AtomicU64; Heard::ALL.len()]; HookPoint::ALL.len()],
    sources: [AtomicU64; Source::ALL.len()],
}

/// What became of asking one hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Passed,
    Failed,
    Late,
}

impl Heard {
    const ALL: [Self; 3] = [Self::Passed, Self::Failed, Self::Late];

    fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Late => "late",
        }
    }
}

/// What became of asking for one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Answered,
    /// It had none.
    Empty,
    Failed,
}

impl Source {
    const ALL: [Self; 3] = [Self::Answered, Self::Empty, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Empty => "empty",
            Self::Failed => "failed",
        }
    }
}

impl Outside {
    /// Asks by this client.
    pub fn by(client: Client) -> Self {
        Self {
            client,
            counts: Arc::default(),
        }
    }

    pub(super) fn count_hook(&self, point: HookPoint, heard: Heard) {
        self.counts.hooks[point as usize][heard as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn count_query(&self, source: Source) {
        self.counts.sources[source as usize].fetch_add(1, Relaxed);
    }

    /// For a scrape.
    pub fn expose(&self, out: &mut Exposition) {
        for (point, counts) in HookPoint::ALL.iter().zip(&self.counts.hooks) {
            for (heard, count) in Heard::ALL.iter().zip(counts) {
                let labels = [point.as_str(), heard.as_str()];
                out.count(&names::HOOKS, labels, count.load(Relaxed));
            }
        }
        for (source, count) in Source::ALL.iter().zip(&self.counts.sources) {
            let labels = [source.as_str()];
            out.count(&names::METRIC_QUERIES, labels, count.load(Relaxed));
        }
    }
}
