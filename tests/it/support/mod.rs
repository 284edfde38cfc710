//! What a behaviour test is made of: app servers that can misbehave byte by byte ([`endpoint`]), a data plane under a
//! configuration as a user types it ([`proxy`]), and a client that sees every byte ([`Client`]).
//!
//! Ports are free-picked, every wait is bounded and waits for a condition.
#![allow(
    dead_code,
    unused_imports,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::unused_self,
    clippy::unwrap_used,
    reason = "a test uses what it needs, and fails where it can't get it"
)]

mod app;
mod authority;
pub mod caller;
mod client;
mod counts;
mod cutover;
pub mod dns;
pub mod h2;
mod pebble;
mod pool;
mod prometheus;
mod site;
pub mod trial;
pub mod websocket;
pub mod websocket_h2;
mod whole;

use std::time::Duration;

pub use app::{App, Peer, answer, endpoint};
pub use authority::{Authority, Pair, authority};
pub use client::{Answer, Client};
pub use cutover::{Proxy, free_address, proxy};
pub use h2::{Call, H2App, Wire, h2_endpoint};
pub use pebble::{Pebble, pebble};
pub use pool::members;
pub use prometheus::{Prometheus, prometheus};
pub use site::Site;
pub use whole::{Whole, told, whole};

/// Longer than anything a test waits for takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The future's result; panics if it takes unreasonably long.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Waits until the condition holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
