use std::{cell::Cell, rc::Rc};

use super::copy::Asked;
use crate::{
    pool::Seat,
    proxy::{
        Kind,
        error::Fault,
        trial::{counts_latency, is_event_stream},
    },
    telemetry::TrialCounts,
};

/// A copy that counts as a request of the version on trial. What its request meets is counted by itself
/// ([`Subject`](crate::proxy::trial::Subject)): two samples of the same requests.
pub(super) struct Sample {
    seat: Rc<Seat>,
    /// Its answer has begun, or will not.
    told: Cell<bool>,
    failed: Cell<bool>,
}

impl Sample {
    pub fn new(seat: Rc<Seat>) -> Self {
        Self {
            seat,
            told: Cell::default(),
            failed: Cell::default(),
        }
    }

    fn counts(&self) -> &TrialCounts {
        &self.seat.pool_shard().copied
    }

    /// The copy has come to this. What this machine had no room for says nothing.
    pub fn answered(&self, asked: &Result<Asked, Kind>) {
        self.told.set(true);
        match asked {
            Err(kind) if kind.fault() != Fault::Endpoint => {}
            Ok(asked) if !asked.answer.status().is_server_error() => {
                self.counts().requested();
                if asked.connection.reused
                    && counts_latency(asked.answer.status())
                    && !is_event_stream(&asked.answer)
                {
                    self.counts().answered_in(asked.took);
                }
            }
            _ => {
                self.counts().requested();
                self.broke();
            }
        }
    }

    /// Its time is over. An answer that had begun by then may be a long one.
    pub fn late(&self) {
        if !self.told.replace(true) {
            self.counts().requested();
            self.broke();
        }
    }

    /// The endpoint has broken off what it had begun.
    pub fn broke(&self) {
        if !self.failed.replace(true) {
            self.counts().failed();
        }
    }
}
