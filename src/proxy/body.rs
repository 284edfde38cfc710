use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::{
    Upload,
    exchange::{Ending, Exchange},
};
use crate::upstream::{AnswerError, Content};

/// The body of an answer.
pub enum Body {
    /// Of our own; `None` once it is handed over.
    Own(Option<Bytes>),
    /// An endpoint's, passed on as it comes.
    Relayed(Relay),
}

/// Why an answer's body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error(transparent)]
    Endpoint(#[from] AnswerError),
    /// It ended the stream without an error, in the middle.
    #[error("the endpoint ended its answer early")]
    Unfinished,
}

/// What is handed over at a time where other answers share the connection. HTTP/2 keeps what it is handed until the client takes
/// it, so this and the send buffer bound what an unread answer holds.
const PIECE: usize = 16 << 10;

/// What is read at a time of an answer that shares its client's connection, unless it is one of the few that are read freely. No
/// power of two: hyper makes the next buffer larger where one is full.
pub(super) const SIP: usize = (8 << 10) - 1;

/// An endpoint's body, and the exchange that ends with it.
pub struct Relay {
    content: Content<Upload>,
    /// Received and not yet handed over.
    rest: Bytes,
    exchange: Option<Box<Exchange>>,
}

impl Body {
    pub(super) fn own(bytes: Bytes) -> Self {
        Self::Own(Some(bytes))
    }

    pub(super) fn none() -> Self {
        Self::Own(None)
    }

    /// The exchange is boxed: a body is moved several times before its first byte is asked for.
    pub(super) fn relayed(content: Content<Upload>, exchange: Box<Exchange>) -> Self {
        Self::Relayed(Relay {
            content,
            rest: Bytes::new(),
            exchange: Some(exchange),
        })
    }
}

impl Body {
    /// Has the rest of it read as fast as it comes.
    pub fn read_freely(&self) {
        if let Self::Relayed(relay) = self
            && let Some(exchange) = &relay.exchange
        {
            exchange.connection.read_at_most(usize::MAX);
        }
    }
}

impl Relay {
    fn end(&mut self, ending: Ending) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(ending);
        }
    }

    /// A stream that was reset without an error in the middle of the answer ends like one that is whole.
    fn is_cut_off(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.connection.is_shared())
            && !self.content.is_end_stream()
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.next_piece()))));
        }
        if self.exchange.is_none() {
            // Its connection is another request's by now.
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut self.content).poll_frame(context);
        let frame = frame.map_err(BodyError::from);
        if let Some(exchange) = &self.exchange {
            exchange.progress.set_awaits_endpoint(frame.is_pending());
        }
        let mut frame = ready!(frame);
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_mut() {
                    self.rest = std::mem::take(data);
                    *data = self.next_piece();
                } else {
                    self.end_if_whole();
                }
            }
            // The client's own doing.
            Some(Err(BodyError::Endpoint(AnswerError::Upload(_)))) => self.end(Ending::Abandoned),
            Some(Err(_)) => self.end(Ending::EndpointBroke),
            None if self.is_cut_off() => {
                self.end(Ending::EndpointBroke);
                return Poll::Ready(Some(Err(BodyError::Unfinished)));
            }
            None => self.end(Ending::Whole),
        }
        Poll::Ready(frame)
    }

    /// Of what there is, what may be handed over. The exchange goes on until all of it is: until then its client is timed by it.
    fn next_piece(&mut self) -> Bytes {
        let exchange = self.exchange.as_ref();
        let shares = exchange.is_some_and(|exchange| exchange.progress.shares);
        let piece = if shares && self.rest.len() > PIECE {
            self.rest.split_to(PIECE)
        } else {
            std::mem::take(&mut self.rest)
        };
        if let Some(exchange) = &mut self.exchange {
            exchange.passed(&piece);
        }
        self.end_if_whole();
        piece
    }

    fn end_if_whole(&mut self) {
        if self.is_end_stream() {
            self.end(Ending::Whole);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && (self.exchange.is_none() || self.content.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.exchange {
            Some(_) => self.content.size_hint(),
            None => SizeHint::with_exact(self.rest.len() as u64),
        }
    }
}

/// A body is dropped when it has ended, or when its client has gone or its time was over.
impl Drop for Relay {
    fn drop(&mut self) {
        let whole = self.is_end_stream();
        self.end(if whole {
            Ending::Whole
        } else {
            Ending::Abandoned
        });
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relay) => relay.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Relayed(relay) => relay.is_end_stream(),
        }
    }

    /// Exact where the endpoint's was, so that the answer keeps its `Content-Length`.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Relayed(relay) => relay.size_hint(),
        }
    }
}
