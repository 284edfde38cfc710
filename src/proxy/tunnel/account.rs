use http::StatusCode;

use super::{Why, registry::Entry};
use crate::{
    pool::Lease,
    proxy::note::{Note, Outcome},
    telemetry::{Failure, shard::Source},
};

/// What is held for as long as a tunnel lasts, and counted of it. Settled when it is dropped, however it ends.
pub(super) struct Account {
    pub entry: Entry,
    lease: Lease,
    note: Option<Box<Note>>,
    status: StatusCode,
    /// Bytes from the client, and from the endpoint.
    up: u64,
    down: u64,
    pub why: Option<Why>,
}

impl Account {
    /// `status` is what the client is answered.
    pub(super) fn open(
        entry: Entry,
        lease: Lease,
        note: Option<Box<Note>>,
        status: StatusCode,
    ) -> Self {
        lease.seat().shard().tunnel_opened();
        Self {
            entry,
            lease,
            note,
            status,
            up: 0,
            down: 0,
            why: None,
        }
    }

    /// Bytes that have passed in all.
    pub(super) fn passed(&mut self, up: u64, down: u64) {
        let shard = self.lease.seat().pool_shard();
        shard.tunnels.passed(up - self.up, down - self.down);
        (self.up, self.down) = (up, down);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let seat = self.lease.seat();
        // One that never ran, or was dropped with its thread: told to end, or left by its client before the answer.
        let ordered = self.entry.handle.ordered().map(|order| order.why);
        let why = self.why.or(ordered).unwrap_or(Why::ClientBroke);
        seat.shard().tunnel_ended();
        seat.pool_shard().tunnels.ended(why);
        if why == Why::EndpointBroke {
            seat.failed(Failure::Reset);
        }
        if let Some(note) = self.note.take() {
            note.write(&Outcome {
                status: self.status,
                source: Source::Endpoint,
                seat: Some(seat),
                service: None,
                pool: None,
                bytes_in: self.up,
                bytes_out: self.down,
                error: why.fault(),
            });
        }
    }
}
