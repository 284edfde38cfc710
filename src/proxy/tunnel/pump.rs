use std::task::{Context, Poll};

use hyper::rt::{Read, Write};

use super::{
    Code, Frames, Why, close_frame,
    way::{Broken, Way},
};

/// A tunnel's two ends and the two ways between them.
pub(super) struct Pump<C, E> {
    client: C,
    endpoint: E,
    /// From the client to the endpoint.
    pub up: Way,
    pub down: Way,
    /// Frames are followed, so that close frames can be said.
    websocket: bool,
    /// Who ended it first, or what.
    why: Option<Why>,
    /// Closed by us, or broken: no longer the ends' own affair.
    ending: bool,
}

impl<C, E> Pump<C, E>
where
    C: Read + Write + Unpin,
    E: Read + Write + Unpin,
{
    /// Each end with what it has sent before.
    pub(super) fn new(
        (client, early_up): (C, &[u8]),
        (endpoint, early_down): (E, &[u8]),
        websocket: bool,
    ) -> Self {
        let frames = || websocket.then(Frames::default);
        Self {
            client,
            endpoint,
            up: Way::new(early_up, frames()),
            down: Way::new(early_down, frames()),
            websocket,
            why: None,
            ending: false,
        }
    }

    /// Passes on what there is; ready with who ended it once both ways have ended.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Why> {
        loop {
            let up = self
                .up
                .poll(context, &mut self.client, &mut self.endpoint, scratch);
            let whole = self.settle(up, Why::Client, Why::Endpoint);
            let down = self
                .down
                .poll(context, &mut self.endpoint, &mut self.client, scratch);
            if self.settle(down, Why::Endpoint, Why::Client) && whole {
                break;
            }
            // A way that broke has not asked to be woken. Each break leaves less that can break.
        }
        match self.why {
            Some(why) if self.up.is_done() && self.down.is_done() => Poll::Ready(why),
            _ => Poll::Pending,
        }
    }

    /// Takes note of how a way stands; `false` where it has just broken.
    fn settle(&mut self, polled: Poll<Result<(), Broken>>, source: Why, sink: Why) -> bool {
        let broken = match polled {
            Poll::Pending => return true,
            Poll::Ready(Ok(())) => {
                self.why.get_or_insert(source);
                return true;
            }
            Poll::Ready(Err(Broken::Source(error))) => (source, error),
            Poll::Ready(Err(Broken::Sink(error))) => (sink, error),
        };
        let (end, error) = broken;
        self.ending = true;
        tracing::debug!(end = end.as_str(), %error, "a tunnel broke");
        // To break a connection on which the last word has been said is a way to close it.
        if end == Why::Client {
            self.why.get_or_insert(if self.up.said_last() {
                end
            } else {
                Why::ClientBroke
            });
            self.up.cut(&[]);
            self.down.abandon();
        } else {
            self.why.get_or_insert(if self.down.said_last() {
                end
            } else {
                Why::EndpointBroke
            });
            self.down.cut(&close_frame(Code::InternalError, None));
            self.up.abandon();
        }
        false
    }

    /// Ends both ways at the next boundaries. Nothing new is passed on after that.
    pub(super) fn close(&mut self, why: Why) {
        self.why.get_or_insert(why);
        self.ending = true;
        let farewell = |mask| {
            if self.websocket {
                close_frame(Code::GoingAway, mask)
            } else {
                Vec::new()
            }
        };
        let (up, down) = (
            farewell(Some(fastrand::u32(..).to_be_bytes())),
            farewell(None),
        );
        self.up.close(up);
        self.down.close(down);
    }

    pub(super) fn stage(&self) -> Stage {
        match self.why {
            _ if self.ending => Stage::Ending,
            None => Stage::Open,
            Some(_) => Stage::HalfClosed,
        }
    }

    /// Who ended it, or what, as far as that is known.
    pub(super) fn why(&self) -> Option<Why> {
        self.why
    }

    /// Whether bytes have moved since this was last asked.
    pub(super) fn has_moved(&mut self) -> bool {
        // Both are to be asked.
        self.up.has_moved() | self.down.has_moved()
    }
}

/// How far a tunnel is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// One end has said that it sends no more.
    HalfClosed,
    /// Closed by us, or broken.
    Ending,
}
