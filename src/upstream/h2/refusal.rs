use h2::Reason;

/// How an endpoint has said that it did not look at a request (RFC 9113 §8.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The connection takes no more, and this one came after the last it took.
    Connection,
    /// This request, for now.
    Stream,
}

impl Refusal {
    /// What an error says of that.
    pub fn of(error: &hyper::Error) -> Option<Self> {
        let error = h2_error(error)?;
        if !error.is_remote() {
            None
        } else if error.is_go_away() {
            // Only streams above the last that was taken end with it; the others end as they would have.
            Some(Self::Connection)
        } else if error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM) {
            Some(Self::Stream)
        } else {
            None
        }
    }
}

/// Whether an endpoint has broken the protocol, rather than the connection.
pub fn is_breach(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|error| error.is_library() && error.reason().is_some())
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// At the bottom of an error that ends a request's body, tells the endpoint so.
pub type Cancelled = h2::Error;

/// Nobody wants the answer any more.
pub fn cancelled() -> Cancelled {
    Reason::CANCEL.into()
}
