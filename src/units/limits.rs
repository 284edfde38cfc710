use std::time::Duration;

/// How many requests may be under way at once, over all workers; `None`: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Of the whole service.
    pub service: Option<u32>,
    /// Of each of its pools.
    pub pool: Option<u32>,
    /// Of each endpoint of them.
    pub endpoint: Option<u32>,
}

impl Limits {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How requests wait that nobody may be given now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queueing {
    /// How many may wait at once for the same thing, over all workers.
    pub length: u32,
    /// For how long one waits while limits are reached.
    pub wait: Duration,
    /// For how long one waits while no endpoint of a weighted pool is ready; `None`: not at all.
    pub unready: Option<Duration>,
}
