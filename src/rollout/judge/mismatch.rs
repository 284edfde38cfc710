//! Whether each version got the share that it was to get: if not, routing is wrong, or whoever is counted is not dealt out by it, and
//! nothing that is compared is worth much.

use super::distributions::normal_above;
use crate::rollout::figures::{number, percent};

/// It is an alarm, looked at often: it must hardly ever be false.
const ALPHA: f64 = 1e-4;
/// Expected at either version below which nothing is said.
const LEAST: f64 = 10.0;

/// What was dealt out while one share was in force: clients where they keep to their version, else requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dealt {
    pub all: u64,
    pub candidate: u64,
    /// The candidate's, 0.0 to 1.0.
    pub share: f64,
}

/// The candidate's part of all is not what was to be (Pearson's χ² with one degree of freedom, over all shares).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mismatch {
    pub expected: f64,
    pub seen: f64,
    pub by_chance: f64,
}

pub fn mismatch(dealt: impl IntoIterator<Item = Dealt>) -> Option<Mismatch> {
    let (mut all, mut seen, mut expected, mut spread) = (0.0, 0.0, 0.0, 0.0);
    for part in dealt {
        let share = part.share.clamp(0.0, 1.0);
        all += number(part.all);
        seen += number(part.candidate);
        expected += number(part.all) * share;
        spread += number(part.all) * share * (1.0 - share);
    }
    if spread <= 0.0 || expected < LEAST || all - expected < LEAST {
        return None;
    }
    let by_chance = 2.0 * normal_above((seen - expected).abs() / spread.sqrt());
    (by_chance < ALPHA).then(|| Mismatch {
        expected: expected / all,
        seen: seen / all,
        by_chance,
    })
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the new version got {} where its share was {}",
            percent(self.seen),
            percent(self.expected)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(all: u64, candidate: u64, share: f64) -> Dealt {
        Dealt {
            all,
            candidate,
            share,
        }
    }

    #[test]
    fn a_share_that_is_not_kept_is_noticed_over_all_steps() {
        assert_eq!(mismatch([dealt(10_000, 540, 0.05)]), None);
        let wrong = mismatch([dealt(10_000, 600, 0.05)]).unwrap();
        assert_eq!(
            wrong.to_string(),
            "the new version got 6 % where its share was 5 %"
        );
        // Each step within chance, all of them not.
        let steps = [(575, 0.05), (1075, 0.1), (2575, 0.25)]
            .map(|(candidate, share)| dealt(10_000, candidate, share));
        assert!(
            steps
                .iter()
                .all(|step| mismatch([*step]).is_none() || step.share < 0.1)
        );
        assert!(mismatch(steps).is_some());
    }

    #[test]
    fn of_few_or_of_one_version_alone_nothing_is_said() {
        assert_eq!(mismatch([]), None);
        assert_eq!(mismatch([dealt(100, 100, 0.05)]), None);
        assert_eq!(mismatch([dealt(1_000_000, 900_000, 1.0)]), None);
    }
}
