//! What the statistics of rollouts come to: how soon a bad version is found, how often a good one is taken for bad and a bad one for good.
//!
//! `cargo bench --bench rollback_statistics`; `… -- guard` prints the rows of which the name begins so. Everything runs in virtual time.

#![expect(
    clippy::cast_precision_loss,
    reason = "numbers of requests and runs, which are small"
)]

mod simulation;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use cutover::{
    rollout::{
        Seen,
        guard::{Fault, Guard},
        judge::{Look, Of, Pair, Sample, Verdict, judge},
    },
    telemetry::Reading,
    units::{Arm, ErrorMargin, GuardSettings, JudgeSettings, LatencyMargin, Percent},
};
use simulation::{End, Outcome, SERVICE, STANDARD, STEADY, Service, Simulation, Step, Version};

const SEED: u64 = 20_261_128;
const RUNS: usize = 300;

fn main() {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let rows: [(&str, fn()); 8] = [
        ("guard-finds", guard_finds),
        ("guard-errs", guard_errs),
        ("guard-validity", guard_validity),
        ("guard-late", guard_late),
        ("judge-validity", judge_validity),
        ("slow", slow),
        ("rollouts", rollouts),
        ("cost", cost),
    ];
    println!("seed {SEED}");
    for (name, row) in rows {
        if asked.is_empty() || asked.iter().any(|word| name.starts_with(word.as_str())) {
            println!("\n{name}");
            row();
        }
    }
}

fn erring(stable: f64, candidate: f64) -> Service {
    let version = |error_rate| Version {
        error_rate,
        ..STEADY
    };
    Service {
        stable: version(stable),
        candidate: version(candidate),
        ..SERVICE
    }
}

fn seeds(runs: usize) -> impl Iterator<Item = u64> {
    (SEED..).take(runs)
}

/// Half of them are at most this, and nine of ten at most that.
fn quantiles(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |part: usize| values[(values.len() * part / 100).min(values.len() - 1)];
    (at(50), at(90), at(100))
}

fn guard_finds() {
    for (stable, candidate, share) in [
        (0.001, 1.0, 0.05),
        (0.001, 0.5, 0.05),
        (0.001, 0.05, 0.05),
        (0.001, 0.05, 0.25),
        (0.001, 0.02, 0.25),
        (0.01, 0.05, 0.25),
        (0.01, 0.03, 0.25),
    ] {
        let found = seeds(RUNS).map(|seed| {
            Simulation::new(erring(stable, candidate), GuardSettings::default(), seed)
                .guarded(1_000_000, |_| share)
                .map_or(f64::INFINITY, |requests| requests as f64)
        });
        let (median, most, _) = quantiles(found.collect());
        println!(
            "{:>5.1} % -> {:>5.1} % errors at {:>2.0} % share: {median:.0} requests to rollback (median of {RUNS}), {most:.0} in nine of ten",
            stable * 100.0,
            candidate * 100.0,
            share * 100.0
        );
    }
}

fn sticky(clients: u64, failing: u64) -> Service {
    Service {
        clients,
        failing_clients: failing,
        sticky: true,
        ..SERVICE
    }
}

fn guard_errs() {
    let services = [
        ("each request another client's", SERVICE),
        ("5 sticky clients fail of 200", sticky(200, 5)),
        ("10 sticky clients fail of 500", sticky(500, 10)),
        ("20 sticky clients fail of 1000", sticky(1000, 20)),
        ("40 sticky clients fail of 1000", sticky(1000, 40)),
        (
            "5 clients fail of 200, not sticky",
            Service {
                sticky: false,
                ..sticky(200, 5)
            },
        ),
        (
            "an outage of both each 5 s",
            Service {
                outage_every: 5.0,
                ..SERVICE
            },
        ),
    ];
    for (name, service) in services {
        let fired = [0.01, 0.05, 0.25, 0.5].map(|share| {
            seeds(RUNS)
                .filter(|seed| {
                    Simulation::new(service, GuardSettings::default(), *seed)
                        .guarded(20_000, |_| share)
                        .is_some()
                })
                .count()
        });
        println!(
            "identical versions, 0.5 % errors, {name}: {fired:?} of {RUNS} rolled back at 1, 5, 25, 50 % share"
        );
    }
}

/// The candidate's, of each request.
type Share = fn(u64) -> f64;

/// At the very ratio that is tolerated, without minima, looked at after every error.
fn guard_validity() {
    let settings = GuardSettings {
        alpha: 0.05,
        min_errors: 0,
        min_clients: 0,
        min_error_rate: Percent::NONE,
        max_excess_failures: u64::MAX,
        ..GuardSettings::default()
    };
    let runs = 10_000;
    let shares: [(&str, Share); 4] = [
        ("5 %", |_| 0.05),
        ("50 %", |_| 0.5),
        ("1 to 50 % in steps", |number| {
            [0.01, 0.05, 0.25, 0.5][(number / 5000) as usize % 4]
        }),
        ("another for each request", |number| {
            (number * 7 % 97 + 1) as f64 / 100.0
        }),
    ];
    for (name, share) in shares {
        let service = erring(0.02, 0.03);
        let fired = seeds(runs).filter(|seed| {
            Simulation::new(service, settings, *seed)
                .guarded(20_000, share)
                .is_some()
        });
        println!(
            "alpha 0.05, 1.5 times stable's errors, share {name}: {} of {runs} rolled back, {} may",
            fired.count(),
            runs / 20
        );
    }
}

fn guard_late() {
    for share in [0.05, 0.25] {
        let good = 600_000;
        let service = Service {
            candidate: Version {
                error_rate: 1.0,
                turns_bad_at: 600.0,
                ..STEADY
            },
            ..SERVICE
        };
        let found = seeds(RUNS / 3).map(|seed| {
            let fired = Simulation::new(service, GuardSettings::default(), seed)
                .guarded(2 * good, |_| share);
            fired.map_or(f64::INFINITY, |at| at as f64 - good as f64)
        });
        let (median, _, most) = quantiles(found.collect());
        println!(
            "0.5 % errors for {good} requests, then all fail, at {:.0} % share: {median:.0} requests to rollback (median of {}), {most:.0} at most",
            share * 100.0,
            RUNS / 3
        );
    }
}

/// Both versions' requests drawn from one distribution, in the buckets of the histogram.
fn judge_validity() {
    let runs = 4000;
    let settings = |increase: &str| JudgeSettings {
        min_requests: 0,
        error_margin: ErrorMargin::Fixed("1%".parse().expect("a part")),
        latency: Some(LatencyMargin {
            quantile: 0.95,
            increase: increase.parse().expect("a part"),
            floor: Duration::ZERO,
        }),
        ..JudgeSettings::default()
    };
    for (own, others, spread) in [(200, 600, 0.3), (500, 9500, 0.7), (2000, 2000, 1.2)] {
        let mut random = fastrand::Rng::with_seed(SEED);
        let mut sample = |requests: u64, rate: f64, slowness: f64| {
            let errors = (0..requests).filter(|_| random.f64() < rate).count() as u64;
            let latency: Reading = (errors..requests)
                .map(|_| {
                    let sum: f64 = (0..12).map(|_| random.f64()).sum();
                    (
                        Duration::from_secs_f64(0.02 * slowness * ((sum - 6.0) * spread).exp()),
                        1,
                    )
                })
                .collect();
            Sample {
                requests,
                errors,
                latency,
                failing_clients: None,
            }
        };
        let mut wrong = [0; 5];
        for _ in 0..runs {
            let stable = sample(others, 0.005, 1.0);
            let pair = |candidate| Pair {
                candidate,
                stable: stable.clone(),
                ..Pair::default()
            };
            let found = |pair: &Pair, increase, of, verdict| {
                let look = Look {
                    harm: 0.15,
                    promise: 0.01,
                    decides: true,
                };
                let judgement = judge(&settings(increase), 0.01, look, pair, None);
                usize::from(
                    judgement
                        .findings
                        .iter()
                        .any(|finding| finding.of == of && finding.verdict == verdict),
                )
            };
            let alike = pair(sample(own, 0.005, 1.0));
            wrong[0] += found(&alike, "0%", Of::Errors, Verdict::Bad);
            wrong[1] += found(&alike, "0%", Of::Tail, Verdict::Bad);
            wrong[2] += found(&alike, "0%", Of::Bulk, Verdict::Bad);
            let edge = pair(sample(own, 0.015, 1.2));
            wrong[3] += found(&edge, "20%", Of::Errors, Verdict::Good);
            wrong[4] += found(&edge, "20%", Of::Tail, Verdict::Good);
        }
        let [errors, tail, bulk, promised, fast] =
            wrong.map(|count| 100.0 * count as f64 / f64::from(runs));
        println!(
            "{own} beside {others} requests, spread {spread}: alike, found bad by errors {errors:.2} %, tail {tail:.2} %, bulk {bulk:.2} % (5 % each may); \
             at the margin, found good by errors {promised:.2} % (1 % may), tail {fast:.2} % (5 % may)"
        );
    }
}

fn slow() {
    let step = [Step {
        share: 0.25,
        hold: Duration::from_mins(5),
    }];
    for (slowness, spread) in [(1.5, 0.7), (1.5, 1.2), (1.3, 0.7)] {
        let service = Service {
            candidate: Version { slowness, ..STEADY },
            spread,
            ..SERVICE
        };
        let ends: Vec<Outcome> = seeds(100)
            .map(|seed| {
                Simulation::new(service, GuardSettings::default(), seed)
                    .roll_out(&step, &JudgeSettings::default())
            })
            .collect();
        let back = ends
            .iter()
            .filter(|outcome| outcome.end == End::Judged)
            .count();
        let (median, _, most) = quantiles(ends.iter().map(|outcome| outcome.seconds).collect());
        println!(
            "all {slowness} times as slow (spread {spread}), 25 % share, 1000 requests a second: {back} of 100 rolled back, after {median:.1} s (median), {most:.1} s at most"
        );
    }
}

fn rollouts() {
    let slower = |slowness| Service {
        candidate: Version { slowness, ..STEADY },
        ..SERVICE
    };
    let rows = [
        ("the same version", SERVICE),
        (
            "the same, long tails",
            Service {
                spread: 1.2,
                ..SERVICE
            },
        ),
        (
            "the same, an outage of both each 90 s",
            Service {
                outage_every: 90.0,
                ..SERVICE
            },
        ),
        ("the same, 40 of 1000 sticky clients fail", sticky(1000, 40)),
        (
            "the same, 400 of 10 000 sticky clients fail",
            sticky(10_000, 400),
        ),
        (
            "the same, 100 requests a second",
            Service {
                per_second: 100.0,
                ..SERVICE
            },
        ),
        (
            "the same, 10 requests a second",
            Service {
                per_second: 10.0,
                ..SERVICE
            },
        ),
        (
            "the same, hardly any traffic",
            Service {
                per_second: 0.05,
                ..SERVICE
            },
        ),
        ("1.5 % errors beside 0.5 %", erring(0.005, 0.015)),
        (
            "1.5 % errors beside 0.5 %, 100 a second",
            Service {
                per_second: 100.0,
                ..erring(0.005, 0.015)
            },
        ),
        ("1 % errors beside 0.5 %", erring(0.005, 0.01)),
        ("0.7 % errors beside 0.5 %", erring(0.005, 0.007)),
        ("1.5 times as slow", slower(1.5)),
        ("1.25 times as slow", slower(1.25)),
    ];
    for (name, service) in rows {
        rollout(name, service, true);
        if service.candidate.error_rate > service.stable.error_rate {
            rollout(name, service, false);
        }
    }
}

fn rollout(name: &str, service: Service, guarded: bool) {
    let runs = 100;
    let ends: Vec<Outcome> = seeds(runs)
        .map(|seed| {
            let simulation = Simulation::new(service, GuardSettings::default(), seed);
            let simulation = if guarded {
                simulation
            } else {
                simulation.unguarded()
            };
            simulation.roll_out(&STANDARD, &JudgeSettings::default())
        })
        .collect();
    let count = |end| ends.iter().filter(|outcome| outcome.end == end).count();
    let held = |step| {
        let held = ends
            .iter()
            .filter(|outcome| outcome.end == End::Unsure && outcome.step == step);
        held.count()
    };
    let mean = |of: fn(&Outcome) -> f64| ends.iter().map(of).sum::<f64>() / ends.len() as f64;
    println!(
        "{name}{}: {} of {runs} promoted; rolled back by guard {}, budget {}, judge {}; held too long {:?} in steps 1 to 4; {:.0} s, of which waited {:.0} s (mean)",
        if guarded { "" } else { ", judge alone" },
        count(End::Promoted),
        count(End::Guarded),
        count(End::Spent),
        count(End::Judged),
        [0, 1, 2, 3].map(held),
        mean(|outcome| outcome.seconds),
        mean(|outcome| outcome.waited)
    );
}

/// Of one error; a request that succeeds costs nothing.
fn cost() {
    let errors = 1_000_000;
    let mut guard = Guard::new(GuardSettings::default());
    let begun = Instant::now();
    for client in 0..errors {
        let candidate = client % 20 == 0;
        guard.error(black_box(Fault {
            arm: if candidate {
                Arm::Candidate
            } else {
                Arm::Stable
            },
            share: 0.05,
            client: Some(client),
            sticky: true,
            seen_by_user: true,
        }));
        if candidate {
            black_box(guard.fires(Seen::default(), Seen::default()));
        }
    }
    println!(
        "an error, each of another client: {:.0} ns",
        begun.elapsed().as_secs_f64() * 1e9 / errors as f64
    );
}
