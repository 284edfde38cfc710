//! A controller with its admin API and nothing else: no data path, and probes whose outcome a test decides.

#![allow(
    clippy::unwrap_used,
    clippy::format_push_string,
    reason = "a test that can't get its value has failed"
)]

mod http;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc as blocking},
    thread,
    time::{Duration, Instant},
};

use cutover::{
    admin::{self, ConfigFile, Load, Measured, Rejected, State as AdminState},
    config::{self, plan},
    control::{self, Handle, LastProbe, Order, Phase, Probed},
    pool::State,
    telemetry::Window,
    units::Timestamp,
};
use tokio::{
    runtime,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

pub use http::Answer;

pub struct Console {
    folder: tempfile::TempDir,
    pub tcp: SocketAddr,
    pub telemetry: SocketAddr,
    pub handle: Handle,
    /// The addresses that fail their probes.
    sick: Arc<Mutex<BTreeSet<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

pub const TWO_SERVICES: &str = r#"
[[listeners]]
address = "127.0.0.1:1"

[services.shop]
hosts = ["shop.example.com"]
weights = { blue = 100, green = 0 }
probe = { path = "/readyz", rise = 1, fall = 1 }
drain = { deadline = "1s" }
pools.blue.endpoints = ["10.0.0.1:3000", "10.0.0.2:3000"]
pools.green.endpoints = ["10.0.1.1:3000", "unix:/run/green.sock"]

[services.search]
hosts = ["search.example.com"]
weights = { main = 100, next = 0 }
probe = { path = "/readyz", rise = 1, fall = 1 }
pools.main.endpoints = ["10.1.0.1:4000"]
pools.next.endpoints = ["10.1.1.1:4000"]
"#;

/// `secret-of-NAME` is the token of each.
const TOKENS: &str = r#"
tokens = [
  { name = "watcher", role = "viewer", sha256 = "WATCHER" },
  { name = "ci", role = "operator", services = ["shop"], sha256 = "CI" },
  { name = "root", role = "admin", sha256 = "ROOT" },
]
"#;

const PROBES: Duration = Duration::from_millis(5);
pub const PATIENCE: Duration = Duration::from_secs(10);

impl Console {
    /// Everything is ready before it returns.
    pub fn start(text: &str) -> Self {
        let console = Self::start_sick(text, &[]);
        let ready = console.until(|status| {
            let services = status["services"].as_array().unwrap().iter();
            let pools = services.flat_map(|service| service["pools"].as_object().unwrap().values());
            pools.clone().all(|pool| pool["ready"] == pool["of"]) && pools.count() > 0
        });
        assert!(ready, "every pool is ready");
        // Status knows first; requests are decided on what is published a moment later.
        let published = console.until(|_| {
            let snapshot = console.handle.readers().current();
            let mut pools = snapshot.services.iter().flat_map(|service| &service.pools);
            pools.all(|pool| {
                pool.members
                    .iter()
                    .all(|member| member.state == State::Ready)
            })
        });
        assert!(published, "and published so");
        console
    }

    /// With endpoints that fail their probes from the start.
    pub fn start_sick(text: &str, sick: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("cutover.toml"),
            with_admin(text, folder.path()),
        )
        .unwrap();
        let sick = sick.iter().map(|address| (*address).to_owned()).collect();
        let sick = Arc::new(Mutex::new(sick));
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = blocking::channel();
        let (path, ill) = (folder.path().join("cutover.toml"), sick.clone());
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run(&path, ill, &started, stopped));
        });
        let (handle, tcp, telemetry) = starting.recv().unwrap();
        Self {
            folder,
            tcp,
            telemetry,
            handle,
            sick,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("cutover.toml")
    }

    /// Saves another file, as an editor would; nobody watches it.
    pub fn save(&self, text: &str) {
        std::fs::write(self.config(), with_admin(text, self.folder.path())).unwrap();
    }

    pub fn make_sick(&self, address: &str) {
        self.sick.lock().unwrap().insert(address.to_owned());
    }

    pub fn heal(&self, address: &str) {
        self.sick.lock().unwrap().remove(address);
    }

    /// Waits until status is as asked; `false` where it never was.
    pub fn until(&self, is: impl Fn(&serde_json::Value) -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if is(&self.get("/v1/status").json) {
                return true;
            }
        }
        false
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "")
    }

    /// Over the Unix socket; the body is JSON, empty for none.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_with(method, path, &[], body)
    }

    pub fn call_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut all = vec![("Host", "localhost")];
        if !body.is_empty() {
            all.push(("Content-Type", "application/json"));
        }
        all.extend(headers);
        self.raw(&http::request(method, path, &all, body.as_bytes()))
    }

    /// Over the Unix socket, byte by byte as given.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let stream = std::os::unix::net::UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        http::exchange(stream, bytes)
    }

    /// Over TCP, with exactly these headers and a body.
    pub fn over_tcp(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let stream = std::net::TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        http::exchange(
            stream,
            &http::request(method, path, headers, body.as_bytes()),
        )
    }

    /// From the telemetry listener.
    pub fn scrape(&self, method: &str, path: &str) -> Answer {
        let stream = std::net::TcpStream::connect(self.telemetry).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        http::exchange(
            stream,
            &http::request(method, path, &[("Host", "any.example")], b""),
        )
    }

    /// The command line, on this instance.
    pub fn cli(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = bare_cli(self.folder.path(), args);
        command.env("CUTOVER_ADMIN", format!("unix:{}", self.socket().display()));
        command
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                thread::panicking() || ended.is_ok(),
                "the control thread ended well"
            );
        }
    }
}

/// The command line, in a folder, with nothing of the environment that it would heed.
pub fn bare_cli(folder: &Path, args: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_cutover"));
    command
        .current_dir(folder)
        .args(args)
        .timeout(Duration::from_secs(30));
    for name in [
        "CUTOVER_ADMIN",
        "CUTOVER_TOKEN",
        "CUTOVER_TOKEN_FILE",
        "CUTOVER_CONFIG",
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
    ] {
        command.env_remove(name);
    }
    command
}

fn with_admin(text: &str, folder: &Path) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    let digest = |name: &str| {
        Sha256::digest(format!("secret-of-{name}"))
            .iter()
            .fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    };
    let tokens = TOKENS
        .replace("WATCHER", &digest("watcher"))
        .replace("CI", &digest("ci"))
        .replace("ROOT", &digest("root"));
    let folder = folder.display();
    format!(
        "state_dir = \"{folder}/state\"\n[admin]\naddress = \"unix:{folder}/admin.sock\"\n{tokens}\n{text}"
    )
}

type Started = blocking::Sender<(Handle, SocketAddr, SocketAddr)>;

async fn run(
    path: &Path,
    sick: Arc<Mutex<BTreeSet<String>>>,
    started: &Started,
    stopped: oneshot::Receiver<()>,
) {
    let plan = config::load(path)
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
        .plan;
    let admin = plan.admin.clone();
    let (handle, controller) = control::start(plan).unwrap_or_else(|locked| panic!("{locked:?}"));
    let (tokens, watched) = watch::channel(admin.tokens.clone());
    let (loader, loads) = mpsc::channel(8);
    let file = ConfigFile {
        path: path.to_owned(),
        loader,
    };
    let measured = Measured {
        metrics: Arc::new(|view| format!("cutover_generation {}\n", view.snapshot.generation)),
        window: Arc::new(|_| Window::default()),
    };
    let state = AdminState::new(handle.clone(), watched, Some(file), measured);
    let listener = admin::bind(&admin).unwrap();
    let tcp = admin::bind_tcp(([127, 0, 0, 1], 0).into()).unwrap();
    let telemetry = admin::bind_tcp(([127, 0, 0, 1], 0).into()).unwrap();
    let address = |listener: &admin::Listener| listener.address().parse().unwrap();
    let addresses = (address(&tcp), address(&telemetry));
    let mut tasks = JoinSet::new();
    tasks.spawn(controller.run());
    tasks.spawn(probe(handle.clone(), sick));
    tasks.spawn(load(path.to_owned(), handle.clone(), loads, tokens));
    for listener in [listener, tcp] {
        let router = admin::router(state.clone());
        tasks.spawn(async move { listener.serve(router).await.unwrap() });
    }
    tasks.spawn(async move { telemetry.serve(admin::telemetry(state)).await.unwrap() });
    handle.enter(Phase::Serving).await;
    started.send((handle, addresses.0, addresses.1)).unwrap();
    let _ = stopped.await;
}

/// Tells of every endpoint of the snapshot that it passes, unless it is sick.
async fn probe(handle: Handle, sick: Arc<Mutex<BTreeSet<String>>>) {
    let mut ticks = tokio::time::interval(PROBES);
    loop {
        ticks.tick().await;
        let snapshot = handle.readers().current();
        let pools = snapshot.services.iter().flat_map(|service| &service.pools);
        let members = pools.flat_map(|pool| &pool.members);
        let probed = members.map(|member| {
            let endpoint = member.endpoint.key.clone();
            let passed = !sick.lock().unwrap().contains(&endpoint.address.to_string());
            Probed {
                last: LastProbe {
                    at: Timestamp::now(),
                    url: format!("http://{}/readyz", endpoint.address),
                    status: Some(if passed { 200 } else { 503 }),
                    latency_ms: 1.0,
                    error: (!passed).then(|| "status 503".to_owned()),
                    streak: 0,
                },
                endpoint,
                begun: tokio::time::Instant::now().into_std(),
                passed,
            }
        });
        let probed = probed.collect();
        handle.probed(probed).await;
    }
}

/// As the composition does it, without anything to bind.
async fn load(
    path: PathBuf,
    handle: Handle,
    mut loads: mpsc::Receiver<Load>,
    tokens: watch::Sender<Vec<plan::Token>>,
) {
    while let Some(Load { order, reply }) = loads.recv().await {
        let answer = match config::load(&path) {
            Ok(loaded) => {
                let found = loaded.plan.admin.tokens.clone();
                let Order { dry_run, .. } = order;
                let answer = handle
                    .load(loaded.plan, order)
                    .await
                    .map_err(Rejected::Refused);
                if answer.is_ok() && !dry_run {
                    tokens.send_replace(found);
                }
                answer
            }
            Err(problems) => {
                let report = problems.render(false);
                if !order.dry_run {
                    handle.rejected(report.clone(), order.actor).await;
                }
                let problems = problems
                    .iter()
                    .map(|problem| serde_json::to_value(problem).unwrap());
                Err(Rejected::Invalid {
                    report,
                    problems: problems.collect(),
                })
            }
        };
        let _ = reply.send(answer);
    }
}
