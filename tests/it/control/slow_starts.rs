use cutover::{
    control::{EjectionCause, Phase, Suspect},
    pool::State,
};

use super::*;

/// Blue has three endpoints, and who becomes ready comes to its share over 20 seconds.
fn shop() -> String {
    SHOP.replace("\"10.0.0.2:80\"", "\"10.0.0.2:80\", \"10.0.0.3:80\"")
        .replace("[services.shop]", "[services.shop]\nslow_start = \"20s\"")
}

fn blue(last: u8) -> EndpointKey {
    endpoint("blue", &format!("10.0.0.{last}:80"))
}

impl World {
    /// Percent of its weight that each endpoint of blue has; `None` where it has all or gets nothing.
    async fn warmths(&self) -> Vec<Option<u8>> {
        let blue = self.pool("blue").await;
        blue.endpoints.iter().map(|held| held.slow_start).collect()
    }

    async fn fall(&self, endpoint: EndpointKey) {
        for _ in 0..3 {
            self.probe(endpoint.clone(), false).await;
        }
        self.until_state(&endpoint, State::Unready).await;
    }

    async fn rise(&self, endpoint: EndpointKey) {
        for _ in 0..2 {
            self.probe(endpoint.clone(), true).await;
        }
        self.until_state(&endpoint, State::Ready).await;
    }

    async fn until_state(&self, endpoint: &EndpointKey, state: State) {
        self.until(|shop| {
            let pool = shop.pool(endpoint.pool.as_str()).unwrap();
            let mut held = pool.endpoints.iter();
            held.any(|held| held.endpoint.key == *endpoint && held.state == state)
        })
        .await;
    }

    /// Lets so many seconds pass, and what is due in each be published.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            time::advance(Duration::from_secs(1)).await;
            self.until(|_| true).await;
        }
    }
}

/// All three are warm.
async fn warm() -> World {
    let world = World::ready(&shop()).await;
    world.pass(21).await;
    world
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_all_new_have_their_shares_at_once() {
    let world = World::ready(&shop()).await;
    assert_eq!(world.warmths().await, [None; 3]);
    world.pass(5).await;
    assert_eq!(world.warmths().await, [None; 3]);
}

#[tokio::test(start_paused = true)]
async fn those_that_are_ready_when_the_process_begins_to_serve_are_not_new() {
    let world = World::start(&shop());
    world.rise(blue(1)).await;
    world.pass(16).await;
    world.rise(blue(2)).await;
    assert_eq!(world.warmths().await, [Some(80), Some(20), None]);
    world.control.enter(Phase::Serving).await;
    world.pass(1).await;
    assert_eq!(world.warmths().await, [None; 3]);
    world.rise(blue(3)).await;
    assert_eq!(world.warmths().await, [None, None, Some(10)]);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_recovered_comes_to_its_share_by_steps() {
    let world = warm().await;
    world.fall(blue(2)).await;
    assert_eq!(world.warmths().await, [None; 3]);
    world.rise(blue(2)).await;
    assert_eq!(world.warmths().await, [None, Some(10), None]);
    let generation = world.generation();
    world.pass(10).await;
    assert_eq!(world.warmths().await, [None, Some(50), None]);
    world.pass(10).await;
    assert_eq!(world.warmths().await, [None; 3]);
    // By a publication for each step, and no more.
    assert_eq!(world.generation() - generation, 20);
    world.pass(60).await;
    assert_eq!(world.generation() - generation, 20);
}

#[tokio::test(start_paused = true)]
async fn one_that_falls_again_begins_again() {
    let world = warm().await;
    world.fall(blue(1)).await;
    world.rise(blue(1)).await;
    world.pass(10).await;
    assert_eq!(world.warmths().await[0], Some(50));
    world.fall(blue(1)).await;
    world.rise(blue(1)).await;
    assert_eq!(world.warmths().await[0], Some(10));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_restored_or_comes_back_from_an_ejection_comes_to_its_share_too() {
    let world = warm().await;
    let suspects = vec![Suspect {
        endpoint: blue(1),
        cause: EjectionCause::Ratio,
    }];
    assert!(world.control.suspect(suspects).await);
    world.until_state(&blue(1), State::Ejected).await;
    time::advance(Duration::from_secs(10)).await;
    world.until_state(&blue(1), State::Ready).await;
    assert_eq!(world.warmths().await, [Some(10), None, None]);
    let target = Target::Endpoint(blue(2));
    world.change(drain(target.clone())).await.unwrap();
    world.until_state(&blue(2), State::Drained).await;
    world.change(Change::Restore { target }).await.unwrap();
    world.rise(blue(2)).await;
    world.pass(10).await;
    assert_eq!(world.warmths().await, [Some(50), Some(50), None]);
}

#[tokio::test(start_paused = true)]
async fn one_after_the_other_never_gives_the_last_more_than_twice_its_share() {
    let world = warm().await;
    for last in [1, 2] {
        world.fall(blue(last)).await;
        world.rise(blue(last)).await;
    }
    // The third has 100 of 150.
    assert_eq!(world.warmths().await, [Some(25), Some(25), None]);
    world.fall(blue(3)).await;
    world.rise(blue(3)).await;
    assert_eq!(world.warmths().await, [None; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_takes_it_away_gives_all_their_shares() {
    let world = warm().await;
    world.fall(blue(1)).await;
    world.rise(blue(1)).await;
    assert_eq!(world.warmths().await, [Some(10), None, None]);
    world
        .edit(&shop().replace("\"20s\"", "false"))
        .await
        .unwrap();
    assert_eq!(world.warmths().await, [None; 3]);
}
