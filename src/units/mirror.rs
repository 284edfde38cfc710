use std::time::Duration;

use http::{HeaderName, header};

use super::{Name, Percent, below};

/// A part of a service's requests is sent to another of its pools as well, and what that answers is nobody's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Who gets the copies.
    pub pool: Name,
    /// Of the requests that can be copied.
    pub share: Percent,
    /// Copies under way at once, over all workers.
    pub most: u64,
    /// How long a copy may take, to the last byte of its answer.
    pub timeout: Duration,
    /// What of the two answers is compared; `None`: nothing.
    pub compare: Option<Compared>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    pub headers: Vec<HeaderName>,
    /// So many bytes of the bodies.
    pub body: u64,
}

/// The kind of the answer, where it sends to, and as much of the bodies as most have.
impl Default for Compared {
    fn default() -> Self {
        Self {
            headers: vec![header::CONTENT_TYPE, header::LOCATION],
            body: 1024 * 1024,
        }
    }
}

impl Mirror {
    /// Copies under way at once, where nothing is said.
    pub const MOST: u64 = 64;

    /// Whether a request is copied that has drawn this lot.
    pub fn draws(&self, lot: u64) -> bool {
        below(lot, 1_000_000) < u64::from(self.share.millionths())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::mixed;

    #[test]
    fn a_mirror_draws_exactly_its_share() {
        let mirror = |share: &str| Mirror {
            pool: "green".parse().unwrap(),
            share: share.parse().unwrap(),
            most: 1,
            timeout: Duration::from_secs(1),
            compare: None,
        };
        let drawn = |share: &str| {
            let mirror = mirror(share);
            (0..100_000).filter(|n| mirror.draws(mixed(*n))).count()
        };
        assert_eq!((drawn("0%"), drawn("100%")), (0, 100_000));
        assert!((2350..2650).contains(&drawn("2.5%")));
    }
}
