//! `cutover demo`: two versions of a built-in app, the proxy in front of them with a real file, and a client that counts every
//! failure, walked from 100 % blue to green and back, by hand and by rollouts.

mod apps;
mod load;
mod rollouts;
mod story;
mod table;

pub use story::{Options, run};
