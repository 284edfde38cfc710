use std::os::unix::fs::PermissionsExt;

use cutover::control::{Code, Kind};

use super::*;

#[tokio::test(start_paused = true)]
async fn decisions_outlive_a_crash() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    let state = fs::read(world.state().join("state.json")).unwrap();
    let world = {
        // What a crash right after the answer leaves: the file as it is now.
        let folder = world.stop().await;
        fs::write(folder.path().join("cutover-state/state.json"), state).unwrap();
        World::start_in(folder, SHOP)
    };
    assert_eq!(world.serving(), "blue=90 green=10");
    let last = world.history().await.pop().unwrap();
    assert_eq!((last.by, last.reason.as_deref()), (ann(), Some("because")));
}

#[tokio::test(start_paused = true)]
async fn on_a_broken_disk_raising_is_refused_and_changes_nothing() {
    let world = World::ready(SHOP).await;
    world.break_disk();
    let before = (world.generation(), world.revision().await);
    let refusal = world.change(weights("blue=90 green=10")).await.unwrap_err();
    assert_eq!(refusal.code, Code::NotDurable);
    assert_eq!((world.generation(), world.revision().await), before);
    assert_eq!(world.serving(), "blue=100");
    assert!(!world.view().await.durability.writable);
    assert_eq!(world.events(Kind::StateUnwritable).len(), 1);
    world.mend_disk();
    world.change(weights("blue=90 green=10")).await.unwrap();
    assert!(world.view().await.durability.writable);
    assert_eq!(world.events(Kind::StateWritable).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn on_a_broken_disk_there_is_a_way_back_and_it_is_written_later() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=50 green=50")).await.unwrap();
    world.break_disk();
    let applied = world.change(rollback()).await.unwrap();
    assert!(!applied.durable);
    assert_eq!(world.serving(), "blue=100");
    assert!(world.view().await.durability.unsaved);
    let drained = world
        .change(drain(Target::Pool(pool("green"))))
        .await
        .unwrap();
    assert!(!drained.durable);
    world.mend_disk();
    for _ in 0..100 {
        time::sleep(Duration::from_millis(100)).await;
        if !world.view().await.durability.unsaved {
            break;
        }
    }
    assert!(!world.view().await.durability.unsaved);
    let world = world.restart(SHOP).await;
    assert_eq!(world.serving(), "blue=100");
    assert_eq!(world.drift().await.len(), 1, "the drain is remembered");
}

#[tokio::test(start_paused = true)]
async fn going_back_by_any_verb_lowers_exposure() {
    let world = World::ready(SHOP).await;
    world.change(switch("green")).await.unwrap();
    world.break_disk();
    let back = world.change(switch("blue")).await.unwrap();
    assert!(!back.durable);
    world.mend_disk();
    world.change(weights("blue=50 green=50")).await.unwrap();
    world.break_disk();
    let less = world.change(weights("blue=80 green=20")).await.unwrap();
    assert!(!less.durable);
    let more = world.change(weights("blue=70 green=30")).await;
    assert_eq!(more.unwrap_err().code, Code::NotDurable);
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_file_needs_no_other_memory_than_the_file() {
    let world = World::ready(SHOP).await;
    world.break_disk();
    let edited = SHOP.replace("green = 0", "green = 100");
    let applied = world.edit(&edited).await.unwrap();
    assert!(!applied.durable);
    assert_eq!(world.serving(), "blue=100 green=100");
}

#[tokio::test(start_paused = true)]
async fn damaged_state_is_set_aside_and_told_of_and_the_file_serves() {
    for damage in [
        "",
        "{",
        "{\"schema\":1,\"services\":{\"shop\":{}}}",
        "{\"schema\":2}",
        "\0\0\0",
        "[1]",
    ] {
        let world = World::ready(SHOP).await;
        world.change(weights("blue=90 green=10")).await.unwrap();
        let folder = world.stop().await;
        let state = folder.path().join("cutover-state");
        fs::write(state.join("state.json"), damage).unwrap();
        let world = World::start_in(folder, SHOP);
        assert_eq!(world.serving(), "blue=100", "{damage:?}");
        let told = world.events(Kind::StateDamaged);
        assert_eq!(told.len(), 1, "{damage:?}");
        assert!(
            told[0]
                .reason
                .as_ref()
                .unwrap()
                .contains("state.json.damaged-")
        );
        let aside = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap());
        let mut aside =
            aside.filter(|entry| entry.file_name().to_string_lossy().contains("damaged"));
        assert_eq!(
            fs::read_to_string(aside.next().unwrap().path()).unwrap(),
            damage
        );
        world.prove("blue").await;
        world.prove("green").await;
        world.change(weights("blue=90 green=10")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_process_owns_a_state_folder() {
    let world = World::start(SHOP);
    let second = control::start(world.plan(SHOP));
    let error = second.err().expect("it is refused").to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    let folder = world.stop().await;
    World::start_in(folder, SHOP).stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_written_is_no_reason_not_to_serve() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cutover-state"), "").unwrap();
    let world = World::start_in(folder, SHOP);
    world.prove("blue").await;
    world.prove("green").await;
    assert_eq!(world.serving(), "blue=100");
    let durability = world.view().await.durability;
    assert!(!durability.writable && durability.error.is_some());
    let refusal = world.change(weights("blue=90 green=10")).await.unwrap_err();
    assert_eq!(refusal.code, Code::NotDurable);
}

#[tokio::test(start_paused = true)]
async fn files_are_for_the_owner_alone_and_the_sticky_key_is_kept() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    let state = world.state();
    let folder = world.stop().await;
    for file in ["state.json", "sticky.key", "events.jsonl", "lock"] {
        let mode = fs::metadata(state.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let key = fs::read(state.join("sticky.key")).unwrap();
    assert_eq!(key.len(), 32);
    let world = World::start_in(folder, SHOP);
    let folder = world.stop().await;
    assert_eq!(fs::read(state.join("sticky.key")).unwrap(), key);
    fs::write(state.join("sticky.key"), "short").unwrap();
    let world = World::start_in(folder, SHOP);
    assert_eq!(world.events(Kind::StateDamaged).len(), 1);
    assert_ne!(fs::read(state.join("sticky.key")).unwrap(), key);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_runs_something_new_is_no_way_back() {
    let world = World::ready(SHOP).await;
    world.change(switch("green")).await.unwrap();
    world.break_disk();
    let deploy = Change::Switch {
        service: name("shop"),
        to: name("blue"),
        version: Some("1.43".to_owned()),
        force: false,
    };
    let refusal = world.change(deploy).await.unwrap_err();
    assert_eq!(refusal.code, Code::NotDurable);
    assert_eq!(world.serving(), "green=100");
}

#[tokio::test(start_paused = true)]
async fn remembered_weights_that_make_no_sense_any_more_yield_to_the_file() {
    let world = World::ready(SHOP).await;
    world.change(weights("blue=90 green=10")).await.unwrap();
    let folder = world.stop().await;
    let state = folder.path().join("cutover-state/state.json");
    let text = fs::read_to_string(&state).unwrap();
    let mut folder = folder;
    for nonsense in ["{}", "{\"red\":1}"] {
        let odd = text.replace("{\"blue\":90,\"green\":10}", nonsense);
        assert_ne!(odd, text);
        fs::write(&state, odd).unwrap();
        let world = World::start_in(folder, SHOP);
        assert_eq!(world.serving(), "blue=100");
        folder = world.stop().await;
    }
}
