//! Changes that wait: for what they need before, for what they leave behind after. All of it in the caller's task, so
//! that the controller never waits, and dropping the future undoes nothing.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{oneshot, watch},
    time,
};

use super::{
    Applied, Change, Handle, Left, Order, Readiness, Refusal, Target,
    gates::too_late,
    handle::Question,
    leaving::{Leaving, leaving, members},
};
use crate::{
    pool::State,
    snapshot::{Service, Snapshot},
    units::{EndpointKey, Name, PoolKey, WebsocketDrain},
};

/// How often a wait looks again. Bounds how late it notices, and what a wait costs.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How long after a cut the workers have to end what was in flight.
const CUT: Duration = Duration::from_secs(2);
/// How long after the deadline tunnels have that are closed at it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a verdict may take to be published; batches are much shorter.
const PUBLISHED: Duration = Duration::from_secs(1);

/// What a call waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    #[default]
    None,
    /// Before weights change: until every pool that gains by it is ready. After a restore or an added endpoint: until
    /// that is ready.
    Ready,
    /// After the change: until what gets no more requests by it is proven empty.
    Drained,
}

/// Changes and how to wait around them.
#[derive(Debug, Clone)]
pub struct Act {
    pub changes: Vec<Change>,
    pub order: Order,
    pub wait: Wait,
    /// How long to wait for readiness. A switch waits for `rise` passes begun after the call whatever `wait` says,
    /// unless it is forced.
    pub ready_timeout: Duration,
    /// How long to wait for what is left behind; `None`: the longest `drain.deadline` of the services.
    pub deadline: Option<Duration>,
    /// At the deadline of a drain or removal, end what is still in flight.
    pub cut: bool,
}

/// How an [`Act`] ended that was not refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub applied: Applied,
    /// With [`Wait::Ready`]: whether what was restored or added became ready in time.
    pub ready: Option<bool>,
    /// With [`Wait::Drained`].
    pub left: Option<Left>,
}

/// How many wait for each pool to be ready.
pub type Hurry = BTreeMap<PoolKey, usize>;

/// Holds pools in the hurry for as long as it lives.
struct Hurried {
    pools: Vec<PoolKey>,
    hurry: Arc<watch::Sender<Hurry>>,
}

impl Hurried {
    fn new(hurry: &Arc<watch::Sender<Hurry>>, pools: &[PoolKey]) -> Self {
        hurry.send_modify(|hurry| {
            for pool in pools {
                *hurry.entry(pool.clone()).or_default() += 1;
            }
        });
        Self {
            pools: pools.to_vec(),
            hurry: hurry.clone(),
        }
    }
}

impl Drop for Hurried {
    fn drop(&mut self) {
        self.hurry.send_modify(|hurry| {
            for pool in &self.pools {
                if let Some(count) = hurry.get_mut(pool) {
                    *count -= 1;
                }
            }
            hurry.retain(|_, count| *count > 0);
        });
    }
}

impl Handle {
    /// Applies the changes as [`Handle::change`] does, and waits as it is told to. A wait before the change that times
    /// out is a refusal and nothing was changed; one after it is told in the answer.
    pub async fn act(&self, act: Act) -> Result<Done, Refusal> {
        let called = now();
        if act.order.dry_run {
            let applied = self.change(act.changes, act.order).await?;
            return Ok(Done {
                applied,
                ready: None,
                left: None,
            });
        }
        if self.recall(&act).await?.is_none() {
            self.until_gainers_are_ready(&act, called).await?;
        }
        let before = self.readers().current();
        let mut left = None;
        let removed = removed(&act.changes);
        let mut order = Order {
            deadline: act.deadline,
            ..act.order.clone()
        };
        if act.wait == Wait::Drained && act.cut && !removed.is_empty() {
            // Only what is still in the snapshot can be cut, so a removal with a cut drains first.
            left = Some(self.drain_first(&act, &removed).await?);
            order.if_match = None;
        }
        let applied = self.change(act.changes.clone(), order).await?;
        if act.wait == Wait::Drained && left.is_none() {
            let leaving = leaving(&act.changes, &applied, &before, &self.readers().current());
            left = Some(self.until_left(&act, leaving).await);
        }
        let ready = if act.wait == Wait::Ready {
            self.until_put_is_ready(&act).await
        } else {
            None
        };
        Ok(Done {
            applied,
            ready,
            left,
        })
    }

    /// Waits until each pool has as many ready endpoints as it needs; with `since`, by passes of probes begun after it.
    /// `false`: the time was over first.
    pub async fn until_ready(
        &self,
        pools: Vec<PoolKey>,
        since: Option<Instant>,
        timeout: Duration,
    ) -> Result<bool, Refusal> {
        let lacking = self.until_none_lacks(pools, since, timeout).await?;
        Ok(lacking.is_empty())
    }

    /// Waits until every pool with weight, of every service, is ready. For the start.
    pub async fn until_weighted_are_ready(&self, timeout: Duration) -> Result<bool, Refusal> {
        let snapshot = self.readers().current();
        let services = snapshot.services.iter();
        let pools = services.flat_map(|service| {
            service.weights.iter().map(|(pool, _)| PoolKey {
                service: service.plan.name.clone(),
                pool: pool.clone(),
            })
        });
        let ready = self.until_ready(pools.collect(), None, timeout).await?;
        Ok(ready && self.until_published().await)
    }

    /// Verdicts are published in batches, and a request is decided on what is published: waits until the weighted pools
    /// are ready there too.
    async fn until_published(&self) -> bool {
        let mut readers = self.readers().clone();
        let published =
            async { while !weighted_are_ready(&readers.current()) && readers.changed().await {} };
        time::timeout(PUBLISHED, published).await.is_ok()
    }

    /// Waits until pools that get no requests any more have none in flight. Pools that have weight count too: then it
    /// waits for a quiet moment and proves nothing.
    pub async fn until_drained(&self, pools: &[PoolKey], timeout: Duration) -> Left {
        let snapshot = self.readers().current();
        let endpoints = pools
            .iter()
            .flat_map(|pool| members(&snapshot, &pool.service, &pool.pool, None));
        let leaving = Leaving {
            endpoints: endpoints.collect(),
            stay: Vec::new(),
        };
        leaving.until_empty(timeout).await
    }

    /// The same for single endpoints; those that are not there any more have none.
    pub async fn until_emptied(&self, endpoints: &[EndpointKey], timeout: Duration) -> Left {
        let snapshot = self.readers().current();
        let found = endpoints
            .iter()
            .flat_map(|key| members(&snapshot, &key.service, &key.pool, Some(key)));
        let leaving = Leaving {
            endpoints: found.collect(),
            stay: Vec::new(),
        };
        leaving.until_empty(timeout).await
    }

    /// Waits until all of these are ready that are there. `false`: the time was over first.
    pub async fn until_are_ready(&self, targets: Vec<Target>, timeout: Duration) -> bool {
        let pools: Vec<_> = targets
            .iter()
            .map(|target| key(target.service(), target.pool()))
            .collect();
        let _hurried = Hurried::new(&self.hurried, &pools);
        let deadline = time::Instant::now() + timeout;
        loop {
            let snapshot = self.readers().current();
            if targets.iter().all(|target| is_ready(&snapshot, target)) {
                return true;
            }
            if time::Instant::now() >= deadline {
                return false;
            }
            time::sleep(LOOK).await;
        }
    }

    async fn recall(&self, act: &Act) -> Result<Option<Result<Applied, Refusal>>, Refusal> {
        if act.order.idempotency_key.is_none() {
            return Ok(None);
        }
        let (reply, answer) = oneshot::channel();
        let question = Question::Recall(act.changes.clone(), act.order.clone(), reply);
        self.ask(question, answer).await
    }

    async fn until_gainers_are_ready(&self, act: &Act, called: Instant) -> Result<(), Refusal> {
        let snapshot = self.readers().current();
        let (mut afresh, mut anyhow) = (Vec::new(), Vec::new());
        for change in act.changes.iter().filter(|change| !change.force()) {
            match change {
                Change::Switch { service, to, .. } => afresh.push(key(service, to)),
                Change::Weights {
                    service, weights, ..
                } if act.wait == Wait::Ready => {
                    let now = snapshot
                        .services
                        .iter()
                        .find(|held| held.plan.name == *service);
                    let had = |pool: &Name| now.map_or(0, |now| now.weights.get(pool.as_str()));
                    let gains = weights.iter().filter(|(pool, weight)| **weight > had(pool));
                    anyhow.extend(gains.map(|(pool, _)| key(service, pool)));
                }
                _ => {}
            }
        }
        let timeout = act.ready_timeout;
        let lacking = async {
            let mut lacking = self.until_none_lacks(afresh, Some(called), timeout).await?;
            let rest = timeout.saturating_sub(now().saturating_duration_since(called));
            lacking.extend(self.until_none_lacks(anyhow, None, rest).await?);
            Ok::<_, Refusal>(lacking)
        };
        match lacking.await?.as_slice() {
            [] => Ok(()),
            lacking => Err(too_late(lacking, timeout, &act.changes)),
        }
    }

    async fn until_none_lacks(
        &self,
        pools: Vec<PoolKey>,
        since: Option<Instant>,
        timeout: Duration,
    ) -> Result<Vec<Readiness>, Refusal> {
        if pools.is_empty() {
            return Ok(Vec::new());
        }
        let _hurried = Hurried::new(&self.hurried, &pools);
        let deadline = time::Instant::now() + timeout;
        loop {
            let (reply, answer) = oneshot::channel();
            let question = Question::Readiness(pools.clone(), since, reply);
            let mut lacking = self.ask(question, answer).await??;
            lacking.retain(|pool| pool.ready < pool.needed);
            if lacking.is_empty() || time::Instant::now() >= deadline {
                return Ok(lacking);
            }
            time::sleep(LOOK).await;
        }
    }

    async fn drain_first(&self, act: &Act, removed: &[&EndpointKey]) -> Result<Left, Refusal> {
        let force = act.changes.iter().any(Change::force);
        let drains: Vec<_> = removed
            .iter()
            .map(|endpoint| Change::Drain {
                target: Target::Endpoint((*endpoint).clone()),
                force,
            })
            .collect();
        let before = self.readers().current();
        let order = Order {
            idempotency_key: None,
            deadline: act.deadline,
            ..act.order.clone()
        };
        let applied = self.change(drains.clone(), order).await?;
        let leaving = leaving(&drains, &applied, &before, &self.readers().current());
        let act = Act {
            changes: drains,
            ..act.clone()
        };
        Ok(self.until_left(&act, leaving).await)
    }

    async fn until_left(&self, act: &Act, leaving: Leaving) -> Left {
        let deadline = act.deadline.unwrap_or_else(|| self.drain_deadline(act));
        let deadline = self
            .hold_left(act)
            .map_or(deadline, |left| left.min(deadline));
        let mut left = leaving.until_empty(deadline).await;
        if left.tunnels > 0 && !left.stays && self.closes_tunnels(act) {
            left = leaving.until_empty(LAST_WORDS).await;
        }
        let targets: Vec<_> = act
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Drain { target, .. } => Some(target.clone()),
                _ => None,
            })
            .collect();
        if left.drained || !act.cut || targets.is_empty() {
            return left;
        }
        let cuts = targets.into_iter().map(|target| Change::Cut { target });
        let order = Order {
            idempotency_key: None,
            if_match: None,
            ..act.order.clone()
        };
        if self.change(cuts.collect(), order).await.is_err() {
            return left;
        }
        let left = leaving.until_empty(CUT).await;
        Left { cut: true, ..left }
    }

    fn drain_deadline(&self, act: &Act) -> Duration {
        let snapshot = self.readers().current();
        services(&snapshot, act)
            .map(|service| service.plan.drain_deadline)
            .max()
            .unwrap_or_default()
    }

    /// How long it is until requests flow again that the changes hold.
    fn hold_left(&self, act: &Act) -> Option<Duration> {
        let snapshot = self.readers().current();
        let ends = services(&snapshot, act).filter_map(|service| service.admits.ends);
        let first = ends.min()?;
        Some(first.saturating_duration_since(now()))
    }

    /// Whether tunnels are told to end at the deadline.
    fn closes_tunnels(&self, act: &Act) -> bool {
        let snapshot = self.readers().current();
        services(&snapshot, act)
            .any(|service| service.plan.drain_websockets == WebsocketDrain::CloseAtDeadline)
    }

    async fn until_put_is_ready(&self, act: &Act) -> Option<bool> {
        let put: Vec<_> = act
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Restore { target } => Some(target.clone()),
                Change::AddEndpoint { endpoint, .. } => Some(Target::Endpoint(endpoint.clone())),
                _ => None,
            })
            .collect();
        if put.is_empty() {
            return None;
        }
        Some(self.until_are_ready(put, act.ready_timeout).await)
    }
}

/// By tokio's clock, so that tests may pause it.
pub(super) fn now() -> Instant {
    time::Instant::now().into_std()
}

fn key(service: &Name, pool: &Name) -> PoolKey {
    PoolKey {
        service: service.clone(),
        pool: pool.clone(),
    }
}

/// Those that the changes are about.
fn services<'a>(snapshot: &'a Snapshot, act: &'a Act) -> impl Iterator<Item = &'a Arc<Service>> {
    snapshot.services.iter().filter(|service| {
        let mut changes = act.changes.iter();
        changes.any(|change| *change.service() == service.plan.name)
    })
}

fn removed(changes: &[Change]) -> Vec<&EndpointKey> {
    changes
        .iter()
        .filter_map(|change| match change {
            Change::RemoveEndpoint { endpoint, .. } => Some(endpoint),
            _ => None,
        })
        .collect()
}

fn is_ready(snapshot: &Snapshot, target: &Target) -> bool {
    let services = snapshot.services.iter();
    let mut pools = services
        .flat_map(|service| &service.pools)
        .filter(|pool| {
            pool.stats.key.service == *target.service() && pool.stats.key.pool == *target.pool()
        })
        .flat_map(|pool| &pool.members)
        .filter(|member| match target {
            Target::Pool(_) => true,
            Target::Endpoint(only) => member.endpoint.key == *only,
        });
    pools.all(|member| member.state == State::Ready)
}

/// Every pool with weight has an endpoint that requests may go to.
fn weighted_are_ready(snapshot: &Snapshot) -> bool {
    let mut services = snapshot.services.iter();
    services.all(|service| {
        service.weights.iter().all(|(name, _)| {
            let mut pools = service.pools.iter();
            pools.any(|pool| {
                let mut members = pool.members.iter();
                pool.name() == name && members.any(|member| member.state == State::Ready)
            })
        })
    })
}
