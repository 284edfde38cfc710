use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Address, Name};

/// The identity of a pool: one version of one service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolKey {
    pub service: Name,
    pub pool: Name,
}

/// The identity of an endpoint. Health, in-flight counts and connections are kept under it, so that they survive
/// changes of weight and reloads. An endpoint's id in the admin API is its address as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointKey {
    pub service: Name,
    pub pool: Name,
    pub address: Address,
}

impl EndpointKey {
    pub fn pool_key(&self) -> PoolKey {
        PoolKey {
            service: self.service.clone(),
            pool: self.pool.clone(),
        }
    }
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.pool)
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.service, self.pool, self.address)
    }
}
