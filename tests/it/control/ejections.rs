use cutover::{
    control::{EjectionCause, Kind, Suspect},
    pool::State,
};

use super::*;

const TENTHS: Duration = Duration::from_millis(100);

/// Blue has three endpoints, of which two may be out.
fn shop(outlier: &str) -> String {
    SHOP.replace("\"10.0.0.2:80\"", "\"10.0.0.2:80\", \"10.0.0.3:80\"")
        .replace("[services.shop]", &format!("[services.shop]\n{outlier}"))
}

const HALF: &str = "";
const ALL: &str = "outlier.max_ejected = \"100%\"";

fn blue(last: u8) -> EndpointKey {
    endpoint("blue", &format!("10.0.0.{last}:80"))
}

impl World {
    async fn suspect(&self, endpoint: EndpointKey, cause: EjectionCause) {
        let suspects = vec![Suspect { endpoint, cause }];
        assert!(self.control.suspect(suspects).await);
    }

    async fn blues(&self) -> Vec<State> {
        let blue = self.pool("blue").await;
        blue.endpoints.iter().map(|held| held.state).collect()
    }

    async fn until_blues(&self, states: [State; 3]) {
        self.until(|shop| {
            let blue = shop.pool("blue").unwrap();
            blue.endpoints.iter().map(|held| held.state).eq(states)
        })
        .await;
    }
}

use State::{Ejected, Ready, Unready};

#[tokio::test(start_paused = true)]
async fn one_that_is_suspected_is_out_until_its_time_is_over_and_longer_the_next_time() {
    let world = World::ready(&shop(HALF)).await;
    for seconds in [10, 20] {
        world.suspect(blue(1), EjectionCause::Ratio).await;
        world.until_blues([Ejected, Ready, Ready]).await;
        let held = world.pool("blue").await.endpoints[0].clone();
        let ejection = held.ejection.unwrap();
        assert_eq!(ejection.span, Duration::from_secs(seconds));
        time::advance(Duration::from_secs(seconds - 1)).await;
        assert_eq!(world.blues().await[0], Ejected);
        time::advance(Duration::from_secs(1)).await;
        world.until_blues([Ready; 3]).await;
    }
    let (out, back) = (
        world.events(Kind::EndpointEjected),
        world.events(Kind::EjectionEnded),
    );
    assert_eq!((out.len(), back.len()), (2, 2));
    assert_eq!(
        out[1].reason.as_deref(),
        Some(
            "it failed too many of its requests, and more than the others; out for 20s, time 2 in a row"
        )
    );
    assert_eq!(out[1].actor.kind, ActorKind::Outlier);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_out_than_may_be_and_never_the_last() {
    let world = World::ready(&shop(HALF)).await;
    world.suspect(blue(1), EjectionCause::Ratio).await;
    world.suspect(blue(2), EjectionCause::Ratio).await;
    world.until_blues([Ejected, Ready, Ready]).await;
    assert_eq!(world.blues().await, [Ejected, Ready, Ready]);

    let world = World::ready(&shop(ALL)).await;
    for last in 1..=3 {
        world.suspect(blue(last), EjectionCause::Consecutive).await;
    }
    world.until_blues([Ejected, Ejected, Ready]).await;
    assert_eq!(world.events(Kind::EndpointEjected).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_that_are_out_come_back_when_no_other_is_ready_any_more() {
    let world = World::ready(&shop(ALL)).await;
    world.suspect(blue(1), EjectionCause::Ratio).await;
    world.suspect(blue(2), EjectionCause::Ratio).await;
    world.until_blues([Ejected, Ejected, Ready]).await;
    for _ in 0..3 {
        world.probe(blue(3), false).await;
    }
    world.until_blues([Ready, Ready, Unready]).await;
    assert_eq!(world.events(Kind::FailOpen).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_proves_that_one_can_be_reached_again_and_nothing_else() {
    let world = World::ready(&shop(ALL)).await;
    world.suspect(blue(1), EjectionCause::Connect).await;
    world.suspect(blue(2), EjectionCause::Consecutive).await;
    world.until_blues([Ejected, Ejected, Ready]).await;
    time::advance(TENTHS).await;
    world.probes("blue", true, 1).await;
    assert_eq!(world.blues().await, [Ejected, Ejected, Ready]);
    world.probes("blue", true, 1).await;
    world.until_blues([Ready, Ejected, Ready]).await;
    let ended = &world.events(Kind::EjectionEnded)[0];
    assert_eq!(ended.actor.kind, ActorKind::Probe);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_out_and_fails_its_probes_is_unready_and_stays_out_until_both_are_over() {
    let world = World::ready(&shop(HALF)).await;
    world.suspect(blue(1), EjectionCause::Consecutive).await;
    for _ in 0..3 {
        world.probe(blue(1), false).await;
    }
    world.until_blues([Unready, Ready, Ready]).await;
    for _ in 0..2 {
        world.probe(blue(1), true).await;
    }
    world.until_blues([Ejected, Ready, Ready]).await;
    time::advance(Duration::from_secs(10)).await;
    world.until_blues([Ready; 3]).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_out_stays_out_over_shifts_and_reloads_until_the_file_says_that_none_is() {
    let world = World::ready(&shop(HALF)).await;
    world.suspect(blue(1), EjectionCause::Ratio).await;
    world.until_blues([Ejected, Ready, Ready]).await;
    world.change(weights("blue=99 green=1")).await.unwrap();
    world
        .edit(&shop("outlier.volume = 50").replace("rise = 2", "rise = 3"))
        .await
        .unwrap();
    assert_eq!(world.blues().await, [Ejected, Ready, Ready]);
    world.edit(&shop("outlier = false")).await.unwrap();
    world.until_blues([Ready; 3]).await;
    world.suspect(blue(1), EjectionCause::Ratio).await;
    assert_eq!(world.blues().await, [Ready; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_of_which_one_is_out_is_not_wholly_ready_and_a_drain_goes_first() {
    let world = World::ready(&shop(HALF)).await;
    world
        .suspect(endpoint("green", "10.0.1.1:80"), EjectionCause::Ratio)
        .await;
    world
        .until(|shop| shop.pool("green").unwrap().ready == 1)
        .await;
    assert_eq!(world.code(switch("green")).await, Code::PoolNotReady);

    world.suspect(blue(1), EjectionCause::Ratio).await;
    world
        .change(drain(Target::Endpoint(blue(1))))
        .await
        .unwrap();
    world.until_blues([State::Drained, Ready, Ready]).await;
}
