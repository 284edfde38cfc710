//! Newtypes parsed once at the door, so that nothing behind it holds a "maybe".
//!
//! Owns the shapes of names, addresses, weights, spans of time, sizes and secrets, how lots are drawn by weight, and the numbers that
//! prove a drain. Knows nothing else of the project.

mod address;
mod admission;
mod claim;
mod error_pages;
mod freeze;
mod human;
mod injected_fault;
mod judgement;
mod key;
mod limits;
mod listen_address;
mod load_factor;
mod lot;
mod matcher;
mod mirror;
mod name;
mod networks;
mod outliers;
mod own_answer;
mod path;
mod policy;
mod preamble;
mod rate;
mod retry;
mod rewrite;
mod secret;
mod shortage;
mod slow_start;
mod trial;
mod weights;

use std::sync::atomic::{AtomicU64, Ordering};

pub use address::Address;
pub use admission::{Admission, Admits, Holding, Maintenance};
pub use claim::{Generation, InFlight};
pub use error_pages::{ErrorPage, ErrorPages};
pub use freeze::Freeze;
pub use human::{ByteSize, Percent, Span};
pub use injected_fault::InjectedFault;
pub use judgement::{
    Absolute, ErrorMargin, GuardSettings, Insufficient, JudgeSettings, LatencyMargin, Unsure,
};
pub use key::{EndpointKey, PoolKey};
pub use limits::{Limits, Queueing};
pub use listen_address::ListenAddress;
pub use load_factor::LoadFactor;
pub use lot::{Seed, SeededHasher, below, mixed, score};
pub use matcher::{HostPattern, Matcher, PathPattern};
pub use mirror::{Compared, Mirror};
pub use name::Name;
pub use networks::{Access, Network, Networks, client_number};
pub use outliers::Outliers;
pub use own_answer::{Asked, Constant, OwnAnswer, Redirect, Target, Template};
pub use path::{NoNormalForm, normal_path};
pub use policy::{Balance, HashKey, Protocol, StickyBy, Timeouts, WebsocketDrain};
pub use preamble::{Ends, Preamble, PreambleRead, PreambleVersion};
pub use rate::{Pace, RateKey, RateLimit, text_number};
pub use retry::{Retries, Statuses};
pub use rewrite::{HeaderEdits, PrefixRewrite, RouteRules};
pub use secret::{Secret, SecretSource};
pub use shortage::is_shortage;
pub use slow_start::{SlowStart, WARM, Warmth, lift};
pub use trial::{Arm, RescueRule, Trial};
pub use weights::Weights;

/// A moment on the wall clock, printed as RFC 3339 in UTC.
pub type Timestamp = jiff::Timestamp;

/// Why a text is not the thing it should be: one short clause that says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);
