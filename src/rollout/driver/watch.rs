//! What is seen of a rollout's requests, and what that says.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    beside::Beside,
    side::{Seeing, Side},
};
use crate::{
    config::plan::{self, Then},
    control::rollout::{ArmLive, Cause, Counts, Live, Phase, Rollout, Stage},
    pool::FaultReport,
    rollout::{
        judge::Verdict,
        steps::{Input, Look},
    },
    snapshot::Snapshot,
    units::{Arm, Name, Timestamp},
};

/// Between two looks at what is shown of it.
const SHOWN: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// Of one rollout.
pub(super) struct Watch {
    sides: BTreeMap<Name, Side>,
    /// Of a rolling replacement, in the place of sides.
    beside: Option<Beside>,
    live: Live,
    /// When what is shown is brought up to date next.
    shown: Timestamp,
    /// What was counted before it was taken up: by a process that is gone.
    before: Counts,
    first_error: Option<Timestamp>,
    /// Said once.
    mismatched: bool,
    /// What is compared are requests and their copies.
    copying: bool,
}

/// What a look has found.
#[derive(Default)]
pub(super) struct Looked {
    pub live: Option<Live>,
    pub inputs: Vec<Input>,
}

impl Watch {
    pub fn new(
        rollout: &Rollout,
        plan: &plan::Rollout,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Self {
        let rolling = rollout.is_rolling();
        let members = rollout.members.iter().filter(|_| !rolling);
        let sides = members.filter_map(|member| {
            let service = snapshot.service(member.service.as_str())?;
            let stats = |pool: &Name| {
                let place = service.pool(pool.as_str())?;
                Some(service.pools[place].stats.clone())
            };
            let sticky = service.affinity.is_some();
            let side = Side::new(stats(&member.from)?, stats(&member.to)?, sticky, plan, now);
            Some((member.service.clone(), side))
        });
        let mut watch = Self {
            sides: sides.collect(),
            beside: rolling.then(|| Beside::new(rollout, plan, snapshot, now)),
            live: Live::default(),
            shown: now,
            before: rollout.counts,
            first_error: rollout.counts.first_error,
            mismatched: false,
            copying: false,
        };
        watch.copies(rollout, now);
        watch.begin(rollout, plan, now);
        watch
    }

    /// One request that a version has failed; perhaps the one that is too many.
    pub fn fault(&mut self, report: &FaultReport, now: Timestamp) -> Option<Cause> {
        if report.arm == Arm::Candidate {
            self.first_error.get_or_insert(now);
        }
        let evidence = if let Some(beside) = &mut self.beside {
            beside.fault(report)?
        } else {
            let side = self.sides.get_mut(&report.pool.key.service)?;
            side.fault(report, now)?
        };
        Some(Cause {
            kind: "guard".to_owned(),
            detail: evidence.to_string(),
            at: now,
            evidence: json!(evidence),
        })
    }

    /// A figure from outside, as it was last.
    pub fn shows(&mut self, name: String, figure: Option<f64>) {
        let metrics = &mut self.live.metrics;
        match metrics.iter_mut().find(|(known, _)| *known == name) {
            Some((_, last)) => *last = figure,
            None => metrics.push((name, figure)),
        }
    }

    /// Brings the counts up to date.
    pub fn counts(&self) -> Counts {
        if let Some(beside) = &self.beside {
            return Counts {
                first_error: self.first_error,
                ..beside.counts()
            };
        }
        let mut all = Counts {
            first_error: self.first_error,
            ..self.before
        };
        for side in self.sides.values() {
            side.add(&mut all);
        }
        all
    }

    /// The rollout stands somewhere else.
    pub fn enters(
        &mut self,
        rollout: &Rollout,
        plan: &plan::Rollout,
        (before, share): (Stage, f64),
        snapshot: &Snapshot,
        now: Timestamp,
    ) {
        if let Some(beside) = &mut self.beside {
            if rollout.stage != before {
                beside.enters(rollout, plan, snapshot, now);
            }
            return;
        }
        self.copies(rollout, now);
        if (rollout.share - share).abs() > f64::EPSILON {
            for side in self.sides.values_mut() {
                side.shifts(share);
            }
        }
        if rollout.stage != before && rollout.stage.phase() != Some(Phase::Extending) {
            self.begin(rollout, plan, now);
        }
    }

    /// Whether it gets copies, from now on.
    fn copies(&mut self, rollout: &Rollout, now: Timestamp) {
        let copying = rollout.copies.is_some();
        if std::mem::replace(&mut self.copying, copying) != copying {
            for side in self.sides.values_mut() {
                side.copies(copying.then_some(now));
            }
        }
    }

    /// From now on it is looked at, where it stands at something that is.
    fn begin(&mut self, rollout: &Rollout, plan: &plan::Rollout, now: Timestamp) {
        let lasts = match rollout.stage {
            Stage::Baking => plan.bake,
            Stage::Stepping {
                step,
                phase: Phase::Waiting | Phase::Extending,
            } => match plan.steps.get(step).map(|step| step.then) {
                Some(Then::Hold(span) | Then::Judge(span)) => span,
                _ => std::time::Duration::ZERO,
            },
            _ => return,
        };
        self.live = Live {
            metrics: std::mem::take(&mut self.live.metrics),
            ..Live::default()
        };
        for side in self.sides.values_mut() {
            side.begin(&plan.judge, rollout, lasts, now);
        }
    }

    /// Looks at the figures, where it is time to.
    pub fn look(
        &mut self,
        rollout: &Rollout,
        plan: &plan::Rollout,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Looked {
        let mut looked = Looked::default();
        let phase = rollout.stage.phase();
        let rolling = self.beside.is_some();
        let compares = if rolling {
            matches!(
                phase,
                Some(Phase::WarmingUp | Phase::Waiting | Phase::Extending)
            )
        } else {
            rollout.stage.compares() && (rollout.share > 0.0 || self.copying)
        };
        // What is cold is slow, and fails no more often for it: a batch is judged by its errors alone.
        let warm = rolling || phase != Some(Phase::WarmingUp);
        let mut next = self.sides.values().map(Side::next);
        let due = next.any(|next| now >= next)
            || self
                .beside
                .as_ref()
                .is_some_and(|beside| now >= beside.next());
        if compares && warm && due {
            self.judge(rollout, plan, now, &mut looked.inputs);
        }
        if due || now >= self.shown {
            self.shown = now.checked_add(SHOWN).unwrap_or(now);
            looked.live = Some(self.show(until));
        }
        looked
    }

    /// What each service's look has found, and what it is named where there are several.
    fn seen(
        &mut self,
        rollout: &Rollout,
        plan: &plan::Rollout,
        now: Timestamp,
    ) -> Vec<(String, Seeing)> {
        let of = self.sides.len();
        let sides = self.sides.iter_mut();
        let beside = self.beside.iter_mut();
        let beside = beside.map(|beside| {
            let seeing = beside.look(plan, now);
            if beside.has_failed() {
                self.first_error.get_or_insert(now);
            }
            (String::new(), seeing)
        });
        sides
            .map(|(name, side)| {
                let seeing = side.look(plan, rollout.share, of, now);
                let whose = if of > 1 {
                    format!("{name}: ")
                } else {
                    String::new()
                };
                (whose, seeing)
            })
            .chain(beside)
            .collect()
    }

    fn judge(
        &mut self,
        rollout: &Rollout,
        plan: &plan::Rollout,
        now: Timestamp,
        inputs: &mut Vec<Input>,
    ) {
        let seen = self.seen(rollout, plan, now);
        self.live.findings.clear();
        let (mut good, mut decides) = (true, true);
        for (whose, seeing) in &seen {
            let verdict = seeing.judgement.as_ref().map(|judgement| judgement.verdict);
            let findings = seeing.judgement.iter().flat_map(|found| &found.findings);
            let texts = findings.map(|finding| format!("{whose}{}", finding.text));
            self.live.findings.extend(texts);
            good &= matches!(verdict, Some(Verdict::Good) | None);
            decides &= seeing.decides;
            if let Some(judgement) = &seeing.judgement
                && judgement.verdict == Verdict::Bad
            {
                inputs.push(bad(
                    "judge",
                    format!("{whose}{judgement}"),
                    json!(judgement),
                    now,
                ));
            }
            for bound in &seeing.broken {
                inputs.push(bad(
                    "absolute",
                    format!("{whose}{}", bound.text),
                    json!(bound),
                    now,
                ));
            }
            if let Some(mismatch) = &seeing.mismatch
                && !std::mem::replace(&mut self.mismatched, true)
            {
                inputs.push(Input::Alarm(format!("{whose}{mismatch}")));
            }
        }
        self.live.verdict = Some(
            if inputs.iter().any(|input| matches!(input, Input::Bad(_))) {
                "bad"
            } else if good {
                "good"
            } else {
                "not-enough"
            },
        );
        if decides {
            inputs.push(Input::Look(if good { Look::Good } else { Look::NotEnough }));
        }
    }

    fn show(&mut self, until: Option<Timestamp>) -> Live {
        let mut live = Live {
            until,
            stable: ArmLive::default(),
            candidate: ArmLive::default(),
            counts: Some(self.counts()),
            ..self.live.clone()
        };
        for side in self.sides.values() {
            side.show(&mut live.stable, &mut live.candidate);
        }
        if let Some(beside) = &self.beside {
            beside.show(&mut live.stable, &mut live.candidate);
        }
        live
    }
}

fn bad(kind: &str, detail: String, evidence: serde_json::Value, at: Timestamp) -> Input {
    Input::Bad(Cause {
        kind: kind.to_owned(),
        detail,
        at,
        evidence,
    })
}
