//! Figures from outside: their sources are asked before a rollout begins, and followed while it is under way.

use futures_util::future::join_all;
use serde_json::json;

use super::{
    begin::Checked,
    ride::{Reply, Ride},
    run::{Done, Driver},
};
use crate::{
    control::{
        Code, Refusal,
        rollout::{Cause, Member, Phase, Request},
    },
    rollout::{
        readings::{self, Finding, Subject},
        steps::Input,
    },
    units::Timestamp,
};

/// How many looks may wait to be taken; the next one comes at the metric's interval.
pub(super) const LOOKS: usize = 64;

impl Driver {
    /// Asks every source that the start's plan names, and begins it once all have answered. What is under way goes on meanwhile.
    pub async fn begin(&mut self, request: Request, reply: Reply) {
        let Checked {
            plan,
            members,
            batches,
            ..
        } = match self.check(&request).await {
            Ok(checked) => checked,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        if plan.metrics.is_empty() || batches.is_some() {
            return self.begin_for(request, reply).await;
        }
        let outside = self.outside.clone();
        self.tasks.spawn(async move {
            let probes = plan.metrics.iter().flat_map(|metric| {
                let members = members.iter();
                members.map(|member| readings::probe(metric, &member.service, &member.to, &outside))
            });
            let failed = join_all(probes).await.into_iter().find_map(Result::err);
            Done::Probed {
                request,
                reply,
                failed,
            }
        });
    }

    /// The sources have answered, or one has not.
    pub async fn probed(&mut self, request: Request, reply: Reply, failed: Option<String>) {
        match failed {
            None => self.begin_for(request, reply).await,
            Some(why) => {
                let refusal = Refusal::new(Code::InvalidPlan, why);
                let hint = "a rollout is not begun without the figures that it is judged by";
                let _ = reply.send(Err(refusal.hint(hint)));
            }
        }
    }

    /// Follows the figures of a rollout for as long as it is driven.
    pub fn follow_figures(&mut self, id: u64) {
        let Some(ride) = self.rides.get_mut(&id) else {
            return;
        };
        if ride.rollout.is_rolling() {
            return;
        }
        for metric in &ride.plan.metrics {
            for member in &ride.rollout.members {
                let (metric, subject) = (metric.clone(), subject(member));
                let (outside, looks) = (self.outside.clone(), self.looks.clone());
                let follow = async move {
                    let tell = |look| {
                        // One that is not taken is made again.
                        let _ = looks.try_send((id, look));
                    };
                    readings::follow(&metric, &subject, &outside, tell).await;
                };
                ride.following.push(self.followers.spawn(follow));
            }
        }
    }

    /// A figure was looked at.
    pub async fn saw(&mut self, id: u64, look: readings::Look) {
        let now = self.now();
        let Some(ride) = self.rides.get_mut(&id) else {
            return;
        };
        let name = if ride.rollout.members.len() > 1 {
            format!("{}/{}", look.service, look.metric)
        } else {
            look.metric.to_string()
        };
        ride.watch.shows(name, look.candidate);
        if let Finding::Silent(_) = look.finding {
            self.input(id, Input::Alarm(look.words())).await;
        } else if look.takes_back() && is_compared(ride) {
            self.input(id, Input::Bad(cause(&look, now))).await;
        }
    }
}

/// The new version has requests, and has had time to warm up.
fn is_compared(ride: &Ride) -> bool {
    let rollout = &ride.rollout;
    rollout.stage.compares()
        && rollout.share > 0.0
        && rollout.stage.phase() != Some(Phase::WarmingUp)
}

fn subject(member: &Member) -> Subject {
    Subject {
        service: member.service.clone(),
        stable: member.from.clone(),
        candidate: member.to.clone(),
    }
}

fn cause(look: &readings::Look, at: Timestamp) -> Cause {
    Cause {
        kind: "metric".to_owned(),
        detail: look.words(),
        at,
        evidence: json!({
            "metric": look.metric,
            "service": look.service,
            "stable": look.stable,
            "candidate": look.candidate,
        }),
    }
}
