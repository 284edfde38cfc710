use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::{free_address, within};

/// A real Prometheus for the length of a test. Ended with it, by its process.
pub struct Prometheus {
    pub url: String,
    _process: Child,
    _folder: tempfile::TempDir,
}

/// Starts Debian's prometheus, which scrapes this address ten times a second.
///
/// # Panics
///
/// Where it is not installed: `tests/run` installs it.
pub async fn prometheus(scraped: SocketAddr) -> Prometheus {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "global: {{ scrape_interval: 100ms, scrape_timeout: 100ms }}\n\
         scrape_configs: [ {{ job_name: app, static_configs: [ {{ targets: ['{scraped}'] }} ] }} ]\n"
    );
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    // It takes port 0, and tells nobody which one it got.
    let address = free_address();
    let process = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let process = process.unwrap_or_else(|error| {
        panic!("prometheus cannot be started ({error}): tests/run installs it")
    });
    within("prometheus", async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    Prometheus {
        url: format!("http://{address}"),
        _process: process,
        _folder: folder,
    }
}
