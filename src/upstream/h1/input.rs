use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};

use crate::upstream::Stream;

/// The most that is read at a time, and the most of an answer's head. Reads begin with [`FEWEST`] and double while they
/// fill the room, so only large bodies see it. CPU per request at 64 connections, medians of interleaved rounds, at 64, 128,
/// 256, 512 and 1024 KiB: 883, 753, 475, 510 and 551 us for 1 MiB; 36.1, 31.5 and 31.4 us for 64 KiB at the first three. A
/// body of just 64 KiB and its head no longer take two reads, and each read wakes the endpoint once.
pub const MOST: usize = 256 << 10;

/// What is read at a time of short answers.
const FEWEST: usize = 8 << 10;

/// Room beyond what is expected: a read that fills its room leaves open whether there is more, and costs another.
const BEYOND: usize = 64;

/// What an endpoint sends, as far as it was read.
pub struct Input {
    /// Read, and not yet taken.
    pub received: BytesMut,
    /// How much is read at a time where nobody knows how much there is.
    next: usize,
    /// The last such read would have fitted into half of that.
    was_small: bool,
    /// The most that is read at a time.
    pub most: usize,
    /// More room was made than short answers take.
    is_large: bool,
}

impl Input {
    pub fn new() -> Self {
        Self {
            received: BytesMut::new(),
            next: FEWEST,
            was_small: false,
            most: usize::MAX,
            is_large: false,
        }
    }

    /// Reads more, in one call; `expected` is how much there will be where that is known. Gives how much came: none at the end.
    pub fn poll_read(
        &mut self,
        stream: &mut Stream,
        expected: Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let room = expected.map_or(self.next, |bytes| {
            let bytes = usize::try_from(bytes).unwrap_or(MOST);
            bytes.saturating_add(BEYOND).min(MOST)
        });
        let room = room.min(self.most);
        self.received.reserve(room);
        self.is_large |= room > FEWEST + BEYOND;
        let mut buffer = (&mut self.received).limit(room);
        let read = ready!(stream.poll_read_into(&mut buffer, context))?;
        if expected.is_none() {
            self.learn(read);
        }
        Poll::Ready(Ok(read))
    }

    fn learn(&mut self, read: usize) {
        let is_small = read < self.next / 2;
        if read >= self.next {
            self.next = (2 * self.next).min(MOST);
        } else if is_small && self.was_small {
            self.next = (self.next / 2).max(FEWEST);
        }
        self.was_small = is_small;
    }

    /// Gives up what is too much to be kept for the next answer.
    pub fn rest(&mut self) {
        // What is left of its room does not tell how much that holds.
        if std::mem::take(&mut self.is_large) {
            self.received = BytesMut::new();
        }
    }
}
