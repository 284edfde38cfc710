//! Whether the candidate is slower.

use std::time::Duration;

use super::{
    distributions::{Part, most_above, owns_so_many},
    errors::{TESTS, more},
    looks::Look,
    ranks,
    sample::{Baseline, Pair, Sample},
    verdict::{Finding, Of, Verdict},
};
use crate::{
    rollout::figures::{number, one_in, percent},
    telemetry::Reading,
    units::LatencyMargin,
};

/// It is looked at with as many times the chance of a wrong promise as errors are: what is slower by a little less than allowed is no disaster,
/// and tails take long to prove.
const LOOSER: f64 = 5.0;
/// The chance that one of the candidate's requests is slower than one of stable's, from which on their bulks differ.
const SLOWER: f64 = 0.6;
/// Requests of each below which ranks are not compared.
const RANKED: u64 = 100;

/// What may be spent on the promise that it is no slower, where that on errors may spend this.
pub(super) fn promised(errors: f64) -> f64 {
    errors * LOOSER
}

/// Requests of each version below which nothing is said of a quantile: it is the slowest few that tell.
pub(super) fn least(quantile: f64) -> u64 {
    match quantile {
        ..=0.5 => 50,
        ..=0.9 => 100,
        ..=0.95 => 200,
        ..=0.99 => 500,
        _ => 5000,
    }
}

/// What is slower than this is too slow.
pub(super) fn limit(allowed: &LatencyMargin, stable: Duration, baseline: Baseline) -> Duration {
    let increase = allowed.increase.part()
        * match baseline {
            Baseline::Now => 1.0,
            Baseline::Frozen => 2.0,
        };
    stable.mul_f64(1.0 + increase).max(stable + allowed.floor)
}

/// Where stable's slowest begin: the end of the bucket that its quantile lies in, and how many are above it.
fn edge(stable: &Reading, quantile: f64) -> Option<(Duration, u64)> {
    let all = stable.count();
    let rank = number(all) * quantile;
    let mut seen = 0;
    let bucket = stable.buckets().find(|bucket| {
        seen += bucket.count;
        bucket.count > 0 && number(seen) >= rank
    })?;
    Some((bucket.ceiling, all - seen))
}

/// How many may have been slower than this: those of its own bucket with them.
pub(super) fn slower_than(reading: &Reading, edge: Duration) -> u64 {
    let slower = reading.buckets().filter(|bucket| bucket.ceiling > edge);
    slower.map(|bucket| bucket.count).sum()
}

/// The slowest requests: of those that are slower than stable's quantile, does the candidate own more than its part?
pub(super) fn tail(allowed: &LatencyMargin, pair: &Pair, look: Look) -> Finding {
    let (candidate, stable) = (&pair.candidate, &pair.stable);
    let name = name(allowed.quantile);
    let finding = |verdict, text| Finding {
        of: Of::Tail,
        verdict,
        text,
    };
    if let Some(missing) = missing(candidate, stable, least(allowed.quantile)) {
        let text = format!("{name}: {missing} more requests are needed to speak of it");
        let more = Some(missing);
        return finding(Verdict::NotEnough { more }, text);
    }
    let quantile = |sample: &Sample| sample.latency.quantile(allowed.quantile);
    let (Some((edge, above)), Some(own), Some(others)) = (
        edge(&stable.latency, allowed.quantile),
        quantile(candidate),
        quantile(stable),
    ) else {
        return finding(
            Verdict::NotEnough { more: None },
            format!("{name}: nothing was measured"),
        );
    };
    let part = |sample: &Sample, some: u64| Part::new(number(some), number(sample.latency.count()));
    let slower = slower_than(&candidate.latency, edge);
    let by_chance = owns_so_many(part(candidate, slower), part(stable, above));
    let too_slow = limit(allowed, edge, pair.baseline);
    let beyond = part(candidate, slower_than(&candidate.latency, too_slow));
    // The slowest of stable's are as many as the quantile says, however many of them are alike.
    let all = number(stable.latency.count());
    let slowest = Part::new(all * (1.0 - allowed.quantile), all);
    let alpha = promised(look.promise);
    let tells = |beyond, slowest| most_above(beyond, slowest, alpha) < 0.0;
    let beside = format!(
        "{name} {}, the stable version's {}",
        millis(own),
        millis(others)
    );
    if by_chance < look.harm / TESTS && own >= limit(allowed, others, pair.baseline) {
        let text = format!(
            "{beside}: {slower} of {} requests were slower than that; by chance in {}",
            candidate.latency.count(),
            one_in(by_chance)
        );
        finding(Verdict::Bad, text)
    } else if tells(beyond, slowest) {
        finding(
            Verdict::Good,
            format!("{beside}: below {}", millis(too_slow)),
        )
    } else {
        let more = more(beyond, slowest, tells);
        let text = match more {
            Some(more) => format!(
                "{beside}: {more} more requests would tell that it is below {}",
                millis(too_slow)
            ),
            None => format!(
                "{beside}: {} of its requests are slower than {}",
                percent(beyond.rate()),
                millis(too_slow)
            ),
        };
        finding(Verdict::NotEnough { more }, text)
    }
}

/// All requests, by their ranks: with many of them the least difference is sure, so it must matter too.
pub(super) fn bulk(allowed: &LatencyMargin, pair: &Pair, look: Look) -> Option<Finding> {
    let Pair {
        candidate, stable, ..
    } = pair;
    if candidate.latency.count().min(stable.latency.count()) < RANKED {
        return None;
    }
    let ranks = ranks::compare(&candidate.latency, &stable.latency)?;
    let (at, own, others) = [0.5, 0.9].into_iter().find_map(|quantile| {
        let (own, others) = (
            candidate.latency.quantile(quantile)?,
            stable.latency.quantile(quantile)?,
        );
        let matters = own >= limit(allowed, others, pair.baseline);
        (matters || quantile > 0.5).then(|| (matters.then_some(quantile), own, others))
    })?;
    let text = format!(
        "of two requests, one of each version, its own is the slower in {}",
        percent(ranks.slower)
    );
    Some(match at {
        Some(at) if ranks.by_chance < look.harm / TESTS && ranks.slower >= SLOWER => Finding {
            of: Of::Bulk,
            verdict: Verdict::Bad,
            text: format!(
                "{text}, {} {} beside {}; by chance in {}",
                name(at),
                millis(own),
                millis(others),
                one_in(ranks.by_chance)
            ),
        },
        _ => Finding {
            of: Of::Bulk,
            verdict: Verdict::Good,
            text,
        },
    })
}

/// How many more of the candidate's requests there must be until both have as many.
fn missing(candidate: &Sample, stable: &Sample, least: u64) -> Option<u64> {
    let (own, others) = (candidate.latency.count(), stable.latency.count());
    let of_stable = (least.saturating_sub(others) * own.max(1)).div_ceil(others.max(1));
    let missing = least.saturating_sub(own).max(of_stable);
    (missing > 0).then_some(missing)
}

fn name(quantile: f64) -> String {
    format!("p{}", (quantile * 1e5).round() / 1e3)
}

fn millis(latency: Duration) -> String {
    let millis = latency.as_secs_f64() * 1e3;
    let decimals = match millis {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{millis:.decimals$} ms")
}
