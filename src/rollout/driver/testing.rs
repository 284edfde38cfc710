//! A driver on a controller whose disk breaks or hangs when a test says so; the test does what the loop does.
#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

// What tests use is no room's affair.
#[cfg(test)]
use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time,
};

use crate::{
    control::{
        Actor, ActorKind, LastProbe, Phase, Probed, Refusal,
        rollout::{Part, Phase as Step, Request, Rollout, Stage, Start, Told, Verb},
        testing::{self, Faults, Folder, Started},
    },
    pool::State,
    rollout::{
        Outside,
        driver::{figures::LOOKS, run::Driver},
    },
    telemetry::Windows,
    units::{Address, EndpointKey, Name, Timestamp},
};

const SHOP: &str = r#"
[[listeners]]
address = "127.0.0.1:8080"
[services.shop]
probe = { path = "/", rise = 1, fall = 1 }
weights = { blue = 100, green = 0 }
pools.blue.endpoints  = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
pools.green.endpoints = ["10.0.1.1:80"]
[services.shop.rollout]
warm_up = "0s"
"#;

pub const PART_BY_PART: &str =
    "steps = [{ share = \"20%\", approval = true }, { share = \"50%\", approval = true }]";
pub const ROLLING: &str = "strategy = \"rolling\"\nsteps = [{ approval = true }]";

pub type Answer = oneshot::Receiver<Result<Told, Refusal>>;

pub struct World {
    pub driver: Driver,
    pub disk: Faults,
    /// A pool that fails its probes.
    pub sick: Option<&'static str>,
    _folder: Folder,
}

impl World {
    /// Blue serves; this is how it would go on.
    pub async fn start(plan: &str) -> Self {
        let Started {
            control,
            controller,
            disk,
            folder,
        } = testing::start_in_a_new_folder(&format!("{SHOP}{plan}\n"));
        let path = testing::file_in(folder.path());
        tokio::spawn(controller.run());
        control.enter(Phase::Serving).await;
        let windows = Arc::new(std::sync::Mutex::new(Windows::new(
            time::Instant::now().into_std(),
        )));
        let looks = mpsc::channel(LOOKS).0;
        let outside = (Outside::default(), windows);
        let mut world = Self {
            driver: Driver::new(control, outside, path, looks),
            disk,
            sick: None,
            _folder: folder,
        };
        world
            .until("blue to serve", |world| world.ready("blue") == 3)
            .await;
        world
    }

    pub fn ready(&self, pool: &str) -> usize {
        let snapshot = self.driver.snapshot();
        let service = snapshot.service("shop").unwrap();
        let place = service.pool(pool).unwrap();
        service.pools[place].ready.len()
    }

    pub fn weights(&self) -> String {
        let snapshot = self.driver.snapshot();
        snapshot.service("shop").unwrap().weights.to_string()
    }

    pub fn drained(&self) -> Vec<Address> {
        let snapshot = self.driver.snapshot();
        let service = snapshot.service("shop").unwrap();
        let members = service.pools.iter().flat_map(|pool| &pool.members);
        let drained = members
            .filter(|held| matches!(held.state, State::Draining | State::Drained))
            .map(|held| held.endpoint.key.address.clone());
        drained.collect()
    }

    /// All endpoints are probed once.
    pub async fn probe(&self) {
        let snapshot = self.driver.snapshot();
        let service = snapshot.service("shop").unwrap();
        let members = service.pools.iter().flat_map(|pool| &pool.members);
        let probed = members.map(|held| {
            let key = &held.endpoint.key;
            probed(key, self.sick != Some(key.pool.as_str()))
        });
        self.driver.control.probed(probed.collect()).await;
    }

    pub fn rises(&self) -> bool {
        self.driver.rides.values().any(|ride| ride.rising.is_some())
    }

    /// Where a rollout that is driven stands.
    pub fn stage(&self, id: u64) -> Option<Stage> {
        let ride = self.driver.rides.get(&id)?;
        Some(ride.rollout.stage)
    }

    /// Where it is remembered to stand.
    pub async fn remembered(&self, id: u64) -> Rollout {
        let view = self.driver.control.view().await.unwrap();
        let shop = &view.services[0];
        let mut all = shop.rollouts.iter().chain(&shop.rollout);
        let found = all.find(|rollout| rollout.id == id).unwrap();
        (**found).clone()
    }

    /// A rollout that waits for somebody's word at its first step or batch.
    pub async fn at_its_first_step(plan: &str, to: Option<&str>) -> Self {
        let mut world = Self::start(plan).await;
        let begun = world.begin(to, false).await;
        world.hear(begun).await.unwrap();
        world.until_waiting(1).await;
        world
    }

    pub async fn until_waiting(&mut self, id: u64) {
        self.until("it to ask", |world| {
            world.stage(id).and_then(Stage::phase) == Some(Step::Waiting)
        })
        .await;
    }

    pub async fn ask(&mut self, what: Verb) -> Answer {
        self.ask_with(what, None).await
    }

    pub async fn ask_with(&mut self, what: Verb, key: Option<&str>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let request = Request {
            what,
            by: Actor::new("ann", ActorKind::Person, "socket"),
            reason: None,
            dry_run: false,
            key: key.map(str::to_owned),
        };
        self.driver.asked(request, reply).await;
        answer
    }

    pub async fn begin(&mut self, to: Option<&str>, supersede: bool) -> Answer {
        self.ask(begins(to, supersede)).await
    }

    /// What the driver's loop does, until this holds.
    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                tokio::select! {
                    Some(done) = self.driver.tasks.join_next(), if !self.driver.tasks.is_empty() => {
                        // Who is asked no more is dropped.
                            if let Ok(done) = done {
                                self.driver.done(done).await;
                            }
                    }
                    () = time::sleep(Duration::from_millis(5)) => {
                        self.probe().await;
                        self.driver.tick().await;
                    }
                }
            }
        };
        let waited = time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("waited too long for {what}"));
    }

    pub async fn hear(&mut self, mut answer: Answer) -> Result<Told, Refusal> {
        let mut heard = None;
        self.until("an answer", |_| {
            heard = answer.try_recv().ok();
            heard.is_some()
        })
        .await;
        heard.unwrap()
    }
}

pub fn begins(to: Option<&str>, supersede: bool) -> Verb {
    let part = Part {
        service: name("shop"),
        to: to.map(name),
        from: None,
        version: None,
    };
    Verb::Start(Box::new(Start {
        services: vec![part],
        preset: None,
        plan: None,
        supersede,
    }))
}

/// Far less than the disk is waited for.
const PATIENCE: Duration = Duration::from_secs(4);

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn probed(endpoint: &EndpointKey, passed: bool) -> Probed {
    Probed {
        endpoint: endpoint.clone(),
        begun: time::Instant::now().into_std(),
        passed,
        last: LastProbe {
            at: Timestamp::now(),
            url: "http://10.0.0.1/".to_owned(),
            status: Some(if passed { 200 } else { 500 }),
            latency_ms: 1.0,
            error: None,
            streak: 0,
        },
    }
}
