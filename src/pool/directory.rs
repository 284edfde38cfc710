use std::{collections::HashMap, hash::Hash, sync::Arc};

use super::{Endpoint, Identity, PoolStats, ServiceStats, endpoint::Slot};
use crate::units::{EndpointKey, Name, PoolKey};

/// Every identity that is in use, and its measurements. Owned by control; workers reach them through snapshots.
pub struct Directory {
    workers: usize,
    endpoints: Shelf<EndpointKey, Endpoint>,
    pools: Shelf<PoolKey, PoolStats>,
    services: Shelf<Name, ServiceStats>,
}

impl Directory {
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            endpoints: Shelf::default(),
            pools: Shelf::default(),
            services: Shelf::default(),
        }
    }

    /// The endpoint of that identity; the same object for as long as anybody holds it.
    pub fn endpoint(&mut self, key: &EndpointKey) -> Arc<Endpoint> {
        let workers = self.workers;
        self.endpoints
            .get(key, |slot| Identity::new(key.clone(), slot, workers))
    }

    pub fn pool(&mut self, key: &PoolKey) -> Arc<PoolStats> {
        let workers = self.workers;
        self.pools
            .get(key, |slot| Identity::new(key.clone(), slot, workers))
    }

    pub fn service(&mut self, name: &Name) -> Arc<ServiceStats> {
        let workers = self.workers;
        self.services
            .get(name, |slot| Identity::new(name.clone(), slot, workers))
    }

    /// Forgets what nobody holds any more and frees its slot.
    pub fn sweep(&mut self) {
        self.endpoints.sweep();
        self.pools.sweep();
        self.services.sweep();
    }
}

struct Shelf<K, V> {
    held: HashMap<K, (Slot, Arc<V>), foldhash::fast::RandomState>,
    free: Vec<Slot>,
    next: Slot,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self {
            held: HashMap::default(),
            free: Vec::new(),
            next: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, V> Shelf<K, V> {
    fn get(&mut self, key: &K, make: impl FnOnce(Slot) -> V) -> Arc<V> {
        if let Some((_, value)) = self.held.get(key) {
            return value.clone();
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let value = Arc::new(make(slot));
        self.held.insert(key.clone(), (slot, value.clone()));
        value
    }

    fn sweep(&mut self) {
        let free = &mut self.free;
        self.held.retain(|_, (slot, value)| {
            let held = Arc::strong_count(value) > 1;
            if !held {
                free.push(*slot);
            }
            held
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> EndpointKey {
        EndpointKey {
            service: "shop".parse().unwrap(),
            pool: "blue".parse().unwrap(),
            address: address.parse().unwrap(),
        }
    }

    #[test]
    fn an_identity_is_kept_while_somebody_holds_it_and_its_slot_freed_after() {
        let mut directory = Directory::new(2);
        let held = directory.endpoint(&key("10.0.0.1:1"));
        let slot = directory.endpoint(&key("10.0.0.2:1")).slot;
        directory.sweep();
        assert!(Arc::ptr_eq(&held, &directory.endpoint(&key("10.0.0.1:1"))));
        assert_eq!(directory.endpoint(&key("10.0.0.3:1")).slot, slot);
    }
}
