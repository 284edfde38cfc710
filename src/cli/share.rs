//! The arithmetic of `shift`: percents of the whole and whole maps, to integers that say exactly that.

use std::{collections::BTreeMap, str::FromStr};

use crate::units::{Name, Percent, Weights};

/// What stands behind a pool's `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A part of the whole; who is not named keeps its proportion in the rest.
    Part(Percent),
    /// An integer of the whole map.
    Weight(u32),
}

/// One `POOL=10%` or `POOL=9`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub pool: Name,
    pub wanted: Wanted,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pool, wanted) = text
            .split_once('=')
            .ok_or("expected POOL=PERCENT or POOL=WEIGHT, such as green=10% or green=1")?;
        let pool = pool.parse().map_err(|error| format!("{error}"))?;
        let wanted = if wanted.ends_with('%') {
            Wanted::Part(wanted.parse().map_err(|error| format!("{error}"))?)
        } else {
            let weight = wanted.parse();
            Wanted::Weight(
                weight.map_err(|_| "expected an integer from 0 to 4294967295, or a percentage")?,
            )
        };
        Ok(Self { pool, wanted })
    }
}

/// Parts of the whole are counted in millionths.
const WHOLE: u128 = 1_000_000;

/// The whole map that is asked for, given what is served now. Pools of `current` that end at 0 are named.
pub fn shifted(current: &Weights, wanted: &[Assignment]) -> Result<BTreeMap<Name, u32>, String> {
    let mut parts = BTreeMap::new();
    let mut weights = BTreeMap::new();
    for Assignment { pool, wanted } in wanted {
        let twice = match wanted {
            Wanted::Part(part) => parts
                .insert(pool.clone(), u128::from(part.millionths()))
                .is_some(),
            Wanted::Weight(weight) => weights.insert(pool.clone(), *weight).is_some(),
        };
        if twice {
            return Err(format!("{pool} stands twice"));
        }
    }
    match (parts.is_empty(), weights.is_empty()) {
        (false, false) => Err("give percents or weights, not both".to_owned()),
        (true, false) => Ok(weights),
        (_, true) => of_parts(current, &parts),
    }
}

/// A named pool gets its part `q` of the whole, the others share what is left as they share now: with a rest of `r` now,
/// `q·r` against `w·(1 - Σq)` for each other weight `w`, all in integers, so the shares are exact.
fn of_parts(
    current: &Weights,
    parts: &BTreeMap<Name, u128>,
) -> Result<BTreeMap<Name, u32>, String> {
    let named: u128 = parts.values().sum();
    if named > WHOLE {
        return Err("the percents come to more than 100 %".to_owned());
    }
    let others = || {
        current
            .iter()
            .filter(|(pool, _)| !parts.contains_key(*pool))
    };
    let common = others().fold(0, |common, (_, weight)| gcd(common, u128::from(weight)));
    let others: BTreeMap<Name, u128> = others()
        .map(|(pool, weight)| (pool.clone(), u128::from(weight) / common))
        .collect();
    let rest: u128 = others.values().sum();
    if rest == 0 && named < WHOLE {
        return Err(
            "no other pool has weight to take the rest; name where it goes, such as blue=9 green=1"
                .to_owned(),
        );
    }
    let scale = if named == WHOLE { 1 } else { rest };
    let shares = parts
        .iter()
        .map(|(pool, part)| (pool.clone(), part * scale));
    let kept = others
        .into_iter()
        .map(|(pool, weight)| (pool, weight * (WHOLE - named)));
    told(shares.chain(kept).collect())
}

/// The smallest integers in these proportions, scaled to a total of 100, 1000 ... where one is a multiple, because people
/// read those.
fn told(weights: BTreeMap<Name, u128>) -> Result<BTreeMap<Name, u32>, String> {
    let common = weights
        .values()
        .fold(0, |common, weight| gcd(common, *weight));
    let total: u128 = weights.values().sum::<u128>() / common.max(1);
    let round = [100, 1000, 10_000, 100_000, 1_000_000];
    let scale = round
        .iter()
        .find(|round| *round % total.max(1) == 0)
        .map_or(1, |round| round / total.max(1));
    let exact = weights.into_iter().map(|(pool, weight)| {
        let weight = u32::try_from(weight / common.max(1) * scale);
        weight.map(|weight| (pool, weight)).map_err(|_| {
            "these shares need larger integers than there are; give the whole map instead, such as blue=9 green=1".to_owned()
        })
    });
    exact.collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// `blue 90 %, green 10 %`; the pools without a share left out.
pub fn in_words(shares: &BTreeMap<Name, f64>) -> String {
    let told = shares.iter().filter(|(_, share)| **share > 0.0);
    let told: Vec<_> = told
        .map(|(pool, share)| format!("{pool} {}", percent(*share)))
        .collect();
    if told.is_empty() {
        "nobody".to_owned()
    } else {
        told.join(", ")
    }
}

/// At most four digits behind the point, and never 0 or 100 for what is neither.
pub fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "0" if share > 0.0 => "<0.0001 %".to_owned(),
        "100" if share < 1.0 => ">99.9999 %".to_owned(),
        _ => format!("{text} %"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights(pairs: &[(&str, u32)]) -> Weights {
        pairs
            .iter()
            .map(|(pool, weight)| (pool.parse().unwrap(), *weight))
            .collect()
    }

    fn shift(current: &[(&str, u32)], wanted: &[&str]) -> Result<String, String> {
        let wanted: Result<Vec<Assignment>, String> =
            wanted.iter().map(|text| text.parse()).collect();
        let map = shifted(&weights(current), &wanted?)?;
        let told: Vec<_> = map
            .iter()
            .map(|(pool, weight)| format!("{pool}={weight}"))
            .collect();
        Ok(told.join(" "))
    }

    #[test]
    fn a_percent_is_of_the_whole_and_the_rest_keeps_its_proportion() {
        assert_eq!(
            shift(&[("blue", 100)], &["green=10%"]).as_deref(),
            Ok("blue=90 green=10")
        );
        assert_eq!(
            shift(&[("blue", 3), ("red", 1)], &["green=20%"]).as_deref(),
            Ok("blue=60 green=20 red=20")
        );
        assert_eq!(
            shift(&[("blue", 90), ("green", 10)], &["green=50%"]).as_deref(),
            Ok("blue=50 green=50")
        );
        assert_eq!(
            shift(&[("blue", 90), ("green", 10)], &["green=0%"]).as_deref(),
            Ok("blue=100 green=0")
        );
        assert_eq!(
            shift(&[("blue", 90), ("green", 10)], &["green=100%"]).as_deref(),
            Ok("blue=0 green=100")
        );
        assert_eq!(
            shift(&[("blue", 1)], &["green=0.01%"]).as_deref(),
            Ok("blue=9999 green=1")
        );
        assert_eq!(
            shift(&[("blue", 1)], &["green=60%", "red=40%"]).as_deref(),
            Ok("blue=0 green=60 red=40")
        );
    }

    #[test]
    fn a_whole_map_is_taken_as_it_is() {
        assert_eq!(
            shift(&[("blue", 100)], &["blue=9", "green=1"]).as_deref(),
            Ok("blue=9 green=1")
        );
        assert_eq!(
            shift(&[("blue", 100)], &["blue=0", "green=0"]).as_deref(),
            Ok("blue=0 green=0")
        );
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for bad in [
            &["green"][..],
            &["green=x"],
            &["green=-1"],
            &["green=101%"],
            &["green=60%", "red=50%"],
            &["green=10%", "blue=9"],
            &["green=10%", "green=20%"],
            &["blue=40%"],
            &["=1"],
            &["Green=1"],
        ] {
            assert!(shift(&[("blue", 100)], bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn shares_are_told_without_lying() {
        assert_eq!(percent(0.1), "10 %");
        assert_eq!(percent(0.0001), "0.01 %");
        assert_eq!(percent(1e-9), "<0.0001 %");
        assert_eq!(percent(1.0 - 1e-9), ">99.9999 %");
        assert_eq!(
            (percent(0.0), percent(1.0)),
            ("0 %".to_owned(), "100 %".to_owned())
        );
    }

    proptest! {
        #[test]
        fn the_named_pool_gets_exactly_its_part_and_the_others_keep_their_proportions(
            others in proptest::collection::vec(1_u32..=1000, 1..4),
            own in 0_u32..=1000,
            millionths in 0_u32..=1_000_000,
        ) {
            let named = |index: usize| format!("p{index}").parse::<Name>().unwrap();
            let current: Weights = others.iter().enumerate().map(|(index, weight)| (named(index), *weight))
                .chain([("green".parse().unwrap(), own)]).collect();
            let text = format!("green={}.{:04}%", millionths / 10_000, millionths % 10_000);
            let Ok(map) = shifted(&current, &[text.parse().unwrap()]) else {
                // Only what does not fit is refused, and it needs shares finer than a promille.
                prop_assert!(millionths % 1000 != 0);
                return Ok(());
            };
            let total: u128 = map.values().map(|weight| u128::from(*weight)).sum();
            prop_assert!(total > 0);
            let green = u128::from(map[&"green".parse::<Name>().unwrap()]);
            prop_assert_eq!(green * WHOLE, u128::from(millionths) * total);
            for (a, b) in (0..others.len()).zip(1..others.len()) {
                let (now_a, now_b) = (u128::from(map[&named(a)]), u128::from(map[&named(b)]));
                prop_assert_eq!(now_a * u128::from(others[b]), now_b * u128::from(others[a]));
            }
        }
    }
}
