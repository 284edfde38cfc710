use std::rc::Rc;

use http::StatusCode;
use tokio::time::Instant;

use super::{
    Upload,
    mirror::Witness,
    note::Outcome,
    progress::{Progress, UploadState},
    trial::Subject,
};
use crate::{
    pool::Lease,
    telemetry::shard::{Failure, Source},
    upstream::{Connection, Line},
};

/// A request that an endpoint is answering. Holds the lease until the answer's body has ended.
pub(super) struct Exchange {
    pub progress: Rc<Progress>,
    pub line: Rc<Line<Upload>>,
    pub connection: Connection<Upload>,
    pub lease: Lease,
    pub status: StatusCode,
    /// When the request's head had been read.
    pub began: Instant,
    /// Bytes of the answer's body so far.
    pub bytes: u64,
    /// Sees the answer, where a copy's is compared with it.
    pub witness: Option<Box<Witness>>,
    /// It is the first attempt of a request in a trial.
    pub subject: Option<Subject>,
}

/// How an answer's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    EndpointBroke,
    /// Nobody asks for the rest: the client has gone, or something took too long.
    Abandoned,
}

impl Ending {
    fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::EndpointBroke => Some("endpoint-broke"),
            Self::Abandoned => Some("abandoned"),
        }
    }
}

impl Exchange {
    pub(super) fn passed(&mut self, data: &[u8]) {
        if self.bytes > 0 {
            self.progress.takes_time();
        }
        self.bytes += data.len() as u64;
        if let Some(witness) = &mut self.witness {
            witness.passed(data);
        }
        self.progress.has_written();
    }

    /// Counts the answer, gives the lease back, and keeps the connection if it can carry another request.
    pub(super) fn end(mut self, ending: Ending) {
        let now = match ending {
            Ending::Whole => self.progress.now(),
            // Perhaps long after it was last polled.
            Ending::EndpointBroke | Ending::Abandoned => Instant::now(),
        };
        let seat = self.lease.seat();
        seat.shard().answered(self.status);
        seat.pool_shard()
            .answered(self.status, Source::Endpoint, now - self.began);
        match ending {
            Ending::Whole => {
                if self.status.is_server_error() {
                    seat.failed(Failure::Status);
                }
                self.progress.idle(now);
                if let Some(witness) = self.witness {
                    witness.ended();
                }
            }
            Ending::EndpointBroke => {
                seat.failed(Failure::Reset);
                self.subject
                    .iter_mut()
                    .for_each(|subject| subject.broke(seat));
            }
            Ending::Abandoned if self.progress.is_late() && self.progress.awaits_endpoint() => {
                seat.failed(Failure::Idle);
                self.subject
                    .iter_mut()
                    .for_each(|subject| subject.broke(seat));
            }
            Ending::Abandoned => {}
        }
        if let Some(note) = self.progress.notebook.take() {
            note.write(&Outcome {
                service: None,
                pool: None,
                status: self.status,
                source: Source::Endpoint,
                seat: Some(self.lease.seat()),
                bytes_in: self.progress.bytes_in(),
                bytes_out: self.bytes,
                error: ending.as_str(),
            });
        }
        // A connection with half a request on it carries no other.
        if ending == Ending::Whole && self.progress.upload() == UploadState::Done {
            self.line.park(self.connection, now);
        }
    }
}
