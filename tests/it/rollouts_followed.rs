//! Whoever follows a rollout, or waits for pools, from the command line: the instance is killed meanwhile and comes up again, stays away, or is
//! left by Ctrl-C.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't get its value has failed"
)]

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command},
};

use crate::support::{App, Client, Site, answer, endpoint, until, within};

const PLAN: &str = r#"
warm_up = "0s"
bake = "0s"
steps = [{ share = "20%", approval = true }]
"#;

const START: &[&str] = &["rollout", "start", "app", "--to", "green", "--follow"];
const DEPLOY: &[&str] = &["deploy", "app", "--version", "2.0"];
const WAIT: &[&str] = &["wait", "app", "rollout"];

struct Shop {
    site: Site,
    blue: App,
    green: App,
}

/// A command that goes on for a while.
struct Caller {
    child: Child,
    out: BufReader<ChildStdout>,
    said: String,
}

impl Caller {
    fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    async fn says_a_line(&mut self) {
        let line = self.out.read_line(&mut self.said);
        assert!(within("a line", line).await.unwrap() > 0);
    }

    /// How it exits, and what it has printed.
    async fn ends(mut self) -> (Option<i32>, String) {
        let status = within("the command to end", self.child.wait())
            .await
            .unwrap();
        self.out.read_to_string(&mut self.said).await.unwrap();
        let mut err = self.child.stderr.take().unwrap();
        err.read_to_string(&mut self.said).await.unwrap();
        (status.code(), self.said)
    }
}

impl Shop {
    /// Blue serves, and keeps whoever asks for `/slow`.
    async fn start() -> Self {
        let blue = endpoint("blue").serve(|mut peer| async move {
            while let Ok(request) = peer.request().await {
                if request.starts_with("GET /slow ") {
                    return peer.until_closed().await;
                }
                peer.write(&answer(200, &[], b"blue")).await;
            }
        });
        let (blue, green) = (blue.start().await, endpoint("green").start().await);
        let text = format!(
            "[services.app]\nweights = {{ blue = 100, green = 0 }}\nprobe = {{ path = \"/\", interval = \"50ms\", timeout = \"50ms\" }}\n\
             pools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"{}\"]\n[services.app.rollout]\n{PLAN}",
            blue.address, green.address
        );
        let site = Site::start(&text).await;
        let shop = Self { site, blue, green };
        shop.until_ready().await;
        shop
    }

    async fn until_ready(&self) {
        self.site
            .until("both to be ready", "/v1/services/app", |app| {
                app["pools"]["blue"]["ready"] == 1 && app["pools"]["green"]["ready"] == 1
            })
            .await;
    }

    fn call(&self, words: &[&str]) -> Caller {
        call_at(self.site.admin, words)
    }

    /// A command that follows a rollout, which waits for somebody's word.
    async fn followed(&self, words: &[&str]) -> Caller {
        if words[0] == "wait" {
            self.site
                .post("/v1/services/app/rollouts", &json!({ "to": "green" }))
                .await;
        }
        let mut caller = self.call(words);
        caller.says_a_line().await;
        let listed = "/v1/rollouts?state=running";
        self.site
            .until("it to ask", listed, |seen| {
                seen["rollouts"][0]["phase"] == "waiting"
            })
            .await;
        caller
    }

    async fn say(&self, verb: &str) {
        let path = format!("/v1/rollouts/1/{verb}");
        self.site.post(&path, &json!({})).await;
    }

    /// Killed, looked for in vain, and there again.
    async fn is_killed_under(&mut self, caller: &mut Caller) {
        self.site.kill().await;
        let nobody = TcpListener::bind(self.site.admin).await.unwrap();
        within("a look in vain", nobody.accept()).await.unwrap();
        drop(nobody);
        assert!(caller.child.try_wait().unwrap().is_none(), "it waits");
        self.site.run().await;
        self.until_ready().await;
    }
}

#[tokio::test]
async fn whoever_follows_an_instance_that_is_killed_and_comes_up_again_is_told_how_it_ended() {
    for words in [START, DEPLOY, WAIT] {
        let (promoted, taken_back) = tokio::join!(
            killed_and_then(words, "promote"),
            killed_and_then(words, "abort")
        );
        assert_eq!(promoted.0, Some(0), "{words:?}: {}", promoted.1);
        let all = "promoted: green has all requests";
        assert!(promoted.1.contains(all), "{}", promoted.1);
        assert_eq!(taken_back.0, Some(8), "{words:?}: {}", taken_back.1);
        if words == DEPLOY {
            let empty = "blue has no work: it is safe to stop it now";
            assert!(promoted.1.contains(empty), "{}", promoted.1);
        }
    }
}

async fn killed_and_then(words: &[&str], verb: &str) -> (Option<i32>, String) {
    let mut shop = Shop::start().await;
    let mut caller = shop.followed(words).await;
    shop.is_killed_under(&mut caller).await;
    shop.say(verb).await;
    caller.ends().await
}

fn call_at(admin: SocketAddr, words: &[&str]) -> Caller {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command
        .args(words)
        .env("CUTOVER_ADMIN", admin.to_string())
        .env("CUTOVER_TOKEN", "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let said = String::new();
    Caller { child, out, said }
}

/// Stands between a caller and the instance.
struct Relay {
    address: SocketAddr,
    /// What the instance has said to callers, in pieces.
    answers: Arc<AtomicUsize>,
    /// How often it was not there.
    in_vain: Arc<AtomicUsize>,
}

impl Relay {
    async fn before(admin: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            answers: Arc::default(),
            in_vain: Arc::default(),
        };
        let (answers, in_vain) = (relay.answers.clone(), relay.in_vain.clone());
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                match TcpStream::connect(admin).await {
                    Ok(instance) => drop(tokio::spawn(pass_on(caller, instance, answers.clone()))),
                    Err(_) => drop(in_vain.fetch_add(1, SeqCst)),
                }
            }
        });
        relay
    }
}

async fn pass_on(caller: TcpStream, instance: TcpStream, answers: Arc<AtomicUsize>) {
    let (mut asks, mut hears) = caller.into_split();
    let (mut says, mut takes) = instance.into_split();
    let asking = async { tokio::io::copy(&mut asks, &mut takes).await.map(drop) };
    let answering = async {
        let mut piece = [0; 4096];
        loop {
            let length = says.read(&mut piece).await?;
            if length == 0 {
                return Ok(());
            }
            hears.write_all(&piece[..length]).await?;
            answers.fetch_add(1, SeqCst);
        }
    };
    let _: std::io::Result<()> = tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    };
}

#[tokio::test]
async fn whoever_waits_for_pools_of_an_instance_that_is_killed_and_comes_up_again_is_told_when_they_are()
 {
    let mut shop = Shop::start().await;
    let mut user = Client::connect(shop.site.address).await;
    user.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let switch = json!({ "to": "green" });
    shop.site.post("/v1/services/app/switch", &switch).await;
    let other = endpoint("other").start().await;
    let green = std::mem::replace(&mut shop.green, other).stop().await;
    shop.site
        .until("green to be gone", "/v1/services/app", |app| {
            app["pools"]["green"]["ready"] == 0
        })
        .await;
    let mut waiting = Vec::new();
    for words in [["wait", "app", "ready"], ["wait", "app", "drained"]] {
        let relay = Relay::before(shop.site.admin).await;
        let caller = call_at(relay.address, &words);
        // The second answer is one to somebody who waits.
        until("a second look", || relay.answers.load(SeqCst) > 1).await;
        waiting.push((relay, caller));
    }
    shop.site.kill().await;
    for (relay, caller) in &mut waiting {
        until("a look in vain", || relay.in_vain.load(SeqCst) > 0).await;
        assert!(caller.child.try_wait().unwrap().is_none(), "it waits");
    }
    shop.site.run().await;
    shop.green = endpoint("green").start_at(green).await;
    for (_relay, caller) in waiting {
        assert_eq!(caller.ends().await, (Some(0), "done\n".to_owned()));
    }
}

#[tokio::test]
async fn a_deployment_whose_switch_was_made_before_its_answer_was_lost_is_done() {
    let mut shop = Shop::start().await;
    let mut user = Client::connect(shop.site.address).await;
    user.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let slow = |blue: &App| {
        let requests = blue.requests();
        requests
            .iter()
            .any(|request| request.starts_with("GET /slow "))
    };
    until("the slow request", || slow(&shop.blue)).await;
    let caller = shop.call(&["deploy", "app", "--version", "2.0", "--plan", "switch"]);
    shop.site
        .until("the switch", "/v1/services/app", |app| {
            app["active"] == "green"
        })
        .await;
    shop.site.kill().await;
    shop.site.run().await;
    let (code, said) = caller.ends().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("green has all traffic"), "{said}");
    let empty = "blue has no work: it is safe to stop it now";
    assert!(said.contains(empty), "{said}");
}

#[tokio::test]
async fn whoever_follows_an_instance_that_stays_away_ends_with_4_no_later_than_he_waits() {
    let mut shop = Shop::start().await;
    let caller = shop
        .followed(&["wait", "app", "rollout", "--timeout", "2s"])
        .await;
    let start = Instant::now();
    shop.site.kill().await;
    let (code, said) = caller.ends().await;
    assert_eq!(code, Some(4), "{said}");
    assert!(start.elapsed().as_secs() < 5, "{said}");
    assert!(said.contains("is cutover running?"), "{said}");
}

#[tokio::test]
async fn ctrl_c_ends_the_command_with_130_and_the_rollout_goes_on_to_its_end() {
    for words in [START, DEPLOY] {
        let shop = Shop::start().await;
        let caller = shop.followed(words).await;
        caller.signal("-INT");
        let (code, said) = caller.ends().await;
        assert_eq!(code, Some(130), "{words:?}: {said}");
        assert!(said.contains("rollout 1 of app goes on"), "{said}");
        let again = "`cutover wait app rollout` follows it again";
        assert!(said.contains(again), "{said}");
        let caller = shop.call(WAIT);
        shop.say("promote").await;
        let (code, said) = caller.ends().await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("promoted: green has all requests"), "{said}");
    }
}

#[tokio::test]
async fn ctrl_c_while_a_deployment_runs_its_command_moves_nothing() {
    let shop = Shop::start().await;
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let exec = format!("touch {}; exec sleep 10", begun.display());
    // Of a terminal both get it; the command alone, whoever ends that by hand.
    for of in ["the caller", "the command"] {
        let caller = shop.call(&["deploy", "app", "--version", "2.0", "--exec", &exec]);
        until("the command", || begun.exists()).await;
        if of == "the caller" {
            caller.signal("-INT");
        } else {
            let pid = caller.child.id().unwrap().to_string();
            let ended = std::process::Command::new("pkill")
                .args(["-INT", "-P", &pid])
                .status();
            assert!(ended.unwrap().success());
        }
        let (code, said) = caller.ends().await;
        assert_eq!(code, Some(130), "{of}: {said}");
        assert!(said.contains("nothing was moved: blue serves on"), "{said}");
        std::fs::remove_file(&begun).unwrap();
    }
    let app = shop.site.ask("/v1/services/app").await;
    assert_eq!(
        (&app["active"], &app["rollout"]),
        (&json!("blue"), &json!(null))
    );
}
