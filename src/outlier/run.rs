use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    record::{Counts, Record},
    rule::judge,
};
use crate::{
    control::{Handle, Suspect},
    pool::{Endpoint, Slot, State},
    snapshot::{Pool, Snapshot},
    units::Outliers,
};

/// Between two looks. Until an endpoint that has died is found by its failures, its requests are sent elsewhere one by one.
const PERIOD: Duration = Duration::from_millis(200);

/// Looks at every published snapshot's endpoints until control is gone.
pub async fn run(control: Handle) {
    let readers = control.readers().clone();
    let mut records = Records::default();
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = period.tick().await.into_std();
        let found = records.look(&readers.current(), now);
        if !found.is_empty() && !control.suspect(found).await {
            return;
        }
    }
}

/// Of every endpoint that gets requests, by its slot.
#[derive(Default)]
struct Records(HashMap<Slot, (Arc<Endpoint>, Record)>);

impl Records {
    /// Who is an outlier now. One that is not ready has no record, and begins anew when it is.
    fn look(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Suspect> {
        let mut before = std::mem::take(&mut self.0);
        let mut found = Vec::new();
        for service in &snapshot.services {
            let Some(outliers) = &service.plan.outliers else {
                continue;
            };
            for pool in &service.pools {
                self.look_at(pool, outliers, &mut before, now, &mut found);
            }
        }
        found
    }

    fn look_at(
        &mut self,
        pool: &Pool,
        outliers: &Outliers,
        before: &mut HashMap<Slot, (Arc<Endpoint>, Record)>,
        now: Instant,
        found: &mut Vec<Suspect>,
    ) {
        let ready = pool
            .members
            .iter()
            .filter(|member| member.state == State::Ready);
        let mut failed = Vec::new();
        let mut all = Counts::default();
        for member in ready {
            let endpoint = &member.endpoint;
            let totals = totals(endpoint);
            let known = before.remove(&endpoint.slot);
            let (_, record) = self
                .0
                .entry(endpoint.slot)
                .insert_entry(
                    known
                        .filter(|(known, _)| Arc::ptr_eq(known, endpoint))
                        .unwrap_or_else(|| (endpoint.clone(), Record::new(now, totals))),
                )
                .into_mut();
            if record.look(now, totals) {
                failed.push(endpoint);
            }
            all.add(record.window());
        }
        for endpoint in failed {
            let (_, record) = &self.0[&endpoint.slot];
            if let Some(cause) = judge(record, all - record.window(), outliers) {
                found.push(Suspect {
                    endpoint: endpoint.key.clone(),
                    cause,
                });
            }
        }
    }
}

fn totals(endpoint: &Endpoint) -> Counts {
    let mut totals = Counts::default();
    for shard in endpoint.shards() {
        totals.add(Counts {
            requests: shard.classes().iter().sum(),
            faults: shard.faults(),
            unreached: shard.unreached(),
        });
    }
    totals
}
