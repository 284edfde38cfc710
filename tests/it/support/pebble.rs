use std::process::Stdio;

use tokio::process::{Child, Command};

use super::{authority, within};

/// A real authority for the length of a test.
pub struct Pebble {
    pub directory: String,
    /// Who signs the directory's own certificate.
    pub ca: String,
    _processes: Vec<Child>,
    _folder: tempfile::TempDir,
}

impl Pebble {
    /// One that does not answer.
    pub fn nobody() -> Self {
        Self {
            directory: "https://127.0.0.1:1/dir".into(),
            ca: authority("nobody").pem,
            _processes: Vec::new(),
            _folder: tempfile::tempdir().unwrap(),
        }
    }
}

/// Starts Debian's pebble, which looks for proofs on these ports of loopback and signs for so many seconds. Nothing where it
/// is not installed: `tests/run` installs it.
pub async fn pebble(http: u16, tls: u16, seconds: u32) -> Option<Pebble> {
    let folder = tempfile::tempdir().unwrap();
    let root = authority("pebble's own");
    let pair = root.server(&["localhost", "127.0.0.1"]);
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("cert.pem"), &pair.cert).unwrap();
    std::fs::write(path("key.pem"), &pair.key).unwrap();
    // It takes no port 0.
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (address, management) = (free(), free());
    let config = serde_json::json!({"pebble": {
        "listenAddress": address.to_string(),
        "managementListenAddress": management.to_string(),
        "certificate": path("cert.pem"),
        "privateKey": path("key.pem"),
        "httpPort": http,
        "tlsPort": tls,
        "certificateValidityPeriod": seconds,
        "externalAccountBindingRequired": false,
    }});
    std::fs::write(path("config.json"), config.to_string()).unwrap();
    let (dns, unused) = (free().to_string(), free().to_string());
    let names = start(Command::new("pebble-challtestsrv").args([
        "-dns01",
        &dns,
        "-management",
        &unused,
        "-defaultIPv6",
        "",
        "-http01",
        "",
        "-https01",
        "",
        "-tlsalpn01",
        "",
    ]))?;
    let process = start(
        Command::new("pebble")
            .args(["-config", &path("config.json"), "-dnsserver", &dns])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0"),
    )?;
    within("pebble", async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    Some(Pebble {
        directory: format!("https://127.0.0.1:{}/dir", address.port()),
        ca: root.pem,
        _processes: vec![names, process],
        _folder: folder,
    })
}

fn start(command: &mut Command) -> Option<Child> {
    let started = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    started
        .inspect_err(|error| eprintln!("pebble cannot be started ({error}); tests/run installs it"))
        .ok()
}
