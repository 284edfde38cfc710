use std::collections::HashMap;

use tokio::task::AbortHandle;

use super::file;
use crate::{
    config::plan::{Discover, Endpoint, Source},
    control::{Discovered, Handle},
    snapshot::{Service, Snapshot},
    units::PoolKey,
};

/// Asks the sources of every published snapshot's pools until control is gone.
pub async fn run(control: Handle) {
    let mut readers = control.readers().clone();
    let mut finders = Finders::default();
    let mut followed = 0;
    loop {
        followed = finders.follow(&control, &readers.current(), followed);
        if !readers.changed().await {
            return;
        }
    }
}

/// One for each pool with a source.
#[derive(Default)]
struct Finders(HashMap<PoolKey, Finder>);

/// Asks one source until it is dropped.
struct Finder {
    of: Discover,
    task: AbortHandle,
}

impl Drop for Finder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Finders {
    /// Brings them from the snapshot of generation `followed` to this one, whose generation is returned.
    fn follow(&mut self, control: &Handle, snapshot: &Snapshot, followed: u64) -> u64 {
        if snapshot.census > followed {
            self.0
                .retain(|pool, _| snapshot.service(pool.service.as_str()).is_some());
        }
        for service in snapshot.changed_since(followed) {
            self.follow_one(control, service);
        }
        snapshot.generation
    }

    fn follow_one(&mut self, control: &Handle, service: &Service) {
        let plan = &service.plan;
        self.0.retain(|key, finder| {
            let wanted = plan.pools.get(&key.pool);
            key.service != plan.name
                || wanted.is_some_and(|pool| pool.discover.as_ref() == Some(&finder.of))
        });
        for pool in plan.pools.values() {
            let Some(discover) = &pool.discover else {
                continue;
            };
            let key = PoolKey {
                service: plan.name.clone(),
                pool: pool.name.clone(),
            };
            self.0.entry(key.clone()).or_insert_with(|| {
                let told = Told {
                    control: control.clone(),
                    pool: key,
                    by: discover.clone(),
                };
                Finder {
                    of: discover.clone(),
                    task: tokio::spawn(find(told)).abort_handle(),
                }
            });
        }
    }
}

async fn find(told: Told) {
    match told.by.source.clone() {
        Source::File(path) => file::watch(told, path).await,
        #[cfg(feature = "dns")]
        Source::Dns(dns) => super::dns::ask(told, dns).await,
        #[cfg(not(feature = "dns"))]
        Source::Dns(_) => {
            let why = "this build asks no DNS (feature `dns`)";
            told.tell(Err(why.to_owned())).await;
        }
    }
}

/// Whom a source's answers are told to.
pub struct Told {
    control: Handle,
    pool: PoolKey,
    by: Discover,
}

impl Told {
    /// So many endpoints may be named.
    pub fn most(&self) -> usize {
        self.by.most
    }

    /// `false`: nobody listens any more.
    pub async fn tell(&self, found: Result<Vec<Endpoint>, String>) -> bool {
        let discovered = Discovered {
            pool: self.pool.clone(),
            by: self.by.clone(),
            found,
        };
        self.control.discovered(discovered).await
    }
}
