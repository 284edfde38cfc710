use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::Why;
use crate::{
    pool::Endpoint,
    proxy::alarm::{Alarm, Clock},
    units::{Name, WebsocketDrain},
    upstream::Use,
};

/// The most that is read from one end of a tunnel at a time.
const SCRATCH: usize = 64 << 10;

/// One worker's tunnels, by the slot of their endpoint, so that those can be told to end whose endpoint is taken away.
pub struct Tunnels {
    clock: Rc<Clock>,
    groups: RefCell<Vec<Option<Group>>>,
    open: Cell<usize>,
    /// What every tunnel reads into. Nothing stays in it from one poll to the next.
    pub(super) scratch: RefCell<Box<[u8]>>,
}

/// The tunnels to one endpoint.
struct Group {
    endpoint: Arc<Endpoint>,
    role: Use,
    members: Vec<Rc<Handle>>,
}

/// A tunnel's place among the others, through which it is told to end.
pub(super) struct Handle {
    slot: usize,
    index: Cell<usize>,
    pub alarm: Alarm,
    policy: WebsocketDrain,
    order: Cell<Option<Order>>,
}

/// To end at a moment, if it has not ended before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub at: Instant,
    pub why: Why,
}

/// A tunnel's seat in the registry, given back when it is dropped.
pub(super) struct Entry {
    tunnels: Rc<Tunnels>,
    pub handle: Rc<Handle>,
}

impl Tunnels {
    pub fn new(clock: &Rc<Clock>) -> Rc<Self> {
        Rc::new(Self {
            clock: clock.clone(),
            groups: RefCell::default(),
            open: Cell::new(0),
            scratch: RefCell::new(vec![0; SCRATCH].into()),
        })
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// `decided` is what the endpoint was used for when it was chosen, `now` what it is used for now: it may have been taken
    /// away meanwhile, and then the tunnel has `deadline`.
    pub(super) fn enter(
        self: &Rc<Self>,
        endpoint: &Arc<Endpoint>,
        policy: WebsocketDrain,
        decided: Use,
        (now, deadline): (Use, Duration),
    ) -> Entry {
        let slot = endpoint.slot;
        let mut groups = self.groups.borrow_mut();
        if groups.len() <= slot {
            groups.resize_with(slot + 1, || None);
        }
        let group = match &mut groups[slot] {
            Some(group) if Arc::ptr_eq(&group.endpoint, endpoint) => group,
            // While a group has members its endpoint is held, and so is its slot.
            place => place.insert(Group {
                endpoint: endpoint.clone(),
                role: now,
                members: Vec::new(),
            }),
        };
        let handle = Rc::new(Handle {
            slot,
            index: Cell::new(group.members.len()),
            alarm: self.clock.alarm(),
            policy,
            order: Cell::default(),
        });
        handle.follow(decided, now, deadline);
        group.members.push(handle.clone());
        self.open.set(self.open.get() + 1);
        Entry {
            tunnels: self.clone(),
            handle,
        }
    }

    /// Brings the tunnels to the `members` that the services for which `of` says so have in a new snapshot: those of one that is
    /// taken away end as its service says, those of one that is cut end now, and those of one that is back stay. `deadline` is
    /// how long those may stay, by service.
    pub(in crate::proxy) fn reconcile<'a>(
        &self,
        of: impl Fn(&Name) -> bool,
        members: impl Iterator<Item = (&'a Arc<Endpoint>, Use)>,
        deadline: impl Fn(&Name) -> Duration,
    ) {
        let mut groups = self.groups.borrow_mut();
        let mut found = vec![false; groups.len()];
        for (endpoint, role) in members {
            if let Some(Some(group)) = groups.get_mut(endpoint.slot)
                && Arc::ptr_eq(&group.endpoint, endpoint)
            {
                found[endpoint.slot] = true;
                group.becomes(role, &deadline);
            }
        }
        for (group, found) in groups.iter_mut().zip(found) {
            if let (Some(group), false) = (group, found)
                && of(&group.endpoint.key.service)
            {
                group.becomes(Use::Leaves, &deadline);
            }
        }
    }

    /// The process stops taking work: the tunnels of services that say so end now.
    pub fn drain(&self) {
        let now = Instant::now();
        self.each(|handle| {
            if handle.policy == WebsocketDrain::CloseNow {
                handle.order(now, Why::Shutdown);
            }
        });
    }

    /// The process ends: so do all tunnels.
    pub fn end(&self) {
        let now = Instant::now();
        self.each(|handle| handle.order(now, Why::Shutdown));
    }

    fn each(&self, tell: impl Fn(&Handle)) {
        let groups = self.groups.borrow();
        let members = groups.iter().flatten().flat_map(|group| &group.members);
        members.for_each(|handle| tell(handle));
    }

    fn leave(&self, handle: &Handle) {
        let mut groups = self.groups.borrow_mut();
        let place = &mut groups[handle.slot];
        if let Some(group) = place {
            group.members.swap_remove(handle.index.get());
            if let Some(moved) = group.members.get(handle.index.get()) {
                moved.index.set(handle.index.get());
            }
            if group.members.is_empty() {
                *place = None;
            }
        }
        self.open.set(self.open.get() - 1);
    }
}

impl Group {
    fn becomes(&mut self, role: Use, deadline: impl Fn(&Name) -> Duration) {
        let before = std::mem::replace(&mut self.role, role);
        if before == role {
            return;
        }
        let deadline = deadline(&self.endpoint.key.service);
        for handle in &self.members {
            handle.follow(before, role, deadline);
        }
    }
}

impl Handle {
    /// What it was told last.
    pub(super) fn ordered(&self) -> Option<Order> {
        self.order.get()
    }

    /// Its endpoint is used for something else than before.
    fn follow(&self, before: Use, role: Use, deadline: Duration) {
        match (before, role) {
            _ if before == role => {}
            (_, Use::Cut) => self.order(Instant::now(), Why::Cut),
            // It is back, at least for those who ask for it.
            (_, Use::Serves) | (Use::Leaves | Use::Cut, Use::Rests) => self.stays(),
            (_, Use::Leaves | Use::Rests) => self.leaves(deadline),
        }
    }

    /// Wakes the tunnel, which looks at the order then. The earliest of several holds.
    fn order(&self, at: Instant, why: Why) {
        if self.order.get().is_none_or(|order| at < order.at) {
            self.order.set(Some(Order { at, why }));
            self.alarm.set(Instant::now());
        }
    }

    /// Its endpoint is taken away, and what is under way may take so long.
    fn leaves(&self, deadline: Duration) {
        let now = Instant::now();
        match self.policy {
            WebsocketDrain::Keep => {}
            WebsocketDrain::CloseNow => self.order(now, Why::Drained),
            WebsocketDrain::CloseAtDeadline => self.order(now + deadline, Why::Drained),
        }
    }

    fn stays(&self) {
        let order = self.order.get().filter(|order| order.why == Why::Shutdown);
        self.order.set(order);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tunnels.leave(&self.handle);
    }
}
