use std::io;

use super::{Refusal, h2};

/// Why an endpoint has given no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The connection broke.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The endpoint closed it before the whole answer.
    #[error("the endpoint closed the connection before its answer was whole")]
    Closed,
    #[error("the endpoint's answer is malformed: {0}")]
    Malformed(&'static str),
    /// The request's body came to no good end.
    #[error("the request's body: {0}")]
    Upload(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Of a connection that requests share.
    #[error(transparent)]
    Shared(#[from] hyper::Error),
}

impl AnswerError {
    /// Whether the endpoint has broken the protocol, rather than the connection.
    pub fn is_breach(&self) -> bool {
        match self {
            Self::Malformed(_) => true,
            Self::Shared(error) => {
                error.is_parse() || error.is_parse_too_large() || h2::is_breach(error)
            }
            Self::Io(_) | Self::Closed | Self::Upload(_) => false,
        }
    }

    /// How the endpoint has said that it did not look at the request.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Shared(error) => Refusal::of(error),
            _ => None,
        }
    }
}
