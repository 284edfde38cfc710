//! What is thought of one endpoint. Pure: what time it is, and what probes saw, are arguments.

use std::{collections::VecDeque, time::Instant};

use super::{Ejection, EjectionCause, LastProbe, Probed, ejection::Ejections, eligibility::Place};
use crate::{
    pool::State,
    snapshot::Standing,
    units::{Outliers, SlowStart, Timestamp, WARM, Warmth},
};

/// What probes say, by the rise and fall counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unproven,
    Ready,
    Unready,
}

/// What is thought of one endpoint.
pub(super) struct Health {
    /// When it was put there, or put back: a probe begun before says nothing of it.
    put: Instant,
    verdict: Verdict,
    /// Of the last change of its state.
    pub since: Timestamp,
    proven: bool,
    /// When the last passes in a row were begun; as many as the rise count asks for.
    passes: VecDeque<Instant>,
    streak: i64,
    pub last: Option<LastProbe>,
    ejections: Ejections,
    drain: Drain,
    cut: bool,
    /// Since when it comes to its share.
    ready_since: Option<Instant>,
}

/// A change of an endpoint's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub before: State,
    pub after: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    No,
    Draining,
    Drained,
}

impl Health {
    pub fn new(put: Instant, at: Timestamp) -> Self {
        Self {
            put,
            verdict: Verdict::Unproven,
            since: at,
            proven: false,
            passes: VecDeque::new(),
            streak: 0,
            last: None,
            ejections: Ejections::default(),
            drain: Drain::No,
            cut: false,
            ready_since: None,
        }
    }

    pub fn state(&self) -> State {
        match (self.drain, self.verdict) {
            (Drain::Draining, _) => State::Draining,
            (Drain::Drained, _) => State::Drained,
            (Drain::No, Verdict::Unproven) => State::Unproven,
            (Drain::No, Verdict::Ready) if self.ejections.now.is_some() => State::Ejected,
            (Drain::No, Verdict::Ready) => State::Ready,
            (Drain::No, Verdict::Unready) => State::Unready,
        }
    }

    pub fn standing(&self) -> Standing {
        Standing {
            state: self.state(),
            proven: self.proven,
            cut: self.cut,
        }
    }

    /// Whether it would get requests if it were not drained.
    pub fn is_fit(&self) -> bool {
        self.verdict == Verdict::Ready && self.ejections.now.is_none()
    }

    pub fn ejection(&self) -> Option<&Ejection> {
        self.ejections.now.as_ref()
    }

    /// Whether its last `rise` passes in a row were all begun at or after `since`.
    pub fn is_proven_since(&self, since: Instant, rise: u32) -> bool {
        let rise = rise as usize;
        let first = self.passes.len().checked_sub(rise);
        first.is_some_and(|first| self.passes.get(first).is_none_or(|begun| *begun >= since))
    }

    /// Takes a probe's end in. `Some` when the state has changed by it.
    pub fn observe(
        &mut self,
        probed: Probed,
        rise: u32,
        fall: u32,
        now: Instant,
        at: Timestamp,
    ) -> Option<Turn> {
        if probed.begun < self.put {
            return None;
        }
        let before = self.state();
        let begun = probed.begun;
        self.count(probed, rise.max(1), fall.max(1));
        let cured = self.ejection().is_some_and(|ejection| {
            ejection.is_cured(|began| self.is_proven_since(began, rise.max(1)))
        });
        if cured {
            self.ejections.end(begun);
        }
        self.turn(before, now, at)
    }

    /// Takes it out, if it is in.
    pub fn eject(
        &mut self,
        cause: EjectionCause,
        outliers: &Outliers,
        now: Instant,
        at: Timestamp,
    ) -> Option<Turn> {
        let before = self.state();
        if before == State::Ready {
            self.ejections.begin(cause, outliers, now, at);
        }
        self.turn(before, now, at)
    }

    /// Ends its ejection.
    pub fn bring_back(&mut self, now: Instant, at: Timestamp) -> Option<Turn> {
        let before = self.state();
        self.ejections.end(now);
        self.turn(before, now, at)
    }

    fn turn(&mut self, before: State, now: Instant, at: Timestamp) -> Option<Turn> {
        let after = self.state();
        (before != after).then(|| {
            self.since = at;
            self.ready_since = (after == State::Ready).then_some(now);
            Turn { before, after }
        })
    }

    /// It has its share.
    pub fn warm_up(&mut self) {
        self.ready_since = None;
    }

    /// How far it has come to its share.
    pub fn warmth(&self, slow_start: Option<&SlowStart>, now: Instant) -> Warmth {
        match (slow_start, self.ready_since) {
            (Some(slow_start), Some(since)) => {
                slow_start.warmth(now.saturating_duration_since(since))
            }
            _ => WARM,
        }
    }

    /// When it comes to more of its share.
    pub fn next_step(&self, slow_start: &SlowStart, now: Instant) -> Option<Instant> {
        let since = self.ready_since?;
        let step = slow_start.next_step(now.saturating_duration_since(since))?;
        Some(since + step)
    }

    fn count(&mut self, probed: Probed, rise: u32, fall: u32) {
        if probed.passed {
            self.streak = self.streak.max(0) + 1;
            self.passes.push_back(probed.begun);
            while self.passes.len() > rise as usize {
                self.passes.pop_front();
            }
            if self.streak >= i64::from(rise) {
                self.verdict = Verdict::Ready;
                self.proven = true;
            }
        } else {
            self.streak = self.streak.min(0) - 1;
            self.passes.clear();
            if -self.streak >= i64::from(fall) && self.verdict == Verdict::Ready {
                self.verdict = Verdict::Unready;
            }
        }
        self.last = Some(LastProbe {
            streak: self.streak,
            ..probed.last
        });
    }

    /// Takes over what the book says of it.
    pub fn settle(&mut self, place: &Place, now: Instant, at: Timestamp) {
        let before = self.state();
        if !place.probed {
            self.verdict = Verdict::Ready;
            self.proven = true;
        }
        self.drain = match (place.draining, self.drain) {
            (false, _) => Drain::No,
            (true, Drain::Drained) => Drain::Drained,
            (true, _) => Drain::Draining,
        };
        self.cut = place.cut;
        self.turn(before, now, at);
    }

    /// Put back: what was thought of it before counts no more. The last probe stays to be seen.
    pub fn put_back(&mut self, now: Instant, at: Timestamp) {
        *self = Self {
            last: self.last.take(),
            ..Self::new(now, at)
        };
    }

    /// While it drains: proven empty.
    pub fn emptied(&mut self, at: Timestamp) {
        if self.drain == Drain::Draining {
            self.drain = Drain::Drained;
            self.since = at;
        }
    }
}
