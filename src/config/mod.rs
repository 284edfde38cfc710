//! Text to a checked plan.
//!
//! Owns the file format: what may be written ([`mod@file`]), what it means ([`plan`]), every problem with its place
//! ([`problem`]), and when the file changed ([`watch`]). Knows no runtime type.

mod check;
mod describe;
pub mod diff;
mod export;
pub mod file;
mod gather;
mod load;
pub mod plan;
mod plan_text;
pub mod problem;
pub mod rollout;
mod schema;
mod settle;
mod source;
pub mod template;
mod watch;

pub use diff::{Diff, diff};
pub use export::{Overlay, export};
pub use gather::Hash;
pub use load::{Loaded, Outside, load, load_offline, load_text, load_with};
pub use plan::Plan;
pub use plan_text::plan_of_text;
pub use problem::{Problem, Problems};
pub use schema::schema;
pub use settle::{BRIEFLY, Edit, SURELY};
pub use watch::{Watch, watch};
