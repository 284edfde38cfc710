use cutover::{
    control::{Code, Kind},
    pool::State,
};

use super::*;

fn file(weights: &str) -> String {
    SHOP.replace("{ blue = 100, green = 0 }", weights)
}

#[tokio::test(start_paused = true)]
async fn an_edit_elsewhere_leaves_a_decision_and_a_changed_value_wins() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    let elsewhere = SHOP.replace("fall = 3", "fall = 4");
    world.edit(&elsewhere).await.unwrap();
    assert_eq!(world.serving(), "blue=90 green=10");
    world
        .edit(&elsewhere.replace("green = 0", "green = 0 "))
        .await
        .unwrap();
    assert_eq!(world.serving(), "blue=90 green=10");
    assert_eq!(world.drift().await.len(), 1);
    world.edit(&file("{ blue = 1, green = 1 }")).await.unwrap();
    assert_eq!(world.serving(), "blue=1 green=1");
    assert_eq!(world.drift().await, []);
    let dropped = world.events(Kind::OverrideDropped);
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].before["field"], "weights");
    assert_eq!(dropped[0].actor.kind, ActorKind::File);
}

#[tokio::test(start_paused = true)]
async fn the_same_holds_after_a_restart() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    let revision = world.revision().await;
    let world = world.restart(SHOP).await;
    assert_eq!(world.serving(), "blue=90 green=10");
    assert_eq!(
        world.revision().await,
        revision,
        "a restart decides nothing"
    );
    assert_eq!(world.drift().await.len(), 1);
    let world = world.restart(&file("{ blue = 70, green = 30 }")).await;
    assert_eq!(world.serving(), "blue=90 green=10", "until green is ready");
    world.prove("green").await;
    world.prove("blue").await;
    world
        .until(|shop| shop.weights.to_string() == "blue=70 green=30")
        .await;
    assert_eq!(world.events(Kind::OverrideDropped).len(), 1);
    assert_eq!(world.drift().await, []);
}

#[tokio::test(start_paused = true)]
async fn what_the_file_says_already_is_no_drift() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    world.change(weights("blue=100 green=0")).await.unwrap();
    assert_eq!(world.drift().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_reload_without_a_change_publishes_nothing() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    let (generation, revision) = (world.generation(), world.revision().await);
    let events = world.control.events().last_id();
    let applied = world.edit(SHOP).await.unwrap();
    assert_eq!(
        (applied.generation, applied.services.len()),
        (generation, 0)
    );
    assert_eq!(
        (world.generation(), world.revision().await),
        (generation, revision)
    );
    assert_eq!(world.control.events().last_id(), events);
    assert_eq!(world.view().await.counts.reloads_unchanged, 1);
}

#[tokio::test(start_paused = true)]
async fn weight_moved_by_the_file_to_a_pool_that_is_not_ready_waits() {
    let world = World::start(SHOP);
    world.prove("blue").await;
    let applied = world
        .edit(&file("{ blue = 0, green = 100 }"))
        .await
        .unwrap();
    assert!(applied.notes[0].contains("pending"), "{:?}", applied.notes);
    assert_eq!(world.serving(), "blue=100");
    let pending = world.shop().await.pending.unwrap();
    assert_eq!(pending.weights.unwrap().to_string(), "green=100");
    assert_eq!(world.events(Kind::Pending).len(), 1);
    world.prove("green").await;
    world
        .until(|shop| shop.weights.to_string() == "green=100")
        .await;
    assert!(world.shop().await.pending.is_none());
    assert_eq!(world.events(Kind::PendingApplied).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_later_decision_of_a_person_supersedes_what_is_pending() {
    let world = World::start(SHOP);
    world.prove("blue").await;
    world
        .edit(&file("{ blue = 0, green = 100 }"))
        .await
        .unwrap();
    world.change(weights("blue=100 green=0")).await.unwrap();
    assert!(world.shop().await.pending.is_none());
    assert_eq!(world.events(Kind::PendingSuperseded).len(), 1);
    world.prove("green").await;
    time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.serving(), "blue=100");
    assert_eq!(world.drift().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_edit_back_ends_the_wait() {
    let world = World::start(SHOP);
    world.prove("blue").await;
    world
        .edit(&file("{ blue = 0, green = 100 }"))
        .await
        .unwrap();
    world.edit(SHOP).await.unwrap();
    assert!(world.shop().await.pending.is_none());
    world.prove("green").await;
    time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.serving(), "blue=100");
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_is_pending_after_a_restart() {
    let world = World::start(SHOP);
    world.prove("blue").await;
    let moved = file("{ blue = 0, green = 100 }");
    world.edit(&moved).await.unwrap();
    let world = world.restart(&moved).await;
    world.prove("blue").await;
    assert_eq!(world.serving(), "blue=100");
    world.prove("green").await;
    world
        .until(|shop| shop.weights.to_string() == "green=100")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_renamed_in_one_edit_serves_until_the_new_one_is_ready() {
    let world = World::ready(SHOP).await;
    let renamed = SHOP
        .replace("{ blue = 100, green = 0 }", "{ red = 100 }")
        .replace(
            "pools.blue.endpoints  = [\"10.0.0.1:80\", \"10.0.0.2:80\"]",
            "pools.red.endpoints = [\"10.0.2.1:80\"]",
        );
    world.edit(&renamed).await.unwrap();
    assert_eq!(world.serving(), "blue=100");
    assert_eq!(world.pool("blue").await.endpoints[0].state, State::Ready);
    let pending = world.shop().await.pending.unwrap();
    assert_eq!(pending.kept, ["blue"]);
    world.probes("red", true, 2).await;
    world
        .until(|shop| shop.weights.to_string() == "red=100")
        .await;
    let shop = world.shop().await;
    assert!(shop.pool("blue").is_none() && shop.pending.is_none());
}

#[tokio::test(start_paused = true)]
async fn endpoints_replaced_in_one_edit_serve_until_the_new_ones_are_ready() {
    let world = World::ready(SHOP).await;
    let replaced = SHOP.replace("\"10.0.0.1:80\", \"10.0.0.2:80\"", "\"10.0.0.3:80\"");
    world.edit(&replaced).await.unwrap();
    let blue = world.pool("blue").await;
    let states: Vec<_> = blue.endpoints.iter().map(|held| held.state).collect();
    assert_eq!(states, [State::Unproven, State::Ready, State::Ready]);
    let pending = world.shop().await.pending.unwrap();
    assert_eq!(pending.kept, ["blue/10.0.0.1:80", "blue/10.0.0.2:80"]);
    for _ in 0..2 {
        world.probe(endpoint("blue", "10.0.0.3:80"), true).await;
    }
    world.until(|shop| shop.pools[0].endpoints.len() == 1).await;
    assert!(world.shop().await.pending.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_taken_out_while_others_are_ready_is_gone_at_once() {
    let world = World::ready(SHOP).await;
    let fewer = SHOP.replace("\"10.0.0.1:80\", \"10.0.0.2:80\"", "\"10.0.0.2:80\"");
    world.edit(&fewer).await.unwrap();
    let shop = world.shop().await;
    assert_eq!((shop.pools[0].endpoints.len(), shop.pending), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_a_decision_weights_is_not_removed_under_it() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    let without = SHOP
        .replace("{ blue = 100, green = 0 }", "{ blue = 100 }")
        .replace(
            "pools.green.endpoints = [\"10.0.1.1:80\", \"10.0.1.2:80\"]",
            "",
        );
    let generation = world.generation();
    let refusal = world.edit(&without).await.unwrap_err();
    assert_eq!(refusal.code, Code::InvalidConfig);
    assert!(
        refusal
            .hint
            .unwrap()
            .contains("cutover config revert shop.weights")
    );
    assert_eq!(world.serving(), "blue=90 green=10");
    assert_eq!(
        world.view().await.config.rejected.unwrap().problems,
        refusal.detail
    );
    assert_eq!(world.generation(), generation);
    let world = world.restart(&without).await;
    assert_eq!(world.serving(), "blue=100", "a start refuses nothing");
    assert_eq!(world.events(Kind::OverrideDropped).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn with_initial_weights_the_file_only_seeds() {
    let initial = |weights: &str| {
        file(weights).replace(
            "[services.shop]",
            "[services.shop]\nweights_mode = \"initial\"",
        )
    };
    let world = World::ready(&initial("{ blue = 80, green = 20 }")).await;
    assert_eq!(world.serving(), "blue=80 green=20");
    world
        .edit(&initial("{ blue = 1, green = 1 }"))
        .await
        .unwrap();
    assert_eq!(world.serving(), "blue=80 green=20");
    world.change(switch("green")).await.unwrap();
    world
        .edit(&initial("{ blue = 3, green = 1 }"))
        .await
        .unwrap();
    let world = world.restart(&initial("{ blue = 4, green = 1 }")).await;
    assert_eq!(world.serving(), "green=100");
}

#[tokio::test(start_paused = true)]
async fn decisions_on_endpoints_follow_the_same_rule() {
    let world = World::ready(SHOP).await;
    let remove = Change::RemoveEndpoint {
        endpoint: endpoint("blue", "10.0.0.1:80"),
        force: false,
    };
    world.change(remove).await.unwrap();
    let add = Change::AddEndpoint {
        endpoint: endpoint("blue", "10.0.0.3:80"),
        weight: 2,
    };
    world.change(add).await.unwrap();
    world
        .edit(&SHOP.replace("fall = 3", "fall = 4"))
        .await
        .unwrap();
    assert_eq!(world.drift().await.len(), 2);
    let heavier = SHOP.replace(
        "[\"10.0.0.1:80\",",
        "[{ address = \"10.0.0.1:80\", weight = 3 },",
    );
    world.edit(&heavier).await.unwrap();
    let blue = world.pool("blue").await;
    let of = blue
        .endpoints
        .iter()
        .map(|held| (held.endpoint.key.address.to_string(), held.weight));
    let expected = [("10.0.0.1:80", 3), ("10.0.0.2:80", 1), ("10.0.0.3:80", 2)];
    assert!(of.eq(expected.map(|(address, weight)| (address.to_owned(), weight))));
    assert_eq!(world.drift().await.len(), 1);
    let named = heavier.replace("\"10.0.0.2:80\"]", "\"10.0.0.2:80\", \"10.0.0.3:80\"]");
    world.edit(&named).await.unwrap();
    assert_eq!(world.drift().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_revert_gives_the_word_back_to_the_file() {
    let world = World::ready(SHOP).await;
    let revert = |field: Option<&str>| Change::Revert {
        service: name("shop"),
        field: field.map(str::to_owned),
        force: false,
    };
    world.change(weights("blue=90 green=10")).await.unwrap();
    world
        .change(drain(Target::Endpoint(endpoint("blue", "10.0.0.1:80"))))
        .await
        .unwrap();
    let unknown = world.refused(revert(Some("sticky"))).await;
    assert_eq!(unknown.code, Code::UnknownField);
    assert_eq!(
        unknown.hint.as_deref(),
        Some("what does: weights, pools.blue.endpoints.10.0.0.1:80.drained")
    );
    world.change(revert(Some("weights"))).await.unwrap();
    assert_eq!(world.serving(), "blue=100");
    world.change(revert(None)).await.unwrap();
    assert_eq!(world.drift().await, []);
    let idle = world.change(revert(None)).await.unwrap();
    assert_eq!(idle.notes, ["shop is as the file says already"]);
}

#[tokio::test(start_paused = true)]
async fn services_come_and_go_with_the_file() {
    let api = "\n[services.api]\nhosts = [\"api.example.com\"]\nprobe = false\nendpoints = [\"10.1.0.1:80\"]\n";
    let shop = SHOP.replace(
        "[services.shop]",
        "[services.shop]\nhosts = [\"shop.example.com\"]",
    );
    let world = World::ready(&shop).await;
    world.edit(&format!("{shop}{api}")).await.unwrap();
    let view = world.view().await;
    assert_eq!(view.service("api").unwrap().revision, 1);
    world.edit(&shop).await.unwrap();
    assert!(world.view().await.service("api").is_none());
    assert!(world.control.readers().current().service("api").is_none());
    assert_eq!(
        world
            .code(Change::Revert {
                service: name("api"),
                field: None,
                force: false
            })
            .await,
        Code::UnknownService
    );
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_file_changes_nothing() {
    let world = World::ready(SHOP).await;
    let generation = world.generation();
    let dry = Order {
        dry_run: true,
        ..Order::by(ann())
    };
    let plan = world.plan(&file("{ blue = 1, green = 1 }"));
    let applied = world.control.load(plan, dry).await.unwrap();
    assert!(applied.dry_run);
    assert_eq!(applied.services[0].weights.to_string(), "blue=1 green=1");
    assert_eq!(
        (world.generation(), world.serving()),
        (generation, "blue=100".to_owned())
    );
}
