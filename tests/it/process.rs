//! The process as a whole: a real one, with its file, its signals and its way out.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr, Command},
};

use crate::support::{App, Client, endpoint, within};

struct Process {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: SocketAddr,
}

fn command(file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command
        .args(["run", "--config"])
        .arg(file)
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Process {
    /// Returns once it serves.
    async fn start(file: &Path) -> Self {
        let mut child = command(file).spawn().expect("the binary starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("its errors"));
        let address = within("the process to serve", async {
            let (mut address, mut serves) = (None, false);
            loop {
                let line = line(&mut stderr).await;
                if let Some((_, bound)) = line.split_once("listeners=[") {
                    address = bound.split(']').next().and_then(|bound| bound.parse().ok());
                }
                serves |= line.contains("after=\"serving\"");
                if let Some(address) = address.filter(|_| serves) {
                    return address;
                }
            }
        });
        let address = address.await;
        Self {
            child,
            stderr,
            address,
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.expect("kill is there").success());
    }

    /// Reads its log until a line that contains `text`.
    async fn says(&mut self, text: &str) {
        let said = async { while !line(&mut self.stderr).await.contains(text) {} };
        within(text, said).await;
    }

    async fn end(&mut self) -> ExitStatus {
        within("the process to end", self.child.wait())
            .await
            .expect("an exit status")
    }
}

async fn line(stderr: &mut BufReader<ChildStderr>) -> String {
    let mut line = String::new();
    let read = stderr.read_line(&mut line).await.expect("its log");
    assert!(read > 0, "the process ended");
    line
}

struct Site {
    folder: TempDir,
    blue: App,
    green: App,
}

impl Site {
    async fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            blue: endpoint("blue").start().await,
            green: endpoint("green").start().await,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("cutover.toml")
    }

    /// Writes the file beside its place and renames it there, as an editor does.
    fn save(&self, listener: &str, weights: &str) {
        let text = format!(
            "shutdown = {{ lame_duck = \"300ms\", deadline = \"3s\" }}\n\
             [[listeners]]\naddress = \"{listener}\"\n\
             [services.app]\nweights = {{ {weights} }}\nprobe = {{ interval = \"100ms\", timeout = \"100ms\" }}\n\
             pools.blue.endpoints = [\"{}\"]\npools.green.endpoints = [\"{}\"]\n",
            self.blue.address, self.green.address
        );
        let beside = self.folder.path().join("beside");
        fs::write(&beside, text).expect("a file");
        fs::rename(&beside, self.file()).expect("a rename");
    }
}

async fn until_answered_by(client: &mut Client, name: &str) {
    let answered = async {
        while client.get("/").await.body != name {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(name, answered).await;
}

#[tokio::test]
async fn it_follows_its_file_and_ends_with_0_without_losing_a_kept_connection() {
    let site = Site::new().await;
    site.save("127.0.0.1:0", "blue = 100");
    let mut process = Process::start(&site.file()).await;
    let mut client = Client::connect(process.address).await;
    assert_eq!(client.get("/").await.body, "blue");

    site.save("127.0.0.1:0", "green = 100");
    until_answered_by(&mut client, "green").await;

    site.save("127.0.0.1:0", "blue = -1");
    process.says("the file is not applied").await;
    process.signal("-HUP");
    process.says("the file is not applied").await;
    assert_eq!(client.get("/").await.body, "green");

    process.signal("-TERM");
    process.says("stopping").await;
    let last = client.get("/").await;
    assert_eq!(
        (&*last.body, last.header("connection")),
        ("green", Some("close"))
    );
    assert_eq!(process.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let site = Site::new().await;
    site.save("127.0.0.1:0", "blue = 100");
    let mut process = Process::start(&site.file()).await;
    process.signal("-INT");
    process.says("stopping").await;
    process.signal("-INT");
    process.says("asked twice").await;
    assert_eq!(process.end().await.code(), Some(1));
}

#[tokio::test]
async fn what_can_not_be_started_says_why_and_leaves_the_first_alone() {
    let site = Site::new().await;
    site.save("127.0.0.1:0", "blue = 100");
    let process = Process::start(&site.file()).await;

    let same_state = refused(&site.file()).await;
    assert_eq!(same_state.0, Some(1), "{}", same_state.1);
    assert!(same_state.1.contains("cutover-state"), "{}", same_state.1);

    let other = Site::new().await;
    other.save(&process.address.to_string(), "blue = 100");
    let same_address = refused(&other.file()).await;
    assert_eq!(same_address.0, Some(1), "{}", same_address.1);
    assert!(
        same_address.1.contains(&process.address.to_string()),
        "{}",
        same_address.1
    );

    other.save("127.0.0.1:0", "blue = 100, red = 1");
    let invalid = refused(&other.file()).await;
    assert_eq!(invalid.0, Some(3), "{}", invalid.1);
    assert!(invalid.1.contains("red"), "{}", invalid.1);

    let mut client = Client::connect(process.address).await;
    assert_eq!(client.get("/").await.body, "blue");
}

/// The exit code and what was said.
async fn refused(file: &Path) -> (Option<i32>, String) {
    let mut child = command(file).spawn().expect("the binary starts");
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("its errors");
    let read = within("the refusal", stderr.read_to_string(&mut said)).await;
    read.expect("what it said");
    let status = within("the process to end", child.wait()).await;
    (status.expect("an exit status").code(), said)
}
