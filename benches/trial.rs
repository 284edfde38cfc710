//! What it costs a good request that its pool is on trial: the guard's counts, the latency's histogram, what rescue keeps.
//!
//! `cargo bench --bench trial [BLOCKS]`. A whole data plane with one worker, whose own CPU time is read. Blocks of requests by turns
//! within a trial and without one, so short that what the machine does besides falls on both alike.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
};

use cutover::{
    config::{self, Outside, Plan},
    pool::{Directory, State, faults, nudges},
    server::{self, Server, Settings},
    snapshot::{self, Decided, DecidedEndpoint, Input, Publisher, Standing},
    telemetry::{AccessLog, access_log},
    units::{Admits, Name, RescueRule, Secret, Seed, Trial, WARM},
};

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 16;
/// Of a block, on each connection.
const REQUESTS: usize = 100;
/// Pairs of blocks, unless told.
const BLOCKS: usize = 1000;
/// The most that a trial may cost a request, in microseconds.
const DUE: f64 = 0.1;

const REQUEST: &[u8] = b"GET /products/1234?size=m HTTP/1.1\r\nhost: shop.example.com\r\nuser-agent: bench\r\naccept: */*\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: 5\r\n\r\nhello";

fn main() -> ExitCode {
    let told = std::env::args().find_map(|argument| argument.parse().ok());
    let blocks: usize = told.unwrap_or(BLOCKS);
    let mut stage = Stage::new();
    let mut clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| TcpStream::connect(stage.address).expect("it listens"))
        .collect();
    let mut pairs = Vec::with_capacity(blocks);
    // The first few only warm up.
    for block in 0..blocks + 10 {
        let order = [block % 2 == 0, block % 2 == 1];
        let mut spent = [0.0; 2];
        for within in order {
            stage.decide(within);
            ask(&mut clients, REQUESTS / 10);
            let before = stage.cpu();
            ask(&mut clients, REQUESTS);
            let requests = u32::try_from(REQUESTS * CONNECTIONS).expect("small");
            spent[usize::from(within)] = (stage.cpu() - before) / f64::from(requests);
        }
        pairs.extend((block >= 10).then_some(spent));
    }
    let mut differences: Vec<_> = pairs.iter().map(|[bare, tried]| tried - bare).collect();
    let mut bare: Vec<_> = pairs.iter().map(|pair| pair[0]).collect();
    let cost = quantile(&mut differences, 0.5);
    println!(
        "a good request: {:.2} us of CPU without a trial; a trial adds {cost:+.3} us: the median of {blocks} pairs of blocks of {} \
         requests, half of which say {:+.2} to {:+.2} us, and no trial against itself would say ±{:.3}; due {DUE} us",
        quantile(&mut bare, 0.5),
        REQUESTS * CONNECTIONS,
        quantile(&mut differences, 0.25),
        quantile(&mut differences, 0.75),
        scatter(&mut differences),
    );
    ExitCode::from(u8::from(cost > DUE))
}

fn quantile(of: &mut [f64], share: f64) -> f64 {
    of.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in it"
    )]
    let place = (of.len() as f64 * share) as usize;
    of[place.min(of.len() - 1)]
}

/// Twice the standard error of the median, as the quartiles say it: 1.2533 standard deviations by the root of how many there are.
fn scatter(differences: &mut [f64]) -> f64 {
    let deviation = (quantile(differences, 0.75) - quantile(differences, 0.25)) / 1.349;
    #[expect(clippy::cast_precision_loss, reason = "how many there are")]
    let root = (differences.len() as f64).sqrt();
    2.0 * 1.2533 * deviation / root
}

/// So many requests on each connection, and their answers.
fn ask(clients: &mut [TcpStream], times: usize) {
    let mut buffer = [0; 4096];
    for _ in 0..times {
        for client in &mut *clients {
            client.write_all(REQUEST).expect("it reads");
        }
        for client in &mut *clients {
            let mut read = 0;
            while !buffer[..read].ends_with(b"hello") {
                let more = client.read(&mut buffer[read..]).expect("it answers");
                assert!(more > 0, "it has closed a connection");
                read += more;
            }
            assert!(buffer.starts_with(b"HTTP/1.1 200"), "all are good");
        }
    }
}

/// An app server that answers everything alike, a thread for each connection.
fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for peer in listener.incoming() {
            let mut peer = peer.expect("a connection");
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                let mut read = 0;
                while let Ok(more @ 1..) = peer.read(&mut buffer[read..]) {
                    read += more;
                    if buffer[..read].ends_with(b"\r\n\r\n") {
                        let _ = peer.write_all(ANSWER);
                        read = 0;
                    }
                }
            });
        }
    });
    address
}

/// A data plane, with the bench in the place of control.
struct Stage {
    address: SocketAddr,
    /// Where the worker's CPU time is read.
    worker: String,
    plan: Plan,
    publisher: Publisher,
    directory: Directory,
    _server: Server,
}

impl Stage {
    fn new() -> Self {
        let plan = plan([app(), app()]);
        let mut directory = Directory::new(1);
        let first = build(&plan, 1, false, &mut directory, None);
        let (publisher, readers) = snapshot::channel(first);
        let log = access_log::Settings {
            sample: "0%".parse().expect("a share"),
            format: access_log::Format::Text,
            path: None,
        };
        let server = Server::start(Settings {
            workers: plan.workers,
            readers,
            shards: vec![Arc::default()],
            nudge: nudges().0,
            faults: faults(Seed::PUBLIC).0,
            access_log: AccessLog::start(&log).expect("it logs nothing"),
            spans: None,
            challenges: Arc::default(),
        });
        let server = server.expect("a worker starts");
        let prepared = server.prepare(&plan.listeners, &server::Issued::new());
        let prepared = prepared.expect("its port is free");
        let address = prepared.addresses()[0].ip().expect("it is TCP");
        server.serve(prepared);
        // A thread takes its name once it runs.
        let worker = loop {
            if let Some(found) = threads().find(|task| is_worker(task)) {
                break found;
            }
            thread::yield_now();
        };
        Self {
            address,
            worker: format!("{worker}/schedstat"),
            plan,
            publisher,
            directory,
            _server: server,
        }
    }

    fn decide(&mut self, within_a_trial: bool) {
        let previous = self.publisher.current();
        let generation = previous.generation + 1;
        let next = build(
            &self.plan,
            generation,
            within_a_trial,
            &mut self.directory,
            Some(&previous),
        );
        self.publisher.publish(next);
    }

    /// What the worker has used, in microseconds.
    fn cpu(&self) -> f64 {
        let text = fs::read_to_string(&self.worker).expect("it runs");
        let nanoseconds = text
            .split(' ')
            .next()
            .and_then(|field| field.parse::<f64>().ok());
        nanoseconds.expect("a number") / 1e3
    }
}

fn threads() -> impl Iterator<Item = String> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    tasks
        .flatten()
        .map(|task| task.path().display().to_string())
}

fn is_worker(task: &str) -> bool {
    fs::read_to_string(format!("{task}/comm")).is_ok_and(|name| name.starts_with("worker"))
}

fn plan(apps: [SocketAddr; 2]) -> Plan {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let [blue, green] = apps;
    let text = format!(
        "workers = 1\n[[listeners]]\naddress = \"{}\"\n[services.app]\nprobe = false\nweights = {{ blue = 1, green = 1 }}\n\
         pools.blue.endpoints = [\"{blue}\"]\npools.green.endpoints = [\"{green}\"]\n",
        free.expect("a port"),
    );
    let outside = Outside {
        env: &|_| None,
        secrets: true,
    };
    let loaded = config::load_text(Path::new("/nowhere/cutover.toml"), &text, &outside);
    loaded
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .plan
}

fn build(
    plan: &Plan,
    generation: u64,
    within_a_trial: bool,
    directory: &mut Directory,
    previous: Option<&snapshot::Snapshot>,
) -> snapshot::Snapshot {
    let name = |name: &str| name.parse::<Name>().expect("a name");
    let service = &plan.services[&name("app")];
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
    let trial = within_a_trial.then(|| {
        Arc::new(Trial {
            id: 7,
            stable: name("blue"),
            candidate: name("green"),
            salt: 1,
            batch: Vec::new(),
            copies: None,
            rescue: Some(RescueRule {
                methods: vec!["GET".to_owned(), "HEAD".to_owned()],
                max_body: 64 * 1024,
            }),
        })
    });
    let decided = Decided {
        plan: service.clone(),
        weights: service.weights.clone(),
        revision: 1,
        deadline: service.drain_deadline,
        admits: Admits::default(),
        trial,
        pools: pools.collect(),
    };
    let input = Input {
        generation,
        plan,
        changed: BTreeMap::from([(name("app"), decided)]),
        sticky_key: &Secret::new(vec![7; 32]),
    };
    snapshot::build(&input, directory, previous)
}
