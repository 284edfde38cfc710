//! A real process on a folder that outlives it.

use std::{fs, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{Client, PATIENCE, free_address, told};

/// The SHA-256 of `secret`.
const TOKEN: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

pub struct Site {
    folder: TempDir,
    pub admin: SocketAddr,
    /// Where it listens, before and after it was killed.
    pub address: SocketAddr,
    process: Option<Child>,
}

impl Site {
    /// With these services, and an operator whose token is `secret`.
    pub async fn start(services: &str) -> Self {
        let (admin, address) = (free_address(), free_address());
        let text = format!(
            "workers = 1\nadmin.address = \"{admin}\"\n\
             admin.tokens = [{{ name = \"ops\", role = \"operator\", sha256 = \"{TOKEN}\" }}]\n\
             [[listeners]]\naddress = \"{address}\"\n{services}"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cutover.toml"), text).unwrap();
        let mut site = Self {
            folder,
            admin,
            address,
            process: None,
        };
        site.run().await;
        site
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("cutover.toml")
    }

    /// Until its admin API answers.
    pub async fn run(&mut self) {
        let process = Command::new(env!("CARGO_BIN_EXE_cutover"))
            .args(["run", "--config"])
            .arg(self.file())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.process = Some(process);
        let up = async {
            while tokio::net::TcpStream::connect(self.admin).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.unwrap();
    }

    /// Nothing is written, said or waited for.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().await.unwrap();
    }

    pub async fn ask(&self, path: &str) -> Value {
        let mut operator = Client::connect(self.admin).await;
        serde_json::from_str(&told(&mut operator, path).await).unwrap()
    }

    pub async fn until(&self, what: &str, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let seen = self.ask(path).await;
                if holds(&seen) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, wait).await;
        if let Ok(seen) = seen {
            return seen;
        }
        panic!("waited too long for {what}: {:#}", self.ask(path).await)
    }

    pub async fn post(&self, path: &str, body: &Value) {
        let (status, answer) = self.asks(path, body).await;
        assert_eq!(status, 200, "{path}: {answer:#}");
    }

    pub async fn asks(&self, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let length = body.len();
        let mut operator = Client::connect(self.admin).await;
        operator
            .send(format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n\
                 content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
            .await;
        let answer = operator.answer().await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }
}
