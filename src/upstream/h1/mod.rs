//! HTTP/1.1 to endpoints: connections that carry one request at a time.
//!
//! A connection has no task of its own: who asks writes the request and reads the answer. Only an upload that its answer
//! has overtaken goes on beside whoever reads that.

mod bell;
mod chunks;
mod framing;
mod head;
mod input;
mod outgoing;
mod wire;

pub use wire::Wire;
