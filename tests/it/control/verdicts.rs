use cutover::{
    control::{Kind, view::ServiceState},
    pool::State,
};

use super::*;

fn state(service: &view::Service, pool: &str, index: usize) -> State {
    service.pool(pool).unwrap().endpoints[index].state
}

#[tokio::test(start_paused = true)]
async fn a_new_endpoint_gets_nothing_until_it_has_passed() {
    let world = World::start(SHOP);
    let shop = world.shop().await;
    assert_eq!(shop.state, ServiceState::Unavailable);
    assert_eq!(state(&shop, "blue", 0), State::Unproven);
    world.probe(endpoint("blue", "10.0.0.1:80"), true).await;
    assert_eq!(state(&world.shop().await, "blue", 0), State::Unproven);
    world.probe(endpoint("blue", "10.0.0.1:80"), true).await;
    world
        .until(|shop| state(shop, "blue", 0) == State::Ready)
        .await;
    assert_eq!(world.shop().await.state, ServiceState::Serving);
    assert_eq!(world.events(Kind::EndpointReady).len(), 1);
    assert_eq!(world.events(Kind::PoolReady).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_verdicts_is_few_publications() {
    let endpoints: Vec<_> = (1..=200).map(|n| format!("\"10.9.0.{n}:80\"")).collect();
    let many = SHOP.replace("\"10.0.0.1:80\", \"10.0.0.2:80\"", &endpoints.join(", "));
    let world = World::start(&many);
    let before = world.generation();
    world.prove("blue").await;
    world.fail("blue").await;
    let published = world.generation() - before;
    assert!(
        (2..20).contains(&published),
        "{published} publications for 400 verdicts"
    );
    assert_eq!(world.events(Kind::EndpointReady).len(), 200);
    assert_eq!(world.events(Kind::EndpointUnready).len(), 200);
}

#[tokio::test(start_paused = true)]
async fn verdicts_change_no_revision() {
    let world = World::start(SHOP);
    let revision = world.revision().await;
    world.prove("blue").await;
    world.fail("blue").await;
    assert_eq!(world.revision().await, revision);
}

#[tokio::test(start_paused = true)]
async fn when_every_weighted_pool_is_unready_the_once_proven_are_tried() {
    let world = World::ready(SHOP).await;
    world.fail("blue").await;
    assert_eq!(world.shop().await.state, ServiceState::FailingOpen);
    assert_eq!(world.events(Kind::PoolUnready).len(), 1);
    assert_eq!(world.events(Kind::FailOpen).len(), 1);
    world.prove("blue").await;
    assert_eq!(world.shop().await.state, ServiceState::Serving);
    assert_eq!(world.events(Kind::FailOpenEnded).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pool_of_which_too_small_a_part_is_ready_fails_open_alone() {
    let below = SHOP.replace("[services.shop]", "[services.shop]\nfail_open = \"60%\"");
    let world = World::ready(&below).await;
    for _ in 0..3 {
        world.probe(endpoint("blue", "10.0.0.1:80"), false).await;
    }
    world
        .until(|shop| shop.state == ServiceState::FailingOpen)
        .await;
    let begun = world.events(Kind::FailOpen);
    assert_eq!(begun[0].pool.as_ref().map(Name::as_str), Some("blue"));
    world.prove("blue").await;
    world
        .until(|shop| shop.state == ServiceState::Serving)
        .await;
    assert_eq!(world.events(Kind::FailOpenEnded).len(), 1);
    // Green has no weight, and is nobody's matter.
    for _ in 0..3 {
        world.probe(endpoint("green", "10.0.1.1:80"), false).await;
    }
    world
        .until(|shop| shop.pool("green").is_some_and(|green| green.ready == 1))
        .await;
    assert_eq!(world.shop().await.state, ServiceState::Serving);
    assert_eq!(world.events(Kind::FailOpen).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_probes_said_outlives_shifts_and_reloads() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    let slower = SHOP.replace("rise = 2", "rise = 2, interval = \"2s\"");
    world.edit(&slower).await.unwrap();
    let shop = world.shop().await;
    let pools = shop.pools.iter();
    let states: Vec<_> = pools
        .flat_map(|pool| pool.endpoints.iter().map(|held| held.state))
        .collect();
    assert_eq!(states, [State::Ready; 4]);
    let probe = shop.pools[0].endpoints[0].probe.clone().unwrap();
    assert_eq!((probe.streak, probe.status), (2, Some(200)));
}

#[tokio::test(start_paused = true)]
async fn a_restart_proves_everything_afresh() {
    let world = World::ready(SHOP).await;
    let world = world.restart(SHOP).await;
    assert_eq!(state(&world.shop().await, "blue", 0), State::Unproven);
}

#[tokio::test(start_paused = true)]
async fn the_start_can_wait_for_every_weighted_pool() {
    let world = World::start(SHOP);
    let short = Duration::from_secs(1);
    assert!(!world.control.until_weighted_are_ready(short).await.unwrap());
    let waiting = tokio::spawn({
        let control = world.control.clone();
        async move {
            control
                .until_weighted_are_ready(Duration::from_mins(1))
                .await
        }
    });
    world.prove("blue").await;
    assert!(waiting.await.unwrap().unwrap());
}
