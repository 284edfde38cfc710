//! A whole Cutover in the test's own process: its file, its control, its probes and its workers.

use std::{fs, net::SocketAddr, time::Duration};

use cutover::app::{Options, Running};
use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Client, PATIENCE, free_address, within};

pub struct Whole {
    folder: TempDir,
    admin: SocketAddr,
    running: Running,
}

/// Started with this file, to which an admin address is added.
pub async fn whole(text: &str) -> Whole {
    let folder = tempfile::tempdir().unwrap();
    let admin = free_address();
    let config = folder.path().join("cutover.toml");
    fs::write(&config, file(admin, text)).unwrap();
    let options = Options {
        config,
        signals: false,
    };
    Whole {
        folder,
        admin,
        running: Running::start(options).await.unwrap(),
    }
}

fn file(admin: SocketAddr, text: &str) -> String {
    format!(
        "workers = 1\nstartup.wait = \"5s\"\nshutdown = {{ lame_duck = \"0s\", deadline = \"1s\" }}\nadmin.address = \"{admin}\"\n{text}"
    )
}

/// What the admin API answers on this connection.
pub async fn told(operator: &mut Client, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    operator.send(request).await;
    operator.answer().await.body
}

impl Whole {
    pub fn address(&self) -> SocketAddr {
        let first = self.running.bound().listeners[0].ip();
        first.expect("the first is TCP")
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    /// The answer to a `GET` on a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        self.client().await.get(path).await
    }

    /// Where the admin API is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A connection to the admin API.
    pub async fn operator(&self) -> Client {
        Client::connect(self.admin).await
    }

    /// What the admin API answers.
    pub async fn ask(&self, path: &str) -> String {
        told(&mut self.operator().await, path).await
    }

    /// The service `app` as the admin API shows it.
    pub async fn service(&self) -> Value {
        serde_json::from_str(&self.ask("/v1/services/app").await).unwrap()
    }

    /// Waits until the service is as it should be.
    pub async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        let wait = async {
            while !holds(&self.service().await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(
            waited.is_ok(),
            "waited too long for {what}: {:#}",
            self.service().await
        );
    }

    /// Waits until a pool's first endpoint is in this state.
    pub async fn until_state(&self, pool: &str, state: &str) {
        let what = format!("{pool} to be {state}");
        self.until(&what, |service| {
            service["pools"][pool]["endpoints"][0]["state"] == state
        })
        .await;
    }

    /// How often such a thing has happened.
    pub async fn events(&self, kind: &str) -> usize {
        let listed = self
            .ask(&format!("/v1/events?type={kind}&limit=1000"))
            .await;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        listed["events"].as_array().unwrap().len()
    }

    /// Saves another text as the file, as an editor does.
    pub fn save(&self, text: &str) {
        let beside = self.folder.path().join("beside");
        fs::write(&beside, file(self.admin, text)).unwrap();
        fs::rename(&beside, self.folder.path().join("cutover.toml")).unwrap();
    }

    pub async fn stop(self) {
        within("the end", self.running.stop()).await;
    }
}
