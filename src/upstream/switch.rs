use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Stream, line::Counted};

/// A connection whose endpoint has switched to another protocol, with what it has sent in that one already.
pub struct Switched {
    pub stream: Stream,
    pub early: Bytes,
    /// Counts the connection as open.
    pub counted: Counted,
}

/// Where a connection that may switch hands over its stream once it has.
pub(super) type Switch = oneshot::Receiver<Switched>;
