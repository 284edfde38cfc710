use cutover::control::{Code, Hurry, Kind};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_switch_waits_for_passes_begun_after_it_was_asked_for() {
    let world = World::ready(SHOP).await;
    let switching = tokio::spawn({
        let control = world.control.clone();
        async move { control.act(act(switch("green"), Wait::None)).await }
    });
    let mut hurried = world.control.hurried();
    hurried
        .wait_for(|hurry: &Hurry| hurry.contains_key(&pool("green")))
        .await
        .unwrap();
    time::sleep(Duration::from_secs(5)).await;
    assert_eq!(
        world.serving(),
        "blue=100",
        "what was proven before does not count"
    );
    world.probes("green", true, 1).await;
    time::sleep(Duration::from_secs(5)).await;
    assert_eq!(
        world.serving(),
        "blue=100",
        "one pass is not its rise count"
    );
    world.probes("green", true, 1).await;
    let done = switching.await.unwrap().unwrap();
    assert_eq!(world.serving(), "green=100");
    assert_eq!(done.applied.services[0].weights.to_string(), "green=100");
    assert!(world.control.hurried().borrow().is_empty());
    assert_eq!(world.events(Kind::Switch).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_switch_to_what_does_not_get_ready_changes_nothing() {
    let world = World::ready(SHOP).await;
    let before = world.generation();
    let late = world.control.act(act(switch("green"), Wait::Drained)).await;
    let refusal = late.unwrap_err();
    assert_eq!(refusal.code, Code::PoolNotReady);
    assert!(refusal.detail.contains("after 1m"), "{}", refusal.detail);
    assert_eq!(refusal.evidence.len(), 2);
    assert_eq!(
        refusal.hint.as_deref(),
        Some("cutover switch shop green --force")
    );
    assert_eq!(
        (world.generation(), world.serving()),
        (before, "blue=100".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_forced_switch_waits_for_nothing_and_records_its_version() {
    let world = World::start(SHOP);
    let change = Change::Switch {
        service: name("shop"),
        to: name("green"),
        version: Some("1.42".to_owned()),
        force: true,
    };
    world.control.act(act(change, Wait::None)).await.unwrap();
    assert_eq!(world.serving(), "green=100");
    let version = world.pool("green").await.version.unwrap();
    assert_eq!(version.version, "1.42");
    let last = world.history().await.pop().unwrap();
    assert_eq!(last.what, "switch, version 1.42 of green");
}

#[tokio::test(start_paused = true)]
async fn a_switch_ends_when_what_it_left_is_proven_empty() {
    let world = World::ready(SHOP).await;
    let snapshot = world.control.readers().current();
    let shop = snapshot.service("shop").unwrap();
    let blue = shop.pools[0].members[0].endpoint.clone();
    in_flight(&blue, 2);
    let switching = tokio::spawn({
        let control = world.control.clone();
        async move { control.act(act(switch("green"), Wait::Drained)).await }
    });
    time::sleep(Duration::from_millis(100)).await;
    world.probes("green", true, 2).await;
    world
        .until(|shop| shop.weights.to_string() == "green=100")
        .await;
    time::sleep(Duration::from_secs(5)).await;
    assert!(!switching.is_finished(), "two requests are in flight still");
    in_flight(&blue, 0);
    let left = switching.await.unwrap().unwrap().left.unwrap();
    assert!(left.drained && left.safe_to_stop() && left.in_flight == 0);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_work_goes_on_and_the_answer_says_so() {
    let world = World::ready(SHOP).await;
    let snapshot = world.control.readers().current();
    let blue = snapshot.service("shop").unwrap().pools[0].members[0]
        .endpoint
        .clone();
    in_flight(&blue, 1);
    let switched = world
        .control
        .act(act(forced(switch("green")), Wait::Drained))
        .await;
    let done = switched.unwrap();
    assert_eq!(done.applied.services[0].in_flight, 1);
    let left = done.left.unwrap();
    assert!(!left.drained && !left.safe_to_stop());
    assert_eq!(left.in_flight, 1);
    assert_eq!(world.serving(), "green=100");
}

#[tokio::test(start_paused = true)]
async fn a_switch_asked_for_again_by_its_key_does_not_wait_again() {
    let world = World::ready(SHOP).await;
    let keyed = || {
        let mut act = act(switch("green"), Wait::None);
        act.order.idempotency_key = Some("deploy-8".to_owned());
        act
    };
    let switching = tokio::spawn({
        let (control, act) = (world.control.clone(), keyed());
        async move { control.act(act).await }
    });
    time::sleep(Duration::from_millis(100)).await;
    world.probes("green", true, 2).await;
    let first = switching.await.unwrap().unwrap();
    world.change(rollback()).await.unwrap();
    let asked = time::Instant::now();
    let again = world.control.act(keyed()).await.unwrap();
    assert_eq!(again.applied.services, first.applied.services);
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert_eq!(world.serving(), "blue=100");
}

#[tokio::test(start_paused = true)]
async fn weights_may_wait_for_the_pools_that_gain() {
    let world = World::start(SHOP);
    world.prove("blue").await;
    let shifting = tokio::spawn({
        let control = world.control.clone();
        async move {
            control
                .act(act(weights("blue=90 green=10"), Wait::Ready))
                .await
        }
    });
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.serving(), "blue=100");
    world.prove("green").await;
    shifting.await.unwrap().unwrap();
    assert_eq!(world.serving(), "blue=90 green=10");
}
