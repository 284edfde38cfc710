use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::exchange::{Ending, Exchange};

/// The body of an answer.
pub enum Body {
    /// Of our own; `None` once it is handed over.
    Own(Option<Bytes>),
    /// An endpoint's, passed on as it comes.
    Relayed(Relay),
}

/// An endpoint's body, and the exchange that ends with it.
pub struct Relay {
    incoming: Incoming,
    exchange: Option<Exchange>,
}

impl Body {
    pub(super) fn own(bytes: Bytes) -> Self {
        Self::Own(Some(bytes))
    }

    pub(super) fn none() -> Self {
        Self::Own(None)
    }

    pub(super) fn relayed(incoming: Incoming, exchange: Exchange) -> Self {
        Self::Relayed(Relay {
            incoming,
            exchange: Some(exchange),
        })
    }
}

impl Relay {
    fn end(&mut self, ending: Ending) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(ending);
        }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(context);
        if let Some(exchange) = &self.exchange {
            exchange.progress.set_awaits_endpoint(frame.is_pending());
        }
        let frame = ready!(frame);
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(exchange), Some(data)) = (&mut self.exchange, frame.data_ref()) {
                    exchange.passed(data.len());
                }
                if self.incoming.is_end_stream() {
                    self.end(Ending::Whole);
                }
            }
            Some(Err(_)) => self.end(Ending::EndpointBroke),
            None => self.end(Ending::Whole),
        }
        Poll::Ready(frame)
    }
}

/// A body is dropped when it has ended, or when its client has gone or its time was over.
impl Drop for Relay {
    fn drop(&mut self) {
        let whole = self.incoming.is_end_stream();
        self.end(if whole {
            Ending::Whole
        } else {
            Ending::Abandoned
        });
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relay) => relay.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Relayed(relay) => relay.incoming.is_end_stream(),
        }
    }

    /// Exact where the endpoint's was, so that the answer keeps its `Content-Length`.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Relayed(relay) => relay.incoming.size_hint(),
        }
    }
}
