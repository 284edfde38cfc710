use std::rc::Rc;

use http::StatusCode;
use tokio::time::Instant;

use super::{
    Upload,
    client::{Client, UploadState},
};
use crate::{
    pool::Lease,
    telemetry::shard::{Failure, Source},
    upstream::{Connection, Line},
};

/// A request that an endpoint is answering. Holds the lease until the answer's body has ended.
pub(super) struct Exchange {
    pub client: Rc<Client>,
    pub line: Rc<Line<Upload>>,
    pub connection: Connection<Upload>,
    pub lease: Lease,
    pub status: StatusCode,
    /// When the request's head had been read.
    pub began: Instant,
    /// Bytes of the answer's body so far.
    pub bytes: u64,
}

/// How an answer's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    EndpointBroke,
    /// Nobody asks for the rest: the client has gone, or something took too long.
    Abandoned,
}

impl Exchange {
    pub(super) fn passed(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.client.has_written();
    }

    /// Counts the answer, gives the lease back, and keeps the connection if it can carry another request.
    pub(super) fn end(self, ending: Ending) {
        let now = Instant::now();
        let seat = self.lease.seat();
        seat.shard().answered(Some(self.status));
        seat.pool_shard()
            .answered(self.status, Source::Endpoint, now - self.began);
        match ending {
            Ending::Whole => {
                if self.status.is_server_error() {
                    seat.pool_shard().failed(Failure::Status);
                }
                if self.client.upload() == UploadState::Done {
                    self.line.park(self.connection, now);
                } else {
                    self.connection.close();
                }
                self.client.idle(now);
            }
            Ending::EndpointBroke => seat.pool_shard().failed(Failure::Reset),
            Ending::Abandoned if self.client.is_late() && self.client.awaits_endpoint() => {
                seat.pool_shard().failed(Failure::Idle);
            }
            Ending::Abandoned => {}
        }
    }
}
