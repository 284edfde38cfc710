//! The shapes of `/v1`, as they go over the wire: what a call may say and what it is answered.
//!
//! Bodies that come in refuse keys they don't know; whoever reads an answer ignores them, so that answers may grow.

mod change;
mod config;
mod event;
mod report;
mod rollout;
mod service;
mod status;
mod units;

pub use change::{
    Changed, ChangedService, Changes, Difference, Drain, Hold, PutEndpoint, PutWeights, Restore,
    Resume, Rollback, Step, Switch, Wait,
};
pub use config::{Checked, Config, Drift, Drifts, Explained, Reasoned, Reload};
pub use event::{Actor, Event, Events};
pub use report::{Delivery, DeliveryReport, Spread};
pub use rollout::{
    ResumeHow, Rollout, RolloutArm, RolloutCause, RolloutChanged, RolloutCounts, RolloutDetail,
    RolloutEntry, RolloutLive, RolloutMember, RolloutOrder, RolloutPaused, RolloutState,
    RolloutVerb, Rollouts, StartRollout,
};
pub use service::{
    Discovery, Ejection, Endpoint, Failing, History, Latency, Pending, Pool, Probe, Revision,
    Service, Services, Settled, Share, Window,
};
pub use status::{ConfigState, DrainInForce, Durability, Health, HoldInForce, Override, Status};
