//! Endpoints that a source names, beside the file's and an operator's.

use cutover::{
    config::plan,
    control::{Discovered, Kind},
    pool::State,
};

use super::*;

const FOUND: &str = r#"
[[listeners]]
address = "127.0.0.1:8080"

[services.shop]
weights = { blue = 100, green = 0 }
probe = { path = "/healthz", rise = 2, fall = 3 }
pools.blue.endpoints = ["10.0.0.1:80"]
pools.blue.discover = { file = "/etc/blue" }
pools.green.discover = { file = "/etc/green" }
"#;

/// The source of the pool names these.
async fn name_them(world: &World, name_of_pool: &str, addresses: &[&str]) {
    let endpoints = addresses.iter().map(|address| plan::Endpoint {
        address: address.parse().unwrap(),
        weight: 1,
    });
    tell(world, name_of_pool, Ok(endpoints.collect())).await;
}

async fn tell(world: &World, name_of_pool: &str, found: Result<Vec<plan::Endpoint>, String>) {
    let by = plan::Discover {
        source: plan::Source::File(format!("/etc/{name_of_pool}").into()),
        most: 256,
    };
    let pool = pool(name_of_pool);
    let discovered = Discovered { pool, by, found };
    assert!(world.control.discovered(discovered).await);
}

async fn states(world: &World, name_of_pool: &str) -> Vec<(String, State)> {
    // What was found is published with the next verdicts.
    world.until(|_| true).await;
    let pool = world.pool(name_of_pool).await;
    let endpoints = pool.endpoints.iter();
    endpoints
        .map(|one| (one.endpoint.key.address.to_string(), one.state))
        .collect()
}

/// Waits until the pool has so many endpoints.
async fn until_many(world: &World, name_of_pool: &str, count: usize) {
    world
        .until(|shop| shop.pool(name_of_pool).unwrap().endpoints.len() == count)
        .await;
}

#[tokio::test(start_paused = true)]
async fn found_ones_stand_beside_those_of_the_file_and_are_proven_like_them() {
    let world = World::start(FOUND);
    world.prove("blue").await;
    name_them(&world, "blue", &["10.0.0.1:80", "10.0.0.2:80"]).await;
    until_many(&world, "blue", 2).await;
    let blue = world.pool("blue").await;
    let found: Vec<_> = blue.endpoints.iter().map(|one| one.found).collect();
    assert_eq!(found, [false, true]);
    assert_eq!((blue.ready, blue.of), (1, 2));
    world.prove("blue").await;
    assert_eq!(world.pool("blue").await.ready, 2);
    let revision = world.revision().await;
    name_them(&world, "blue", &["10.0.0.2:80"]).await;
    until_many(&world, "blue", 2).await;
    let states = states(&world, "blue").await;
    assert!(
        states.iter().all(|(_, state)| *state == State::Ready),
        "{states:?}"
    );
    assert_eq!(world.revision().await, revision, "nothing was decided");
}

#[tokio::test(start_paused = true)]
async fn weight_goes_to_a_pool_whose_endpoints_were_found_and_proven() {
    let world = World::start(FOUND);
    world.prove("blue").await;
    assert_eq!(world.code(switch("green")).await, Code::PoolNotReady);
    name_them(&world, "green", &["10.0.1.1:80"]).await;
    until_many(&world, "green", 1).await;
    assert_eq!(world.code(switch("green")).await, Code::PoolNotReady);
    world.prove("green").await;
    world.change(switch("green")).await.unwrap();
    assert_eq!(world.serving(), "green=100");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_serves_until_one_that_is_named_is_ready() {
    let world = World::start(FOUND);
    world.prove("blue").await;
    name_them(&world, "green", &["10.0.1.1:80"]).await;
    until_many(&world, "green", 1).await;
    world.prove("green").await;
    world.change(switch("green")).await.unwrap();
    name_them(&world, "green", &["10.0.1.2:80"]).await;
    until_many(&world, "green", 2).await;
    time::sleep(Duration::from_mins(1)).await;
    let old = ("10.0.1.1:80".to_owned(), State::Ready);
    let new = ("10.0.1.2:80".to_owned(), State::Unproven);
    assert_eq!(states(&world, "green").await, [new, old]);
    assert!(world.events(Kind::PoolUnready).is_empty());
    world.probe(endpoint("green", "10.0.1.2:80"), true).await;
    world.probe(endpoint("green", "10.0.1.2:80"), true).await;
    until_many(&world, "green", 1).await;
    assert_eq!(
        states(&world, "green").await,
        [("10.0.1.2:80".to_owned(), State::Ready)]
    );
    assert!(world.events(Kind::PoolUnready).is_empty());
    assert_eq!(world.events(Kind::Drained).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operators_removal_drain_and_addition_stand_whatever_is_named() {
    let world = World::start(FOUND);
    name_them(
        &world,
        "blue",
        &["10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"],
    )
    .await;
    until_many(&world, "blue", 4).await;
    world.prove("blue").await;
    let remove = |address| Change::RemoveEndpoint {
        endpoint: endpoint("blue", address),
        force: false,
    };
    world.change(remove("10.0.0.2:80")).await.unwrap();
    let target = Target::Endpoint(endpoint("blue", "10.0.0.3:80"));
    world.change(drain(target.clone())).await.unwrap();
    let add = Change::AddEndpoint {
        endpoint: endpoint("blue", "10.0.0.4:80"),
        weight: 5,
    };
    world.change(add).await.unwrap();
    let shown = async |world: &World| {
        let pool = world.pool("blue").await;
        let endpoints = pool.endpoints.iter();
        let shown: Vec<_> = endpoints
            .map(|one| {
                let drained = if one.drain.is_some() { " drained" } else { "" };
                format!("{} {}{drained}", one.endpoint.key.address, one.weight)
            })
            .collect();
        shown
    };
    let decided = ["10.0.0.1:80 1", "10.0.0.3:80 1 drained", "10.0.0.4:80 5"];
    assert_eq!(shown(&world).await, decided);
    // Gone, and named again.
    name_them(&world, "blue", &["10.0.0.9:80"]).await;
    let is_there = |shop: &view::Service, address: &str| {
        let mut endpoints = shop.pool("blue").unwrap().endpoints.iter();
        endpoints.any(|one| one.endpoint.key.address.to_string() == address)
    };
    world
        .until(|shop| is_there(shop, "10.0.0.9:80") && !is_there(shop, "10.0.0.3:80"))
        .await;
    assert_eq!(
        shown(&world).await,
        ["10.0.0.1:80 1", "10.0.0.9:80 1", "10.0.0.4:80 5"]
    );
    world
        .edit(&FOUND.replace("fall = 3", "fall = 4"))
        .await
        .unwrap();
    let world = world.restart(FOUND).await;
    assert_eq!(shown(&world).await, ["10.0.0.1:80 1", "10.0.0.4:80 5"]);
    name_them(
        &world,
        "blue",
        &["10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"],
    )
    .await;
    until_many(&world, "blue", 3).await;
    assert_eq!(shown(&world).await, decided);
    let revert = Change::Revert {
        service: name("shop"),
        field: None,
        force: true,
    };
    world.change(revert).await.unwrap();
    until_many(&world, "blue", 4).await;
    assert_eq!(world.drift().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_once_and_changes_nothing() {
    let world = World::start(FOUND);
    name_them(&world, "green", &["10.0.1.1:80"]).await;
    until_many(&world, "green", 1).await;
    for _ in 0..3 {
        tell(&world, "green", Err("it is away".to_owned())).await;
    }
    let source = world.pool("green").await.source.unwrap();
    assert_eq!(source.failing.unwrap().error, "it is away");
    assert_eq!((source.looks, source.failures), (1, 3));
    assert_eq!(world.events(Kind::DiscoveryFailed).len(), 1);
    assert_eq!(states(&world, "green").await.len(), 1);
    name_them(&world, "green", &["10.0.1.1:80"]).await;
    assert_eq!(world.events(Kind::Discovery).len(), 1);
    assert_eq!(world.events(Kind::EndpointAdded).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_the_file_no_longer_names_says_nothing() {
    let world = World::start(FOUND);
    name_them(&world, "blue", &["10.0.0.2:80"]).await;
    until_many(&world, "blue", 2).await;
    world.prove("blue").await;
    let without = FOUND.replace("pools.blue.discover = { file = \"/etc/blue\" }", "");
    world.edit(&without).await.unwrap();
    until_many(&world, "blue", 1).await;
    name_them(&world, "blue", &["10.0.0.2:80"]).await;
    assert_eq!(states(&world, "blue").await.len(), 1);
    assert!(world.pool("blue").await.source.is_none());
}
