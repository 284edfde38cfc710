use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::{
    check::check,
    failure::Failures,
    prober::{Prober, Wanted},
    task::Check,
};
use crate::{
    control::Handle,
    pool::{Nudges, State},
    snapshot::{Service, Snapshot},
};

/// Results that wait to be reported; more make the tasks wait, never grow the queue.
const WAITING: usize = 1024;

/// Probes every endpoint of every published snapshot until control is gone, and tells control of every result, in the
/// order they came, in batches of whatever has come since the last.
pub async fn run(control: Handle, mut nudges: Nudges, failures: Failures) {
    let (sender, mut results) = mpsc::channel(WAITING);
    let mut prober = Prober::new(failures, sender, over_the_network());
    let (mut readers, mut hurried) = (control.readers().clone(), control.hurried());
    let mut followed = follow(&mut prober, &readers.current(), 0);
    let mut batch = Vec::new();
    let mut nudging = true;
    loop {
        tokio::select! {
            published = readers.changed() => {
                if !published {
                    return;
                }
                followed = follow(&mut prober, &readers.current(), followed);
            }
            changed = hurried.changed() => {
                if changed.is_err() {
                    return;
                }
                let pools = hurried.borrow_and_update().clone();
                prober.hurry(pools);
            }
            endpoint = nudges.next(), if nudging => match endpoint {
                Some(endpoint) => prober.nudge(&endpoint.key),
                None => nudging = false,
            },
            _ = results.recv_many(&mut batch, WAITING) => {
                control.probed(std::mem::take(&mut batch)).await;
            }
        }
    }
}

fn over_the_network() -> Check {
    Arc::new(|address, probe| async move { check(&address, &probe).await }.boxed())
}

/// Brings the prober from the snapshot of generation `followed` to this one, whose generation is returned.
fn follow(prober: &mut Prober, snapshot: &Snapshot, followed: u64) -> u64 {
    let changed = snapshot.changed_since(followed);
    prober.follow(changed.map(|service| (&service.plan.name, wanted(service))));
    if snapshot.census > followed {
        prober.retain(|service| snapshot.service(service.as_str()).is_some());
    }
    snapshot.generation
}

fn wanted(service: &Service) -> impl Iterator<Item = Wanted<'_>> {
    let pools = service.pools.iter().filter_map(|pool| {
        let planned = service.plan.pools.get(&pool.stats.key.pool)?;
        Some((pool, planned.probe.as_ref()?))
    });
    pools.flat_map(|(pool, probe)| {
        pool.members.iter().map(move |member| Wanted {
            endpoint: &member.endpoint.key,
            probe,
            unproven: member.state == State::Unproven,
        })
    })
}
