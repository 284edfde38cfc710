//! Changes that raise exposure: written down first, then published.
//!
//! One is being written; those that come after it stand behind it. What lowers exposure overtakes them, so that a disk that hangs
//! never stops a way back; and takes back those of its service, which must not serve after it.

use std::{
    collections::{BTreeSet, VecDeque},
    future,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};

use super::{
    Applied, Change, Code, Order, Refusal,
    controller::{Controller, Reply},
    orders::respond,
    stage::Stage,
    writer::Written,
};
use crate::units::Name;

/// A disk that takes longer has failed, as far as the change that waits for it is concerned.
const PATIENCE: Duration = Duration::from_secs(5);
/// Changes that may stand behind the one that is being written; who comes then waits at the door.
const BEHIND: usize = 64;

/// A change that somebody waits to hear of.
pub(super) struct Asked {
    pub changes: Vec<Change>,
    pub order: Order,
    pub reply: Reply,
    /// When it has waited for the disk for too long.
    pub until: Instant,
}

impl Asked {
    pub fn new(changes: Vec<Change>, order: Order, reply: Reply) -> Self {
        Self {
            changes,
            order,
            reply,
            until: Instant::now() + PATIENCE,
        }
    }

    fn is_of(&self, services: &BTreeSet<Name>) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|change| services.contains(change.service()))
    }
}

struct Writing {
    asked: Asked,
    stage: Stage,
    applied: Applied,
    written: BoxFuture<'static, Written>,
    /// Something else was decided in the meantime, so it is to be decided on afresh.
    overtaken: bool,
}

#[derive(Default)]
pub(super) struct Unwritten {
    writing: Option<Box<Writing>>,
    behind: VecDeque<Asked>,
}

impl Unwritten {
    /// Nothing is being written.
    pub fn is_free(&self) -> bool {
        self.writing.is_none()
    }

    pub fn has_room(&self) -> bool {
        self.behind.len() < BEHIND
    }

    pub fn stand_behind(&mut self, asked: Asked) {
        self.behind.push_back(asked);
    }

    pub fn has_any_of(&self, services: &BTreeSet<Name>) -> bool {
        self.asked().any(|asked| asked.is_of(services))
    }

    /// Whether weights of the service wait to be written.
    pub fn shifts(&self, service: &Name) -> bool {
        let mut changes = self.asked().flat_map(|asked| &asked.changes);
        changes.any(|change| change.service() == service && is_of_weights(change))
    }

    fn asked(&self) -> impl Iterator<Item = &Asked> {
        let writing = self.writing.iter().map(|writing| &writing.asked);
        writing.chain(&self.behind)
    }

    /// When what is being written is on the disk, or cannot be.
    pub async fn written(&mut self) -> Written {
        match &mut self.writing {
            Some(writing) => writing.written.as_mut().await,
            None => future::pending().await,
        }
    }

    /// The next that stands in line, once nothing is being written.
    fn next(&mut self) -> Option<Asked> {
        self.is_free().then(|| self.behind.pop_front()).flatten()
    }

    /// Something was decided on these services. Returns what waited of them, which is not to serve any more.
    fn overtake(&mut self, services: &BTreeSet<Name>) -> Vec<Asked> {
        let mut back = Vec::new();
        match self.writing.take() {
            Some(writing) if writing.asked.is_of(services) => back.push(writing.asked),
            Some(mut writing) => {
                writing.overtaken = true;
                self.writing = Some(writing);
            }
            None => {}
        }
        let (taken, left) = self
            .behind
            .drain(..)
            .partition(|asked: &Asked| asked.is_of(services));
        self.behind = left;
        back.extend::<VecDeque<_>>(taken);
        back
    }
}

fn is_of_weights(change: &Change) -> bool {
    match change {
        Change::Weights { .. } | Change::Switch { .. } | Change::Rollback { .. } => true,
        Change::Rollout { weights, .. } => weights.is_some(),
        Change::Revert { field, .. } => field.as_deref().is_none_or(|field| field == "weights"),
        _ => false,
    }
}

impl Controller {
    /// Written down, then published.
    pub(super) fn write_first(&mut self, mut stage: Stage, applied: Applied, asked: Asked) {
        let drafts = stage.drafts.len() as u64;
        stage.book.memory.last_event = self.teller.last_id() + drafts;
        let written = patiently(self.writer.save(stage.book.memory.clone()), asked.until);
        self.unwritten.writing = Some(Box::new(Writing {
            asked,
            stage,
            applied,
            written,
            overtaken: false,
        }));
    }

    /// The disk has answered for what is being written.
    pub(super) fn finish(&mut self, written: Written) {
        let Some(writing) = self.unwritten.writing.take() else {
            return;
        };
        self.wrote(&written);
        let mut applied = writing.applied;
        match written {
            // On the disk is what lacks the other decision, which is written again by itself.
            Ok(()) if writing.overtaken => self.change(writing.asked),
            Ok(()) => {
                self.commit(writing.stage);
                applied.generation = self.press.generation();
                respond(writing.asked.reply, Ok(applied));
            }
            Err(error) => {
                // A write may fail after it has replaced the file: what is in force is written again.
                self.durability.unsaved = true;
                let dir = self.book.plan.state_dir.display();
                let refusal = Refusal::new(
                    Code::NotDurable,
                    format!(
                        "{dir} cannot be written ({error}), and this change must outlive a restart"
                    ),
                );
                let hint = "free or mend the disk; rollback and drain work without it";
                self.refuse(writing.asked.reply, refusal.hint(hint));
            }
        }
    }

    /// Lets a decision on these services pass by what waits for the disk.
    pub(super) fn overtake(&mut self, services: &BTreeSet<Name>) {
        for asked in self.unwritten.overtake(services) {
            let refusal = Refusal::new(
                Code::NotDurable,
                "this change still waited for the disk when a later decision on its service came, and is taken back",
            );
            let hint = "`cutover status` shows what is in force; give the change again if it is still wanted";
            self.refuse(asked.reply, refusal.hint(hint));
        }
    }

    /// Takes what stands in line, as far as the disk lets it.
    pub(super) fn resume(&mut self) {
        while let Some(asked) = self.unwritten.next() {
            self.change(asked);
        }
    }

    fn refuse(&mut self, reply: Reply, refusal: Refusal) {
        self.count_refusal(&refusal);
        respond(reply, Err(refusal));
    }
}

/// What becomes of a write that nobody waits for after `until`.
fn patiently(written: oneshot::Receiver<Written>, until: Instant) -> BoxFuture<'static, Written> {
    let written = async move {
        match time::timeout_at(until, written).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) => Err("nothing writes any more".to_owned()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    };
    written.boxed()
}

/// The same for a write that begins to be waited for now.
pub(super) fn patiently_from_now(
    written: oneshot::Receiver<Written>,
) -> BoxFuture<'static, Written> {
    patiently(written, Instant::now() + PATIENCE)
}

#[cfg(test)]
mod tests {
    use tokio::task::{self, JoinHandle};

    use super::*;
    use crate::{
        control::{
            Actor, ActorKind, Handle, LastProbe, Probed,
            testing::{self, Faults, Folder, Started},
        },
        units::{EndpointKey, Timestamp},
    };

    const FILE: &str = r#"
[[listeners]]
address = "127.0.0.1:8080"
[services.shop]
hosts = ["shop.test"]
probe = false
weights = { blue = 100, green = 0 }
pools.blue.endpoints = ["10.0.0.1:80"]
pools.green.endpoints = ["10.0.1.1:80"]
[services.other]
hosts = ["other.test"]
probe = { path = "/", rise = 1, fall = 1 }
weights = { blue = 100, green = 0 }
pools.blue.endpoints = ["10.0.2.1:80"]
pools.green.endpoints = ["10.0.3.1:80"]
"#;

    struct World {
        folder: Folder,
        disk: Faults,
        control: Handle,
        task: JoinHandle<()>,
    }

    /// Bounded by far less than the disk is waited for.
    async fn soon<T>(what: impl Future<Output = T>) -> T {
        let soon = time::timeout(PATIENCE / 2, what).await;
        soon.expect("it does not wait for the disk")
    }

    impl World {
        fn start() -> Self {
            Self::of(testing::start_in_a_new_folder(FILE))
        }

        fn of(started: Started) -> Self {
            let Started {
                control,
                controller,
                disk,
                folder,
            } = started;
            Self {
                folder,
                disk,
                control,
                task: tokio::spawn(controller.run()),
            }
        }

        /// Asks for weights, and returns when the controller has the order.
        async fn ask(&self, service: &str, blue: u32, green: u32) -> JoinHandle<Answer> {
            let (control, weights) = (self.control.clone(), weights(service, blue, green));
            let asked = task::spawn(async move { control.change(vec![weights], order()).await });
            // Taken, and looked at.
            task::yield_now().await;
            while self.control.decisions.capacity() < self.control.decisions.max_capacity() {
                task::yield_now().await;
            }
            self.control.view().await.unwrap();
            asked
        }

        async fn roll_back(&self) -> Answer {
            let change = Change::Rollback {
                service: name("shop"),
                to_revision: None,
                again: false,
                force: false,
            };
            soon(self.control.change(vec![change], order())).await
        }

        fn serving(&self, service: &str) -> String {
            let snapshot = self.control.readers().current();
            snapshot.service(service).unwrap().weights.to_string()
        }

        /// Ends it, and says what the next run makes of what was written.
        async fn remembered(self) -> String {
            drop(self.control);
            self.task.await.unwrap();
            Self::of(testing::start(self.folder, FILE)).serving("shop")
        }
    }

    type Answer = Result<Applied, Refusal>;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn order() -> Order {
        Order::by(Actor::new("ann", ActorKind::Person, "socket"))
    }

    fn weights(service: &str, blue: u32, green: u32) -> Change {
        Change::Weights {
            service: name(service),
            weights: [(name("blue"), blue), (name("green"), green)].into(),
            force: true,
        }
    }

    #[tokio::test]
    async fn while_the_disk_hangs_what_lowers_goes_on_and_so_do_verdicts() {
        let world = World::start();
        world
            .control
            .change(vec![weights("shop", 50, 50)], order())
            .await
            .unwrap();
        world.disk.hang_at("sync");
        let raise = world.ask("other", 50, 50).await;
        let back = task::spawn({
            let control = world.control.clone();
            async move { control.change(vec![weights("shop", 100, 0)], order()).await }
        });
        soon(async {
            while world.serving("shop") != "blue=100" {
                time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let key = EndpointKey {
            service: name("other"),
            pool: name("blue"),
            address: "10.0.2.1:80".parse().unwrap(),
        };
        world.control.probed(vec![passed(&key)]).await;
        soon(async {
            let ready = || {
                let snapshot = world.control.readers().current();
                let service = snapshot.service("other").unwrap().clone();
                !service.pools[0].ready.is_empty()
            };
            while !ready() {
                time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(world.serving("other"), "blue=100");
        assert!(!raise.is_finished() && !back.is_finished());
        world.disk.mend();
        assert!(soon(back).await.unwrap().unwrap().durable);
        let raised = soon(raise).await.unwrap().unwrap();
        assert!(raised.durable);
        assert_eq!(world.serving("other"), "blue=50 green=50");
        assert_eq!(world.serving("shop"), "blue=100");
        assert_eq!(world.remembered().await, "blue=100");
    }

    fn passed(endpoint: &EndpointKey) -> Probed {
        Probed {
            endpoint: endpoint.clone(),
            begun: Instant::now().into_std(),
            passed: true,
            last: LastProbe {
                at: Timestamp::now(),
                url: "http://10.0.2.1/".to_owned(),
                status: Some(200),
                latency_ms: 1.0,
                error: None,
                streak: 0,
            },
        }
    }

    #[tokio::test]
    async fn a_rollback_takes_back_what_waits_for_the_disk() {
        let world = World::start();
        world.disk.hang_at("sync");
        let raise = world.ask("shop", 90, 10).await;
        let behind = world.ask("shop", 50, 50).await;
        let control = world.control.clone();
        let back = task::spawn(async move {
            let change = Change::Rollback {
                service: name("shop"),
                to_revision: None,
                again: false,
                force: false,
            };
            control.change(vec![change], order()).await
        });
        for taken_back in [raise, behind] {
            let refusal = soon(taken_back).await.unwrap().unwrap_err();
            assert_eq!(refusal.code, Code::NotDurable);
            assert!(refusal.detail.contains("taken back"), "{refusal}");
        }
        world.disk.mend();
        let back = soon(back).await.unwrap().unwrap();
        assert!(
            back.durable && back.notes[0].contains("taken back"),
            "{back:?}"
        );
        assert_eq!(world.serving("shop"), "blue=100");
        assert_eq!(world.remembered().await, "blue=100");
    }

    #[tokio::test]
    async fn what_stands_behind_is_decided_on_in_its_turn() {
        let world = World::start();
        world.disk.hang_at("sync");
        let first = world.ask("shop", 90, 10).await;
        let second = world.ask("shop", 50, 50).await;
        world.disk.mend();
        let (first, second) = (soon(first).await.unwrap(), soon(second).await.unwrap());
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(second.services[0].revision > first.services[0].revision);
        assert_eq!(second.services[0].before, first.services[0].weights);
        assert_eq!(world.remembered().await, "blue=50 green=50");
    }

    #[tokio::test]
    async fn on_a_disk_that_hangs_for_good_raising_is_refused_in_the_end() {
        let world = World::start();
        world.disk.hang_at("sync");
        let raise = world.ask("shop", 90, 10).await;
        let refusal = raise.await.unwrap().unwrap_err();
        assert_eq!(refusal.code, Code::NotDurable);
        assert_eq!(world.serving("shop"), "blue=100");
        let back = world.roll_back().await;
        assert_eq!(back.unwrap_err().code, Code::NothingSettled);
        world.disk.mend();
        assert_eq!(world.remembered().await, "blue=100");
    }
}
