//! Whether the candidate fails more often.

use super::{
    distributions::{Part, most_above, owns_so_many},
    looks::Look,
    sample::{Baseline, Pair},
    verdict::{Finding, Of, Verdict},
};
use crate::rollout::figures::{one_in, percent};

/// What is said of the rate alone holds with this much.
const SAID: f64 = 0.05;
/// Three things are looked at: errors, the tail, the bulk.
pub(super) const TESTS: f64 = 3.0;

pub(super) fn judge(pair: &Pair, margin: f64, tolerated: f64, look: Look) -> Finding {
    let (candidate, stable) = (pair.candidate.failed(), pair.stable.failed());
    let by_chance = owns_so_many(pair.candidate.failed_anew(), pair.stable.failed_anew());
    let above = candidate.rate() - stable.rate();
    let most = most_above(candidate, stable, look.promise);
    let verdict = if by_chance < look.harm / TESTS && above >= tolerated {
        Verdict::Bad
    } else if most < margin {
        Verdict::Good
    } else {
        Verdict::NotEnough {
            more: more(candidate, stable, |candidate, stable| {
                most_above(candidate, stable, look.promise) < margin
            }),
        }
    };
    let proves = format!(
        "{:.0} {} in {:.0} requests: error rate below {} at {:.0} %",
        candidate.some,
        if pair.candidate.errors == 1 {
            "error"
        } else {
            "errors"
        },
        candidate.of,
        percent(candidate.upper(SAID)),
        (1.0 - SAID) * 100.0
    );
    let beside = format!(
        "the stable version's {} ({:.0} of {:.0}{})",
        percent(stable.rate()),
        stable.some,
        stable.of,
        match pair.baseline {
            Baseline::Now => "",
            Baseline::Frozen => ", before",
        }
    );
    let points = |part: f64| percent(part).replace(" %", "");
    let text = match verdict {
        Verdict::Bad => format!(
            "{:.0} of {:.0} requests failed ({}), more than {beside}; by chance in {}",
            candidate.some,
            candidate.of,
            percent(candidate.rate()),
            one_in(by_chance)
        ),
        Verdict::Good => format!(
            "{proves}; at most {} points above {beside}, {} are allowed",
            points(most.max(0.0)),
            points(margin)
        ),
        Verdict::NotEnough { more } => format!(
            "{proves}; perhaps {} points above {beside}, {} are allowed: {}",
            points(most),
            points(margin),
            match more {
                Some(more) => format!("{more} more requests would tell"),
                None => "it is above that as measured".to_owned(),
            }
        ),
    };
    Finding {
        of: Of::Errors,
        verdict,
        text,
    }
}

/// How many more of the candidate's requests would tell, if both go on like this: `tells` of all that was measured, times a factor.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rounded estimate"
)]
pub(super) fn more(
    candidate: Part,
    stable: Part,
    tells: impl Fn(Part, Part) -> bool,
) -> Option<u64> {
    let enough = |times: f64| tells(candidate.scaled(times), stable.scaled(times));
    let mut high = 2.0;
    while !enough(high) {
        high *= 2.0;
        if high > 1e6 {
            return None;
        }
    }
    let mut low = high / 2.0;
    while high / low > 1.01 {
        let middle = f64::midpoint(low, high);
        if enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some((candidate.of * (high - 1.0)).ceil() as u64)
}
