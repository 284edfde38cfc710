//! The controller as the other rooms meet it, without a network: files go in by `load`, probes by `probed`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

mod admission;
mod discovery;
mod drains;
mod durability;
mod ejections;
mod events;
mod gates;
mod model;
mod precedence;
mod slow_starts;
mod switch;
mod verdicts;
mod weights;

use std::{fs, path::PathBuf, time::Duration};

use cutover::{
    config::{self, Outside, Plan},
    control::{
        self, Act, Actor, ActorKind, Applied, Change, Code, Event, Filter, Handle, Kind, LastProbe,
        Order, Probed, Refusal, Revision, Target, View, Wait, view,
    },
    pool::Endpoint,
    units::{EndpointKey, Name, PoolKey, Timestamp},
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time};

/// A service with two pools of two endpoints, blue serving.
pub const SHOP: &str = r#"
[[listeners]]
address = "127.0.0.1:8080"

[services.shop]
weights = { blue = 100, green = 0 }
probe = { path = "/healthz", rise = 2, fall = 3 }
pools.blue.endpoints  = ["10.0.0.1:80", "10.0.0.2:80"]
pools.green.endpoints = ["10.0.1.1:80", "10.0.1.2:80"]
"#;

pub struct World {
    folder: TempDir,
    pub control: Handle,
    task: JoinHandle<()>,
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn pool(name_of_pool: &str) -> PoolKey {
    PoolKey {
        service: name("shop"),
        pool: name(name_of_pool),
    }
}

pub fn endpoint(pool: &str, address: &str) -> EndpointKey {
    EndpointKey {
        service: name("shop"),
        pool: name(pool),
        address: address.parse().unwrap(),
    }
}

/// As a worker's shard counts it.
pub fn in_flight(endpoint: &Endpoint, count: u64) {
    let counter = &endpoint.shard(0).in_flight;
    while counter.count() < count {
        counter.claim();
    }
    while counter.count() > count {
        counter.release();
    }
}

pub fn ann() -> Actor {
    Actor::new("ann", ActorKind::Person, "socket")
}

pub fn order() -> Order {
    Order {
        reason: Some("because".to_owned()),
        ..Order::by(ann())
    }
}

pub fn weights(text: &str) -> Change {
    let pairs = text.split(' ').map(|pair| pair.split_once('=').unwrap());
    Change::Weights {
        service: name("shop"),
        weights: pairs
            .map(|(pool, weight)| (name(pool), weight.parse().unwrap()))
            .collect(),
        force: false,
    }
}

pub fn switch(to: &str) -> Change {
    Change::Switch {
        service: name("shop"),
        to: name(to),
        version: None,
        force: false,
    }
}

pub fn rollback() -> Change {
    Change::Rollback {
        service: name("shop"),
        to_revision: None,
        again: false,
        force: false,
    }
}

pub fn drain(target: Target) -> Change {
    Change::Drain {
        target,
        force: false,
    }
}

pub fn forced(change: Change) -> Change {
    let mut change = change;
    match &mut change {
        Change::Weights { force, .. }
        | Change::Switch { force, .. }
        | Change::Rollback { force, .. }
        | Change::Drain { force, .. }
        | Change::RemoveEndpoint { force, .. }
        | Change::Revert { force, .. } => *force = true,
        other => panic!("{other:?} has no gate"),
    }
    change
}

pub fn act(change: Change, wait: Wait) -> Act {
    Act {
        changes: vec![change],
        order: order(),
        wait,
        ready_timeout: Duration::from_mins(1),
        deadline: Some(Duration::from_secs(30)),
        cut: false,
    }
}

pub fn plan(folder: &TempDir, text: &str) -> Plan {
    let path = folder.path().join("cutover.toml");
    let outside = Outside {
        env: &|_| None,
        secrets: true,
    };
    let loaded = config::load_text(&path, text, &outside);
    loaded
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .plan
}

impl World {
    /// Started, with both pools of `shop` ready.
    pub async fn ready(text: &str) -> Self {
        let world = Self::start(text);
        world.prove("blue").await;
        world.prove("green").await;
        world
    }

    /// Started, with nothing proven.
    pub fn start(text: &str) -> Self {
        Self::start_in(TempDir::new().unwrap(), text)
    }

    pub fn start_in(folder: TempDir, text: &str) -> Self {
        let (control, controller) = control::start(plan(&folder, text)).unwrap();
        Self {
            folder,
            control,
            task: tokio::spawn(controller.run()),
        }
    }

    /// Ends as an orderly process does.
    pub async fn stop(self) -> TempDir {
        drop(self.control);
        self.task.await.unwrap();
        self.folder
    }

    pub async fn restart(self, text: &str) -> Self {
        Self::start_in(self.stop().await, text)
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("cutover-state")
    }

    /// Makes every write fail: where the folder was there is a file. The folder stands beside it.
    pub fn break_disk(&self) {
        fs::rename(self.state(), self.folder.path().join("aside")).unwrap();
        fs::write(self.state(), "").unwrap();
    }

    pub fn mend_disk(&self) {
        fs::remove_file(self.state()).unwrap();
        fs::rename(self.folder.path().join("aside"), self.state()).unwrap();
    }

    pub fn plan(&self, text: &str) -> Plan {
        plan(&self.folder, text)
    }

    pub async fn edit(&self, text: &str) -> Result<Applied, Refusal> {
        let order = Order::by(Actor::file());
        self.control.load(self.plan(text), order).await
    }

    pub async fn change(&self, change: Change) -> Result<Applied, Refusal> {
        self.control.change(vec![change], order()).await
    }

    pub async fn refused(&self, change: Change) -> Refusal {
        let before = self.facts().await;
        let refusal = self.change(change).await.expect_err("it is refused");
        assert_eq!(
            self.facts().await,
            before,
            "a rejected change changes nothing"
        );
        refusal
    }

    pub async fn code(&self, change: Change) -> Code {
        self.refused(change).await.code
    }

    /// One probe's end for one endpoint.
    pub async fn probe(&self, endpoint: EndpointKey, passed: bool) {
        let begun = time::Instant::now().into_std();
        let last = LastProbe {
            at: Timestamp::now(),
            url: format!("http://{}/healthz", endpoint.address),
            status: Some(if passed { 200 } else { 503 }),
            latency_ms: 1.0,
            error: (!passed).then(|| "status 503".to_owned()),
            streak: 0,
        };
        let probed = Probed {
            endpoint,
            begun,
            passed,
            last,
        };
        self.control.probed(vec![probed]).await;
    }

    pub async fn probes(&self, pool: &str, passed: bool, times: usize) {
        let view = self.view().await;
        for _ in 0..times {
            for held in &pool_of(&view, pool).endpoints {
                self.probe(held.endpoint.key.clone(), passed).await;
            }
        }
    }

    /// Passes of every endpoint of the pool, until it is published as ready.
    pub async fn prove(&self, pool: &str) {
        self.probes(pool, true, 2).await;
        self.until(|service| service.pool(pool).is_some_and(view::Pool::is_ready))
            .await;
    }

    pub async fn fail(&self, pool: &str) {
        self.probes(pool, false, 3).await;
        self.until(|service| service.pool(pool).is_some_and(|pool| pool.ready == 0))
            .await;
    }

    pub async fn view(&self) -> View {
        self.control.view().await.unwrap()
    }

    pub async fn shop(&self) -> view::Service {
        self.view().await.service("shop").unwrap().clone()
    }

    pub async fn pool(&self, pool: &str) -> view::Pool {
        let view = self.view().await;
        pool_of(&view, pool).clone()
    }

    /// Waits until the service is so, and published so.
    pub async fn until(&self, so: impl Fn(&view::Service) -> bool) {
        for _ in 0..1000 {
            let view = self.view().await;
            if so(view.service("shop").unwrap()) && is_published(&view) {
                return;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not become so within 10 s");
    }

    /// In force, as workers read it.
    pub fn serving(&self) -> String {
        let snapshot = self.control.readers().current();
        snapshot.service("shop").unwrap().weights.to_string()
    }

    pub async fn revision(&self) -> u64 {
        self.shop().await.revision
    }

    pub fn generation(&self) -> u64 {
        self.control.readers().current().generation
    }

    pub async fn history(&self) -> Vec<Revision> {
        self.control.history(&name("shop")).await.unwrap()
    }

    pub fn events(&self, kind: Kind) -> Vec<Event> {
        let filter = Filter {
            kind: Some(kind),
            limit: Some(1000),
            ..Filter::default()
        };
        let events = self.control.events().list(&filter);
        events.iter().map(|event| (**event).clone()).collect()
    }

    pub async fn drift(&self) -> Vec<(String, String)> {
        let shop = self.shop().await;
        let drift = shop.drift.iter();
        drift
            .map(|drift| (drift.field.clone(), drift.value.to_string()))
            .collect()
    }

    /// What a rejected change must leave as it was.
    async fn facts(&self) -> impl PartialEq + std::fmt::Debug {
        let shop = self.shop().await;
        let events = self.control.events().last_id();
        let history = self.history().await;
        (
            self.generation(),
            shop.revision,
            shop.weights.clone(),
            shop.pending.clone(),
            shop.drift.clone(),
            history,
            events,
        )
    }
}

fn pool_of<'a>(view: &'a View, pool: &str) -> &'a view::Pool {
    let service = view.service("shop").unwrap();
    service.pool(pool).unwrap()
}

fn is_published(view: &View) -> bool {
    let service = view.service("shop").unwrap();
    let snapshot = view.snapshot.service("shop").unwrap();
    let pools = service.pools.iter().zip(&snapshot.pools);
    let mut states = pools.map(|(pool, published)| {
        let states = pool.endpoints.iter().map(|held| held.state);
        states.eq(published.members.iter().map(|member| member.state))
    });
    snapshot.weights == service.weights && states.all(|same| same)
}
