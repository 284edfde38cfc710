//! Says what both versions' requests of the same time prove: enough to go on, enough to go back, or not enough. Pure.
//!
//! To go on it must be *shown* that the candidate is no worse than a margin; to go back, that it is worse. Much that is measured shows
//! neither, and then more is waited for. Errors are compared with exact tests, which hold at 0 to 3 errors too; latency is compared by
//! the requests above stable's quantile and by ranks, over the buckets of the two histograms.

mod absolute;
mod distributions;
mod errors;
mod estimate;
mod latency;
mod looks;
mod margin;
mod mismatch;
mod ranks;
mod sample;
mod verdict;

pub use self::{
    absolute::{Bound, Kept, On, absolute},
    estimate::{Estimate, estimate},
    looks::{Look, Looks},
    margin::{Traffic, margin},
    mismatch::{Dealt, Mismatch, mismatch},
    sample::{Baseline, Pair, Sample},
    verdict::{Finding, Judgement, Of, Verdict},
};
use crate::units::JudgeSettings;

/// One look at what was measured since the step began, and of late if the step is long: what begins now is not hidden by the good time
/// before it. `margin`: how much more often the candidate may fail, from [`margin()`](margin()).
pub fn judge(
    settings: &JudgeSettings,
    margin: f64,
    look: Look,
    whole: &Pair,
    recent: Option<&Pair>,
) -> Judgement {
    let look = match recent {
        Some(_) => look.halved(),
        None => look,
    };
    let mut judgement = Judgement::of(of_pair(settings, margin, look, whole));
    if let Some(recent) = recent {
        let late = of_pair(settings, margin, look, recent);
        judgement.add(
            late.into_iter()
                .filter(|finding| finding.verdict == Verdict::Bad)
                .map(Finding::of_late),
        );
    }
    judgement
}

fn of_pair(settings: &JudgeSettings, margin: f64, look: Look, pair: &Pair) -> Vec<Finding> {
    let Pair {
        candidate, stable, ..
    } = pair;
    if candidate.requests < settings.min_requests {
        return vec![Finding::too_few(candidate.requests, settings.min_requests)];
    }
    let tolerated = margin::tolerated(settings.error_margin, stable.rate(), pair.baseline);
    let mut findings = vec![errors::judge(pair, margin, tolerated, look)];
    if let Some(allowed) = &settings.latency {
        findings.push(latency::tail(allowed, pair, look));
        findings.extend(latency::bulk(allowed, pair, look));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::units::LatencyMargin;

    const LOOK: Look = Look {
        harm: 0.001,
        promise: 0.005,
        decides: true,
    };

    /// Latencies evenly from 10 ms to as much, in so many requests.
    fn sample(requests: u64, errors: u64, slowest: u64) -> Sample {
        let good = requests - errors;
        Sample {
            requests,
            errors,
            latency: (0..good)
                .map(|rank| {
                    (
                        Duration::from_micros(10_000 + (slowest - 10) * 1000 * rank / good),
                        1,
                    )
                })
                .collect(),
            failing_clients: None,
        }
    }

    fn pair(candidate: Sample, stable: Sample) -> Pair {
        Pair {
            candidate,
            stable,
            baseline: Baseline::Now,
        }
    }

    fn errors_only() -> JudgeSettings {
        JudgeSettings {
            latency: None,
            ..JudgeSettings::default()
        }
    }

    fn judged(settings: &JudgeSettings, candidate: Sample, stable: Sample) -> (Verdict, String) {
        let judgement = judge(settings, 0.01, LOOK, &pair(candidate, stable), None);
        (judgement.verdict, judgement.to_string())
    }

    #[test]
    fn it_says_what_it_proves_of_errors() {
        let settings = errors_only();
        let stable = || sample(7200, 36, 100);
        let told = |requests, errors| judged(&settings, sample(requests, errors, 100), stable());
        assert_eq!(
            told(2400, 12),
            (
                Verdict::Good,
                "12 errors in 2400 requests: error rate below 0.809 % at 95 %; at most 0.538 points above the stable version's 0.5 % \
                 (36 of 7200), 1 are allowed"
                    .to_owned()
            )
        );
        assert_eq!(
            told(240, 0),
            (
                Verdict::NotEnough { more: Some(115) },
                "0 errors in 240 requests: error rate below 1.24 % at 95 %; perhaps 1.69 points above the stable version's 0.5 % \
                 (36 of 7200), 1 are allowed: 115 more requests would tell"
                    .to_owned()
            )
        );
        assert_eq!(
            told(2400, 60),
            (
                Verdict::Bad,
                "60 of 2400 requests failed (2.5 %), more than the stable version's 0.5 % (36 of 7200); by chance in less than 1 of \
                 1000000000"
                    .to_owned()
            )
        );
        assert_eq!(
            told(99, 99),
            (
                Verdict::NotEnough { more: Some(1) },
                "99 requests: nothing is concluded below 100".to_owned()
            )
        );
    }

    #[test]
    fn what_is_worse_as_measured_but_not_surely_is_neither_good_nor_bad() {
        let found = judged(&errors_only(), sample(400, 6, 100), sample(7200, 36, 100)).0;
        assert_eq!(found, Verdict::NotEnough { more: None });
    }

    #[test]
    fn as_many_requests_as_it_asks_for_are_enough_if_it_goes_on_like_that() {
        let settings = errors_only();
        let stable = |times: u64| sample(7200 * times, 36 * times, 100);
        assert_eq!(
            judged(&settings, sample(400, 2, 100), stable(1)).0,
            Verdict::NotEnough { more: Some(488) }
        );
        assert_eq!(
            judged(&settings, sample(1000, 5, 100), stable(3)).0,
            Verdict::Good
        );
    }

    #[test]
    fn it_says_what_it_proves_of_latency() {
        let settings = JudgeSettings::default();
        let told = |requests, slowest| {
            let pair = pair(sample(requests, 0, slowest), sample(9000, 0, 100));
            let judgement = judge(&settings, 0.05, LOOK, &pair, None);
            (judgement.verdict, judgement.findings[1].text.clone())
        };
        assert_eq!(
            told(3000, 100),
            (
                Verdict::Good,
                "p95 95.2 ms, the stable version's 95.2 ms: below 116 ms".to_owned()
            )
        );
        assert_eq!(
            told(150, 100),
            (
                Verdict::NotEnough { more: Some(50) },
                "p95: 50 more requests are needed to speak of it".to_owned()
            )
        );
        assert_eq!(
            told(3000, 150),
            (
                Verdict::Bad,
                "p95 141 ms, the stable version's 95.2 ms: 1151 of 3000 requests were slower than that; by chance in less than 1 of \
                 1000000000"
                    .to_owned()
            )
        );
        assert_eq!(told(300, 118).0, Verdict::NotEnough { more: Some(174) });
    }

    #[test]
    fn what_is_slower_by_less_than_the_floor_is_no_slower() {
        let shifted = |times: u64| Sample {
            requests: 5000,
            latency: (0..5000)
                .map(|rank| (Duration::from_micros(times * (1000 + rank / 5)), 1))
                .collect(),
            ..Sample::default()
        };
        let found = |floor| {
            let latency = Some(LatencyMargin {
                floor: Duration::from_millis(floor),
                ..LatencyMargin::default()
            });
            let settings = JudgeSettings {
                latency,
                ..JudgeSettings::default()
            };
            judged(&settings, shifted(2), shifted(1)).0
        };
        assert_eq!((found(10), found(1)), (Verdict::Good, Verdict::Bad));
    }

    #[test]
    fn a_shift_of_all_requests_is_seen_though_the_quantile_that_is_set_hides_it() {
        // Both have 8 % that take a second; the others take twice as long.
        let sample = |usual: u64| Sample {
            requests: 5000,
            latency: [
                (Duration::from_millis(usual), 4600),
                (Duration::from_secs(1), 400),
            ]
            .into_iter()
            .collect(),
            ..Sample::default()
        };
        let judgement = judge(
            &JudgeSettings::default(),
            0.05,
            LOOK,
            &pair(sample(80), sample(40)),
            None,
        );
        assert_eq!(
            (judgement.verdict, judgement.findings[1].verdict),
            (Verdict::Bad, Verdict::Good)
        );
        assert_eq!(
            judgement.to_string(),
            "of two requests, one of each version, its own is the slower in 92.3 %, p50 80.9 ms beside 40.4 ms; by chance in less than \
             1 of 1000000000"
        );
    }

    #[test]
    fn errors_of_one_client_that_keeps_to_its_version_are_no_harm_but_no_proof_of_good_either() {
        let settings = errors_only();
        let with = |failing| Sample {
            failing_clients: Some(failing),
            ..sample(2400, 60, 100)
        };
        let stable = || Sample {
            failing_clients: Some(30),
            ..sample(7200, 36, 100)
        };
        assert!(matches!(
            judged(&settings, with(2), stable()).0,
            Verdict::NotEnough { .. }
        ));
        assert_eq!(judged(&settings, with(50), stable()).0, Verdict::Bad);
    }

    #[test]
    fn what_begins_late_is_seen_in_the_last_minute() {
        let whole = pair(sample(100_000, 500, 100), sample(100_000, 490, 100));
        let recent = pair(sample(5000, 75, 100), sample(5000, 25, 100));
        let settings = errors_only();
        assert_eq!(
            judge(&settings, 0.01, LOOK, &whole, None).verdict,
            Verdict::Good
        );
        let judgement = judge(&settings, 0.01, LOOK, &whole, Some(&recent));
        assert_eq!(judgement.verdict, Verdict::Bad);
        assert!(
            judgement
                .to_string()
                .starts_with("of late: 75 of 5000 requests failed"),
            "{judgement}"
        );
        let text = serde_json::to_string(&judgement).unwrap();
        assert_eq!(serde_json::from_str::<Judgement>(&text).unwrap(), judgement);
    }

    #[test]
    fn beside_what_stable_did_before_more_is_allowed() {
        let settings = JudgeSettings::default();
        let found = |baseline, errors, slowest| {
            let pair = Pair {
                baseline,
                ..pair(sample(40_000, errors, slowest), sample(40_000, 40, 100))
            };
            judge(&settings, 0.01, LOOK, &pair, None).verdict
        };
        assert_eq!(
            (
                found(Baseline::Now, 140, 100),
                found(Baseline::Frozen, 140, 100)
            ),
            (Verdict::Bad, Verdict::Good)
        );
        assert_eq!(
            (
                found(Baseline::Now, 40, 130),
                found(Baseline::Frozen, 40, 130)
            ),
            (Verdict::Bad, Verdict::Good)
        );
        assert_eq!(
            (
                found(Baseline::Frozen, 400, 100),
                found(Baseline::Frozen, 40, 150)
            ),
            (Verdict::Bad, Verdict::Bad)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_was_counted_there_is_an_answer_and_one_error_more_makes_it_no_better(
            own in (0..3000_u64, 0..100_u64), others in (0..3000_u64, 0..100_u64), slowest in 11..400_u64, share in 0.0..0.5_f64,
        ) {
            let rank = |verdict| match verdict {
                Verdict::Bad => 0,
                Verdict::NotEnough { .. } => 1,
                Verdict::Good => 2,
            };
            let counted = |(good, errors): (u64, u64), slowest| sample(good + errors, errors, slowest);
            let margin = share / 10.0;
            let found = |errors| {
                let pair = pair(counted((own.0, errors), slowest), counted(others, 100));
                judge(&JudgeSettings { min_requests: 0, ..JudgeSettings::default() }, margin, LOOK, &pair, None)
            };
            let (one, worse) = (found(own.1), found(own.1 + 1));
            prop_assert!(!one.to_string().contains("NaN"));
            prop_assert!(rank(worse.findings[0].verdict) <= rank(one.findings[0].verdict));
        }
    }
}
