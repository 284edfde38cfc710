use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::{
    rt::{Read, ReadBuf, ReadBufCursor, Write},
    upgrade::{OnUpgrade, Upgraded},
};
use tokio::time::{Sleep, sleep};

use crate::proxy::{
    Progress,
    tunnel::{GRACE, Tunnel},
};

/// What is read at a time from a stream that was reset.
const REST: usize = 4096;

/// The most that is handed over at a time, a frame's worth: what is handed over waits in four places for a client that takes nothing.
const PART: usize = 16 << 10;

/// A stream that may become a tunnel (RFC 8441).
pub(super) struct Crossing {
    pub(super) progress: Rc<Progress>,
    pub(super) upgrade: OnUpgrade,
}

impl Crossing {
    /// Runs what the stream has become. `sending` sends what is written to it, and ends with the stream or when all of it has gone.
    /// What has not gone when the tunnel is over goes no more: the client does not take it.
    pub(super) async fn run(self, sending: impl Future<Output = ()>) {
        let Self { progress, upgrade } = self;
        let tunnel = progress.take_tunnel();
        // The notes of the request are the tunnel's now.
        drop(progress);
        let Some(tunnel) = tunnel else {
            drop(upgrade);
            return sending.await;
        };
        if let Ok(stream) = upgrade.await {
            run(*tunnel, stream, sending).await;
        }
    }
}

async fn run(tunnel: Tunnel, stream: Upgraded, sending: impl Future<Output = ()>) {
    let stage = Rc::new(Cell::new(Stage::Open));
    let lane = Lane {
        stream,
        stage: stage.clone(),
    };
    let mut sending = pin!(Some(sending));
    let mut running = pin!(tunnel.run(lane, Bytes::new()));
    let mut grace: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        // First, so that the tunnel does not take a reset for an end.
        if let Some(sent) = sending.as_mut().as_pin_mut()
            && sent.poll(context).is_ready()
        {
            // The tunnel learns of it by what goes with it.
            sending.set(None);
            if stage.get() == Stage::Open {
                stage.set(Stage::Broken);
                grace = Some(Box::pin(sleep(GRACE)));
            }
        }
        if running.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        // A tunnel whose endpoint takes nothing, or has nothing to say, does not see it.
        match &mut grace {
            Some(grace) => grace.as_mut().poll(context),
            None => Poll::Pending,
        }
    })
    .await;
}

/// How far the way to the client is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// We have said that nothing more will come.
    Ended,
    /// The client has reset the stream, or its connection is gone.
    Broken,
}

/// The client's end. The HTTP library reads a stream that was given up as one that has ended.
struct Lane {
    stream: Upgraded,
    stage: Rc<Cell<Stage>>,
}

impl Read for Lane {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stage.get() != Stage::Broken {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let mut space = [0; REST];
        let mut rest = ReadBuf::new(&mut space[..REST.min(buffer.remaining())]);
        ready!(Pin::new(&mut self.stream).poll_read(context, rest.unfilled()))?;
        if rest.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buffer.put_slice(rest.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Lane {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let part = &bytes[..bytes.len().min(PART)];
        Pin::new(&mut self.stream).poll_write(context, part)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stage.get() == Stage::Open {
            self.stage.set(Stage::Ended);
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
