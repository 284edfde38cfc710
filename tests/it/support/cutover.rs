use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use cutover::{
    config::{self, Outside, Plan},
    pool::{Directory, Endpoint, Nudges, PoolStats, State, nudges},
    server::{self, Drained, Server, Settings},
    snapshot::{self, Decided, DecidedEndpoint, Input, Publisher, Readers, Standing},
    telemetry::{
        AccessLog, Difference, EndpointShard, Injected, MirrorCounts, Mirrored, PoolShard,
        Rejection, Spans, TunnelCounts, WorkerShard, access_log,
    },
    units::{Admits, Name, Secret, WARM},
};

use super::{Answer, App, Client, until, within};

/// A data plane that is yet to be started: one worker, one listener, one service `app` whose pools are added.
pub fn proxy() -> Builder {
    Builder {
        workers: 1,
        listener: String::new(),
        service: String::new(),
        pools: Vec::new(),
        more: String::new(),
        log: None,
        spans: None,
    }
}

pub struct Builder {
    workers: usize,
    listener: String,
    service: String,
    pools: Vec<(String, u32, Vec<String>)>,
    more: String,
    log: Option<PathBuf>,
    spans: Option<Spans>,
}

/// A data plane, with the test in the place of control.
pub struct Proxy {
    pub address: SocketAddr,
    server: Option<Server>,
    desk: Mutex<Desk>,
    readers: Readers,
    pub shards: Vec<Arc<WorkerShard>>,
    pub nudges: Nudges,
}

/// What control would hold.
struct Desk {
    plan: Plan,
    publisher: Publisher,
    directory: Directory,
    decided: BTreeMap<Name, Decided>,
}

impl Builder {
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Lines of the `[[listeners]]` table.
    pub fn listener(mut self, lines: &str) -> Self {
        self.listener += &format!("{lines}\n");
        self
    }

    /// Lines of the `[services.app]` table.
    pub fn service(mut self, lines: &str) -> Self {
        self.service += &format!("{lines}\n");
        self
    }

    pub fn pool(self, name: &str, weight: u32, apps: &[&App]) -> Self {
        let endpoints: Vec<_> = apps.iter().map(|app| app.address.to_string()).collect();
        let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
        self.pool_at(name, weight, &endpoints)
    }

    pub fn pool_at(mut self, name: &str, weight: u32, endpoints: &[&str]) -> Self {
        let endpoints = endpoints.iter().map(|&address| address.to_owned());
        self.pools
            .push((name.to_owned(), weight, endpoints.collect()));
        self
    }

    /// Further tables of the file.
    pub fn more(mut self, text: &str) -> Self {
        self.more += text;
        self
    }

    fn text(&self, address: SocketAddr) -> String {
        let weights: Vec<_> = self
            .pools
            .iter()
            .map(|(name, weight, _)| format!("{name} = {weight}"))
            .collect();
        let pools: String = self
            .pools
            .iter()
            .map(|(name, _, endpoints)| format!("pools.{name}.endpoints = {endpoints:?}\n"))
            .collect();
        format!(
            "workers = {}\n[[listeners]]\naddress = \"{address}\"\n{}\n[services.app]\nprobe = false\nweights = {{ {} }}\n{}{pools}\n{}",
            self.workers,
            self.listener,
            weights.join(", "),
            self.service,
            self.more,
        )
    }

    /// Logs every request into this file.
    pub fn log_to(mut self, path: &Path) -> Self {
        self.log = Some(path.to_owned());
        self
    }

    /// Hands spans of requests to whoever takes them.
    pub fn spans_to(mut self, spans: &Spans) -> Self {
        self.spans = Some(spans.clone());
        self
    }

    fn access_log(&self) -> AccessLog {
        let sample = if self.log.is_some() { "100%" } else { "0%" };
        let settings = access_log::Settings {
            sample: sample.parse().unwrap(),
            format: access_log::Format::Text,
            path: self.log.clone(),
        };
        AccessLog::start(&settings).unwrap()
    }

    pub fn start(self) -> Proxy {
        let plan = load(&self.text(free_address()));
        let workers = plan.workers.get();
        let mut directory = Directory::new(workers);
        let decided: BTreeMap<_, _> = plan
            .services
            .iter()
            .map(|(name, service)| (name.clone(), decide(service)))
            .collect();
        let first = build(&plan, 1, decided.clone(), &mut directory, None);
        let (publisher, readers) = snapshot::channel(first);
        let (nudge, nudges) = nudges();
        let shards: Vec<Arc<WorkerShard>> = (0..workers).map(|_| Arc::default()).collect();
        let server = Server::start(Settings {
            workers: plan.workers,
            readers: readers.clone(),
            shards: shards.clone(),
            nudge,
            access_log: self.access_log(),
            spans: self.spans.clone(),
            challenges: Arc::default(),
        })
        .unwrap();
        let prepared = server
            .prepare(&plan.listeners, &server::Issued::new())
            .unwrap();
        let address = prepared.addresses()[0].ip().expect("the first is TCP");
        server.serve(prepared);
        Proxy {
            address,
            server: Some(server),
            desk: Mutex::new(Desk {
                plan,
                publisher,
                directory,
                decided,
            }),
            readers,
            shards,
            nudges,
        }
    }
}

fn load(text: &str) -> Plan {
    let outside = Outside {
        env: &|_| None,
        secrets: true,
    };
    match config::load_text(Path::new("/nowhere/cutover.toml"), text, &outside) {
        Ok(loaded) => loaded.plan,
        Err(problems) => panic!("{problems:?}\n{text}"),
    }
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

fn decide(service: &Arc<config::plan::Service>) -> Decided {
    let standing = Standing {
        state: State::Ready,
        proven: true,
        cut: false,
    };
    let pools = service.pools.iter().map(|(name, pool)| {
        let endpoints = pool.endpoints.iter().map(|endpoint| DecidedEndpoint {
            address: endpoint.address.clone(),
            weight: endpoint.weight,
            warmth: WARM,
            standing,
        });
        (name.clone(), endpoints.collect())
    });
    Decided {
        plan: service.clone(),
        weights: service.weights.clone(),
        revision: 1,
        deadline: service.drain_deadline,
        admits: Admits::default(),
        pools: pools.collect(),
    }
}

fn build(
    plan: &Plan,
    generation: u64,
    changed: BTreeMap<Name, Decided>,
    directory: &mut Directory,
    previous: Option<&snapshot::Snapshot>,
) -> snapshot::Snapshot {
    let input = Input {
        generation,
        plan,
        changed,
        sticky_key: &Secret::new(vec![7; 32]),
    };
    snapshot::build(&input, directory, previous)
}

impl Proxy {
    /// One that comes from another address of this machine.
    pub async fn client_from(&self, ip: &str) -> Client {
        Client::connect_from(ip.parse().unwrap(), self.address).await
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// The answer to a `GET` on a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        self.client().await.get(path).await
    }

    /// Decides anew on the service `app` and publishes.
    pub fn decide(&self, change: impl FnOnce(&mut Decided)) {
        let desk = &mut *self.desk.lock().unwrap();
        let name: Name = "app".parse().unwrap();
        let decided = desk.decided.get_mut(&name).unwrap();
        change(decided);
        let previous = desk.publisher.current();
        let next = build(
            &desk.plan,
            previous.generation + 1,
            BTreeMap::from([(name, decided.clone())]),
            &mut desk.directory,
            Some(&previous),
        );
        desk.publisher.publish(next);
    }

    /// Publishes what another file would say of everything but services.
    pub fn edit(&self, change: impl FnOnce(&mut Plan)) {
        let desk = &mut *self.desk.lock().unwrap();
        change(&mut desk.plan);
        let previous = desk.publisher.current();
        let next = build(
            &desk.plan,
            previous.generation + 1,
            BTreeMap::new(),
            &mut desk.directory,
            Some(&previous),
        );
        desk.publisher.publish(next);
    }

    /// What the file says of a pool.
    pub fn plan(&self, pool: &str) -> config::plan::Pool {
        let desk = self.desk.lock().unwrap();
        let service = desk.plan.services.values().next().unwrap();
        service.pools[pool].clone()
    }

    pub fn shift(&self, weights: &[(&str, u32)]) {
        let weights = weights
            .iter()
            .map(|(pool, weight)| (pool.parse().unwrap(), *weight));
        self.decide(|decided| decided.weights = weights.collect());
    }

    /// Puts every endpoint of the pool into a state.
    pub fn put(&self, pool: &str, state: State, cut: bool) {
        self.decide(|decided| {
            for endpoint in decided.pools.get_mut(pool).unwrap() {
                endpoint.standing.state = state;
                endpoint.standing.cut = cut;
            }
        });
    }

    /// Requests that wait for their turn.
    pub fn waiting(&self) -> u64 {
        self.readers.current().services[0].waiting()
    }

    /// Requests in flight in the pool.
    pub fn in_flight(&self, pool: &str) -> u64 {
        self.sum(pool, Endpoint::in_flight)
    }

    /// How long each endpoint of the pool is expected to take.
    pub fn expected_latency(&self, pool: &str) -> Vec<Option<Duration>> {
        let snapshot = self.readers.current();
        let service = &snapshot.services[0];
        let pool = &service.pools[service.pool(pool).unwrap()];
        let now = std::time::Instant::now();
        let members = pool.members.iter();
        members
            .map(|member| member.endpoint.expected_latency(now))
            .collect()
    }

    /// Connections open to the pool's endpoints.
    pub fn connections(&self, pool: &str) -> u64 {
        self.sum(pool, |endpoint| endpoint.connections.open())
    }

    /// How many new connections had to wait, and how many that carried nothing were closed for others.
    pub fn connection_waits(&self, pool: &str) -> (u64, u64) {
        let stats = self.stats(pool);
        let counts = stats.shards().map(|shard| &shard.connections);
        counts.fold((0, 0), |(waits, reclaims), counts| {
            (waits + counts.waits(), reclaims + counts.reclaims())
        })
    }

    fn stats(&self, pool: &str) -> Arc<PoolStats> {
        let snapshot = self.readers.current();
        let service = &snapshot.services[0];
        service.pools[service.pool(pool).unwrap()].stats.clone()
    }

    fn sum(&self, pool: &str, of: impl Fn(&Endpoint) -> u64) -> u64 {
        let snapshot = self.readers.current();
        let service = &snapshot.services[0];
        let index = service.pool(pool).unwrap();
        let members = service.pools[index].members.iter();
        members.map(|member| of(&member.endpoint)).sum()
    }

    /// Tunnels open to the pool's endpoints.
    pub fn tunnels(&self, pool: &str) -> u64 {
        self.sum(pool, Endpoint::tunnels)
    }

    /// Bytes that have passed through the pool's tunnels: from clients, and to them.
    pub fn tunnel_bytes(&self, pool: &str) -> (u64, u64) {
        self.tunnel_counts(pool, |counts, (up, down)| {
            let (more_up, more_down) = counts.bytes();
            (up + more_up, down + more_down)
        })
    }

    /// How the pool's tunnels ended.
    pub fn tunnel_ends(&self, pool: &str) -> Vec<(&'static str, u64)> {
        let counts = self.tunnel_counts(pool, |counts, mut ends: BTreeMap<_, u64>| {
            for (end, count) in counts.ends() {
                *ends.entry(end.as_str()).or_default() += count;
            }
            ends
        });
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn tunnel_counts<T: Default>(&self, pool: &str, add: impl Fn(&TunnelCounts, T) -> T) -> T {
        let stats = self.stats(pool);
        stats
            .shards()
            .fold(T::default(), |sum, shard| add(&shard.tunnels, sum))
    }

    /// Answers counted for the pool, by status and whether the endpoint made them.
    pub fn answers(&self, pool: &str) -> Vec<(u16, bool, u64)> {
        let stats = self.stats(pool);
        let mut counts = BTreeMap::new();
        for (status, source, count) in stats.shards().flat_map(PoolShard::answers) {
            let endpoint = source == cutover::telemetry::shard::Source::Endpoint;
            *counts.entry((status, endpoint)).or_default() += count;
        }
        counts
            .into_iter()
            .map(|((status, endpoint), count)| (status, endpoint, count))
            .collect()
    }

    /// Errors of the pool's endpoints, by kind.
    pub fn failures(&self, pool: &str) -> Vec<(&'static str, u64)> {
        let stats = self.stats(pool);
        let mut counts = BTreeMap::new();
        for (failure, count) in stats.shards().flat_map(PoolShard::failures) {
            *counts.entry(failure.as_str()).or_default() += count;
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// What was injected into the pool's requests.
    pub fn injected(&self, pool: &str, kind: Injected) -> u64 {
        let stats = self.stats(pool);
        stats.shards().map(|shard| shard.injected.of(kind)).sum()
    }

    /// What came of the copies that were meant for the pool, and in what they differed.
    pub fn mirrored(&self, pool: &str) -> Vec<(&'static str, u64)> {
        let stats = self.stats(pool);
        let sum = |of: &dyn Fn(&MirrorCounts) -> u64| -> u64 {
            stats.shards().map(|shard| of(&shard.mirrored)).sum()
        };
        let outcomes = Mirrored::ALL.map(|it| (it.as_str(), sum(&|counts| counts.of(it))));
        let differences =
            Difference::ALL.map(|it| (it.as_str(), sum(&|counts| counts.different(it))));
        let counts = outcomes.into_iter().chain(differences);
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Waits until this is what came of the copies that were meant for the pool.
    pub async fn until_mirrored(&self, pool: &str, counts: &[(&'static str, u64)]) {
        let what = format!("copies to be {counts:?}");
        self.until(&what, |proxy| proxy.mirrored(pool) == counts)
            .await;
    }

    /// Requests that the pool's endpoints have failed.
    pub fn faults(&self, pool: &str) -> u64 {
        let faults = |endpoint: &Endpoint| endpoint.shards().map(EndpointShard::faults).sum();
        self.sum(pool, faults)
    }

    /// How attempts after the first fared in the pool that made them necessary.
    pub fn retries(&self, pool: &str) -> Vec<(&'static str, u64)> {
        let stats = self.stats(pool);
        let mut counts = BTreeMap::new();
        for (outcome, count) in stats.shards().flat_map(PoolShard::retries) {
            *counts.entry(outcome.as_str()).or_default() += count;
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Refusals at the door and by the service, by reason.
    pub fn rejections(&self) -> Vec<(&'static str, u64)> {
        let mut counts = BTreeMap::new();
        for reason in Rejection::AT_THE_DOOR {
            let shards = self.shards.iter().map(|shard| shard.rejections(reason));
            *counts.entry(reason.as_str()).or_default() += shards.sum::<u64>();
        }
        let snapshot = self.readers.current();
        for reason in Rejection::BY_A_SERVICE {
            let shards = snapshot.services[0].stats.shards();
            let shards = shards.map(|shard| shard.rejections(reason));
            *counts.entry(reason.as_str()).or_default() += shards.sum::<u64>();
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Waits until the condition holds.
    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        until(what, || condition(self)).await;
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("not drained yet")
    }

    /// Changes the listeners to those of another text of the file.
    pub fn listen(&self, text: &str) -> Result<(), cutover::server::BindError> {
        let plan = load(text);
        let prepared = self
            .server()
            .prepare(&plan.listeners, &server::Issued::new())?;
        self.server().serve(prepared);
        Ok(())
    }

    pub async fn drain(&mut self, deadline: Duration) -> Drained {
        let server = self.server.take().expect("drained once");
        within("the drain", server.drain(deadline)).await
    }
}
