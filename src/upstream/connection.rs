use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use tokio::task::AbortHandle;

use super::{
    Crossed, Payload, Switched,
    h2::{Lane, Place},
    switch::Switch,
    watched::Watch,
};
use crate::units::Address;

/// A connection that carries a request, or a request's place on one that others share. What is not parked ends when it is
/// dropped: the connection, or the request alone.
pub struct Connection<B: Payload> {
    pub(super) way: Way<B>,
    /// Has carried a request before, so the endpoint may have closed it in the meantime.
    pub reused: bool,
    /// That of its line when it was made.
    pub(super) era: u32,
}

pub(super) enum Way<B: Payload> {
    Single(Single<B>),
    Shared(Place<B>),
}

/// A connection of HTTP/1.1. Closed when it is dropped.
pub(super) struct Single<B> {
    pub sender: http1::SendRequest<B>,
    pub driver: AbortHandle,
    pub watch: Rc<Watch>,
    /// Of a connection that may switch protocols.
    pub switch: Option<Switch>,
    /// The only client whose requests it may carry.
    pub caller: Option<u64>,
}

impl<B: Payload> Connection<B> {
    /// Takes a request and sends it to the endpoint at `address`; `None` where there is none. An error that gives the request back says
    /// that nothing of it was written.
    #[expect(
        clippy::inline_always,
        reason = "else the future, which holds the request, is copied to where it lives"
    )]
    #[inline(always)]
    pub fn send(
        &mut self,
        request: &mut Option<Request<B>>,
        address: &Address,
    ) -> Option<impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + use<B>>
    {
        // Taken here, not by who calls: each place it goes by costs a copy of it.
        let request = request.take()?;
        Some(match &mut self.way {
            Way::Single(single) => Either::Left(single.sender.try_send_request(request)),
            Way::Shared(place) => Either::Right(place.send(request, address)),
        })
    }

    /// Reads at most so many bytes at a time of the answer to the next request, where no other requests share the connection.
    pub fn read_at_most(&self, bytes: usize) {
        if let Way::Single(single) = &self.way {
            single.watch.read_at_most(bytes);
        }
    }

    /// Whether other requests share it, so that one can be refused without the others, and end without them.
    pub fn is_shared(&self) -> bool {
        matches!(self.way, Way::Shared(_))
    }

    /// Keeps other requests off it, where they would share it.
    pub fn retire(&self) {
        if let Way::Shared(place) = &self.way {
            place.retire();
        }
    }

    /// Whether the endpoint can be asked to speak another protocol on it.
    pub fn may_switch(&self) -> bool {
        match &self.way {
            Way::Single(single) => single.switch.is_some(),
            Way::Shared(place) => place.may_switch(),
        }
    }

    /// What is left of it once the endpoint has agreed with this answer; `None` where it broke, or was not meant for that.
    pub async fn switched(self, answer: &mut Response<Incoming>) -> Option<Switched<B>> {
        let (way, early) = match self.way {
            Way::Single(mut single) => {
                let (own, early) = single.switch.take()?.await.ok()?;
                (Crossed::Connection(own), early)
            }
            Way::Shared(place) => {
                let stream = hyper::upgrade::on(answer).await.ok()?;
                (Crossed::Lane(Lane::new(stream, place)), Bytes::new())
            }
        };
        Some(Switched { way, early })
    }
}

/// Closed at once: to let it end in order would wait for an endpoint that takes nothing.
impl<B> Drop for Single<B> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
