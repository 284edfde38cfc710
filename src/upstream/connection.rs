use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};

use super::{
    AnswerError, Content, Crossed, Payload, Switched,
    h1::Wire,
    h2::{Lane, Place},
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
pub(super) struct Single<B: Payload> {
    pub wire: Rc<Wire<B>>,
    /// It was opened to switch protocols.
    pub may_switch: bool,
    /// The only client whose requests it may carry.
    pub caller: Option<u64>,
}

impl<B: Payload> Connection<B> {
    /// Sends a request to the endpoint at `address`, and gives the head of its answer. The request is taken when something of
    /// it is written: where it is still there after an error, nothing was.
    pub async fn send(
        &self,
        request: &mut Option<Request<B>>,
        address: &Address,
    ) -> Result<Response<Content<B>>, AnswerError> {
        match &self.way {
            Way::Single(single) => {
                let answer = single.wire.send(request).await?;
                Ok(answer.map(|turn| Content::Single(single.wire.clone(), turn)))
            }
            Way::Shared(place) => {
                let taken = request.take().ok_or(AnswerError::Closed)?;
                match place.send(taken, address).await {
                    Ok(answer) => Ok(answer.map(Content::Shared)),
                    Err(mut error) => {
                        *request = error.take_message();
                        Err(error.into_error().into())
                    }
                }
            }
        }
    }

    /// The head of the request under way, as it was sent, where no other requests share the connection.
    pub fn sent_head(&self) -> Option<Request<()>> {
        match &self.way {
            Way::Single(single) => single.wire.sent_head(),
            Way::Shared(_) => None,
        }
    }

    /// Reads at most so many bytes at a time of the answer to the next request, where no other requests share the connection.
    pub fn read_at_most(&self, bytes: usize) {
        if let Way::Single(single) = &self.way {
            single.wire.read_at_most(bytes);
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
            Way::Single(single) => single.may_switch,
            Way::Shared(place) => place.may_switch(),
        }
    }

    /// What is left of it once the endpoint has agreed with this answer; `None` where it broke, or was not meant for that.
    pub async fn switched(self, answer: &mut Response<Content<B>>) -> Option<Switched<B>> {
        let (way, early) = match (self.way, answer.body_mut()) {
            (Way::Single(single), _) => {
                let (own, early) = single.wire.switched()?;
                (Crossed::Connection(own), early)
            }
            (Way::Shared(place), Content::Shared(_)) => {
                let stream = hyper::upgrade::on(answer).await.ok()?;
                (Crossed::Lane(Lane::new(stream, place)), Bytes::new())
            }
            (Way::Shared(_), Content::Single(..)) => return None,
        };
        Some(Switched { way, early })
    }
}

impl<B: Payload> Drop for Single<B> {
    fn drop(&mut self) {
        self.wire.close();
    }
}
