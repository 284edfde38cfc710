//! Endpoints, and which of them gets the next request.
//!
//! Owns the identity and measurements of endpoints ([`Endpoint`], [`Directory`]), the lease that a request holds on
//! one, and balancing. Knows neither why an endpoint is eligible nor how a request reaches it.

mod balance;
mod connections;
mod directory;
mod endpoint;
mod faults;
mod lease;
mod nudge;
mod permits;
mod probed;
mod quota;
mod recall;
mod transport;

pub use balance::{AVOIDED, Candidates, Draw, Offset};
pub use connections::Connections;
pub use directory::Directory;
pub use endpoint::{Endpoint, Identity, PoolStats, ServiceStats, Slot, State};
pub use faults::{FaultEvent, FaultReport, FaultReports, Faults, faults};
pub use lease::{Lease, Seat};
pub use nudge::{Nudge, Nudges, nudges};
pub use permits::{Permits, Reached};
pub use probed::Probed;
pub use quota::{Place, Quota};
pub use recall::{Recalls, recalls};
pub use transport::{Handshakes, Transport};
