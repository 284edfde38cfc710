use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::Name;

/// A service's weights: integers per pool. Zeros are dropped, so that equal shares compare equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Name, u32>")]
pub struct Weights(BTreeMap<Name, u32>);

impl From<BTreeMap<Name, u32>> for Weights {
    fn from(map: BTreeMap<Name, u32>) -> Self {
        Self(map.into_iter().filter(|(_, weight)| *weight > 0).collect())
    }
}

impl FromIterator<(Name, u32)> for Weights {
    fn from_iter<I: IntoIterator<Item = (Name, u32)>>(pairs: I) -> Self {
        pairs.into_iter().collect::<BTreeMap<_, _>>().into()
    }
}

impl Weights {
    /// All traffic to one pool.
    pub fn all_to(pool: Name) -> Self {
        Self(BTreeMap::from([(pool, 100)]))
    }

    /// The pool's weight; 0 for a pool that is not named.
    pub fn get(&self, pool: &str) -> u32 {
        self.0.get(pool).copied().unwrap_or(0)
    }

    /// The pools with weight, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, u32)> {
        self.0.iter().map(|(pool, weight)| (pool, *weight))
    }

    pub fn total(&self) -> u64 {
        self.0.values().map(|weight| u64::from(*weight)).sum()
    }

    /// The pool's part of the whole, 0.0 to 1.0; 0.0 where the total is 0.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share is shown, never decided on"
    )]
    pub fn share(&self, pool: &str) -> f64 {
        let total = self.total();
        if total == 0 {
            0.0
        } else {
            f64::from(self.get(pool)) / total as f64
        }
    }

    /// The only pool with weight, if one pool has all of it: what makes weights *settled*.
    pub fn sole(&self) -> Option<&Name> {
        let mut pools = self.0.keys();
        pools.next().filter(|_| pools.next().is_none())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (pool, weight)) in self.0.iter().enumerate() {
            write!(f, "{}{pool}={weight}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
