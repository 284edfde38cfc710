use std::time::Duration;

use super::Percent;

/// When a request that an endpoint has failed is sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often a request is sent in all; 1: never once more, but for one of which nothing was written.
    pub attempts: u32,
    /// Of a service's requests in [`Retries::WINDOW`], how many may be sent once more.
    pub budget: Percent,
    /// Statuses that are not passed on while another attempt may be made.
    pub statuses: Statuses,
    /// How long an endpoint may take to begin its answer while another attempt may be made.
    pub per_try: Option<Duration>,
    /// The largest body, in bytes, of which a copy is kept to be sent again.
    pub max_body: u64,
    /// Before the second attempt at the same endpoint, and before any third; doubled with each.
    pub backoff: Duration,
}

impl Retries {
    /// What the budget is a part of.
    pub const WINDOW: Duration = Duration::from_secs(10);
    /// How many a worker may send again in the window whatever its part comes to, so that a service that is asked seldom has retries too.
    pub const LEAST: u32 = 3;
    /// No back-off is longer.
    pub const LONGEST_BACKOFF: Duration = Duration::from_millis(250);
}

/// A set of the statuses that an answer of an app in trouble has: 400 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statuses([u64; 4]);

impl Statuses {
    pub const FIRST: u16 = 400;
    pub const LAST: u16 = 599;

    /// Those outside of the range are in no set.
    pub fn contains(&self, status: u16) -> bool {
        Self::place(status).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }

    pub fn iter(&self) -> impl Iterator<Item = u16> {
        (Self::FIRST..=Self::LAST).filter(|status| self.contains(*status))
    }

    fn place(status: u16) -> Option<(usize, u64)> {
        let index = (Self::FIRST..=Self::LAST)
            .contains(&status)
            .then(|| usize::from(status - Self::FIRST))?;
        Some((index / 64, 1 << (index % 64)))
    }
}

impl FromIterator<u16> for Statuses {
    fn from_iter<T: IntoIterator<Item = u16>>(statuses: T) -> Self {
        let mut set = Self::default();
        for (word, bit) in statuses.into_iter().filter_map(Self::place) {
            set.0[word] |= bit;
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_it_was_made_of_and_nothing_outside_of_its_range() {
        let set: Statuses = [503, 400, 599, 503, 200, 600, 399, 65_535]
            .into_iter()
            .collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [400, 503, 599]);
        for status in 0..=u16::MAX {
            assert_eq!(set.contains(status), [400, 503, 599].contains(&status));
        }
    }
}
