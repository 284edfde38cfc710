use std::{sync::Arc, time::Duration};

use super::span;
use crate::{
    config::plan,
    control::rollout::{ArmLive, Counts, Rollout},
    pool::{FaultEvent, FaultReport, PoolStats},
    rollout::{
        Counts as Figures, Seen,
        guard::{Evidence, Fault, Guard},
        judge::{
            Baseline, Bound, Dealt, Judgement, Kept, Looks, Mismatch, On, Pair, Sample, Traffic,
            absolute, judge, margin, mismatch,
        },
    },
    telemetry::Tried,
    units::{Arm, JudgeSettings, Percent, Timestamp},
};

/// How far back what is recent reaches, and at most twice as far.
const RECENT: Duration = Duration::from_mins(1);

/// One service of a rollout: both versions' counts, and the moments they are compared from.
pub(super) struct Side {
    stable: Arc<PoolStats>,
    candidate: Arc<PoolStats>,
    /// Clients keep to their version.
    sticky: bool,
    /// Since when requests are compared with their copies.
    copying: Option<Timestamp>,
    guard: Guard,
    looks: Looks,
    /// When the rollout was begun.
    whole: Both,
    /// When the candidate got its share.
    shifted: Both,
    /// Clients that had met errors until then, at both.
    met: [u64; 2],
    /// When its latency was first looked at with it.
    warm: Both,
    /// A while ago, and as long before that.
    marks: [(Timestamp, Both); 2],
    /// When the looks of this step were begun.
    begun: Timestamp,
    /// How much more often than stable it may fail in this step.
    margin: f64,
    /// The stable version's figures before it lost its requests.
    frozen: Option<Sample>,
    /// Of the shares before this one.
    dealt: Vec<Dealt>,
    /// Since when too few of the candidate's requests succeed.
    failing_since: Option<Timestamp>,
}

/// Both versions' counts at one moment.
#[derive(Clone)]
struct Both {
    stable: Tried,
    candidate: Tried,
    /// What the candidate made of copies.
    copied: Tried,
    /// Of the candidate: asked, failed.
    probes: (u64, u64),
}

impl Both {
    fn of(stable: &PoolStats, candidate: &PoolStats) -> Self {
        Self {
            stable: stable.tried(),
            candidate: candidate.tried(),
            copied: candidate.copied(),
            probes: candidate.probed.read(),
        }
    }

    /// What the candidate is compared by.
    fn compared(&self, by_copies: bool) -> &Tried {
        if by_copies {
            &self.copied
        } else {
            &self.candidate
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            stable: self.stable.since(&earlier.stable),
            candidate: self.candidate.since(&earlier.candidate),
            copied: self.copied.since(&earlier.copied),
            probes: (
                self.probes.0.saturating_sub(earlier.probes.0),
                self.probes.1.saturating_sub(earlier.probes.1),
            ),
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            stable: figures(&self.stable),
            candidate: figures(&self.candidate),
        }
    }
}

fn figures(tried: &Tried) -> Figures {
    Figures {
        requests: tried.requests,
        errors: tried.errors,
    }
}

/// What one look at a service has found.
pub(super) struct Seeing {
    pub judgement: Option<Judgement>,
    /// A step may be passed with it.
    pub decides: bool,
    /// Those that are broken.
    pub broken: Vec<Bound>,
    pub mismatch: Option<Mismatch>,
}

impl Side {
    pub fn new(
        stable: Arc<PoolStats>,
        candidate: Arc<PoolStats>,
        sticky: bool,
        plan: &plan::Rollout,
        now: Timestamp,
    ) -> Self {
        let both = Both::of(&stable, &candidate);
        let spans = plan.steps.iter().map(|step| match step.then {
            plan::Then::Hold(span) | plan::Then::Judge(span) => span,
            plan::Then::Approval { .. } => Duration::ZERO,
        });
        let spans = spans.chain([plan.bake]);
        Self {
            stable,
            candidate,
            sticky,
            copying: None,
            guard: Guard::new(plan.guard),
            looks: Looks::new(spans, plan.judge.interval, plan.judge.max_hold),
            whole: both.clone(),
            shifted: both.clone(),
            met: [0, 0],
            warm: both.clone(),
            marks: [(now, both.clone()), (now, both)],
            begun: now,
            margin: 0.0,
            frozen: None,
            dealt: Vec::new(),
            failing_since: None,
        }
    }

    fn totals(&self) -> Both {
        Both::of(&self.stable, &self.candidate)
    }

    /// Why the candidate must be taken back, if this was the error too many.
    pub fn fault(&mut self, report: &FaultReport, now: Timestamp) -> Option<Evidence> {
        match report.event {
            FaultEvent::Felt => self.guard.felt(report.arm, report.share),
            // The counts say that.
            FaultEvent::Rescued => return None,
            FaultEvent::Failed => self.guard.error(Fault {
                arm: report.arm,
                share: report.share,
                client: report.client,
                sticky: self.sticky,
                seen_by_user: false,
            }),
        }
        if report.arm == Arm::Stable || !self.guard.may_fire() {
            return None;
        }
        self.mark(now);
        let totals = self.totals();
        let recent = totals.since(&self.marks[1].1).seen();
        self.guard.fires(recent, totals.since(&self.whole).seen())
    }

    /// Moves on what is recent.
    fn mark(&mut self, now: Timestamp) {
        if span(self.marks[0].0, now) >= RECENT {
            self.marks.swap(0, 1);
            self.marks[0] = (now, self.totals());
        }
    }

    /// The candidate has another share from now on; `before` is the one it had.
    pub fn shifts(&mut self, before: f64) {
        let totals = self.totals();
        let since = totals.since(&self.shifted);
        if before > 0.0 && before < 1.0 {
            self.dealt.push(dealt(&since, before));
        }
        if self.frozen.is_none() || since.stable.requests > 0 {
            self.frozen = Some(self.sample(Arm::Stable, &totals));
        }
        self.shifted = totals.clone();
        self.met = Arm::ALL.map(|arm| self.guard.clients(arm));
        self.warm = totals;
    }

    /// From now on, or no more, requests are compared with their copies.
    pub fn copies(&mut self, since: Option<Timestamp>) {
        self.copying = since;
        if since.is_some() {
            self.shifted = self.totals();
            self.warm = self.shifted.clone();
        }
    }

    /// Its looks begin: for so long, as it stands.
    pub fn begin(
        &mut self,
        judge: &JudgeSettings,
        rollout: &Rollout,
        lasts: Duration,
        now: Timestamp,
    ) {
        self.mark(now);
        let totals = self.totals();
        self.warm = totals.clone();
        self.begun = now;
        self.looks.begin(lasts);
        let (since, mark) = &self.marks[1];
        let recent = totals.since(mark);
        let seconds = span(*since, now).as_secs_f64().max(1.0);
        let traffic = Traffic {
            per_second: number(recent.stable.requests + recent.candidate.requests) / seconds,
            stable: figures(&recent.stable),
        };
        let (per_second, share) = match (self.copying, rollout.copies) {
            (Some(since), Some(part)) => (self.copied(since, &totals, now, part, &traffic), 0.5),
            _ => (traffic.per_second * rollout.share, rollout.share),
        };
        let requests = per_second * lasts.as_secs_f64();
        self.margin = margin(judge.error_margin, &traffic, requests, share);
    }

    /// Copies in a second: as they came while the version was cold, or as many as there may be.
    fn copied(
        &self,
        since: Timestamp,
        totals: &Both,
        now: Timestamp,
        part: Percent,
        traffic: &Traffic,
    ) -> f64 {
        let seconds = span(since, now).as_secs_f64();
        if seconds < 1.0 {
            return traffic.per_second * part.part();
        }
        number(totals.since(&self.shifted).copied.requests) / seconds
    }

    /// When the next look is due.
    pub fn next(&self) -> Timestamp {
        let next = jiff::SignedDuration::try_from(self.looks.next()).unwrap_or_default();
        self.begun.checked_add(next).unwrap_or(self.begun)
    }

    /// Clients keep to the version that is compared. Copies are drawn anew, whosesoever they are.
    fn keeps(&self) -> bool {
        self.sticky && !self.by_copies()
    }

    fn by_copies(&self) -> bool {
        self.copying.is_some()
    }

    /// Latency as far as it was looked at, all else since the share serves.
    fn sample(&self, arm: Arm, totals: &Both) -> Sample {
        let (shifted, warm) = (totals.since(&self.shifted), totals.since(&self.warm));
        let (counts, warm) = match arm {
            Arm::Stable => (&shifted.stable, &warm.stable),
            Arm::Candidate => (
                shifted.compared(self.by_copies()),
                warm.compared(self.by_copies()),
            ),
        };
        let failing = self.guard.clients(arm) - self.met[arm as usize];
        Sample {
            requests: counts.requests,
            errors: counts.errors,
            latency: warm.response.clone(),
            failing_clients: self.keeps().then_some(failing),
        }
    }

    /// What both did in the last minute or two of a step that is longer: what begins now is not hidden by the good time before it. Not where
    /// clients keep to their version: how many of them failed in it is not known.
    fn recent(&self, totals: &Both) -> Option<Pair> {
        let (since, mark) = &self.marks[1];
        (!self.keeps() && *since > self.begun).then(|| {
            let recent = totals.since(mark);
            Pair {
                stable: sample(&recent.stable),
                candidate: sample(recent.compared(self.by_copies())),
                baseline: Baseline::Now,
            }
        })
    }

    /// Looks at what was seen so far. `alone`: the candidate has all requests.
    pub fn look(&mut self, plan: &plan::Rollout, share: f64, of: usize, now: Timestamp) -> Seeing {
        self.mark(now);
        let totals = self.totals();
        let mut look = self.looks.look(span(self.begun, now));
        look.harm /= number(of as u64);
        let candidate = self.sample(Arm::Candidate, &totals);
        let pair = if share < 1.0 {
            Some(Pair {
                stable: self.sample(Arm::Stable, &totals),
                candidate,
                baseline: Baseline::Now,
            })
        } else {
            self.frozen.clone().map(|stable| Pair {
                stable,
                candidate,
                baseline: Baseline::Frozen,
            })
        };
        let recent = self.recent(&totals).filter(|_| share < 1.0);
        let judgement =
            pair.map(|pair| judge(&plan.judge, self.margin, look, &pair, recent.as_ref()));
        let current = dealt(&totals.since(&self.shifted), share);
        let dealt = self.dealt.iter().copied().chain([current]);
        let mismatch = mismatch(dealt.filter(|dealt| dealt.share > 0.0 && dealt.share < 1.0));
        Seeing {
            judgement,
            decides: look.decides,
            broken: self.broken(plan, &totals, now),
            mismatch,
        }
    }

    /// The bounds that the candidate has broken of late.
    fn broken(&mut self, plan: &plan::Rollout, totals: &Both, now: Timestamp) -> Vec<Bound> {
        let recent = totals.since(&self.marks[1].1);
        let (asked, failed) = recent.probes;
        let probes = Figures {
            requests: asked,
            errors: failed,
        };
        let sample = sample(recent.compared(self.by_copies()));
        let bounds = absolute(&plan.absolute, &sample, probes);
        let low = bounds
            .iter()
            .any(|bound| bound.on == On::Success && !matches!(bound.kept, Kept::Yes));
        let since = *self.failing_since.get_or_insert(now);
        if !low {
            self.failing_since = None;
        }
        let lasts = plan.absolute.min_success.map(|(_, lasts)| lasts);
        let for_long = lasts.is_some_and(|lasts| span(since, now) >= lasts);
        bounds
            .into_iter()
            .filter(|bound| match bound.on {
                On::Success => low && for_long && bound.kept != Kept::Yes,
                _ => bound.kept == Kept::No,
            })
            .collect()
    }

    pub fn add(&self, counts: &mut Counts) {
        let all = self.totals().since(&self.whole);
        counts.requests += all.candidate.requests;
        counts.errors += all.candidate.errors;
        counts.rescued += all.candidate.rescued;
        counts.felt += all.candidate.felt;
        counts.stable_requests += all.stable.requests;
        counts.stable_errors += all.stable.errors;
    }

    pub fn show(&self, stable: &mut ArmLive, candidate: &mut ArmLive) {
        let totals = self.totals();
        let (shifted, warm) = (totals.since(&self.shifted), totals.since(&self.warm));
        for (live, counts, warm) in [
            (stable, &shifted.stable, &warm.stable),
            (
                candidate,
                shifted.compared(self.by_copies()),
                warm.compared(self.by_copies()),
            ),
        ] {
            let quantile = |quantile| {
                let value = warm.response.quantile(quantile)?;
                Some(value.as_secs_f64() * 1e3)
            };
            live.requests += counts.requests;
            live.errors += counts.errors;
            live.rescued += counts.rescued;
            live.felt += counts.felt;
            live.p50_ms = quantile(0.5);
            live.p95_ms = quantile(0.95);
            live.p99_ms = quantile(0.99);
        }
    }
}

/// Of whoever's requests.
fn sample(tried: &Tried) -> Sample {
    Sample {
        requests: tried.requests,
        errors: tried.errors,
        latency: tried.response.clone(),
        failing_clients: None,
    }
}

/// Where requests went that chance has sent.
fn dealt(since: &Both, share: f64) -> Dealt {
    Dealt {
        all: since.stable.assigned + since.candidate.assigned,
        candidate: since.candidate.assigned,
        share,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody counts to 2^53 in a rollout"
)]
fn number(count: u64) -> f64 {
    count as f64
}
