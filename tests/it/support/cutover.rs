use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use cutover::{
    config::{self, Outside, Plan},
    pool::{Directory, FaultReports, Nudges, State, faults, nudges},
    server::{self, BindError, Drained, Prepared, Server, Settings},
    snapshot::{self, Decided, DecidedEndpoint, Input, Publisher, Readers, Standing},
    telemetry::{AccessLog, Spans, WorkerShard, access_log},
    units::{Admits, Name, Secret, Seed, WARM},
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
    pub(super) readers: Readers,
    pub shards: Vec<Arc<WorkerShard>>,
    pub nudges: Nudges,
    pub reports: FaultReports,
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
        let (faults, reports) = faults(Seed::PUBLIC);
        let shards: Vec<Arc<WorkerShard>> = (0..workers).map(|_| Arc::default()).collect();
        let server = Server::start(Settings {
            workers: plan.workers,
            readers: readers.clone(),
            shards: shards.clone(),
            nudge,
            faults,
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
            reports,
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
        trial: None,
        pools: pools.collect(),
    }
}

/// What sticky cookies are made with.
pub fn sticky_key() -> Secret {
    Secret::new(vec![7; 32])
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
        sticky_key: &sticky_key(),
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

    /// Waits until the condition holds.
    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        until(what, || condition(self)).await;
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("not drained yet")
    }

    /// Changes the listeners to those of another text of the file.
    pub fn listen(&self, text: &str) -> Result<(), BindError> {
        self.server().serve(self.prepare(text)?);
        Ok(())
    }

    /// Binds the listeners of another text of the file.
    pub fn prepare(&self, text: &str) -> Result<Prepared, BindError> {
        let listeners = load(text).listeners;
        self.server().prepare(&listeners, &server::Issued::new())
    }

    pub async fn drain(&mut self, deadline: Duration) -> Drained {
        let server = self.server.take().expect("drained once");
        within("the drain", server.drain(deadline)).await
    }
}
