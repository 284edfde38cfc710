//! What guard and judge decide over many simulated rollouts, in virtual time. `cargo bench --bench rollback_statistics` runs many more.

use std::time::Duration;

use cutover::units::{GuardSettings, JudgeSettings, Percent};

#[path = "../../benches/rollback_statistics/simulation.rs"]
mod simulation;

use simulation::{End, Outcome, SERVICE, STANDARD, STEADY, Service, Simulation, Step, Version};

const SEED: u64 = 20_261_128;

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

fn sticky(clients: u64, failing_clients: u64) -> Service {
    Service {
        clients,
        failing_clients,
        sticky: true,
        ..SERVICE
    }
}

fn simulation(service: Service, seed: u64) -> Simulation {
    Simulation::new(service, GuardSettings::default(), seed)
}

fn rolled_out(service: Service, steps: &[Step], runs: u64) -> Vec<Outcome> {
    let seeds = SEED..SEED + runs;
    seeds
        .map(|seed| simulation(service, seed).roll_out(steps, &JudgeSettings::default()))
        .collect()
}

#[test]
fn fifty_times_the_errors_at_a_quarter_of_the_traffic_are_found_within_some_hundred_requests() {
    let mut found: Vec<_> = (SEED..SEED + 61)
        .map(|seed| {
            let fired = simulation(erring(0.001, 0.05), seed).guarded(20_000, |_| 0.25);
            fired.expect("it is found")
        })
        .collect();
    found.sort_unstable();
    assert!(found[30] <= 800, "{found:?}, seeds from {SEED}");
}

#[test]
fn identical_versions_are_not_told_apart_whoever_fails() {
    let services = [
        SERVICE,
        sticky(200, 5),
        sticky(1000, 40),
        Service {
            sticky: false,
            ..sticky(200, 5)
        },
        Service {
            outage_every: 5.0,
            ..SERVICE
        },
    ];
    for (number, service) in services.into_iter().enumerate() {
        for share in [0.05, 0.25] {
            for seed in SEED..SEED + 10 {
                let fired = simulation(service, seed).guarded(20_000, |_| share);
                assert_eq!(fired, None, "service {number}, share {share}, seed {seed}");
            }
        }
    }
}

#[test]
fn at_the_ratio_that_is_tolerated_no_more_are_taken_back_than_alpha_says_though_the_share_changes()
{
    let settings = GuardSettings {
        alpha: 0.05,
        min_errors: 0,
        min_clients: 0,
        min_error_rate: Percent::NONE,
        max_excess_failures: u64::MAX,
        ..GuardSettings::default()
    };
    let fired = (SEED..SEED + 300).filter(|seed| {
        let simulation = Simulation::new(erring(0.04, 0.06), settings, *seed);
        let share = |number: u64| if number.is_multiple_of(2) { 0.5 } else { 0.1 };
        simulation.guarded(4000, share).is_some()
    });
    // 15 are expected at most; more than 28 would come about by chance in 1 of 1000.
    let fired = fired.count();
    assert!(fired <= 28, "{fired} of 300, seeds from {SEED}");
}

#[test]
fn what_turns_bad_after_a_long_good_time_is_found_as_soon() {
    let service = Service {
        candidate: Version {
            error_rate: 1.0,
            turns_bad_at: 100.0,
            ..STEADY
        },
        ..SERVICE
    };
    let fired = simulation(service, SEED).guarded(200_000, |_| 0.25);
    let late = fired.expect("it is found") - 100_000;
    assert!(late < 500, "{late} requests");
}

#[test]
fn a_good_version_passes_all_steps() {
    let service = Service {
        per_second: 300.0,
        ..SERVICE
    };
    for outcome in rolled_out(service, &STANDARD, 3) {
        assert_eq!(outcome.end, End::Promoted, "{outcome:?}, seeds from {SEED}");
        assert!(outcome.waited < 1800.0, "{outcome:?}, seeds from {SEED}");
    }
}

#[test]
fn three_times_the_errors_never_pass_with_the_guard_or_without() {
    let service = erring(0.005, 0.015);
    let guarded = rolled_out(service, &STANDARD, 3);
    let alone = (SEED..SEED + 3).map(|seed| {
        let simulation = simulation(service, seed).unguarded();
        simulation.roll_out(&STANDARD, &JudgeSettings::default())
    });
    for outcome in guarded.into_iter().chain(alone) {
        assert!(
            matches!(outcome.end, End::Guarded | End::Spent | End::Judged),
            "{outcome:?}, seeds from {SEED}"
        );
    }
}

#[test]
fn half_as_slow_again_is_found_within_ten_seconds() {
    let service = Service {
        candidate: Version {
            slowness: 1.5,
            ..STEADY
        },
        ..SERVICE
    };
    let step = Step {
        share: 0.25,
        hold: Duration::from_mins(5),
    };
    for outcome in rolled_out(service, &[step], 10) {
        assert_eq!(outcome.end, End::Judged);
        assert!(outcome.seconds <= 10.0, "{outcome:?}, seeds from {SEED}");
    }
}

#[test]
fn with_hardly_any_traffic_nothing_is_concluded() {
    let service = Service {
        per_second: 0.05,
        ..erring(0.0, 0.5)
    };
    for outcome in rolled_out(service, &STANDARD, 3) {
        assert_eq!((outcome.end, outcome.step), (End::Unsure, 0));
    }
}

#[test]
fn sticky_clients_that_always_fail_take_no_good_version_back() {
    let service = Service {
        per_second: 300.0,
        ..sticky(200, 10)
    };
    for outcome in rolled_out(service, &STANDARD[1..3], 4) {
        assert!(
            matches!(outcome.end, End::Promoted | End::Unsure),
            "{outcome:?}, seeds from {SEED}"
        );
    }
}
