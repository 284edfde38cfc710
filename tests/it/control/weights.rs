use cutover::control::{Change, Code, Kind, Order};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_shift_serves_is_remembered_and_is_told_of_once() {
    let world = World::ready(SHOP).await;
    let (revision, generation) = (world.revision().await, world.generation());
    let applied = world.change(weights("blue=90 green=10")).await.unwrap();
    assert_eq!(world.serving(), "blue=90 green=10");
    assert!(applied.durable && !applied.dry_run);
    assert_eq!(applied.generation, generation + 1);
    let shop = &applied.services[0];
    assert_eq!(shop.revision, revision + 1);
    assert_eq!(
        (shop.share[&name("blue")], shop.share[&name("green")]),
        (0.9, 0.1)
    );
    let told = world.events(Kind::Weights);
    let [event] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(event.actor, ann());
    assert_eq!(event.reason.as_deref(), Some("because"));
    assert_eq!(event.before["weights"]["blue"], 100);
    assert_eq!(event.after["weights"]["green"], 10);
    assert_eq!(event.generation, applied.generation);
    let last = world.history().await.pop().unwrap();
    assert_eq!(
        (last.revision, last.what.as_str(), last.by),
        (revision + 1, "weights", ann())
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_weights_again_change_nothing() {
    let world = World::ready(SHOP).await;
    let (revision, generation) = (world.revision().await, world.generation());
    let applied = world.change(weights("blue=100 green=0")).await.unwrap();
    assert_eq!(
        (applied.services[0].revision, applied.generation),
        (revision, generation)
    );
    assert_eq!(
        (world.revision().await, world.generation()),
        (revision, generation)
    );
    assert_eq!(applied.notes, ["shop serves blue=100 already"]);
}

#[tokio::test(start_paused = true)]
async fn weights_that_make_no_sense_are_refused_and_change_nothing() {
    let world = World::ready(SHOP).await;
    assert_eq!(
        world.code(weights("green=100")).await,
        Code::IncompleteWeights
    );
    assert_eq!(
        world.code(weights("blue=0 green=0")).await,
        Code::InvalidWeights
    );
    assert_eq!(world.code(weights("blue=1 red=1")).await, Code::UnknownPool);
    let elsewhere = Change::Switch {
        service: name("shoe"),
        to: name("blue"),
        version: None,
        force: true,
    };
    assert_eq!(world.code(elsewhere).await, Code::UnknownService);
    assert_eq!(world.code(switch("red")).await, Code::UnknownPool);
    let refusal = world.refused(weights("green=100")).await;
    assert!(refusal.detail.contains("blue=100"), "{}", refusal.detail);
    let nothing = world.control.change(Vec::new(), order()).await;
    assert_eq!(nothing.unwrap_err().code, Code::InvalidRequest);
    let counts = world.view().await.counts;
    assert_eq!(counts.refusals["unknown-pool"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_for_another_revision_is_a_conflict() {
    let world = World::ready(SHOP).await;
    let revision = world.revision().await;
    let conditional = |revision| Order {
        if_match: Some(revision),
        ..order()
    };
    let shift = vec![weights("blue=90 green=10")];
    let stale = world
        .control
        .change(shift.clone(), conditional(revision + 1))
        .await;
    assert_eq!(stale.unwrap_err().code, Code::RevisionMismatch);
    assert_eq!(world.serving(), "blue=100");
    world
        .control
        .change(shift.clone(), conditional(revision))
        .await
        .unwrap();
    let late = world.control.change(shift, conditional(revision)).await;
    assert_eq!(late.unwrap_err().code, Code::RevisionMismatch);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let world = World::ready(SHOP).await;
    let dry = Order {
        dry_run: true,
        idempotency_key: Some("k".to_owned()),
        ..order()
    };
    let (revision, generation) = (world.revision().await, world.generation());
    let (events, drift) = (world.control.events().last_id(), world.drift().await);
    let shift = vec![weights("blue=90 green=10")];
    let applied = world.control.change(shift.clone(), dry).await.unwrap();
    assert!(applied.dry_run);
    assert_eq!(applied.services[0].weights.to_string(), "blue=90 green=10");
    let diff = &applied.diff[0];
    assert_eq!(
        (
            diff.field.as_str(),
            &diff.before["blue"],
            &diff.after["green"]
        ),
        ("weights", &100.into(), &10.into())
    );
    assert_eq!(world.serving(), "blue=100");
    assert_eq!(
        (world.revision().await, world.generation()),
        (revision, generation)
    );
    assert_eq!(
        (world.control.events().last_id(), world.drift().await),
        (events, drift)
    );
    let keyed = Order {
        idempotency_key: Some("k".to_owned()),
        ..order()
    };
    let applied = world.control.change(shift, keyed).await.unwrap();
    assert!(!applied.dry_run, "the key of a dry run is not used up");
}

#[tokio::test(start_paused = true)]
async fn a_key_used_again_gets_the_first_answer_and_nothing_is_done_twice() {
    let world = World::ready(SHOP).await;
    let keyed = || Order {
        idempotency_key: Some("deploy-7".to_owned()),
        ..order()
    };
    let shift = vec![weights("blue=90 green=10")];
    let first = world.control.change(shift.clone(), keyed()).await.unwrap();
    world.change(weights("blue=50 green=50")).await.unwrap();
    let again = world.control.change(shift.clone(), keyed()).await.unwrap();
    assert_eq!(again.services, first.services);
    assert_eq!(world.serving(), "blue=50 green=50");
    let other = world
        .control
        .change(vec![weights("blue=1 green=1")], keyed())
        .await;
    assert_eq!(other.unwrap_err().code, Code::IdempotencyMismatch);
    let world = world.restart(SHOP).await;
    let again = world.control.change(shift, keyed()).await.unwrap();
    assert_eq!(again.services, first.services, "over a restart too");
    assert_eq!(world.serving(), "blue=50 green=50");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_returns_to_the_last_settled_version_and_stays_there() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    world.change(weights("blue=0 green=100")).await.unwrap();
    world.change(rollback()).await.unwrap();
    assert_eq!(world.serving(), "blue=100");
    let again = world.change(rollback()).await.unwrap();
    assert_eq!(world.serving(), "blue=100");
    assert!(
        again.notes[0].contains("already there"),
        "{:?}",
        again.notes
    );
    let insisted = Change::Rollback {
        service: name("shop"),
        to_revision: None,
        again: true,
        force: false,
    };
    world.change(insisted).await.unwrap();
    assert_eq!(world.serving(), "green=100");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_may_name_a_revision() {
    let world = World::ready(SHOP).await;
    let canary = world.change(weights("blue=90 green=10")).await.unwrap();
    world.change(weights("blue=0 green=100")).await.unwrap();
    let to = |revision| Change::Rollback {
        service: name("shop"),
        to_revision: Some(revision),
        again: false,
        force: false,
    };
    world.change(to(canary.services[0].revision)).await.unwrap();
    assert_eq!(world.serving(), "blue=90 green=10");
    assert_eq!(world.code(to(99)).await, Code::UnknownRevision);
}

#[tokio::test(start_paused = true)]
async fn without_another_version_there_is_nothing_to_roll_back_to() {
    let world = World::ready(SHOP).await;
    assert_eq!(world.code(rollback()).await, Code::NothingSettled);
}

#[tokio::test(start_paused = true)]
async fn changes_of_several_services_are_one_change_or_none() {
    let two = format!(
        "{}\n[services.api]\nhosts = [\"api.example.com\"]\nweights = {{ blue = 1 }}\nprobe = false\npools.blue.endpoints = [\"10.1.0.1:80\"]\npools.green.endpoints = [\"10.1.1.1:80\"]\n",
        SHOP.replace(
            "[services.shop]",
            "[services.shop]\nhosts = [\"shop.example.com\"]"
        )
    );
    let world = World::ready(&two).await;
    let api = |to: &str| Change::Switch {
        service: name("api"),
        to: name(to),
        version: None,
        force: false,
    };
    let generation = world.generation();
    let refused = vec![api("green"), switch("red")];
    let refusal = world.control.change(refused, order()).await.unwrap_err();
    assert_eq!(refusal.code, Code::UnknownPool);
    assert_eq!(world.generation(), generation);
    let both = vec![api("green"), switch("green")];
    let applied = world.control.change(both, order()).await.unwrap();
    assert_eq!(
        (applied.services.len(), applied.generation),
        (2, generation + 1)
    );
    let snapshot = world.control.readers().current();
    assert_eq!(
        snapshot.service("api").unwrap().weights.to_string(),
        "green=100"
    );
    assert_eq!(world.serving(), "green=100");
}
