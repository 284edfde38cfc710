//! An open-loop client: requests start when they are due, whether or not earlier ones have ended, and latency counts
//! from when a request was due, so that a stall of the proxy is seen in full. It never sends a request twice.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle, time::Instant};

use super::apps::VERSION;
use crate::telemetry::{Histogram, Reading};

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

type Connection = http1::SendRequest<Empty<Bytes>>;

/// What came of the requests since the last look.
#[derive(Default)]
pub struct Tally {
    pub versions: BTreeMap<String, u64>,
    /// Why requests failed, and how many.
    pub failures: BTreeMap<String, u64>,
    latency: Histogram,
}

impl Tally {
    pub fn answered(&self) -> u64 {
        self.versions.values().sum()
    }

    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub fn latency(&self) -> Reading {
        let mut reading = Reading::default();
        reading.add(&self.latency);
        reading
    }
}

/// Runs until it is dropped.
pub struct Load {
    shared: Arc<Shared>,
    pace: JoinHandle<()>,
}

struct Shared {
    target: SocketAddr,
    idle: Mutex<Vec<Connection>>,
    tally: Mutex<Tally>,
}

impl Load {
    pub fn start(target: SocketAddr, per_second: u32) -> Self {
        let shared = Arc::new(Shared {
            target,
            idle: Mutex::default(),
            tally: Mutex::default(),
        });
        let pace = tokio::spawn(pace(shared.clone(), Duration::from_secs(1) / per_second));
        Self { shared, pace }
    }

    /// The tally so far; counting starts anew.
    pub fn take(&self) -> Tally {
        std::mem::take(
            &mut *self
                .shared
                .tally
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.pace.abort();
    }
}

async fn pace(shared: Arc<Shared>, gap: Duration) {
    let mut due = Instant::now();
    loop {
        tokio::time::sleep_until(due).await;
        // The timer wakes each millisecond at best: everything that is due by now starts now.
        while due <= Instant::now() {
            tokio::spawn(one(shared.clone(), due));
            due += gap;
        }
    }
}

async fn one(shared: Arc<Shared>, due: Instant) {
    let outcome = tokio::time::timeout(PATIENCE, exchange(&shared)).await;
    let mut tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
    match outcome.unwrap_or_else(|_| Err(format!("no answer in {} s", PATIENCE.as_secs()))) {
        Ok(version) => {
            *tally.versions.entry(version).or_default() += 1;
            tally.latency.record(due.elapsed());
        }
        Err(why) => *tally.failures.entry(why).or_default() += 1,
    }
}

/// One request on a connection of its own for that time; returns the version that answered.
async fn exchange(shared: &Shared) -> Result<String, String> {
    let mut connection = connection(shared).await?;
    let request = Request::get("/hello")
        .header("host", "demo.local")
        .body(Empty::new())
        .expect("a fixed request is valid");
    let response = connection
        .send_request(request)
        .await
        .map_err(|error| format!("broken: {error}"))?;
    let status = response.status();
    let version = response
        .headers()
        .get(VERSION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("nobody")
        .to_owned();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| format!("cut short: {error}"))?
        .to_bytes();
    if !status.is_success() {
        return Err(format!("status {status}"));
    }
    if !body.starts_with(version.as_bytes()) {
        return Err("another version's body".to_owned());
    }
    shared
        .idle
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(connection);
    Ok(version)
}

/// A kept connection that is still open, as a well-behaved client looks before it sends; else a new one.
async fn connection(shared: &Shared) -> Result<Connection, String> {
    loop {
        let kept = shared
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let Some(mut kept) = kept else { break };
        if kept.ready().await.is_ok() {
            return Ok(kept);
        }
    }
    let stream = TcpStream::connect(shared.target)
        .await
        .map_err(|error| format!("no connection: {error}"))?;
    stream
        .set_nodelay(true)
        .map_err(|error| error.to_string())?;
    let (sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(driver);
    Ok(sender)
}
