//! When an edit counts as finished. Pure: the clock is an argument.

use std::time::{Duration, Instant};

use super::Hash;

/// An edit is applied once the file has been still for so long ...
pub const BRIEFLY: Duration = Duration::from_millis(250);
/// ... and one that takes something away after so long, because a half-written file is often valid TOML.
pub const SURELY: Duration = Duration::from_secs(2);

/// Other bytes than before, which have not changed for a while. Each edit is told twice: after [`BRIEFLY`] and, if the
/// bytes are still the same, after [`SURELY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    pub hash: Hash,
    /// [`BRIEFLY`] or [`SURELY`].
    pub still_for: Duration,
}

/// Turns looks at a file into edits.
pub struct Settle {
    /// What was told last.
    told: Edit,
    pending: Option<Pending>,
}

struct Pending {
    hash: Hash,
    since: Instant,
    /// Told after [`BRIEFLY`] already.
    told: bool,
}

impl Settle {
    /// `hash` is what is in force.
    pub fn new(hash: Hash) -> Self {
        let told = Edit {
            hash,
            still_for: SURELY,
        };
        Self {
            told,
            pending: None,
        }
    }

    /// The file was looked at.
    pub fn saw(&mut self, hash: Hash, now: Instant) {
        if self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.hash == hash)
        {
            return;
        }
        let known = self.told.hash == hash;
        self.pending = if known && self.told.still_for == SURELY {
            None
        } else {
            Some(Pending {
                hash,
                since: now,
                told: known,
            })
        };
    }

    /// What is to be told by now.
    pub fn due(&mut self, now: Instant) -> Option<Edit> {
        let pending = self.pending.as_mut()?;
        let still = now.saturating_duration_since(pending.since);
        let still_for = if still >= SURELY {
            SURELY
        } else if still >= BRIEFLY && !pending.told {
            BRIEFLY
        } else {
            return None;
        };
        pending.told = true;
        self.told = Edit {
            hash: pending.hash,
            still_for,
        };
        if still_for == SURELY {
            self.pending = None;
        }
        Some(self.told)
    }

    /// The bytes that somebody vouches for: told at once.
    pub fn vouched(&mut self, hash: Hash) -> Edit {
        self.pending = None;
        self.told = Edit {
            hash,
            still_for: SURELY,
        };
        self.told
    }

    /// When to look again for [`Settle::due`].
    pub fn next(&self) -> Option<Instant> {
        let pending = self.pending.as_ref()?;
        let wait = if pending.told { SURELY } else { BRIEFLY };
        Some(pending.since + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(seed: u8) -> Hash {
        Hash::of(&[seed])
    }

    fn edit(seed: u8, still_for: Duration) -> Edit {
        let hash = hash(seed);
        Edit { hash, still_for }
    }

    /// Looks every 10 ms at what `content` says the file holds, and collects what is told and when.
    fn told(content: impl Fn(u64) -> u8, until: u64) -> Vec<(u64, Edit)> {
        let start = Instant::now();
        let mut settle = Settle::new(hash(0));
        let mut told = Vec::new();
        for millis in (0..=until).step_by(10) {
            let now = start + Duration::from_millis(millis);
            settle.saw(hash(content(millis)), now);
            told.extend(settle.due(now).map(|edit| (millis, edit)));
        }
        told
    }

    #[test]
    fn an_edit_is_told_when_it_is_still_and_again_when_it_is_surely_still() {
        assert_eq!(
            told(|millis| u8::from(millis >= 100), 5000),
            [(350, edit(1, BRIEFLY)), (2100, edit(1, SURELY))]
        );
    }

    #[test]
    fn a_file_that_is_written_in_parts_is_told_once() {
        let parts = |millis: u64| u8::try_from(millis.min(1000) / 200).unwrap();
        assert_eq!(
            told(parts, 5000),
            [(1250, edit(5, BRIEFLY)), (3000, edit(5, SURELY))]
        );
    }

    #[test]
    fn a_change_that_is_taken_back_at_once_is_not_told() {
        let gone = |millis: u64| u8::from((100..300).contains(&millis));
        assert_eq!(told(gone, 5000), []);
    }

    #[test]
    fn an_edit_that_flickers_is_still_told_as_sure() {
        let flicker = |millis: u64| match millis {
            0..100 => 0,
            1000..1100 => 2,
            _ => 1,
        };
        assert_eq!(
            told(flicker, 5000),
            [(350, edit(1, BRIEFLY)), (3100, edit(1, SURELY))]
        );
    }

    #[test]
    fn what_somebody_vouches_for_is_not_told_again() {
        let now = Instant::now();
        let mut settle = Settle::new(hash(0));
        settle.saw(hash(1), now);
        assert_eq!(settle.vouched(hash(1)), edit(1, SURELY));
        settle.saw(hash(1), now + SURELY);
        assert_eq!((settle.due(now + SURELY * 2), settle.next()), (None, None));
    }
}
