use std::io::Write;

use cutover::control::{Kind, Phase};

use super::*;

#[tokio::test(start_paused = true)]
async fn ids_grow_by_one_and_go_on_after_a_restart() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    let all = |world: &World| {
        let filter = Filter {
            after: Some(0),
            limit: Some(10_000),
            ..Filter::default()
        };
        let events = world.control.events().list(&filter);
        events.iter().map(|event| event.id).collect::<Vec<_>>()
    };
    let before = all(&world);
    assert!(before.iter().copied().eq(1..=before.len() as u64));
    let world = world.restart(SHOP).await;
    let after = all(&world);
    assert!(
        after.starts_with(&before),
        "what happened before is listed still"
    );
    assert!(after.iter().copied().eq(1..=after.len() as u64));
    assert!(after.len() > before.len());
    let state = world.state();
    let folder = world.stop().await;
    fs::remove_file(state.join("events.jsonl")).unwrap();
    let world = World::start_in(folder, SHOP);
    assert!(
        all(&world)[0] > *after.last().unwrap(),
        "even when the journal is lost"
    );
}

#[tokio::test(start_paused = true)]
async fn a_torn_line_of_the_journal_is_passed_over() {
    let world = World::start(SHOP);
    let state = world.state();
    let folder = world.stop().await;
    let journal = fs::OpenOptions::new()
        .append(true)
        .open(state.join("events.jsonl"));
    journal.unwrap().write_all(b"{\"id\":99,\"at\":").unwrap();
    let world = World::start_in(folder, SHOP);
    let started = world.events(Kind::Phase);
    assert_eq!(started.len(), 2);
    let folder = world.stop().await;
    let world = World::start_in(folder, SHOP);
    assert_eq!(
        world.events(Kind::Phase).len(),
        3,
        "what comes after the torn line is read"
    );
}

#[tokio::test(start_paused = true)]
async fn events_are_listed_oldest_first_by_what_is_asked() {
    let world = World::ready(SHOP).await;
    for green in 1..=5 {
        world
            .change(weights(&format!("blue=90 green={green}")))
            .await
            .unwrap();
    }
    let list = |after, limit| {
        let filter = Filter {
            after,
            kind: Some(Kind::Weights),
            service: Some(name("shop")),
            limit: Some(limit),
        };
        let events = world.control.events().list(&filter);
        events
            .iter()
            .map(|event| event.after["weights"]["green"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None, 2), [4, 5]);
    assert_eq!(list(Some(0), 2), [1, 2]);
    let second = world.events(Kind::Weights)[1].id;
    assert_eq!(list(Some(second), 10), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_stream_tells_of_everything_from_now_on() {
    let world = World::ready(SHOP).await;
    let mut follower = world.control.events().follow();
    world.change(weights("blue=90 green=10")).await.unwrap();
    assert_eq!(follower.recv().await.unwrap().kind, Kind::Weights);
    world.control.enter(Phase::Serving).await;
    let event = follower.recv().await.unwrap();
    assert_eq!((event.kind, &event.after), (Kind::Phase, &"serving".into()));
    assert_eq!(world.control.phase(), Phase::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_refused_file_is_told_once_and_shown_until_it_is_mended() {
    let world = World::ready(SHOP).await;
    let problems = "cutover.toml:3: no".to_owned();
    for _ in 0..3 {
        world
            .control
            .rejected(problems.clone(), Actor::file())
            .await;
    }
    let view = world.view().await;
    assert_eq!(view.config.rejected.unwrap().problems, problems);
    assert_eq!(view.counts.reloads_rejected, 1);
    assert_eq!(world.events(Kind::ConfigRejected).len(), 1);
    world.edit(SHOP).await.unwrap();
    assert!(world.view().await.config.rejected.is_none());
}
