use crate::units::{Seed, below, score};

/// Divides requests among a service's pools by their weights.
///
/// Shares are exact: a pool has the part `weight / total` of all draws and of all keys; weight 0 has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splitter {
    /// Of the pools with weight, in order.
    shares: Box<[Share]>,
    total: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    pool: usize,
    weight: u32,
    /// Sum of the weights up to and with this one.
    end: u64,
    /// Stands for the pool's name, so that keys stay where they are when other pools come or go.
    seed: u64,
}

impl Splitter {
    /// Each pool's name and weight; a draw gives a place in this order.
    pub fn new<'a>(pools: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let mut total = 0;
        let pools = pools.into_iter().enumerate();
        let shares = pools.filter(|(_, (_, weight))| *weight > 0);
        let shares = shares.map(|(pool, (name, weight))| {
            total += u64::from(weight);
            let seed = Seed::PUBLIC.hash(name.as_bytes());
            Share {
                pool,
                weight,
                end: total,
                seed,
            }
        });
        Self {
            shares: shares.collect(),
            total,
        }
    }

    /// The pool that a random number falls to; `None` where no pool has weight.
    pub fn draw(&self, random: u64) -> Option<usize> {
        let point = below(random, self.total);
        let mut shares = self.shares.iter();
        shares
            .find(|share| point < share.end)
            .map(|share| share.pool)
    }

    /// The pool that a key belongs to (see [`score`]): when weights change a key moves only to a pool that has grown relative to
    /// the one it leaves.
    pub fn rendezvous(&self, key: u64) -> Option<usize> {
        let scored = self
            .shares
            .iter()
            .map(|share| (score(key, share.seed, share.weight), share.pool));
        scored
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, pool)| pool)
    }

    /// The pool's part of the whole, 0.0 to 1.0.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share is shown, never decided on"
    )]
    pub fn share(&self, pool: usize) -> f64 {
        let mut shares = self.shares.iter();
        let weight = shares
            .find(|share| share.pool == pool)
            .map_or(0, |share| share.weight);
        if weight == 0 {
            0.0
        } else {
            f64::from(weight) / self.total as f64
        }
    }

    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }
}
