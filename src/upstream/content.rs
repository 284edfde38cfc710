use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{AnswerError, Payload, h1::Wire};

/// The body of an answer, as the endpoint sends it.
pub enum Content<B: Payload> {
    /// Of a connection of its own, in one of its turns. Nothing is read before it is asked for.
    Single(Rc<Wire<B>>, u64),
    /// Of a stream among others.
    Shared(Incoming),
}

impl<B: Payload> Body for Content<B> {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            Self::Single(wire, turn) => wire.poll_frame(*turn, context),
            Self::Shared(incoming) => {
                let frame = Pin::new(incoming).poll_frame(context);
                frame.map_err(AnswerError::from)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Single(wire, turn) => wire.is_answered(*turn),
            Self::Shared(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Single(wire, turn) => wire.size_hint(*turn),
            Self::Shared(incoming) => incoming.size_hint(),
        }
    }
}
