//! A pool whose endpoints are replaced by a command, from the command line, while its users go on asking.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::Value;

use crate::{
    console::bare_cli,
    support::{App, Client, Site, answer, endpoint},
};

const APP: &str = "/v1/services/app";

/// Asks for an endpoint to be replaced, and waits until it is.
const EXEC: &str = r#"touch "$WORK/want/{endpoint}"; while [ ! -e "$WORK/done/{endpoint}" ]; do sleep 0.02; done; echo "$CUTOVER_SERVICE $CUTOVER_POOL $CUTOVER_ENDPOINT $CUTOVER_VERSION" >> "$WORK/told""#;

/// An app that is well, whatever it answers.
async fn app(at: Option<&str>, name: &'static str, status: u16) -> App {
    let app = endpoint(name).serve(move |mut peer| async move {
        while let Ok(request) = peer.request().await {
            let well = request.starts_with("GET /healthz ");
            let status = if well { 200 } else { status };
            peer.write(&answer(status, &[], name.as_bytes())).await;
        }
    });
    match at {
        Some(at) => app.start_at(at.parse().unwrap()).await,
        None => app.start().await,
    }
}

/// Judged soon.
const JUDGED: &str = r#"
steps = [{ judge = "500ms" }]
judge = { interval = "250ms", min_requests = 20, error_margin = "20%" }
"#;

/// Judged when it is too late, and guarded all the while.
const GUARDED: &str = r#"
steps = [{ judge = "1h" }]
judge = { interval = "1h" }
guard = { min_clients = 1 }
"#;

struct Shop {
    site: Site,
    apps: BTreeMap<String, App>,
    /// Where the command says what it wants.
    work: tempfile::TempDir,
}

/// What users met.
#[derive(Default)]
struct Met {
    answers: AtomicUsize,
    failures: AtomicUsize,
}

impl Shop {
    /// What follows each batch is added to its plan.
    async fn begun(plan: &str) -> Self {
        let mut apps = BTreeMap::new();
        for _ in 0..4 {
            let app = app(None, "old", 200).await;
            apps.insert(app.address.to_string(), app);
        }
        let addresses: Vec<_> = apps.keys().map(|address| format!("{address:?}")).collect();
        let site = Site::start(&format!(
            "[services.app]\nprobe = {{ path = \"/healthz\", interval = \"50ms\", timeout = \"1s\" }}\n\
             pools.blue.endpoints = [{}]\n[services.app.rollout]\nstrategy = \"rolling\"\nbatch = \"25%\"\nwarm_up = \"0s\"\n\
             {plan}\n",
            addresses.join(", ")
        ))
        .await;
        let work = tempfile::tempdir().unwrap();
        for folder in ["want", "done"] {
            fs::create_dir(work.path().join(folder)).unwrap();
        }
        let shop = Self { site, apps, work };
        let ready = |app: &Value| app["pools"]["blue"]["ready"] == 4;
        shop.site.until("all to be ready", APP, ready).await;
        shop
    }

    /// How the command line exits, and what it prints. Meanwhile endpoints are replaced that the command names, and clients ask.
    async fn start(&mut self, exec: &str, status: u16) -> (Option<i32>, String, Arc<Met>) {
        let (met, over) = (Arc::<Met>::default(), Arc::new(AtomicBool::new(false)));
        let users: Vec<_> = (0..4)
            .map(|_| tokio::spawn(user(self.site.address, met.clone(), over.clone())))
            .collect();
        let (admin, work) = (self.site.admin.to_string(), self.work.path().to_owned());
        let exec = exec.to_owned();
        let mut cli = tokio::task::spawn_blocking(move || {
            let words = [
                "rollout",
                "start",
                "app",
                "--version",
                "2.0",
                "--exec",
                &exec,
            ];
            let mut command = bare_cli(&work, &words);
            command.env("CUTOVER_ADMIN", admin);
            command.env("CUTOVER_TOKEN", "secret");
            command.env("WORK", &work);
            let output = command.output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(said).unwrap())
        });
        let (code, said) = loop {
            tokio::select! {
                ended = &mut cli => break ended.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(5)) => self.replace(status).await,
            }
        };
        over.store(true, SeqCst);
        for user in users {
            user.await.unwrap();
        }
        (code, said, met)
    }

    async fn replace(&mut self, status: u16) {
        let wanted = fs::read_dir(self.work.path().join("want")).unwrap();
        let wanted: Vec<PathBuf> = wanted.map(|entry| entry.unwrap().path()).collect();
        for file in wanted {
            let address = file.file_name().unwrap().to_str().unwrap().to_owned();
            self.apps.remove(&address).unwrap().stop().await;
            let new = app(Some(&address), "new", status).await;
            self.apps.insert(address.clone(), new);
            fs::rename(&file, self.done().join(&address)).unwrap();
        }
    }

    fn done(&self) -> PathBuf {
        self.work.path().join("done")
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Asks, one request after the other on one connection.
async fn user(address: std::net::SocketAddr, met: Arc<Met>, over: Arc<AtomicBool>) {
    let mut client = Client::connect(address).await;
    while !over.load(SeqCst) {
        let answer = client.get("/").await;
        met.answers.fetch_add(1, SeqCst);
        if answer.status != 200 {
            met.failures.fetch_add(1, SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_replaces_every_endpoint_while_users_ask_and_nobody_meets_a_failure() {
    let mut shop = Shop::begun(JUDGED).await;
    let (code, said, met) = shop.start(EXEC, 200).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(met.failures.load(SeqCst), 0, "{said}");
    assert!(
        met.answers.load(SeqCst) > 500,
        "{}",
        met.answers.load(SeqCst)
    );
    let mut replaced = names(&shop.done());
    replaced.sort();
    assert!(shop.apps.keys().eq(&replaced), "{replaced:?}");
    let told = fs::read_to_string(shop.work.path().join("told")).unwrap();
    for address in shop.apps.keys() {
        assert!(
            told.contains(&format!("app blue {address} 2.0\n")),
            "{told}"
        );
    }
    let app = shop.site.ask(APP).await;
    assert_eq!(app["pools"]["blue"]["version"], "2.0");
    assert_eq!(app["pools"]["blue"]["ready"], 4);
    assert_eq!(
        Client::connect(shop.site.address).await.get("/").await.body,
        "new"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_fails_ends_it_with_its_batch_drained_and_the_others_untouched() {
    let mut shop = Shop::begun(JUDGED).await;
    let (code, said, met) = shop.start("exit 3", 200).await;
    assert_eq!(code, Some(8), "{said}");
    assert_eq!(met.failures.load(SeqCst), 0, "{said}");
    let app = shop.site.ask(APP).await;
    let cause = app["rollout"]["cause"]["detail"].as_str().unwrap();
    assert!(
        cause.contains("the command for") && cause.contains("failed: exit status"),
        "{cause}"
    );
    assert_eq!(app["pools"]["blue"]["ready"], 3);
    assert_eq!(
        Client::connect(shop.site.address).await.get("/").await.body,
        "old"
    );
}

/// How many failures users met until a batch that answers nothing but 500 was out again.
async fn failures_of_a_bad_batch(plan: &str) -> usize {
    let mut shop = Shop::begun(plan).await;
    let (code, said, met) = shop.start(EXEC, 500).await;
    assert_eq!(code, Some(8), "{said}");
    let done = names(&shop.done());
    assert_eq!(done.len(), 1, "one batch, and no more: {done:?}");
    let app = shop.site.ask(APP).await;
    let rollout = &app["rollout"];
    assert_eq!(rollout["stage"], "failed", "{rollout:#}");
    assert_eq!(rollout["cause"]["kind"], "guard", "{rollout:#}");
    let evidence = &rollout["cause"]["evidence"];
    assert!(
        evidence["candidate"]["errors"].as_u64() >= Some(5),
        "{rollout:#}"
    );
    assert_eq!(rollout["batch"], serde_json::json!(done));
    assert_eq!(app["pools"]["blue"]["ready"], 3, "{app:#}");
    let counts = &rollout["counts"];
    let (errors, rescued) = (counts["errors"].as_u64(), counts["rescued"].as_u64());
    assert!(errors >= Some(5) && rescued <= errors, "{rollout:#}");
    for _ in 0..8 {
        let answer = Client::connect(shop.site.address).await.get("/").await;
        assert_eq!(answer.body, "old");
    }
    met.failures.load(SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_batch_is_out_before_a_user_has_met_it() {
    assert_eq!(failures_of_a_bad_batch(GUARDED).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rescue_a_handful_of_users_meet_a_bad_batch() {
    let plan = format!("{GUARDED}\nrescue = {{ enabled = false }}");
    let failures = failures_of_a_bad_batch(&plan).await;
    assert!((1..=20).contains(&failures), "{failures}");
}
