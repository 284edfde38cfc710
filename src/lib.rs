//! Cutover: a reverse proxy that ships new versions of an app without losing a request.
//!
//! ```text
//!   file ─► config ─► Plan ─┐
//!   API, CLI ─► Command ────┼─► control ─► snapshot::build ─► Publisher ══► Reader ─► proxy ─► upstream
//!   probes ─► verdicts ─────┘    (one writer)                 (one swap)    (one thread per core, only reads)
//! ```
//!
//! Start reading at [`proxy`] (the life of a request), then [`control::command`] (every way the system can change),
//! then [`config::plan`] (what a correct configuration means). `ARCHITECTURE.md` has the map and the invariants.

#[cfg(feature = "acme")]
pub mod acme;
pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod discovery;
pub mod notices;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod outbound;
pub mod outlier;
pub mod pool;
pub mod probe;
pub mod proxy;
pub mod rollout;
pub mod routing;
pub mod server;
pub mod snapshot;
pub mod telemetry;
pub mod tls;
pub mod units;
pub mod unix_socket;
pub mod upstream;
