use cutover::control::Code;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_not_ready_gets_no_weight_and_the_answer_shows_why() {
    let world = World::start(SHOP);
    world.prove("blue").await;
    world.probe(endpoint("green", "10.0.1.1:80"), false).await;
    let refusal = world.refused(weights("blue=90 green=10")).await;
    assert_eq!(refusal.code, Code::PoolNotReady);
    let command = "cutover shift shop blue=90 green=10 --force";
    assert_eq!(refusal.hint.as_deref(), Some(command));
    assert_eq!(refusal.evidence.len(), 2);
    let probe = refusal.evidence[0].probe.as_ref().unwrap();
    assert_eq!((probe.status, probe.streak), (Some(503), -1));
    assert_eq!(probe.url, "http://10.0.1.1:80/healthz");
    assert_eq!(refusal.evidence[1].state, "unproven");
}

#[tokio::test(start_paused = true)]
async fn force_passes_the_readiness_gate_and_nothing_else() {
    let world = World::start(SHOP);
    world.prove("blue").await;
    assert_eq!(
        world.code(forced(weights("green=100"))).await,
        Code::IncompleteWeights
    );
    world
        .change(forced(weights("blue=90 green=10")))
        .await
        .unwrap();
    assert_eq!(world.serving(), "blue=90 green=10");
    let snapshot = world.control.readers().current();
    let shop = snapshot.service("shop").unwrap();
    assert!(
        shop.pools[1].ready.is_empty(),
        "an unproven endpoint gets nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn only_a_pool_that_gains_must_be_ready() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=50 green=50")).await.unwrap();
    world.fail("green").await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    assert_eq!(
        world.code(weights("blue=50 green=50")).await,
        Code::PoolNotReady
    );
}

#[tokio::test(start_paused = true)]
async fn min_ready_says_how_many_endpoints_are_enough() {
    let half = SHOP.replace("[services.shop]", "[services.shop]\nmin_ready = \"50%\"");
    let world = World::start(&half);
    world.prove("blue").await;
    for _ in 0..2 {
        world.probe(endpoint("green", "10.0.1.1:80"), true).await;
    }
    world.change(weights("blue=50 green=50")).await.unwrap();
    let whole = World::start(SHOP);
    whole.prove("blue").await;
    for _ in 0..2 {
        whole.probe(endpoint("green", "10.0.1.1:80"), true).await;
    }
    assert_eq!(
        whole.code(weights("blue=50 green=50")).await,
        Code::PoolNotReady
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_ready_endpoint_of_a_weighted_pool_is_not_drained_or_removed_unforced() {
    let world = World::ready(SHOP).await;
    let (first, last) = (
        endpoint("blue", "10.0.0.1:80"),
        endpoint("blue", "10.0.0.2:80"),
    );
    world.change(drain(Target::Endpoint(first))).await.unwrap();
    let refusal = world.refused(drain(Target::Endpoint(last.clone()))).await;
    assert_eq!(refusal.code, Code::LastReadyEndpoint);
    let hint = refusal.hint.unwrap();
    assert!(
        hint.ends_with("cutover drain shop/blue/10.0.0.2:80 --force"),
        "{hint}"
    );
    let removal = Change::RemoveEndpoint {
        endpoint: last.clone(),
        force: false,
    };
    assert_eq!(world.code(removal).await, Code::LastReadyEndpoint);
    assert_eq!(
        world.code(drain(Target::Pool(pool("blue")))).await,
        Code::LastReadyEndpoint
    );
    world
        .change(drain(Target::Pool(pool("green"))))
        .await
        .unwrap();
    world
        .change(forced(drain(Target::Endpoint(last))))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn how_things_would_stand_in_the_end_is_what_counts() {
    let world = World::ready(SHOP).await;
    let together = vec![drain(Target::Pool(pool("blue"))), switch("green")];
    world.control.change(together, order()).await.unwrap();
    assert_eq!(world.serving(), "green=100");
    let world = World::ready(SHOP).await;
    let together = vec![switch("green"), drain(Target::Pool(pool("green")))];
    let refusal = world.control.change(together, order()).await.unwrap_err();
    assert_eq!(refusal.code, Code::PoolNotReady);
}

#[tokio::test(start_paused = true)]
async fn the_way_back_needs_one_ready_endpoint_and_force_passes_even_that() {
    let world = World::ready(SHOP).await;
    world.change(switch("green")).await.unwrap();
    for _ in 0..3 {
        world.probe(endpoint("blue", "10.0.0.1:80"), false).await;
    }
    world
        .until(|shop| shop.pool("blue").unwrap().ready == 1)
        .await;
    world.change(rollback()).await.unwrap();
    assert_eq!(world.serving(), "blue=100");
    let world = World::ready(SHOP).await;
    world.change(switch("green")).await.unwrap();
    world.fail("blue").await;
    let refusal = world.refused(rollback()).await;
    assert_eq!(refusal.code, Code::PoolNotReady);
    assert_eq!(
        refusal.hint.as_deref(),
        Some("cutover rollback shop --force")
    );
    world.change(forced(rollback())).await.unwrap();
    assert_eq!(world.serving(), "blue=100");
}
