/// How a drain of the process ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// The deadline came before every connection had ended.
    pub timed_out: bool,
    /// Requests that were in progress at the deadline and were cut off.
    pub cut: u64,
    /// Tunnels that were open at the deadline and were closed in order.
    pub tunnels: u64,
}

/// What one worker's part of it came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub cut: u64,
    pub tunnels: u64,
}
