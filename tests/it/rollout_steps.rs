//! How a rollout goes on: every stage with every order, and what happens by itself.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use cutover::{
    config::plan::{Hook, HookPoint, Rollout as Plan, Step, Strategy, Then},
    control::{
        Actor, ActorKind, Kind,
        rollout::{Cause, Counts, Member, Pause, Paused, Phase, Resume, Rollout, Stage},
    },
    rollout::steps::{
        Answer, Attempt, Denied, Facts, Input, Look, Move, Moved, Next, Order, Task, step, until,
        wants_time,
    },
    units::{Insufficient, Percent, Timestamp, Unsure},
};

const MINUTE: Duration = Duration::from_mins(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn percent(text: &str) -> Percent {
    text.parse().unwrap()
}

/// 1 % held, 5 % judged, somebody's word, then everything; baked for ten minutes.
fn plan() -> Plan {
    let share = |share, then| Step {
        share: Some(percent(share)),
        mirror: None,
        then,
    };
    Plan {
        steps: vec![
            share("1%", Then::Hold(2 * MINUTE)),
            share("5%", Then::Judge(5 * MINUTE)),
            Step {
                share: None,
                mirror: None,
                then: Then::Approval {
                    timeout: Some(60 * MINUTE),
                    on_timeout: Unsure::Rollback,
                },
            },
        ],
        ..Plan::default()
    }
}

fn asks(point: HookPoint) -> Plan {
    let hook = Hook {
        at: vec![point],
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

fn rollout(stage: Stage, share: f64) -> Rollout {
    Rollout {
        id: 7,
        members: vec![Member {
            service: "shop".parse().unwrap(),
            from: "blue".parse().unwrap(),
            to: "green".parse().unwrap(),
            version: None,
            version_before: None,
            revision: 1,
        }],
        plan: serde_json::Value::Null,
        steps: 3,
        stage,
        since: at(0),
        paused: None,
        share,
        copies: None,
        started: at(0),
        by: person(),
        reason: None,
        ended: None,
        cause: None,
        restored: None,
        rescue: None,
        counts: Counts::default(),
        promoted: (share >= 1.0).then(|| at(0)),
        retry_of: None,
        paused_ms: 0,
        keys: Vec::new(),
        batches: None,
        log: Vec::new(),
    }
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

/// What follows from an input at a second.
fn after(rollout: &Rollout, plan: &Plan, now: i64, input: Input) -> Next {
    step(rollout, plan, &facts(now), input).unwrap()
}

fn stepping(step: usize, phase: Phase) -> Stage {
    Stage::Stepping { step, phase }
}

fn waits_at(step: usize) -> Rollout {
    let share = if step == 0 { 0.01 } else { 0.05 };
    rollout(stepping(step, Phase::Waiting), share)
}

fn paused(mut rollout: Rollout, reason: Pause) -> Rollout {
    rollout.paused = Some(Paused {
        reason,
        since: at(30),
        detail: "a reason".to_owned(),
        alarmed: false,
    });
    rollout
}

fn bad() -> Cause {
    Cause {
        kind: "guard".to_owned(),
        detail: "5 of 5 requests failed".to_owned(),
        at: at(60),
        evidence: serde_json::Value::Null,
    }
}

/// Every place where a rollout can stand, by its name in the documentation.
fn places() -> Vec<(&'static str, Rollout)> {
    let mut places = going_on();
    places.extend(paused_ones());
    places
}

fn going_on() -> Vec<(&'static str, Rollout)> {
    use Phase::{Asking, Extending, Proving, Shifting, WarmingUp};
    let preparing = |phase| rollout(Stage::Preparing { phase }, 0.0);
    let promoting = |phase| rollout(Stage::Promoting { phase }, 0.05);
    vec![
        ("preparing: proving", preparing(Proving)),
        ("preparing: asking", preparing(Asking)),
        ("step: asking", rollout(stepping(1, Asking), 0.01)),
        ("step: shifting", rollout(stepping(1, Shifting), 0.01)),
        ("step: warming up", rollout(stepping(1, WarmingUp), 0.05)),
        ("step: waiting", waits_at(1)),
        ("step: extending", rollout(stepping(1, Extending), 0.05)),
        ("promoting: asking", promoting(Asking)),
        ("promoting: shifting", promoting(Shifting)),
        ("baking", rollout(Stage::Baking, 1.0)),
        ("draining", rollout(Stage::Draining, 1.0)),
        ("rolling back", rollout(Stage::RollingBack, 0.0)),
        ("rolling back: stuck", rollout(Stage::RollingBack, 1.0)),
        ("succeeded", rollout(Stage::Succeeded, 1.0)),
        ("failed", rollout(Stage::Failed, 0.0)),
        ("superseded", rollout(Stage::Superseded, 0.0)),
    ]
}

fn paused_ones() -> Vec<(&'static str, Rollout)> {
    let at = |phase, share| rollout(stepping(1, phase), share);
    let names = [
        ("paused by a person", waits_at(1), Pause::Person),
        ("paused: manual", waits_at(1), Pause::Manual),
        ("paused: approval", waits_at(2), Pause::Approval),
        (
            "paused: insufficient data",
            at(Phase::Extending, 0.05),
            Pause::InsufficientData,
        ),
        ("paused: hook", at(Phase::Asking, 0.01), Pause::Hook),
        ("paused: refused", at(Phase::Shifting, 0.01), Pause::Refused),
        (
            "paused: stable not ready",
            waits_at(1),
            Pause::StableNotReady,
        ),
    ];
    let all = names.into_iter();
    all.map(|(name, rollout, reason)| (name, paused(rollout, reason)))
        .collect()
}

const ORDERS: [(&str, Order); 9] = [
    ("promote", Order::Promote { full: false }),
    ("promote --full", Order::Promote { full: true }),
    ("pause", Order::Pause),
    ("resume", Order::Resume(None)),
    (
        "resume --from-current",
        Order::Resume(Some(Resume::FromCurrent)),
    ),
    (
        "resume --restore-step",
        Order::Resume(Some(Resume::RestoreStep)),
    ),
    ("skip", Order::Skip),
    ("abort", Order::Abort),
    ("undo", Order::Undo),
];

/// Where an order leads, in the words of the documentation.
fn leads_to(next: &Result<Next, Denied>) -> String {
    let Ok(next) = next else {
        return "-".to_owned();
    };
    let rollout = &next.rollout;
    if rollout.paused.is_some() {
        return "paused".to_owned();
    }
    match (rollout.stage, rollout.stage.phase()) {
        (Stage::Stepping { step, .. }, _) => format!("step {}", step + 1),
        (stage, _) => stage.as_str().replace('-', " "),
    }
}

#[test]
fn the_documented_table_of_stages_and_orders_is_what_happens() {
    let mut table = String::from("| where it stands |");
    for (name, _) in ORDERS {
        write!(table, " `{name}` |").unwrap();
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(ORDERS.len()));
    for (place, rollout) in places() {
        write!(table, "\n| {place} |").unwrap();
        for (_, order) in ORDERS {
            let next = step(&rollout, &plan(), &facts(60), Input::Order(order));
            write!(table, " {} |", leads_to(&next)).unwrap();
        }
    }
    let docs = include_str!("../../docs/rollouts.md");
    assert!(
        docs.contains(&table),
        "docs/rollouts.md should say:\n{table}"
    );
}

#[test]
fn what_is_told_to_be_possible_is_what_is_followed() {
    for (place, rollout) in places() {
        let is_followed = |order| step(&rollout, &plan(), &facts(60), Input::Order(order)).is_ok();
        let orders = ORDERS.iter().filter(|(_, order)| is_followed(*order));
        let mut followed: Vec<_> = orders
            .map(|(name, _)| name.split(' ').next().unwrap())
            .collect();
        if place == "failed" {
            followed.push("retry");
        }
        followed.sort_unstable();
        followed.dedup();
        let mut told = rollout.verbs(at(60));
        told.sort_unstable();
        assert_eq!(told, followed, "{place}");
    }
}

#[test]
fn what_is_refused_changes_nothing_and_says_what_to_do() {
    for (place, rollout) in places() {
        for (name, order) in ORDERS {
            if let Err(denied) = step(&rollout, &plan(), &facts(60), Input::Order(order)) {
                assert!(
                    !denied.why.is_empty() && !denied.hint.is_empty(),
                    "{place}, {name}"
                );
            }
        }
    }
}

#[test]
fn a_good_version_goes_from_step_to_step_until_it_has_everything() {
    let plan = plan();
    let begun = rollout(
        Stage::Preparing {
            phase: Phase::Proving,
        },
        0.0,
    );
    let first = after(&begun, &plan, 5, Input::Proven(Ok(())));
    assert_eq!(first.rollout.stage, stepping(0, Phase::WarmingUp));
    assert_eq!(first.moves, Some(Move::To(percent("1%"))));

    let warm = after(&first.rollout, &plan, 35, Input::Tick);
    assert_eq!(warm.rollout.stage, stepping(0, Phase::Waiting));
    assert_eq!(until(&warm.rollout, &plan), Some(at(35 + 120)));
    assert!(after(&warm.rollout, &plan, 154, Input::Tick).told.is_none());

    let second = after(&warm.rollout, &plan, 155, Input::Tick);
    assert_eq!(second.moves, Some(Move::To(percent("5%"))));
    let judged = after(&second.rollout, &plan, 185, Input::Tick).rollout;
    // Good before its time is over is not good yet.
    assert!(
        after(&judged, &plan, 300, Input::Look(Look::Good))
            .told
            .is_none()
    );
    let third = after(&judged, &plan, 485, Input::Look(Look::Good));
    assert_eq!(
        (third.rollout.stage, third.moves),
        (stepping(2, Phase::Waiting), None)
    );

    let order = Input::Order(Order::Promote { full: false });
    let promoted = after(&third.rollout, &plan, 500, order);
    assert_eq!(promoted.rollout.stage, Stage::Baking);
    assert_eq!(promoted.moves, Some(Move::To(Percent::WHOLE)));
    assert_eq!(promoted.told, Some(Kind::RolloutPromoted));

    let baked = after(&promoted.rollout, &plan, 1100, Input::Tick);
    assert_eq!(
        (baked.rollout.stage, &*baked.tasks),
        (Stage::Draining, &[Task::Drain][..])
    );
    let ended = after(&baked.rollout, &plan, 1101, Input::Drained { left: 0 });
    assert_eq!(ended.rollout.stage, Stage::Succeeded);
    assert_eq!(ended.rollout.ended, Some(at(1101)));
    assert!(ended.rollout.log.len() >= 7);
}

#[test]
fn bad_news_takes_it_back_wherever_it_is_compared() {
    for (place, rollout) in places() {
        let manual = rollout
            .paused
            .as_ref()
            .is_some_and(|p| p.reason == Pause::Manual);
        let compared = rollout.stage.compares() && !manual;
        let next = after(&rollout, &plan(), 60, Input::Bad(bad()));
        let back = next.told == Some(Kind::RolloutRollback);
        assert_eq!(back, compared, "{place}");
        if compared {
            assert_eq!(next.rollout.stage, Stage::RollingBack, "{place}");
            assert!(next.rollout.share.abs() < f64::EPSILON && next.rollout.paused.is_none());
            let moves = (rollout.share > 0.0).then_some(Move::Back { force: false });
            assert_eq!(next.moves, moves, "{place}");
            assert!(next.tasks.contains(&Task::Drain));
        }
    }
}

/// Whoever names no events is told of those whose names begin so.
fn alerts(next: &Next) -> bool {
    let kind = next.told.map_or("", Kind::as_str);
    kind.starts_with("rollout-") && kind != "rollout-step"
}

#[test]
fn every_failure_path_alerts() {
    let late = |then| Answer::Late {
        who: "ci".to_owned(),
        then,
    };
    let failures = [
        ("bad", Input::Bad(bad())),
        ("not proven", Input::Proven(Err("nobody".to_owned()))),
        ("stuck", Input::Stuck("gone".to_owned())),
        ("superseded", Input::Superseded),
        ("aborted", Input::Order(Order::Abort)),
    ];
    for (place, rollout) in places() {
        for (what, input) in &failures {
            let stable_gone = Facts {
                stable_is_ready: false,
                ..facts(60)
            };
            for facts in [facts(60), stable_gone] {
                let Ok(next) = step(&rollout, &plan(), &facts, input.clone()) else {
                    continue;
                };
                let goes = next.rollout.stage != rollout.stage
                    || next.rollout.paused.is_some() && rollout.paused.is_none();
                assert!(!goes || alerts(&next), "{place}: {what}: {:?}", next.told);
            }
        }
    }
    let asking = rollout(stepping(1, Phase::Asking), 0.01);
    let point = HookPoint::BeforeStep;
    for answer in [
        Answer::Failed("no".to_owned()),
        late(Unsure::Pause),
        late(Unsure::Rollback),
    ] {
        let next = after(&asking, &asks(point), 60, Input::Asked(point, answer));
        assert!(alerts(&next), "{:?}", next.told);
    }
    // Nobody approves, too little is known, and it can't be put in force: in time.
    let next = after(&waits_at(2), &plan(), 3600, Input::Tick);
    assert!(alerts(&next), "{:?}", next.told);
    let extending = rollout(stepping(1, Phase::Extending), 0.05);
    let next = after(&extending, &plan(), 7200, Input::Look(Look::NotEnough));
    assert!(alerts(&next), "{:?}", next.told);
    let shifting = rollout(stepping(1, Phase::Shifting), 0.01);
    let attempt = Attempt {
        to: stepping(1, Phase::WarmingUp),
        why: "the disk is full".to_owned(),
    };
    let next = after(&shifting, &plan(), 3600, Input::Refused(attempt));
    assert!(alerts(&next), "{:?}", next.told);
}

#[test]
fn it_is_judged_while_it_waits_for_somebody_to_approve() {
    let next = after(&waits_at(2), &plan(), 60, Input::Bad(bad()));
    assert_eq!(next.rollout.stage, Stage::RollingBack);
}

#[test]
fn a_person_s_word_is_not_overruled_but_an_alarm_is_raised_once() {
    let held = paused(waits_at(1), Pause::Manual);
    let first = after(&held, &plan(), 60, Input::Bad(bad()));
    assert_eq!(first.told, Some(Kind::RolloutAlarm));
    assert_eq!((first.moves, first.rollout.stage), (None, held.stage));
    let again = after(&first.rollout, &plan(), 61, Input::Bad(bad()));
    assert_eq!(again.told, None);
}

#[test]
fn nothing_is_taken_back_to_a_version_that_is_not_ready_until_it_is() {
    let mut facts = facts(60);
    facts.stable_is_ready = false;
    let waits = step(&waits_at(1), &plan(), &facts, Input::Bad(bad())).unwrap();
    assert_eq!((waits.moves, waits.told), (None, Some(Kind::RolloutAlarm)));
    assert_eq!(
        waits.rollout.paused.as_ref().unwrap().reason,
        Pause::StableNotReady
    );
    let still = step(&waits.rollout, &plan(), &facts, Input::Tick).unwrap();
    assert_eq!(still.told, None);
    facts.stable_is_ready = true;
    let back = step(&waits.rollout, &plan(), &facts, Input::Tick).unwrap();
    assert_eq!(back.moves, Some(Move::Back { force: false }));
    assert_eq!(back.rollout.cause.unwrap().kind, "guard");
}

#[test]
fn an_abort_goes_back_whether_the_stable_version_is_ready_or_not() {
    let mut facts = facts(60);
    facts.stable_is_ready = false;
    let back = step(&waits_at(1), &plan(), &facts, Input::Order(Order::Abort)).unwrap();
    assert_eq!(back.moves, Some(Move::Back { force: true }));
}

#[test]
fn too_little_data_at_the_end_of_a_step_is_waited_for_and_then_as_it_is_set() {
    let mut plan = plan();
    let short = after(&waits_at(1), &plan, 299, Input::Look(Look::NotEnough));
    assert_eq!(short.told, None);
    let extended = after(&waits_at(1), &plan, 300, Input::Look(Look::NotEnough));
    assert_eq!(extended.rollout.stage, stepping(1, Phase::Extending));
    let enough = after(&extended.rollout, &plan, 400, Input::Look(Look::Good));
    assert_eq!(enough.rollout.stage, stepping(2, Phase::Waiting));
    let late = 300 + 30 * 60;
    for (then, stage) in [
        (Unsure::Pause, stepping(1, Phase::Extending)),
        (Unsure::Promote, stepping(2, Phase::Waiting)),
        (Unsure::Rollback, Stage::RollingBack),
    ] {
        plan.judge.on_max_hold = then;
        let next = after(&extended.rollout, &plan, late, Input::Look(Look::NotEnough));
        assert_eq!(next.rollout.stage, stage);
        assert_eq!(next.rollout.paused.is_some(), then == Unsure::Pause);
    }
    plan.judge.on_insufficient_data = Insufficient::Rollback;
    let back = after(&waits_at(1), &plan, 300, Input::Look(Look::NotEnough));
    assert_eq!(back.rollout.cause.unwrap().kind, "insufficient-data");
}

#[test]
fn inconclusive_and_promoted_by_hand_moves_on() {
    let stuck = paused(
        rollout(stepping(1, Phase::Extending), 0.05),
        Pause::InsufficientData,
    );
    let order = Input::Order(Order::Promote { full: false });
    let next = after(&stuck, &plan(), 60, order);
    assert_eq!(next.rollout.stage, stepping(2, Phase::Waiting));
    assert_eq!(next.rollout.paused, None);
}

#[test]
fn nobody_who_approves_in_time_is_as_it_is_set() {
    let next = after(&waits_at(2), &plan(), 3600, Input::Tick);
    assert_eq!(next.rollout.stage, Stage::RollingBack);
    assert_eq!(next.rollout.cause.unwrap().kind, "approval");
}

#[test]
fn a_pause_takes_nothing_from_the_time_of_its_step() {
    let held = after(&waits_at(0), &plan(), 30, Input::Order(Order::Pause)).rollout;
    assert_eq!(until(&held, &plan()), None);
    let resumed = after(&held, &plan(), 1030, Input::Order(Order::Resume(None))).rollout;
    assert_eq!(until(&resumed, &plan()), Some(at(1000 + 120)));
}

#[test]
fn a_hook_that_fails_takes_it_back_and_a_late_one_is_as_it_is_set() {
    let plan = asks(HookPoint::BeforeStep);
    let first = rollout(
        Stage::Preparing {
            phase: Phase::Proving,
        },
        0.0,
    );
    let asked = after(&first, &plan, 5, Input::Proven(Ok(())));
    assert_eq!(asked.tasks, [Task::Ask(HookPoint::BeforeStep)]);
    assert_eq!(
        (asked.rollout.stage, asked.moves),
        (stepping(0, Phase::Asking), None)
    );

    let said = |answer| {
        after(
            &asked.rollout,
            &plan,
            6,
            Input::Asked(HookPoint::BeforeStep, answer),
        )
    };
    let passed = said(Answer::Passed);
    assert_eq!(passed.moves, Some(Move::To(percent("1%"))));
    let failed = said(Answer::Failed("smoke".to_owned()));
    assert_eq!(failed.rollout.stage, Stage::RollingBack);
    assert_eq!(failed.moves, None);
    let late = |then| {
        let who = "ci.example.com".to_owned();
        said(Answer::Late { who, then })
    };
    assert_eq!(
        late(Unsure::Pause).rollout.paused.unwrap().reason,
        Pause::Hook
    );
    assert_eq!(late(Unsure::Promote).moves, passed.moves);
    assert_eq!(late(Unsure::Rollback).rollout.stage, Stage::RollingBack);
}

#[test]
fn a_hook_can_not_hold_up_an_abort_and_answers_that_come_too_late_mean_nothing() {
    let plan = asks(HookPoint::BeforeStep);
    let asked = rollout(stepping(1, Phase::Asking), 0.01);
    let back = after(&asked, &plan, 6, Input::Order(Order::Abort));
    assert_eq!(back.rollout.stage, Stage::RollingBack);
    let answer = Input::Asked(HookPoint::BeforeStep, Answer::Passed);
    let after_all = after(&back.rollout, &plan, 7, answer);
    assert_eq!((after_all.told, after_all.moves), (None, None));
}

#[test]
fn whoever_moves_the_weights_has_them_until_he_gives_them_back() {
    let moved = Moved {
        by: person(),
        share: 0.5,
        back: false,
        detail: "shop serves blue=50 green=50 by ada (socket)".to_owned(),
    };
    let held = after(&waits_at(1), &plan(), 60, Input::Moved(moved));
    assert_eq!((held.moves, held.told), (None, Some(Kind::RolloutPaused)));
    assert_eq!(held.rollout.paused.as_ref().unwrap().reason, Pause::Manual);
    let order = |how| {
        after(
            &held.rollout,
            &plan(),
            90,
            Input::Order(Order::Resume(Some(how))),
        )
    };
    let current = order(Resume::FromCurrent);
    assert_eq!(current.moves, None);
    assert_eq!(current.rollout.stage, stepping(1, Phase::WarmingUp));
    assert!((current.rollout.share - 0.5).abs() < f64::EPSILON);
    let restored = order(Resume::RestoreStep);
    assert_eq!(restored.moves, Some(Move::To(percent("5%"))));
}

#[test]
fn a_rollback_of_the_service_ends_the_rollout() {
    let moved = Moved {
        by: person(),
        share: 0.0,
        back: true,
        detail: String::new(),
    };
    let next = after(&waits_at(1), &plan(), 60, Input::Moved(moved));
    assert_eq!((next.rollout.stage, next.moves), (Stage::RollingBack, None));
    assert_eq!(next.rollout.cause.unwrap().kind, "rollback");
}

#[test]
fn what_could_not_be_put_in_force_is_tried_again_and_then_it_waits_for_somebody() {
    let refused = |to, now, rollout: &Rollout| {
        let why = "shop/green has 0 of 2 endpoints ready".to_owned();
        after(rollout, &plan(), now, Input::Refused(Attempt { to, why }))
    };
    let to = stepping(1, Phase::WarmingUp);
    let waits = refused(to, 120, &waits_at(0));
    assert_eq!(waits.rollout.stage, stepping(1, Phase::Shifting));
    assert!((waits.rollout.share - 0.01).abs() < f64::EPSILON);
    let again = after(&waits.rollout, &plan(), 121, Input::Tick);
    assert_eq!(again.moves, Some(Move::To(percent("5%"))));
    let still = refused(to, 121, &waits.rollout);
    assert_eq!(still.told, None);
    let given_up = refused(to, 120 + 300, &waits.rollout);
    assert_eq!(given_up.rollout.paused.unwrap().reason, Pause::Refused);
    let full = refused(Stage::Baking, 60, &waits_at(2));
    assert_eq!(
        full.rollout.stage,
        Stage::Promoting {
            phase: Phase::Shifting
        }
    );
}

#[test]
fn after_a_restart_it_goes_on_where_it_was_and_never_higher() {
    for (place, rollout) in places() {
        let next = after(&rollout, &plan(), 60, Input::Restarted);
        assert_eq!(next.moves, None, "{place}");
        assert!(
            (next.rollout.share - rollout.share).abs() < f64::EPSILON,
            "{place}"
        );
        assert_eq!(
            next.rollout.stage.as_str(),
            rollout.stage.as_str(),
            "{place}"
        );
        assert_eq!(next.rollout.stage.step(), rollout.stage.step(), "{place}");
        if let Stage::Stepping {
            phase: Phase::Waiting | Phase::Extending,
            step,
        } = rollout.stage
        {
            let anew = if step == 2 {
                Phase::Waiting
            } else {
                Phase::WarmingUp
            };
            assert_eq!(next.rollout.stage.phase(), Some(anew), "{place}");
            assert_eq!(next.rollout.since, at(60));
        }
    }
}

#[test]
fn what_is_undone_goes_back_in_one_step_while_its_time_lasts() {
    let ended = rollout(Stage::Succeeded, 1.0);
    let window = 3600 + 600;
    let undone = after(&ended, &plan(), window, Input::Order(Order::Undo));
    assert_eq!(undone.moves, Some(Move::Back { force: true }));
    assert_eq!(undone.rollout.cause.as_ref().unwrap().kind, "undo");
    let too_late = step(
        &ended,
        &plan(),
        &facts(window + 1),
        Input::Order(Order::Undo),
    );
    assert!(too_late.unwrap_err().hint.contains("rollback"));
}

#[test]
fn another_rollout_in_its_place_takes_its_traffic_back_first() {
    let next = after(&waits_at(1), &plan(), 60, Input::Superseded);
    assert_eq!(next.rollout.stage, Stage::Superseded);
    assert_eq!(next.moves, Some(Move::Back { force: false }));
}

#[test]
fn blue_and_green_without_steps_switch_once_the_new_one_is_proven() {
    let plan = Plan {
        steps: Vec::new(),
        ..plan()
    };
    let begun = rollout(
        Stage::Preparing {
            phase: Phase::Proving,
        },
        0.0,
    );
    let next = after(&begun, &plan, 5, Input::Proven(Ok(())));
    assert_eq!(next.rollout.stage, Stage::Baking);
    assert_eq!(next.moves, Some(Move::To(Percent::WHOLE)));
    let unproven = after(
        &begun,
        &plan,
        5,
        Input::Proven(Err("not proven".to_owned())),
    );
    assert_eq!(unproven.rollout.cause.unwrap().kind, "not-ready");
}

#[test]
fn a_version_without_users_gets_copies_for_as_long_as_a_step_says_so() {
    let step = |mirror: Option<&str>, then| Step {
        share: None,
        mirror: mirror.map(percent),
        then,
    };
    let plan = Plan {
        strategy: Strategy::BlueGreen,
        steps: vec![
            step(Some("10%"), Then::Judge(5 * MINUTE)),
            step(None, Then::Hold(MINUTE)),
        ],
        ..plan()
    };
    let shifting = rollout(stepping(0, Phase::Shifting), 0.0);
    let cold = after(&shifting, &plan, 1, Input::Tick);
    assert_eq!(cold.rollout.stage, stepping(0, Phase::WarmingUp));
    assert_eq!(cold.rollout.copies, Some(percent("10%")));
    assert!(cold.moves.is_none(), "nobody's request is moved");
    let waits = after(&cold.rollout, &plan, 60, Input::Tick);
    assert_eq!(waits.rollout.stage, stepping(0, Phase::Waiting));
    assert_eq!(waits.rollout.copies, Some(percent("10%")));
    let on = after(&waits.rollout, &plan, 400, Input::Look(Look::Good));
    assert_eq!(on.rollout.stage, stepping(1, Phase::Waiting));
    assert_eq!(on.rollout.copies, None);
    let back = after(&waits.rollout, &plan, 100, Input::Bad(bad()));
    assert_eq!(back.rollout.stage, Stage::RollingBack);
    assert_eq!(back.rollout.copies, None);
    assert!(back.moves.is_none() && !back.rollout.has_met_users());
    let restarted = after(&waits.rollout, &plan, 100, Input::Restarted);
    assert_eq!(restarted.rollout.stage, stepping(0, Phase::WarmingUp));
    assert_eq!(restarted.rollout.copies, Some(percent("10%")));
}

#[test]
fn whoever_gives_a_copied_version_users_by_hand_ends_the_copies() {
    let plan = Plan {
        steps: vec![Step {
            share: None,
            mirror: Some(percent("10%")),
            then: Then::Judge(5 * MINUTE),
        }],
        ..plan()
    };
    let mut copied = rollout(stepping(0, Phase::Waiting), 0.0);
    copied.copies = Some(percent("10%"));
    let moved = Input::Moved(Moved {
        by: person(),
        share: 0.3,
        back: false,
        detail: String::new(),
    });
    assert_eq!(after(&copied, &plan, 1, moved).rollout.copies, None);
}

#[test]
fn a_way_back_that_cannot_be_taken_is_told_and_taken_as_soon_as_it_can() {
    let mut stuck = rollout(Stage::RollingBack, 1.0);
    stuck.cause = Some(bad());
    let told = after(
        &stuck,
        &plan(),
        60,
        Input::Stuck("no pool `blue`".to_owned()),
    );
    assert_eq!(told.told, Some(Kind::RolloutAlarm));
    assert!(told.moves.is_none() && told.rollout.restored.is_none());
    let early = after(&told.rollout, &plan(), 61, Input::Drained { left: 0 });
    assert_eq!(
        (early.rollout.stage, early.told),
        (Stage::RollingBack, None)
    );
    let restarted = after(&told.rollout, &plan(), 62, Input::Restarted);
    assert!(restarted.tasks.is_empty());
    assert!(wants_time(&restarted.rollout, &plan(), at(63)));
    let taken = after(&restarted.rollout, &plan(), 63, Input::Tick);
    assert_eq!(taken.moves, Some(Move::Back { force: false }));
    assert_eq!(taken.told, Some(Kind::RolloutRollback));
    assert_eq!(taken.rollout.restored, Some(at(63)));
    assert!(taken.tasks.contains(&Task::Drain));
    let over = after(&taken.rollout, &plan(), 64, Input::Drained { left: 0 });
    assert_eq!(over.rollout.stage, Stage::Failed);
}

#[test]
fn whoever_moves_the_weights_while_the_way_back_is_stuck_has_the_last_word() {
    let stuck = rollout(Stage::RollingBack, 1.0);
    let moved = |share| {
        Input::Moved(Moved {
            by: person(),
            share,
            back: false,
            detail: "app serves next by anna".to_owned(),
        })
    };
    let theirs = after(&stuck, &plan(), 60, moved(0.5));
    assert_eq!((theirs.rollout.stage, theirs.moves), (Stage::Failed, None));
    assert!((theirs.rollout.share - 0.5).abs() < 1e-9);
    let gone = after(&stuck, &plan(), 60, moved(0.0));
    assert_eq!((gone.rollout.stage, gone.moves), (Stage::RollingBack, None));
    assert!(gone.tasks.contains(&Task::Drain));
}
