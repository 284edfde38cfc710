use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::rt::{Read, Write};
use tokio::time::Instant;

use super::{
    Why,
    account::Account,
    pump::{Pump, Stage},
    registry::{Handle, Order, Tunnels},
};
use crate::{proxy::Upload, upstream::Switched};

/// How long the two ends may take for their last words once a tunnel is closed.
pub const GRACE: Duration = Duration::from_secs(1);

/// How long nothing may move where one end has said that it sends no more. Who still has something to say says it soon.
const HALF_CLOSED: Duration = Duration::from_secs(30);

/// A connection of a client and one of an endpoint that have become one. Made when the endpoint has agreed; run when the client
/// has been told.
pub struct Tunnel {
    pub(super) endpoint: Switched<Upload>,
    pub(super) tunnels: Rc<Tunnels>,
    pub(super) account: Account,
    /// How long nothing may move.
    pub(super) patience: Duration,
    pub(super) websocket: bool,
}

impl Tunnel {
    /// Passes bytes both ways until both ends have ended, or it is closed. `early` is what the client has sent already.
    pub async fn run<C>(self, client: C, early: Bytes)
    where
        C: Read + Write + Unpin,
    {
        let Self {
            endpoint,
            tunnels,
            mut account,
            patience,
            websocket,
        } = self;
        let Switched { way, early: first } = endpoint;
        let mut pump = Pump::new((client, &early), (way, &first), websocket);
        // What they hold is copied; a buffer they may be parts of is not kept for it.
        drop((early, first));
        let mut watch = Watch::new(patience, &account.entry.handle);
        let why = poll_fn(|context| {
            let scratch = &mut *tunnels.scratch.borrow_mut();
            let polled = watch.poll(context, &mut pump, scratch, &account.entry.handle);
            account.passed(pump.up.bytes, pump.down.bytes);
            polled
        })
        .await;
        account.why = Some(why);
        // On a connection that others share, its own task writes what was said last. It runs before us.
        tokio::task::yield_now().await;
        // The endpoint's connection is closed before the lease is given back.
        drop(pump);
        drop(account);
    }
}

/// The times of a tunnel.
struct Watch {
    patience: Duration,
    /// When it has been silent for too long, or its last words have taken too long.
    deadline: Instant,
    stage: Stage,
}

impl Watch {
    fn new(patience: Duration, handle: &Handle) -> Self {
        let watch = Self {
            patience,
            deadline: Instant::now() + patience,
            stage: Stage::Open,
        };
        watch.arm(handle);
        watch
    }

    fn poll<C, E>(
        &mut self,
        context: &mut Context<'_>,
        pump: &mut Pump<C, E>,
        scratch: &mut [u8],
        handle: &Handle,
    ) -> Poll<Why>
    where
        C: Read + Write + Unpin,
        E: Read + Write + Unpin,
    {
        loop {
            if let Some(order) = self.order(handle)
                && order.at <= Instant::now()
            {
                pump.close(order.why);
            }
            if let Poll::Ready(why) = pump.poll(context, scratch) {
                return Poll::Ready(why);
            }
            self.follow(pump, handle);
            ready!(handle.alarm.poll(context));
            if Instant::now() >= self.deadline {
                match pump.why() {
                    Some(why) if self.stage == Stage::Ending => return Poll::Ready(why),
                    _ => pump.close(Why::Idle),
                }
            }
            self.arm(handle);
        }
    }

    /// Moves the deadline where bytes have moved, or where the tunnel is further on its way out.
    fn follow<C, E>(&mut self, pump: &mut Pump<C, E>, handle: &Handle)
    where
        C: Read + Write + Unpin,
        E: Read + Write + Unpin,
    {
        let (stage, moved) = (pump.stage(), pump.has_moved());
        let goes_on = stage == self.stage;
        if goes_on && (!moved || stage == Stage::Ending) {
            return;
        }
        self.stage = stage;
        self.patience = match stage {
            Stage::Open => self.patience,
            Stage::HalfClosed => self.patience.min(HALF_CLOSED),
            Stage::Ending => GRACE,
        };
        self.deadline = Instant::now() + self.patience;
        self.arm(handle);
    }

    fn arm(&self, handle: &Handle) {
        let ordered = self.order(handle).map(|order| order.at);
        handle
            .alarm
            .set(ordered.map_or(self.deadline, |at| at.min(self.deadline)));
    }

    /// To end, as long as it is not ending.
    fn order(&self, handle: &Handle) -> Option<Order> {
        handle.ordered().filter(|_| self.stage != Stage::Ending)
    }
}
