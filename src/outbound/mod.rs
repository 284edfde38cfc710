//! Requests of our own to the world outside: to authorities, collectors, hooks, sources of figures, and whoever is told of events.
//!
//! One [`Client`] for all of them. An answer has a largest size, and a request a limit of time; a redirect is an answer like any other and is
//! not followed, because whoever was named by the operator is to answer, and nobody that it names. Nothing that is said here holds a URL, which
//! may be a secret.

mod answer;
mod backoff;
mod client;
mod connection;
mod text;

pub use answer::Answer;
pub use backoff::Backoff;
pub use client::{Client, Limits};
pub use connection::Connection;
pub use text::{place, printable};

/// Why there is no answer, as what the other one did: `https://ci.example.com did not answer in time`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody can be asked in these words.
    #[error("cannot be asked: {0}")]
    Unusable(String),
    /// Its certificate, or how it speaks TLS.
    #[error("is not who it should be: {0}")]
    Unsafe(String),
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("broke off: {0}")]
    Broken(String),
    #[error("did not answer in time")]
    Late,
}

impl Error {
    /// It may be otherwise in a moment.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Broken(_) | Self::Late)
    }
}
