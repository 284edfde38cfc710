use cutover::{
    control::{Code, Kind, view::Admitted},
    units::Admission,
};
use proptest::{prelude::*, sample::select};

use super::*;

fn admit(admission: Admission, seconds: Option<u64>) -> Change {
    Change::Admit {
        service: name("shop"),
        admission,
        span: seconds.map(Duration::from_secs),
    }
}

fn hold(seconds: u64) -> Change {
    admit(Admission::Hold, Some(seconds))
}

fn maintenance() -> Change {
    admit(Admission::Maintenance, None)
}

fn resume() -> Change {
    admit(Admission::Open, None)
}

/// As workers would find it now.
fn admits(world: &World) -> Admission {
    let snapshot = world.control.readers().current();
    let now = time::Instant::now().into_std();
    snapshot.service("shop").unwrap().admits.at(now)
}

/// How long it lasts yet, as workers know it.
fn left(world: &World) -> Option<Duration> {
    let snapshot = world.control.readers().current();
    let ends = snapshot.service("shop").unwrap().admits.ends?;
    Some(ends - time::Instant::now().into_std())
}

async fn in_force(world: &World) -> Option<Admitted> {
    world.shop().await.admitted
}

fn saying(admission: &str) -> String {
    SHOP.replace(
        "[services.shop]\n",
        &format!("[services.shop]\nadmission = \"{admission}\"\n"),
    )
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_by_itself_and_is_told_of() {
    let world = World::ready(SHOP).await;
    world.change(hold(30)).await.unwrap();
    let revision = world.revision().await;
    assert_eq!(admits(&world), Admission::Hold);
    assert_eq!(
        in_force(&world).await.unwrap().reason.as_deref(),
        Some("because")
    );
    assert_eq!(
        world.drift().await,
        [("admission".to_owned(), "\"hold\"".to_owned())]
    );
    time::sleep(Duration::from_millis(29_900)).await;
    assert_eq!(admits(&world), Admission::Hold);
    time::sleep(Duration::from_millis(200)).await;
    assert_eq!(admits(&world), Admission::Open);
    assert_eq!(in_force(&world).await, None);
    assert_eq!((left(&world), world.drift().await), (None, Vec::new()));
    let told = world.events(Kind::Resume);
    assert_eq!(told[0].actor, Actor::system());
    assert_eq!(told[0].before["admission"], "hold");
    assert_eq!(world.events(Kind::Hold).len(), 1);
    assert_eq!(
        world.revision().await,
        revision,
        "nobody has decided anything"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_begun_anew_and_ended_by_word() {
    let world = World::ready(SHOP).await;
    world.change(admit(Admission::Hold, None)).await.unwrap();
    assert_eq!(
        left(&world),
        Some(Duration::from_mins(1)),
        "as `hold.for` says"
    );
    time::sleep(Duration::from_secs(50)).await;
    world.change(hold(30)).await.unwrap();
    time::sleep(Duration::from_secs(20)).await;
    assert_eq!(admits(&world), Admission::Hold);
    world.change(resume()).await.unwrap();
    assert_eq!((admits(&world), left(&world)), (Admission::Open, None));
    let applied = world.change(resume()).await.unwrap();
    assert!(applied.notes[0].contains("flow already"), "{applied:?}");
    let what: Vec<_> = world
        .history()
        .await
        .into_iter()
        .map(|one| one.what)
        .collect();
    assert!(what.ends_with(&["hold", "hold", "resume"].map(str::to_owned)));
}

#[tokio::test(start_paused = true)]
async fn maintenance_lasts_until_it_is_ended_or_for_as_long_as_was_said() {
    let world = World::ready(SHOP).await;
    world.change(maintenance()).await.unwrap();
    time::sleep(Duration::from_hours(1)).await;
    assert_eq!(admits(&world), Admission::Maintenance);
    let applied = world.change(maintenance()).await.unwrap();
    assert!(applied.notes[0].contains("in maintenance already"));
    world
        .change(admit(Admission::Maintenance, Some(60)))
        .await
        .unwrap();
    time::sleep(Duration::from_secs(61)).await;
    assert_eq!(
        (admits(&world), in_force(&world).await),
        (Admission::Open, None)
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_for_longer_than_may_be() {
    let world = World::ready(SHOP).await;
    for change in [
        hold(0),
        hold(3601),
        admit(Admission::Maintenance, Some(7 * 86_400 + 1)),
        admit(Admission::Open, Some(1)),
    ] {
        assert_eq!(world.code(change).await, Code::InvalidRequest);
    }
    world.change(hold(3600)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restart_changes_nothing_of_it() {
    let world = World::ready(SHOP).await;
    world.change(hold(3000)).await.unwrap();
    let world = world.restart(SHOP).await;
    assert_eq!(admits(&world), Admission::Hold);
    let left = left(&world).unwrap();
    // Of the clock that is set by people little has passed.
    assert!((2900..=3000).contains(&left.as_secs()), "{left:?}");
    world.change(maintenance()).await.unwrap();
    let world = world.restart(SHOP).await;
    assert_eq!(admits(&world), Admission::Maintenance);
    world.change(resume()).await.unwrap();
    let world = world.restart(SHOP).await;
    assert_eq!(
        (admits(&world), in_force(&world).await),
        (Admission::Open, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_broken_disk_stops_no_hold_and_no_resume() {
    let world = World::ready(SHOP).await;
    world.break_disk();
    for (change, expected) in [
        (hold(60), Admission::Hold),
        (maintenance(), Admission::Maintenance),
        (resume(), Admission::Open),
    ] {
        let applied = world.change(change).await.unwrap();
        assert!(!applied.durable);
        assert_eq!(admits(&world), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_file_orders_it_too_and_a_hold_of_the_file_is_not_begun_twice() {
    let world = World::ready(SHOP).await;
    world.edit(&saying("hold")).await.unwrap();
    assert_eq!(
        (admits(&world), left(&world)),
        (Admission::Hold, Some(Duration::from_mins(1)))
    );
    assert_eq!(world.events(Kind::Hold)[0].actor, Actor::file());
    assert_eq!(world.drift().await, []);
    time::sleep(Duration::from_secs(61)).await;
    assert_eq!(admits(&world), Admission::Open);
    // The file says so still, and differs.
    assert_eq!(world.drift().await[0].1, "\"open\"");
    let elsewhere = saying("hold").replace("rise = 2", "rise = 1");
    world.edit(&elsewhere).await.unwrap();
    assert_eq!(admits(&world), Admission::Open);
    let world = world.restart(&elsewhere).await;
    assert_eq!(admits(&world), Admission::Open);
    world.edit(&saying("maintenance")).await.unwrap();
    assert_eq!(
        (admits(&world), left(&world)),
        (Admission::Maintenance, None)
    );
    assert_eq!(world.events(Kind::OverrideDropped), []);
    world.edit(SHOP).await.unwrap();
    assert_eq!(
        (admits(&world), in_force(&world).await),
        (Admission::Open, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_files_word_wins_over_run_time_and_an_edit_elsewhere_does_not() {
    let world = World::ready(&saying("maintenance")).await;
    assert_eq!(admits(&world), Admission::Maintenance);
    world.change(resume()).await.unwrap();
    assert_eq!(world.drift().await.len(), 1);
    let elsewhere = saying("maintenance").replace("rise = 2", "rise = 1");
    world.edit(&elsewhere).await.unwrap();
    assert_eq!(admits(&world), Admission::Open);
    let world = world.restart(&elsewhere).await;
    assert_eq!(admits(&world), Admission::Open);
    world.edit(&saying("hold")).await.unwrap();
    assert_eq!(admits(&world), Admission::Hold);
    assert_eq!(world.events(Kind::OverrideDropped).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_reverted_to_what_the_file_says() {
    let world = World::ready(SHOP).await;
    world.change(maintenance()).await.unwrap();
    let revert = Change::Revert {
        service: name("shop"),
        field: Some("admission".to_owned()),
        force: false,
    };
    world.change(revert).await.unwrap();
    assert_eq!(
        (admits(&world), in_force(&world).await),
        (Admission::Open, None)
    );
    assert_eq!(world.events(Kind::Revert).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_holds_is_told_when_nothing_is_in_flight_any_more() {
    let world = World::ready(SHOP).await;
    let held = world.pool("blue").await.endpoints[0].endpoint.clone();
    in_flight(&held, 1);
    held.connections.take(None);
    let ends = async {
        time::sleep(Duration::from_secs(2)).await;
        in_flight(&held, 0);
    };
    let act = act(hold(30), Wait::Drained);
    let (done, ()) = tokio::join!(world.control.act(act.clone()), ends);
    let left = done.unwrap().left.unwrap();
    assert!(left.drained && left.stays && !left.safe_to_stop());
    in_flight(&held, 1);
    let begun = time::Instant::now();
    let mut short = act;
    short.changes = vec![hold(5)];
    let left = world.control.act(short).await.unwrap().left.unwrap();
    assert!(!left.drained);
    // No longer than until requests flow again.
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_new_version_is_taken_up_behind_a_hold_in_one_step() {
    let world = World::ready(SHOP).await;
    world.change(hold(30)).await.unwrap();
    let both = vec![weights("blue=0 green=100"), resume()];
    world.control.change(both, order()).await.unwrap();
    assert_eq!(
        (world.serving(), admits(&world)),
        ("green=100".to_owned(), Admission::Open)
    );
}

/// What `hold.for` says, unless a file does.
const USUAL: u64 = 60;
/// None of the spans is a multiple of it.
const PASSES: u64 = 22;

#[derive(Debug, Clone)]
enum Step {
    Edit(Admission),
    EditElsewhere,
    Order(Admission, Option<u64>),
    Revert,
    Restart,
    EditWhileStopped(Admission),
    TimePasses,
}

fn step() -> impl Strategy<Value = Step> {
    let any = || select(&Admission::ALL[..]);
    let order = (any(), select(&[None, Some(50), Some(100)][..]));
    prop_oneof![
        2 => any().prop_map(Step::Edit),
        1 => Just(Step::EditElsewhere),
        4 => order.prop_map(|(admission, span)| Step::Order(admission, span)),
        1 => Just(Step::Revert),
        1 => Just(Step::Restart),
        1 => any().prop_map(Step::EditWhileStopped),
        4 => Just(Step::TimePasses),
    ]
}

/// The rule: what was said last holds until its time is over, be it said by the file, which speaks when it changes.
struct Model {
    file: Admission,
    said: Admission,
    /// For how long in all, and how much of it is left.
    span: Option<(u64, u64)>,
    elsewhere: u32,
}

impl Model {
    fn say(&mut self, said: Admission, span: Option<u64>) {
        let usual = (said == Admission::Hold).then_some(USUAL);
        let span = span.or(usual).filter(|_| said != Admission::Open);
        (self.said, self.span) = (said, span.map(|span| (span, span)));
    }

    fn edit(&mut self, file: Admission) {
        if std::mem::replace(&mut self.file, file) != file {
            self.say(file, None);
        }
    }

    fn time_passes(&mut self) {
        if let Some((_, left)) = &mut self.span {
            *left = left.saturating_sub(PASSES);
            if *left == 0 {
                self.say(Admission::Open, None);
            }
        }
    }

    /// Time that is paused does not pass for the clock by which it goes on after a restart.
    fn restart(&mut self) {
        self.span = self.span.map(|(whole, _)| (whole, whole));
    }

    fn text(&self) -> String {
        let fall = format!("fall = {}", self.elsewhere);
        saying(self.file.as_str()).replace("fall = 3", &fall)
    }
}

async fn follow(steps: Vec<Step>) {
    let mut model = Model {
        file: Admission::Open,
        said: Admission::Open,
        span: None,
        elsewhere: 1,
    };
    let mut world = World::start(&model.text());
    for step in steps {
        match &step {
            Step::Edit(file) => {
                model.edit(*file);
                world.edit(&model.text()).await.unwrap();
            }
            Step::EditElsewhere => {
                model.elsewhere += 1;
                world.edit(&model.text()).await.unwrap();
            }
            Step::Order(admission, span) => {
                let span = span.filter(|_| *admission != Admission::Open);
                world.change(admit(*admission, span)).await.unwrap();
                model.say(*admission, span);
            }
            Step::Revert => {
                let revert = Change::Revert {
                    service: name("shop"),
                    field: None,
                    force: false,
                };
                world.change(revert).await.unwrap();
                if model.said != model.file {
                    model.say(model.file, None);
                }
            }
            Step::Restart => {
                model.restart();
                world = world.restart(&model.text()).await;
            }
            Step::EditWhileStopped(file) => {
                model.restart();
                model.edit(*file);
                world = world.restart(&model.text()).await;
            }
            Step::TimePasses => {
                time::sleep(Duration::from_secs(PASSES)).await;
                model.time_passes();
            }
        }
        assert_eq!(admits(&world), model.said, "after {step:?}");
        let said = model.said;
        world
            .until(|shop| {
                let admitted = shop.admitted.as_ref();
                admitted.map_or(Admission::Open, |admitted| admitted.admission) == said
            })
            .await;
        let drifts = !world.drift().await.is_empty();
        assert_eq!(drifts, model.said != model.file, "after {step:?}");
    }
    world.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn what_was_said_last_of_requests_holds_until_its_time_is_over(steps in prop::collection::vec(step(), 1..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(follow(steps));
    }
}
