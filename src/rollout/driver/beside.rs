//! A batch that was put back, beside the endpoints that are yet to be replaced.

use std::{sync::Arc, time::Duration};

use super::{batches, side::Seeing, span};
use crate::{
    config::plan::{self, Then},
    control::rollout::{ArmLive, Counts, Phase, Rollout},
    pool::{Endpoint, FaultEvent, FaultReport},
    rollout::{
        Counts as Figures, Seen,
        guard::{Evidence, Fault, Guard},
        judge::{Baseline, Looks, Pair, Sample, Traffic, judge, margin},
    },
    snapshot::Snapshot,
    units::{Address, Arm, GuardSettings, JudgeSettings, Timestamp},
};

/// Requests, of all together, below which it does not show who gets how many of them.
const TELLING: u64 = 100;

/// What endpoints did, by their own counts: attempts, and of them those that they failed. Their latency is not kept one by one.
pub(super) struct Beside {
    batch: Group,
    /// Those that are yet to be replaced.
    others: Group,
    /// All beside the batch: those that were replaced before it, too.
    rest: Group,
    guard: Guard,
    /// Whoever asks keeps to his endpoint.
    sticky: bool,
    /// Of the batch's errors: those that a user saw, and those that another endpoint made up for.
    felt: u64,
    rescued: u64,
    looks: Looks,
    /// When the looks of this phase were begun.
    begun: Timestamp,
    margin: f64,
    /// What those did that were yet to be replaced, while there were some.
    before: Option<Sample>,
    /// None is left that is yet to be replaced.
    last: bool,
    /// Of the batches before.
    told: Counts,
    /// Of the whole pool, since the batch got no more requests.
    mark: (Timestamp, Group),
}

/// Some endpoints, and what they had done when it began to count.
#[derive(Default)]
struct Group {
    endpoints: Vec<Arc<Endpoint>>,
    base: Figures,
}

impl Group {
    fn of(rollout: &Rollout, snapshot: &Snapshot, is_in: impl Fn(&Address) -> bool) -> Self {
        let pool = batches::pool(rollout, snapshot);
        let members = pool.iter().flat_map(|pool| &pool.members);
        let endpoints = members
            .map(|held| held.endpoint.clone())
            .filter(|endpoint| is_in(&endpoint.key.address))
            .collect();
        let mut group = Self {
            endpoints,
            base: Figures::default(),
        };
        group.base = group.all();
        group
    }

    fn all(&self) -> Figures {
        let shards = self.endpoints.iter().flat_map(|endpoint| endpoint.shards());
        shards.fold(Figures::default(), |sum, shard| Figures {
            requests: sum.requests + shard.classes().iter().sum::<u64>(),
            errors: sum.errors + shard.faults(),
        })
    }

    fn figures(&self) -> Figures {
        let all = self.all();
        Figures {
            requests: all.requests.saturating_sub(self.base.requests),
            errors: all.errors.saturating_sub(self.base.errors),
        }
    }

    fn sample(&self) -> Sample {
        let Figures { requests, errors } = self.figures();
        Sample {
            requests,
            errors,
            ..Sample::default()
        }
    }
}

impl Beside {
    pub fn new(
        rollout: &Rollout,
        plan: &plan::Rollout,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Self {
        let phases = [plan.warm_up, lasts(plan)];
        let phases = (0..rollout.steps).flat_map(|_| phases);
        let mut beside = Self {
            batch: Group::default(),
            others: Group::default(),
            rest: Group::default(),
            guard: Guard::new(plan.guard),
            sticky: false,
            felt: 0,
            rescued: 0,
            looks: Looks::new(phases, plan.judge.interval, plan.judge.max_hold),
            begun: now,
            margin: 0.0,
            before: None,
            last: false,
            told: rollout.counts,
            mark: (now, Group::of(rollout, snapshot, |_| true)),
        };
        beside.enters(rollout, plan, snapshot, now);
        beside
    }

    /// The rollout stands at another phase.
    pub fn enters(
        &mut self,
        rollout: &Rollout,
        plan: &plan::Rollout,
        snapshot: &Snapshot,
        now: Timestamp,
    ) {
        match rollout.stage.phase() {
            Some(Phase::Emptying) => {
                self.mark = (now, Group::of(rollout, snapshot, |_| true));
            }
            Some(Phase::Proving) => self.put_side_by_side(rollout, plan, snapshot, now),
            Some(Phase::WarmingUp) => self.begin(plan.warm_up, now),
            Some(Phase::Waiting) => self.begin(lasts(plan), now),
            _ => {}
        }
    }

    fn begin(&mut self, lasts: Duration, now: Timestamp) {
        self.begun = now;
        self.looks.begin(lasts);
    }

    fn put_side_by_side(
        &mut self,
        rollout: &Rollout,
        plan: &plan::Rollout,
        snapshot: &Snapshot,
        now: Timestamp,
    ) {
        let Some(batches) = &rollout.batches else {
            return;
        };
        self.told = self.counts();
        (self.felt, self.rescued) = (0, 0);
        self.guard = Guard::new(GuardSettings {
            // It is asked at each batch.
            alpha: plan.guard.alpha / number(batches.all.len() as u64).max(1.0),
            ..plan.guard
        });
        let pool = batches::pool(rollout, snapshot);
        self.sticky = pool.is_some_and(|pool| pool.ready.hash_key().is_some());
        let rest = batches.all.iter().skip(batches.at + 1);
        let rest: Vec<_> = rest.flatten().collect();
        let current = batches.current();
        self.batch = Group::of(rollout, snapshot, |address| current.contains(address));
        self.others = Group::of(rollout, snapshot, |address| rest.contains(&address));
        self.rest = Group::of(rollout, snapshot, |address| !current.contains(address));
        self.last = self.others.endpoints.is_empty();
        if self.last {
            // Those that were found good stand for them where nothing is known of them.
            self.others = Group::of(rollout, snapshot, |address| !current.contains(address));
        }
        let seconds = span(self.mark.0, now).as_secs_f64().max(1.0);
        let lately = self.mark.1.figures();
        let traffic = Traffic {
            per_second: number(lately.requests) / seconds,
            stable: lately,
        };
        let all = number((self.batch.endpoints.len() + self.others.endpoints.len()) as u64);
        let share = number(self.batch.endpoints.len() as u64) / all.max(1.0);
        let requests = traffic.per_second * share * (plan.warm_up + lasts(plan)).as_secs_f64();
        self.margin = margin(plan.judge.error_margin, &traffic, requests, share);
    }

    /// Why the batch must go, if this was the error too many.
    pub fn fault(&mut self, report: &FaultReport) -> Option<Evidence> {
        let candidate = report.arm == Arm::Candidate;
        let seen = Seen {
            candidate: self.batch.figures(),
            stable: self.rest.figures(),
        };
        let share = share(report.share, seen);
        match report.event {
            FaultEvent::Felt => {
                self.felt += u64::from(candidate);
                self.guard.felt(report.arm, share);
            }
            FaultEvent::Rescued => {
                self.rescued += u64::from(candidate);
                return None;
            }
            FaultEvent::Failed => self.guard.error(Fault {
                arm: report.arm,
                share,
                client: report.client,
                sticky: self.sticky,
                seen_by_user: false,
            }),
        }
        if !candidate || !self.guard.may_fire() {
            return None;
        }
        self.guard.fires(seen, seen)
    }

    /// When the next look is due.
    pub fn next(&self) -> Timestamp {
        let next = jiff::SignedDuration::try_from(self.looks.next()).unwrap_or_default();
        self.begun.checked_add(next).unwrap_or(self.begun)
    }

    pub fn look(&mut self, plan: &plan::Rollout, now: Timestamp) -> Seeing {
        let look = self.looks.look(span(self.begun, now));
        let mut stable = self.others.sample();
        let mut baseline = Baseline::Now;
        if !self.last {
            self.before = Some(stable.clone());
        } else if let Some(before) = &self.before {
            stable = before.clone();
            baseline = Baseline::Frozen;
        }
        let settings = JudgeSettings {
            latency: None,
            ..plan.judge
        };
        let pair = Pair {
            candidate: self.batch.sample(),
            stable,
            baseline,
        };
        Seeing {
            judgement: Some(judge(&settings, self.margin, look, &pair, None)),
            decides: look.decides,
            broken: Vec::new(),
            mismatch: None,
        }
    }

    /// A replaced endpoint has failed a request.
    pub fn has_failed(&self) -> bool {
        self.batch.figures().errors > 0
    }

    /// Of all batches so far.
    pub fn counts(&self) -> Counts {
        let (batch, others) = (self.batch.figures(), self.others.figures());
        Counts {
            requests: self.told.requests + batch.requests,
            errors: self.told.errors + batch.errors,
            rescued: self.told.rescued + self.rescued,
            felt: self.told.felt + self.felt,
            stable_requests: self.told.stable_requests + others.requests,
            stable_errors: self.told.stable_errors + others.errors,
            ..self.told
        }
    }

    pub fn show(&self, stable: &mut ArmLive, candidate: &mut ArmLive) {
        for (live, group) in [(stable, &self.others), (&mut *candidate, &self.batch)] {
            let figures = group.figures();
            live.requests = figures.requests;
            live.errors = figures.errors;
            live.felt = figures.errors;
        }
        (candidate.felt, candidate.rescued) = (self.felt, self.rescued);
    }
}

/// How long what follows a batch takes at least.
fn lasts(plan: &plan::Rollout) -> Duration {
    match plan.steps.first().map(|step| step.then) {
        Some(Then::Hold(span) | Then::Judge(span)) => span,
        _ => Duration::ZERO,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody counts to 2^53 in a rollout"
)]
fn number(count: u64) -> f64 {
    count as f64
}

/// What it was to have, or has had where that is more: whoever answers fast may get more than his weight says.
fn share(weighed: f64, seen: Seen) -> f64 {
    let all = seen.candidate.requests + seen.stable.requests;
    if all < TELLING {
        return weighed;
    }
    weighed.max(number(seen.candidate.requests) / number(all))
}
