//! How a rolling replacement goes on: every place with every order, and what happens by itself.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use cutover::{
    config::plan::{Hook, HookPoint, Rollout as Plan, Step, Strategy, Then},
    control::{
        Actor, ActorKind, Kind,
        rollout::{Batches, Cause, Counts, Member, Pause, Paused, Phase, Resume, Rollout, Stage},
    },
    rollout::steps::{
        Answer, Attempt, Facts, Input, Look, Move, Moved, Next, Order, Task, step, until,
        wants_time,
    },
    units::{Address, Timestamp, Unsure},
};

const MINUTE: Duration = Duration::from_mins(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn address(number: usize) -> Address {
    format!("10.0.0.{}:3000", number + 1).parse().unwrap()
}

/// Judged for a minute after each batch.
fn plan() -> Plan {
    Plan {
        strategy: Strategy::Rolling,
        steps: vec![Step {
            share: None,
            mirror: None,
            then: Then::Judge(MINUTE),
        }],
        ..Plan::default()
    }
}

fn asks() -> Plan {
    let hook = Hook {
        at: vec![HookPoint::BeforeStep],
        url: "http://127.0.0.1/".to_owned(),
        secret: None,
        timeout: Duration::from_secs(10),
        on_timeout: Unsure::Pause,
    };
    Plan {
        hooks: vec![hook],
        ..plan()
    }
}

fn person() -> Actor {
    Actor::new("ada", ActorKind::Person, "socket")
}

/// Six endpoints in batches of two, at the second.
fn rollout(stage: Stage) -> Rollout {
    let blue = "blue".parse().unwrap();
    let (at_batch, phase) = (stage.step().unwrap_or(1), stage.phase());
    let all = [[0, 1], [2, 3], [4, 5]];
    Rollout {
        id: 7,
        members: vec![Member {
            service: "shop".parse().unwrap(),
            from: blue,
            to: "blue".parse().unwrap(),
            version: None,
            version_before: None,
            revision: 1,
        }],
        plan: serde_json::Value::Null,
        steps: 3,
        stage,
        since: at(0),
        paused: None,
        share: 1.0 / 3.0,
        copies: None,
        started: at(0),
        by: person(),
        reason: None,
        ended: None,
        cause: None,
        restored: (stage == Stage::RollingBack).then(|| at(5)),
        rescue: None,
        counts: Counts::default(),
        promoted: None,
        retry_of: None,
        paused_ms: 0,
        keys: Vec::new(),
        batches: Some(Batches {
            all: all.map(|batch| batch.map(address).to_vec()).to_vec(),
            at: at_batch,
            out: matches!(
                phase,
                Some(Phase::Emptying | Phase::Replacing | Phase::Restoring)
            ),
            left: Vec::new(),
        }),
        log: Vec::new(),
    }
}

fn batch(number: usize, phase: Phase) -> Rollout {
    rollout(Stage::Stepping {
        step: number - 1,
        phase,
    })
}

fn facts(now: i64) -> Facts {
    Facts {
        now: at(now),
        stable_is_ready: true,
        batch_is_ready: true,
        gone: BTreeSet::new(),
        drained: BTreeSet::new(),
        by: person(),
        reason: None,
    }
}

/// Where nobody else has drained or put back anything.
fn facts_of(rollout: &Rollout, now: i64) -> Facts {
    let batches = rollout.batches.as_ref().unwrap();
    let out = batches.current().iter().filter(|_| batches.out);
    Facts {
        drained: out.cloned().collect(),
        ..facts(now)
    }
}

fn after(rollout: &Rollout, plan: &Plan, now: i64, input: Input) -> Next {
    step(rollout, plan, &facts_of(rollout, now), input).unwrap()
}

fn ordered(rollout: &Rollout, order: Order) -> Next {
    after(rollout, &plan(), 30, Input::Order(order))
}

fn phase(next: &Next) -> Option<Phase> {
    next.rollout.stage.phase()
}

fn paused(mut rollout: Rollout, reason: Pause) -> Rollout {
    rollout.paused = Some(Paused {
        reason,
        since: at(10),
        detail: "a reason".to_owned(),
        alarmed: false,
    });
    rollout
}

/// Its drain was refused.
fn stuck() -> Rollout {
    let mut rollout = rollout(Stage::RollingBack);
    rollout.restored = None;
    rollout
}

fn bad() -> Input {
    Input::Bad(Cause {
        kind: "judge".to_owned(),
        detail: "60 of 100 requests failed".to_owned(),
        at: at(20),
        evidence: serde_json::Value::Null,
    })
}

fn places() -> Vec<(&'static str, Rollout)> {
    use Phase::{
        Asking, Emptying, Extending, Proving, Replacing, Restoring, Shifting, Waiting, WarmingUp,
    };
    vec![
        (
            "preparing: asking",
            rollout(Stage::Preparing { phase: Asking }),
        ),
        ("batch: shifting", batch(2, Shifting)),
        ("batch: emptying", batch(2, Emptying)),
        ("batch: replacing", batch(2, Replacing)),
        ("batch: restoring", batch(2, Restoring)),
        ("batch: proving", batch(2, Proving)),
        ("batch: warming up", batch(2, WarmingUp)),
        ("batch: waiting", batch(2, Waiting)),
        ("batch: extending", batch(2, Extending)),
        ("rolling back", rollout(Stage::RollingBack)),
        ("rolling back: stuck", stuck()),
        ("succeeded", rollout(Stage::Succeeded)),
        ("failed", rollout(Stage::Failed)),
        ("superseded", rollout(Stage::Superseded)),
        (
            "paused by a person",
            paused(batch(2, Waiting), Pause::Person),
        ),
        ("paused: manual", paused(batch(2, Waiting), Pause::Manual)),
        (
            "paused: approval",
            paused(batch(2, Waiting), Pause::Approval),
        ),
        (
            "paused: insufficient data",
            paused(batch(2, Extending), Pause::InsufficientData),
        ),
        ("paused: hook", paused(batch(2, Replacing), Pause::Hook)),
        (
            "paused: refused",
            paused(batch(2, Shifting), Pause::Refused),
        ),
        (
            "paused: stable not ready",
            paused(batch(2, Waiting), Pause::StableNotReady),
        ),
    ]
}

const ORDERS: [(&str, Order); 7] = [
    ("promote", Order::Promote { full: false }),
    ("promote --full", Order::Promote { full: true }),
    ("pause", Order::Pause),
    ("resume", Order::Resume(None)),
    ("skip", Order::Skip),
    ("abort", Order::Abort),
    ("undo", Order::Undo),
];

#[test]
fn the_documented_table_of_batches_and_orders_is_what_happens() {
    let mut table = String::from("| where it stands |");
    for (name, _) in ORDERS {
        write!(table, " `{name}` |").unwrap();
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(ORDERS.len()));
    for (place, rollout) in places() {
        write!(table, "\n| {place} |").unwrap();
        for (name, order) in ORDERS {
            let next = step(
                &rollout,
                &plan(),
                &facts_of(&rollout, 30),
                Input::Order(order),
            );
            let verbs = rollout.verbs(at(30));
            if name != "promote --full" {
                assert_eq!(verbs.contains(&name), next.is_ok(), "{place}: {name}");
            }
            let leads_to = match next {
                Err(denied) => {
                    assert!(!denied.why.is_empty() && !denied.hint.is_empty());
                    "-".to_owned()
                }
                Ok(next) if next.rollout.paused.is_some() => "paused".to_owned(),
                Ok(next) => match next.rollout.stage {
                    Stage::Stepping { step, .. } => format!("batch {}", step + 1),
                    stage => stage.as_str().replace('-', " "),
                },
            };
            write!(table, " {leads_to} |").unwrap();
        }
    }
    let docs = include_str!("../../docs/rollouts.md");
    assert!(
        docs.contains(&table),
        "docs/rollouts.md should say:\n{table}"
    );
}

#[test]
fn nothing_it_does_moves_weights_and_it_resumes_without_any() {
    for (place, rollout) in places() {
        for how in [Resume::FromCurrent, Resume::RestoreStep] {
            let order = Input::Order(Order::Resume(Some(how)));
            assert!(
                step(&rollout, &plan(), &facts(30), order).is_err(),
                "{place}"
            );
        }
        for (name, order) in ORDERS {
            if let Ok(next) = step(
                &rollout,
                &plan(),
                &facts_of(&rollout, 30),
                Input::Order(order),
            ) {
                let weights = matches!(next.moves, Some(Move::To(_) | Move::Back { .. }));
                assert!(!weights, "{place}: {name}");
            }
        }
    }
}

#[test]
fn a_batch_is_emptied_replaced_proven_and_judged_before_the_next() {
    let plan = plan();
    let begun = rollout(Stage::Preparing {
        phase: Phase::Asking,
    });
    let passed = Input::Asked(HookPoint::BeforeStart, Answer::Passed);
    let next = after(&begun, &plan, 0, passed);
    assert_eq!(next.rollout.stage.step(), Some(0));
    let mut stands = next.rollout;
    for number in 0..3 {
        let empties = after(&stands, &plan, 1, Input::Tick);
        assert_eq!(empties.moves, Some(Move::Empty));
        assert_eq!(empties.tasks, [Task::Drain]);
        assert!(empties.rollout.batches.as_ref().unwrap().out);
        let empty = after(&empties.rollout, &plan, 2, Input::Drained { left: 0 });
        assert_eq!(phase(&empty), Some(Phase::Replacing));
        assert_eq!((empty.moves, until(&empty.rollout, &plan)), (None, None));
        let back = ordered(&empty.rollout, Order::Skip);
        assert_eq!(
            (back.moves, &*back.tasks),
            (Some(Move::PutBack), &[Task::Prove][..])
        );
        let proven = after(&back.rollout, &plan, 30, Input::Proven(Ok(())));
        assert_eq!(phase(&proven), Some(Phase::WarmingUp));
        let warm = after(&proven.rollout, &plan, 60, Input::Tick);
        assert_eq!(phase(&warm), Some(Phase::Waiting));
        let early = after(&warm.rollout, &plan, 119, Input::Look(Look::Good));
        assert_eq!(early.told, None);
        let good = after(&warm.rollout, &plan, 120, Input::Look(Look::Good));
        assert_eq!(
            good.moves, None,
            "the next is drained by a change of its own"
        );
        stands = good.rollout;
        stands.since = at(0);
        let step = (number < 2).then_some(number + 1);
        assert_eq!(stands.stage.step(), step);
    }
    assert_eq!(stands.stage, Stage::Succeeded);
    assert!(stands.ended.is_some() && stands.promoted.is_some());
    assert!((stands.share - 1.0).abs() < f64::EPSILON);
}

#[test]
fn a_bad_batch_is_drained_and_stays_so_wherever_it_serves() {
    for (place, before) in places() {
        let manual = before
            .paused
            .as_ref()
            .is_some_and(|paused| paused.reason == Pause::Manual);
        let next = after(&before, &plan(), 30, bad());
        let stops = before.stage.compares() && !manual;
        assert_eq!(next.told == Some(Kind::RolloutRollback), stops, "{place}");
        if !stops {
            continue;
        }
        let serves = matches!(
            before.stage.phase(),
            Some(Phase::Proving | Phase::WarmingUp | Phase::Waiting | Phase::Extending)
        );
        assert_eq!(next.moves, serves.then_some(Move::Out), "{place}");
        let was_out = before.batches.as_ref().unwrap().out;
        let is_out = next.rollout.batches.as_ref().unwrap().out;
        assert_eq!(is_out, serves || was_out, "{place}");
        let over = after(&next.rollout, &plan(), 31, Input::Drained { left: 0 });
        assert_eq!(over.rollout.stage, Stage::Failed, "{place}");
        assert_eq!(over.rollout.batches.unwrap().out, is_out, "{place}");
    }
}

#[test]
fn the_last_that_are_ready_are_not_drained_until_others_are() {
    let mut alone = facts(30);
    alone.stable_is_ready = false;
    let serves = batch(2, Phase::Waiting);
    let held = step(&serves, &plan(), &alone, bad()).unwrap();
    assert_eq!((held.moves, held.told), (None, Some(Kind::RolloutAlarm)));
    let still = step(&held.rollout, &plan(), &alone, Input::Tick).unwrap();
    assert_eq!(still.told, None);
    let later = after(&held.rollout, &plan(), 40, Input::Tick);
    assert_eq!(later.moves, Some(Move::Out));
    let aborted = step(&serves, &plan(), &alone, Input::Order(Order::Abort)).unwrap();
    assert_eq!(aborted.moves, None);
    assert!(!aborted.rollout.batches.unwrap().out);
}

#[test]
fn a_bad_batch_whose_drain_is_refused_is_told_and_drained_as_soon_as_it_can() {
    let why = Input::Stuck("there is no such endpoint".to_owned());
    let told = after(&stuck(), &plan(), 31, why);
    assert_eq!((told.told, told.moves), (Some(Kind::RolloutAlarm), None));
    let early = after(&told.rollout, &plan(), 32, Input::Drained { left: 0 });
    assert_eq!(early.told, None);
    let restarted = after(&told.rollout, &plan(), 33, Input::Restarted);
    assert!(restarted.tasks.is_empty());
    assert!(wants_time(&restarted.rollout, &plan(), at(34)));
    for insists in [Input::Tick, Input::Order(Order::Abort)] {
        let out = after(&restarted.rollout, &plan(), 34, insists);
        assert_eq!(out.moves, Some(Move::Out));
        assert!(!out.rollout.is_stuck() && out.rollout.batches.as_ref().unwrap().out);
        let over = after(&out.rollout, &plan(), 35, Input::Drained { left: 0 });
        assert_eq!(over.rollout.stage, Stage::Failed);
    }
}

#[test]
fn what_is_refused_is_tried_again_and_then_it_waits_for_somebody() {
    let refused = |rollout: &Rollout, to: Phase, now| {
        let to = Stage::Stepping { step: 1, phase: to };
        let why = "shop/blue would be left without a ready endpoint".to_owned();
        after(rollout, &plan(), now, Input::Refused(Attempt { to, why }))
    };
    let ways = [
        (
            Phase::Shifting,
            Phase::Shifting,
            Phase::Emptying,
            Move::Empty,
        ),
        (
            Phase::Replacing,
            Phase::Restoring,
            Phase::Proving,
            Move::PutBack,
        ),
    ];
    for (from, waits, to, moves) in ways {
        let first = refused(&batch(2, from), to, 0);
        assert_eq!(phase(&first), Some(waits));
        let again = after(&first.rollout, &plan(), 1, Input::Tick);
        assert_eq!(again.moves, Some(moves));
        let late = refused(&first.rollout, to, 300);
        assert_eq!(late.rollout.paused.unwrap().reason, Pause::Refused);
    }
}

#[test]
fn hooks_replace_a_batch_and_their_answer_is_kept_through_a_pause() {
    let emptied = after(
        &batch(2, Phase::Emptying),
        &asks(),
        1,
        Input::Drained { left: 0 },
    );
    assert_eq!(emptied.tasks, [Task::Ask(HookPoint::BeforeStep)]);
    let replacing = batch(2, Phase::Replacing);
    let said = |rollout: &Rollout, answer| {
        let input = Input::Asked(HookPoint::BeforeStep, answer);
        after(rollout, &asks(), 5, input)
    };
    assert_eq!(said(&replacing, Answer::Passed).moves, Some(Move::PutBack));
    let failed = said(&replacing, Answer::Failed("no".to_owned()));
    assert_eq!(failed.rollout.cause.unwrap().kind, "hook");
    assert!(failed.rollout.batches.unwrap().out);
    let late = said(
        &replacing,
        Answer::Late {
            who: "ci".to_owned(),
            then: Unsure::Pause,
        },
    );
    let resumed = after(&late.rollout, &asks(), 9, Input::Order(Order::Resume(None)));
    assert_eq!(resumed.tasks, [Task::Ask(HookPoint::BeforeStep)]);
    let held = said(&paused(replacing, Pause::Person), Answer::Passed);
    assert_eq!((held.moves, phase(&held)), (None, Some(Phase::Restoring)));
    let resumed = ordered(&held.rollout, Order::Resume(None));
    let back = after(&resumed.rollout, &asks(), 31, Input::Tick);
    assert_eq!(back.moves, Some(Move::PutBack));
}

#[test]
fn what_comes_during_a_pause_is_waited_for_again_after_it() {
    let ways = [
        (Phase::Emptying, Input::Drained { left: 0 }, Task::Drain),
        (Phase::Proving, Input::Proven(Ok(())), Task::Prove),
    ];
    for (phase, input, task) in ways {
        let held = paused(batch(2, phase), Pause::Person);
        assert_eq!(after(&held, &plan(), 20, input).told, None);
        let resumed = ordered(&held, Order::Resume(None));
        assert_eq!(resumed.tasks, [task]);
    }
}

#[test]
fn after_a_restart_no_other_batch_is_out_and_what_was_begun_is_begun_again() {
    for (place, before) in places() {
        let next = after(&before, &asks(), 60, Input::Restarted);
        assert_eq!(next.moves, None, "{place}");
        assert_eq!(next.rollout.batches, before.batches, "{place}");
        assert_eq!(next.rollout.stage.step(), before.stage.step(), "{place}");
        let tasks = match (before.stage, before.stage.phase()) {
            (Stage::Preparing { .. }, _) => vec![Task::Ask(HookPoint::BeforeStart)],
            (Stage::RollingBack, _) if before.is_stuck() => Vec::new(),
            (Stage::RollingBack, _) | (_, Some(Phase::Emptying)) => vec![Task::Drain],
            (_, Some(Phase::Replacing)) => vec![Task::Ask(HookPoint::BeforeStep)],
            (_, Some(Phase::Proving | Phase::WarmingUp | Phase::Waiting | Phase::Extending)) => {
                vec![Task::Prove]
            }
            _ => Vec::new(),
        };
        assert_eq!(next.tasks, tasks, "{place}");
    }
    let judged = after(&batch(2, Phase::Extending), &plan(), 60, Input::Restarted);
    assert_eq!(
        phase(&judged),
        Some(Phase::Proving),
        "nobody is ready when a process begins"
    );
}

#[test]
fn batches_that_have_left_the_pool_are_passed_over() {
    let mut facts = facts(60);
    facts.gone = [2, 3, 5].map(address).into();
    let look = Input::Look(Look::Good);
    let next = step(&batch(1, Phase::Waiting), &plan(), &facts, look).unwrap();
    assert_eq!(next.rollout.stage.step(), Some(2));
    facts.gone = (2..6).map(address).collect();
    let look = Input::Look(Look::Good);
    let next = step(&batch(1, Phase::Waiting), &plan(), &facts, look).unwrap();
    assert_eq!(next.rollout.stage, Stage::Succeeded);
}

#[test]
fn a_batch_that_has_fallen_over_is_bad_when_the_next_would_be_begun() {
    let mut facts = facts(60);
    facts.batch_is_ready = false;
    let look = Input::Look(Look::Good);
    let next = step(&batch(2, Phase::Waiting), &plan(), &facts, look).unwrap();
    assert_eq!(next.moves, Some(Move::Out));
    assert_eq!(next.rollout.cause.unwrap().kind, "not-ready");
    let unproven = Input::Proven(Err("not proven within 5m".to_owned()));
    let next = after(&batch(2, Phase::Proving), &plan(), 300, unproven);
    assert_eq!(next.moves, Some(Move::Out));
}

#[test]
fn whoever_moves_the_weights_or_begins_another_stops_it_where_it_is() {
    let moved = Moved {
        by: person(),
        share: 0.5,
        back: true,
        detail: "shop serves blue=50 green=50 by ada (socket)".to_owned(),
    };
    let held = after(&batch(2, Phase::Waiting), &plan(), 5, Input::Moved(moved));
    assert_eq!(held.rollout.paused.unwrap().reason, Pause::Manual);
    let ended = after(&batch(2, Phase::Replacing), &plan(), 5, Input::Superseded);
    assert_eq!(
        (ended.rollout.stage, ended.moves),
        (Stage::Superseded, None)
    );
    assert!(ended.rollout.batches.unwrap().out, "it stays drained");
}

fn addresses(of: &Next) -> &[Address] {
    of.rollout.batches.as_ref().unwrap().current()
}

#[test]
fn what_somebody_has_drained_before_its_batch_comes_is_passed_over() {
    let shifting = batch(2, Phase::Shifting);
    let mut facts = facts(1);
    facts.gone = [address(2)].into();
    let next = step(&shifting, &plan(), &facts, Input::Tick).unwrap();
    assert_eq!(next.moves, Some(Move::Empty));
    assert_eq!(addresses(&next), [address(3)]);
    facts.gone = [2, 3].map(address).into();
    let next = step(&shifting, &plan(), &facts, Input::Tick).unwrap();
    assert_eq!((next.moves, next.rollout.stage.step()), (None, Some(2)));
}

#[test]
fn whoever_resumes_after_somebody_has_put_endpoints_back_has_them_drained_again() {
    for place in [Phase::Emptying, Phase::Replacing, Phase::Restoring] {
        let held = paused(batch(2, place), Pause::Manual);
        let mut facts = facts(30);
        facts.drained = [address(2)].into();
        let order = Input::Order(Order::Resume(None));
        let resumed = step(&held, &plan(), &facts, order).unwrap();
        assert_eq!(phase(&resumed), Some(Phase::Shifting), "{place:?}");
        let again = step(&resumed.rollout, &plan(), &facts, Input::Tick).unwrap();
        assert_eq!(again.moves, Some(Move::Empty));
        assert_eq!(addresses(&again), [2, 3].map(address));
    }
}

#[test]
fn whoever_resumes_after_somebody_has_drained_endpoints_leaves_them_so() {
    let resumes = |place, drained: &[usize]| {
        let held = paused(batch(2, place), Pause::Manual);
        let mut facts = facts(30);
        facts.drained = drained.iter().map(|port| address(*port)).collect();
        let order = Input::Order(Order::Resume(None));
        step(&held, &plan(), &facts, order).unwrap()
    };
    for place in [Phase::Proving, Phase::WarmingUp, Phase::Waiting] {
        let one = resumes(place, &[2]);
        assert_eq!((phase(&one), one.moves), (Some(place), None));
        assert_eq!(addresses(&one), [address(3)]);
        let both = resumes(place, &[2, 3]);
        assert_eq!(both.rollout.stage.step(), Some(2), "{place:?}");
    }
}

#[test]
fn an_abort_leaves_in_service_what_somebody_has_put_back() {
    let held = paused(batch(2, Phase::Replacing), Pause::Manual);
    let aborts = |drained: &[usize]| {
        let mut facts = facts(30);
        facts.drained = drained.iter().map(|port| address(*port)).collect();
        step(&held, &plan(), &facts, Input::Order(Order::Abort)).unwrap()
    };
    let one = aborts(&[3]);
    assert_eq!((one.moves, addresses(&one)), (None, &[address(3)][..]));
    assert!(one.rollout.batches.unwrap().out);
    assert!(!aborts(&[]).rollout.batches.unwrap().out);
}
