//! Deadlines without a timer each.
//!
//! A request arms, moves and stops a deadline by storing a number. One task per worker sleeps until the earliest of
//! them and wakes those that are due. Deadlines are kept in milliseconds and swept at most every 5, so an alarm rings
//! never early and at most 10 ms late.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// The least time between two sweeps.
const GRAIN: u64 = 5;
const NEVER: u64 = u64::MAX;
/// What a slot holds once its alarm has rung; no deadline is that early, because a deadline is rounded up.
const RUNG: u64 = 0;

/// One worker's deadlines.
pub struct Clock {
    origin: Instant,
    /// No armed deadline is earlier. May be too early itself: then a sweep finds nothing due and looks for the next.
    earliest: Cell<u64>,
    earlier: Notify,
    slots: RefCell<Vec<Option<Rc<Slot>>>>,
    free: RefCell<Vec<usize>>,
}

struct Slot {
    deadline: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// One deadline of a [`Clock`], moved as often as its holder likes.
pub struct Alarm {
    clock: Rc<Clock>,
    slot: Rc<Slot>,
    index: usize,
}

impl Clock {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            origin: Instant::now(),
            earliest: Cell::new(NEVER),
            earlier: Notify::new(),
            slots: RefCell::default(),
            free: RefCell::default(),
        })
    }

    /// A new alarm, not armed.
    pub fn alarm(self: &Rc<Self>) -> Alarm {
        let slot = Rc::new(Slot {
            deadline: Cell::new(NEVER),
            waker: RefCell::default(),
        });
        let mut slots = self.slots.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or(slots.len());
        if index == slots.len() {
            slots.push(Some(slot.clone()));
        } else {
            slots[index] = Some(slot.clone());
        }
        Alarm {
            clock: self.clone(),
            slot,
            index,
        }
    }

    /// Wakes those whose deadline has come, for ever.
    pub async fn sweep(self: Rc<Self>) {
        loop {
            let earliest = self.earliest.get();
            if earliest == NEVER {
                self.earlier.notified().await;
                continue;
            }
            let due = self.origin + Duration::from_millis(earliest);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {
                    self.ring_due();
                    tokio::time::sleep(Duration::from_millis(GRAIN)).await;
                }
                () = self.earlier.notified() => {}
            }
        }
    }

    /// Rings every alarm, armed or not, now.
    pub fn ring_all(&self) {
        for slot in self.slots.borrow().iter().flatten() {
            slot.ring();
        }
    }

    fn ring_due(&self) {
        let elapsed = self.origin.elapsed().as_millis();
        let now = u64::try_from(elapsed).unwrap_or(NEVER - 1);
        let mut earliest = NEVER;
        for slot in self.slots.borrow().iter().flatten() {
            match slot.deadline.get() {
                RUNG => {}
                deadline if deadline <= now => slot.ring(),
                deadline => earliest = earliest.min(deadline),
            }
        }
        self.earliest.set(earliest);
    }
}

impl Slot {
    fn ring(&self) {
        self.deadline.set(RUNG);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Alarm {
    pub fn clock(&self) -> &Rc<Clock> {
        &self.clock
    }

    /// Arms it for `moment`, or moves it there.
    pub fn set(&self, moment: Instant) {
        let since = moment.saturating_duration_since(self.clock.origin);
        let deadline = u64::try_from(since.as_millis()).map_or(NEVER - 1, |millis| millis + 1);
        self.slot.deadline.set(deadline);
        if deadline < self.clock.earliest.get() {
            self.clock.earliest.set(deadline);
            self.clock.earlier.notify_one();
        }
    }

    pub fn stop(&self) {
        self.slot.deadline.set(NEVER);
    }

    /// Whether it has rung since it was last set or stopped.
    pub fn has_rung(&self) -> bool {
        self.slot.deadline.get() == RUNG
    }

    /// Ready once it has rung; else wakes the task when it does.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.has_rung() {
            return Poll::Ready(());
        }
        let mut waker = self.slot.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clock.slots.borrow_mut()[self.index] = None;
        self.clock.free.borrow_mut().push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Runs `test` beside a sweeping clock, on paused time.
    fn with_clock<F: Future<Output = ()>>(test: impl FnOnce(Rc<Clock>) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let clock = Clock::new();
            tokio::select! {
                () = clock.clone().sweep() => {}
                () = test(clock) => {}
            }
        });
    }

    async fn rings_after(alarm: &Alarm, millis: u64) -> u128 {
        let start = Instant::now();
        alarm.set(start + Duration::from_millis(millis));
        poll_fn(|context| alarm.poll(context)).await;
        start.elapsed().as_millis()
    }

    #[test]
    fn an_alarm_rings_not_early_and_at_most_ten_milliseconds_late() {
        with_clock(|clock| async move {
            let (first, second) = (clock.alarm(), clock.alarm());
            for millis in [0, 1, 3, 7, 50, 51, 1000, 60_000] {
                let (a, b) = futures_util::future::join(
                    rings_after(&first, millis + 2),
                    rings_after(&second, millis),
                )
                .await;
                let millis = u128::from(millis);
                assert!((millis..=millis + 10).contains(&b), "{millis}: {b}");
                assert!((millis + 2..=millis + 12).contains(&a), "{millis}: {a}");
            }
        });
    }

    #[test]
    fn a_moved_alarm_rings_at_its_last_deadline_only() {
        with_clock(|clock| async move {
            let alarm = clock.alarm();
            alarm.set(Instant::now() + Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!((100..=110).contains(&rings_after(&alarm, 100).await));
        });
    }

    #[test]
    fn a_stopped_alarm_does_not_ring_and_a_dropped_ones_slot_is_used_again() {
        with_clock(|clock| async move {
            let stopped = clock.alarm();
            stopped.set(Instant::now() + Duration::from_millis(20));
            stopped.stop();
            drop(clock.alarm());
            let last = clock.alarm();
            assert_eq!(last.index, 1);
            rings_after(&last, 100).await;
            assert!(!stopped.has_rung());
            clock.ring_all();
            assert!(stopped.has_rung());
        });
    }
}
