use cutover::{
    control::{Code, Kind, view::PoolState},
    pool::State,
};

use super::*;

fn first() -> EndpointKey {
    endpoint("blue", "10.0.0.1:80")
}

fn add(address: &str, weight: u32) -> Change {
    Change::AddEndpoint {
        endpoint: endpoint("blue", address),
        weight,
    }
}

fn remove(address: &str) -> Change {
    Change::RemoveEndpoint {
        endpoint: endpoint("blue", address),
        force: false,
    }
}

async fn addresses(world: &World) -> Vec<String> {
    let blue = world.pool("blue").await;
    let endpoints = blue.endpoints.iter();
    endpoints
        .map(|held| held.endpoint.key.address.to_string())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_drained_endpoint_gets_nothing_and_is_drained_when_empty() {
    let world = World::ready(SHOP).await;
    let held = world.pool("blue").await.endpoints[0].endpoint.clone();
    in_flight(&held, 1);
    world
        .change(drain(Target::Endpoint(first())))
        .await
        .unwrap();
    let blue = world.pool("blue").await;
    assert_eq!(blue.endpoints[0].state, State::Draining);
    assert_eq!((blue.ready, blue.of), (1, 1));
    let drain = blue.endpoints[0].drain.clone().unwrap();
    assert_eq!(
        (drain.by, drain.reason.as_deref()),
        (ann(), Some("because"))
    );
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.pool("blue").await.endpoints[0].state, State::Draining);
    in_flight(&held, 0);
    world
        .until(|shop| shop.pools[0].endpoints[0].state == State::Drained)
        .await;
    assert_eq!(world.events(Kind::Drained).len(), 1);
    assert_eq!(world.view().await.counts.drains, 1);
}

#[tokio::test(start_paused = true)]
async fn parked_connections_keep_a_drain_from_being_over() {
    let world = World::ready(SHOP).await;
    let held = world.pool("blue").await.endpoints[0].endpoint.clone();
    for _ in 0..3 {
        held.connections.take(None);
    }
    let done = world
        .control
        .act(act(drain(Target::Endpoint(first())), Wait::Drained))
        .await
        .unwrap();
    let left = done.left.unwrap();
    assert!(!left.safe_to_stop());
    assert_eq!((left.in_flight, left.connections), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_restored_endpoint_is_unproven_until_it_passes_afresh() {
    let world = World::ready(SHOP).await;
    let target = Target::Endpoint(first());
    world.change(drain(target.clone())).await.unwrap();
    world.probes("blue", true, 5).await;
    let revision = world.revision().await;
    world.change(Change::Restore { target }).await.unwrap();
    assert_eq!(world.revision().await, revision + 1);
    assert_eq!(world.pool("blue").await.endpoints[0].state, State::Unproven);
    assert_eq!(world.pool("blue").await.endpoints[1].state, State::Ready);
    world.prove("blue").await;
    assert_eq!(world.pool("blue").await.endpoints[0].state, State::Ready);
}

#[tokio::test(start_paused = true)]
async fn restoring_may_wait_until_it_is_ready() {
    let world = World::ready(SHOP).await;
    let target = Target::Endpoint(first());
    world.change(drain(target.clone())).await.unwrap();
    let restore = Change::Restore { target };
    let mut short = act(restore.clone(), Wait::Ready);
    short.ready_timeout = Duration::from_secs(1);
    let late = world.control.act(short).await.unwrap();
    assert_eq!(late.ready, Some(false));
    let waiting = tokio::spawn({
        let control = world.control.clone();
        async move { control.act(act(restore, Wait::Ready)).await }
    });
    world.prove("blue").await;
    assert_eq!(waiting.await.unwrap().unwrap().ready, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_drained_pool_drains_what_comes_later_too_and_over_a_restart() {
    let world = World::ready(SHOP).await;
    world
        .change(drain(Target::Pool(pool("green"))))
        .await
        .unwrap();
    let more = SHOP.replace("\"10.0.1.1:80\",", "\"10.0.1.1:80\", \"10.0.1.3:80\",");
    world.edit(&more).await.unwrap();
    world
        .until(|shop| shop.pool("green").unwrap().state == PoolState::Drained)
        .await;
    let world = world.restart(&more).await;
    world
        .until(|shop| shop.pool("green").unwrap().state == PoolState::Drained)
        .await;
    let one = Change::Restore {
        target: Target::Endpoint(endpoint("green", "10.0.1.1:80")),
    };
    assert_eq!(world.code(one).await, Code::InvalidRequest);
    let all = Change::Restore {
        target: Target::Pool(pool("green")),
    };
    world.change(all).await.unwrap();
    assert_eq!(
        world.pool("green").await.endpoints[0].state,
        State::Unproven
    );
    assert_eq!(world.drift().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_cut_tells_workers_to_end_what_is_in_flight() {
    let world = World::ready(SHOP).await;
    let held = world.pool("blue").await.endpoints[0].endpoint.clone();
    in_flight(&held, 1);
    let mut draining = act(drain(Target::Endpoint(first())), Wait::Drained);
    draining.cut = true;
    let acting = tokio::spawn({
        let control = world.control.clone();
        async move { control.act(draining).await }
    });
    time::sleep(Duration::from_secs(29)).await;
    let cut = |world: &World| {
        let snapshot = world.control.readers().current();
        snapshot.service("shop").unwrap().pools[0].members[0].cut
    };
    assert!(!cut(&world), "not before the deadline");
    time::sleep(Duration::from_millis(1500)).await;
    assert!(cut(&world));
    in_flight(&held, 0);
    let left = acting.await.unwrap().unwrap().left.unwrap();
    assert!(left.cut && left.safe_to_stop());
    assert_eq!(world.events(Kind::Cut).len(), 1);
    let restore = Change::Restore {
        target: Target::Endpoint(first()),
    };
    world.change(restore).await.unwrap();
    assert!(!cut(&world));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_drained_is_not_cut() {
    let world = World::ready(SHOP).await;
    let cut = Change::Cut {
        target: Target::Endpoint(first()),
    };
    assert_eq!(world.code(cut).await, Code::InvalidRequest);
    let nowhere = drain(Target::Endpoint(endpoint("blue", "10.0.0.9:80")));
    assert_eq!(world.code(nowhere).await, Code::UnknownEndpoint);
}

#[tokio::test(start_paused = true)]
async fn an_added_endpoint_is_unproven_and_outlives_a_restart() {
    let world = World::ready(SHOP).await;
    world.change(add("10.0.0.3:80", 2)).await.unwrap();
    let blue = world.pool("blue").await;
    let added = &blue.endpoints[2];
    assert_eq!((added.state, added.weight), (State::Unproven, 2));
    assert_eq!(
        world.drift().await,
        [(
            "pools.blue.endpoints.10.0.0.3:80".to_owned(),
            "2".to_owned()
        )]
    );
    let world = world.restart(SHOP).await;
    assert_eq!(
        addresses(&world).await,
        ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
    );
    world.change(remove("10.0.0.3:80")).await.unwrap_err();
    world.prove("blue").await;
    world.change(remove("10.0.0.3:80")).await.unwrap();
    assert_eq!(world.drift().await, []);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_of_the_file_may_be_removed_and_added_again() {
    let world = World::ready(SHOP).await;
    world.change(remove("10.0.0.1:80")).await.unwrap();
    assert_eq!(addresses(&world).await, ["10.0.0.2:80"]);
    assert_eq!(
        world.code(remove("10.0.0.1:80")).await,
        Code::UnknownEndpoint
    );
    world.change(add("10.0.0.1:80", 1)).await.unwrap();
    assert_eq!(world.drift().await, []);
    let back = &world.pool("blue").await.endpoints[0];
    assert_eq!(back.state, State::Unproven, "it passes afresh");
    world.change(add("10.0.0.1:80", 5)).await.unwrap();
    assert_eq!(world.pool("blue").await.endpoints[0].weight, 5);
    assert_eq!(
        world.code(add("10.0.0.1:80", 0)).await,
        Code::InvalidRequest
    );
}

#[tokio::test(start_paused = true)]
async fn a_removal_with_a_cut_drains_first_and_then_removes() {
    let world = World::ready(SHOP).await;
    let held = world.pool("blue").await.endpoints[0].endpoint.clone();
    in_flight(&held, 1);
    let mut removing = act(remove("10.0.0.1:80"), Wait::Drained);
    removing.cut = true;
    let acting = tokio::spawn({
        let control = world.control.clone();
        async move { control.act(removing).await }
    });
    time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.pool("blue").await.endpoints[0].state, State::Draining);
    in_flight(&held, 0);
    let left = acting.await.unwrap().unwrap().left.unwrap();
    assert!(left.safe_to_stop() && !left.cut);
    assert_eq!(addresses(&world).await, ["10.0.0.2:80"]);
    assert_eq!(world.drift().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_delays_no_other_decision() {
    let world = World::ready(SHOP).await;
    let held = world.pool("blue").await.endpoints[0].endpoint.clone();
    in_flight(&held, 1);
    let waiting = tokio::spawn({
        let control = world.control.clone();
        async move {
            control
                .act(act(drain(Target::Endpoint(first())), Wait::Drained))
                .await
        }
    });
    time::sleep(Duration::from_secs(1)).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    assert!(!waiting.is_finished());
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let blue = world.pool("blue").await;
    assert_eq!(
        blue.endpoints[0].state,
        State::Draining,
        "who stops waiting undoes nothing"
    );
}
