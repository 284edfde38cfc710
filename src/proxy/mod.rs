//! The life of one request.
//!
//! Owns what happens between a request's head and its answer's last byte: [`Proxy::handle`] decides, once, on one
//! snapshot, who gets the request; forwards it; and passes on the answer, or says in one table what went wrong. Knows
//! neither how connections are accepted nor why an endpoint may be chosen.

pub mod admission;
mod again;
mod alarm;
mod attempts;
mod body;
mod budget;
mod certified;
mod client;
mod closing;
mod decide;
mod door;
mod error;
mod exchange;
mod faults;
mod forward;
mod forwarded;
mod handle;
pub mod head;
mod headers;
mod hops;
mod mirror;
mod note;
mod preview;
mod progress;
mod queue;
mod reply;
mod retry;
mod rules;
mod span;
mod timing;
mod trace;
mod trial;
pub mod tunnel;
mod upload;
mod worker;

pub use alarm::Clock;
pub use body::{Body, BodyError};
pub use client::{Client, Door};
pub use closing::Closing;
pub use door::hsts;
pub use error::{Fault, Kind, ProxyError, Resend};
pub use preview::Previewing;
pub use progress::{Phase, Progress};
pub use reply::farewell;
pub use upload::{Upload, UploadError};
pub use worker::Proxy;
