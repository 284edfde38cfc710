use std::sync::Arc;

use super::{Endpoint, PoolStats, ServiceStats};
use crate::units::Limits;

/// What a request has taken of the limits it comes under. Gives it back, and calls the next in line, when it is dropped.
pub struct Permits {
    service: Option<Arc<ServiceStats>>,
    pool: Arc<PoolStats>,
    of_pool: bool,
    endpoint: Option<Arc<Endpoint>>,
    /// It holds all that it needs. Until then what it gives back calls nobody who waits for the pool: he would find what it found, and call
    /// the next.
    whole: bool,
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Service,
    /// The pool's own, or that of each of its endpoints.
    Pool,
}

impl Permits {
    /// Takes a part of what the service and the pool may have at once. `in_line`: it is its turn; else those who wait go first.
    pub fn take(
        limits: &Limits,
        service: &Arc<ServiceStats>,
        pool: &Arc<PoolStats>,
        in_line: bool,
    ) -> Result<Self, Reached> {
        let mut permits = Self {
            service: None,
            pool: pool.clone(),
            of_pool: false,
            endpoint: None,
            whole: false,
        };
        if let Some(most) = limits.service {
            if !in_line && service.quota.waiting() > 0 || !service.quota.take(most) {
                return Err(Reached::Service);
            }
            permits.service = Some(service.clone());
        }
        let has_line = limits.pool.is_some() || limits.endpoint.is_some();
        if has_line && !in_line && pool.quota.waiting() > 0 {
            return Err(Reached::Pool);
        }
        if let Some(most) = limits.pool {
            if !pool.quota.take(most) {
                return Err(Reached::Pool);
            }
            permits.of_pool = true;
        }
        Ok(permits)
    }

    /// Takes a part of what the endpoint may have at once, if one is left: then nothing is missing.
    pub fn take_endpoint(&mut self, limits: &Limits, endpoint: &Arc<Endpoint>) -> bool {
        self.whole = match limits.endpoint {
            None => true,
            Some(most) if endpoint.quota.take(most) => {
                self.endpoint = Some(endpoint.clone());
                true
            }
            Some(_) => false,
        };
        self.whole
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.quota.give_back();
        }
        if self.of_pool {
            self.pool.quota.give_back();
        }
        if self.whole && (self.of_pool || self.endpoint.is_some()) {
            self.pool.quota.wake_first();
        }
        if let Some(service) = &self.service {
            service.quota.give_back();
            service.quota.wake_first();
        }
    }
}
