//! Certificates that are got, kept and renewed by themselves (RFC 8555).
//!
//! Owns the account, the orders, what is kept of them on disk, and when a certificate is renewed. Publishes what it has;
//! knows neither listeners nor who shows a certificate, and shows its proofs through [`tls::Challenges`](crate::tls).

mod directory;
mod keeper;
mod order;
mod store;
mod timing;

pub use keeper::{Issued, Job, Keeper, News, Outcome};
pub use order::Method;
