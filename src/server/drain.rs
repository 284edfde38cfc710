/// How a drain of the process ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// The deadline came before every connection had ended.
    pub timed_out: bool,
    /// Requests that were in progress at the deadline and were cut off.
    pub cut: u64,
}
