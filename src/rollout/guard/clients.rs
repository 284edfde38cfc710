//! Which clients have met an error already.

use std::{collections::HashSet, mem};

/// How many clients are known at least, and at most twice as many.
const KNOWN: usize = 32_768;

/// Bounded: when it is full, the half that was known first is forgotten.
#[derive(Default)]
pub(super) struct Clients {
    recent: HashSet<u64, foldhash::fast::RandomState>,
    older: HashSet<u64, foldhash::fast::RandomState>,
    /// Whether any was forgotten, so that "new" may mean "not among the last ones".
    pub(super) forgetful: bool,
}

impl Clients {
    /// Whether it was not known.
    pub(super) fn meet(&mut self, client: u64) -> bool {
        if self.older.contains(&client) || !self.recent.insert(client) {
            return false;
        }
        if self.recent.len() == KNOWN {
            self.forgetful |= !self.older.is_empty();
            self.older = mem::take(&mut self.recent);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_known_is_not_met_again_until_very_many_others_were() {
        let mut clients = Clients::default();
        let all = 2 * KNOWN as u64 - 1;
        assert!((0..all).all(|client| clients.meet(client)));
        assert!((0..all).all(|client| !clients.meet(client)));
        assert!(!clients.forgetful);
        assert!(clients.meet(all));
        assert!(clients.forgetful);
        assert!(clients.meet(0));
        assert!(clients.recent.len() + clients.older.len() <= 2 * KNOWN);
    }
}
