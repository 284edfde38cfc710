//! What is known of a rollout: where it stands, why, and what it has done so far. Kept with the service, so that it is written
//! down in the one change that moves the weights. Who takes it from one stage to the next is in another room.

mod ask;
mod delivery;
mod live;
mod record;
mod stage;
mod verbs;

pub use super::rollouts::KEPT;
pub use ask::{Asks, Door, Part, Request, Resume, Start, Told, Verb};
pub use delivery::{Delivery, Spread, delivery};
pub use live::{ArmLive, Live, Lives};
pub use record::{Batches, Cause, Counts, Entry, Keyed, Member, Pause, Paused, Rollout};
pub use stage::{Phase, Stage};
